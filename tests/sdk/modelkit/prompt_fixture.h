#pragma once
#include <algorithm>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "spnl/modelkit/prompt.h"
#include "tokenizer_fixture.h"

/// Builds an ABI prompt that owns its texts.
class Prompt {
 public:
  Prompt() {
    prompt_.struct_size = sizeof prompt_;
    prompt_.fragments = nullptr;
  }
  spnl_fragment& add(int32_t kind, int32_t role, const std::string& text, int32_t parent = -1,
                     uint32_t flags = 0) {
    const std::string& kept = texts_.emplace_back(text);
    spnl_fragment& fragment = fragments_.emplace_back();
    fragment = {};
    fragment.struct_size = sizeof fragment;
    fragment.kind = kind;
    fragment.role = role;
    fragment.parent = parent;
    fragment.flags = flags;
    fragment.text = {kept.data(), kept.size()};
    pointers_.push_back(&fragment);
    prompt_.fragments = pointers_.data();
    prompt_.n_fragments = static_cast<uint32_t>(pointers_.size());
    return fragment;
  }
  Prompt& message(int32_t role, const std::string& text, uint32_t flags = 0, int32_t parent = -1) {
    add(SPNL_FRAG_MESSAGE, role, text, parent, flags);
    return *this;
  }
  Prompt& raw(const std::string& text, uint32_t flags = 0) {
    return message(SPNL_ROLE_NONE, text, flags);
  }
  Prompt& group(int32_t kind, int32_t parent = -1) {
    add(kind, SPNL_ROLE_NONE, "", parent);
    return *this;
  }
  Prompt& tokens(const std::vector<int32_t>& ids) {
    const auto& kept = ids_.emplace_back(ids);
    spnl_fragment& fragment = add(SPNL_FRAG_TOKENS, SPNL_ROLE_NONE, "");
    fragment.tokens = kept.data();
    fragment.n_tokens = static_cast<uint32_t>(kept.size());
    return *this;
  }
  Prompt& flags(uint64_t flags) {
    prompt_.flags = flags;
    return *this;
  }
  Prompt& tools(const char* json) {
    prompt_.tools_json = {json, std::string_view(json).size()};
    return *this;
  }
  spnl_fragment& operator[](size_t i) { return fragments_[i]; }
  spnl_prompt& get() { return prompt_; }
  void null_fragment(size_t i) { pointers_[i] = nullptr; }

 private:
  std::deque<std::string> texts_;
  std::deque<std::vector<int32_t>> ids_;
  std::deque<spnl_fragment> fragments_;
  std::vector<const spnl_fragment*> pointers_;
  spnl_prompt prompt_ = {};
};

inline constexpr int32_t kSystem = SPNL_ROLE_SYSTEM, kUser = SPNL_ROLE_USER,
                         kAssistant = SPNL_ROLE_ASSISTANT;
inline constexpr uint32_t kParse = SPNL_FRAG_PARSE_SPECIAL;

/// An encoder over the tiny vocabulary; `source`: a chat template, or null.
struct Bench {
  TinyVocabulary vocabulary = tiny_bpe();
  std::unique_ptr<spnl::modelkit::Tokenizer> tokenizer;
  std::unique_ptr<spnl::modelkit::ChatTemplate> chat_template;
  std::unique_ptr<spnl::modelkit::PromptEncoder> encoder;

  explicit Bench(const char* source, bool add_bos = false) {
    vocabulary.data.add_bos = add_bos;
    tokenizer = vocabulary.build();
    if (source != nullptr) chat_template = std::make_unique<spnl::modelkit::ChatTemplate>(source);
    encoder = std::make_unique<spnl::modelkit::PromptEncoder>(*tokenizer, chat_template.get());
  }
  std::vector<int32_t> whole(const std::string& text) const {
    return tokenizer->encode(text, {false, true});
  }
  // Text of the ids of each fragment, from the end of the leaf before.
  std::string up_to(const spnl::modelkit::EncodedPrompt& encoded, size_t fragment) const {
    const auto n = static_cast<std::ptrdiff_t>(encoded.ends[fragment]);
    return tokenizer->decode({encoded.ids.begin(), encoded.ids.begin() + n}, true);
  }
  size_t count(const spnl::modelkit::EncodedPrompt& encoded, const char* token) const {
    return static_cast<size_t>(
        std::count(encoded.ids.begin(), encoded.ids.end(), vocabulary.id(token)));
  }
};
