#include "spnl/modelkit/utf8_stream.h"

#include "unicode_utf8.h"

namespace spnl::modelkit {
namespace {
constexpr std::string_view kReplacement = "\xEF\xBF\xBD";
}

std::string Utf8Stream::push(std::string_view bytes) {
  if (!held_.empty()) {
    held_ += bytes;
    bytes = held_;
  }
  std::string out;
  out.reserve(bytes.size());
  while (!bytes.empty()) {
    const size_t good = utf8_valid_prefix(bytes);
    out += bytes.substr(0, good);
    bytes.remove_prefix(good);
    if (bytes.empty()) break;
    const Utf8Step step = utf8_step(bytes);
    if (step.kind == Utf8Step::kIncomplete) break;
    out += kReplacement;
    bytes.remove_prefix(step.size);
  }
  held_ = std::string(bytes);
  return out;
}

std::string Utf8Stream::finish() {
  std::string out(held_.empty() ? std::string_view() : kReplacement);
  held_.clear();
  return out;
}

}  // namespace spnl::modelkit
