#include "tokenizer/token_texts.h"

#include "spnl/modelkit/error.h"

namespace spnl::modelkit {

void TokenTexts::set(size_t id, std::string_view text) {
  if (id >= spans_.size()) spans_.resize(id + 1);
  if ((*this)[id] == text) return;
  if (arena_.size() + text.size() > UINT32_MAX)
    throw Error(ErrorCode::kCorrupt, "a tokenizer has more than 4 GiB of text");
  spans_[id] = {static_cast<uint32_t>(arena_.size()), static_cast<uint32_t>(text.size())};
  arena_ += text;
}

}  // namespace spnl::modelkit
