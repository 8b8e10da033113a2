#include "spnl/modelkit/prompt.h"

#include <algorithm>

#include "prompt_render.h"
#include "prompt_tree.h"
#include "spnl/modelkit/error.h"

namespace spnl::modelkit {
namespace {

bool is_one_token(const Tokenizer& tokenizer, std::string_view text) {
  return tokenizer.encode(text, {.add_special = false, .parse_special = true}).size() == 1;
}

std::string spelling(const Tokenizer& tokenizer, std::optional<int32_t> id) {
  return id ? tokenizer.piece(*id, true) : std::string();
}

RenderedPrompt render_messages(const Tokenizer& tokenizer, const ChatTemplate* chat_template,
                               const spnl_prompt& prompt, std::vector<PromptMessage> messages) {
  RenderOptions options;
  options.generation = (prompt.flags & SPNL_PROMPT_NO_GENERATION) == 0;
  options.tools_json = view_of(prompt.tools_json);
  if (chat_template == nullptr) {
    const bool chatml =
        is_one_token(tokenizer, "<|im_start|>") && is_one_token(tokenizer, "<|im_end|>");
    return render_plain(messages, options, chatml);
  }
  options.bos = spelling(tokenizer, tokenizer.bos());
  options.eos = spelling(tokenizer, tokenizer.eos());
  std::string text;
  try {
    text = render_template(*chat_template, messages, options);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kInvalid) throw;
    messages = join_messages(std::move(messages));
    text = render_template(*chat_template, messages, options);
  }
  return locate_parts(*chat_template, messages, options, std::move(text));
}

// Control tokens may come from the template only; what cannot be told apart must not spell any.
void refuse_unplaced_control(const Tokenizer& tokenizer,
                             const std::vector<PromptMessage>& messages) {
  for (const PromptMessage& message : messages) {
    for (const PromptPart& part : message.parts) {
      if (part.parse_special) continue;
      for (const int32_t id :
           tokenizer.encode(part.text, {.add_special = false, .parse_special = true})) {
        if (!tokenizer.is_special(id)) continue;
        throw Error(ErrorCode::kInvalid, "prompt: fragment " + std::to_string(part.fragment) +
                                             " spells the control token " +
                                             tokenizer.piece(id, true) +
                                             " and the chat template rewrites messages, so it "
                                             "cannot be kept apart; change the text");
      }
    }
  }
}

std::vector<TextRange> literal_ranges(const std::vector<RenderedPrompt::Place>& places) {
  std::vector<TextRange> ranges;
  for (const RenderedPrompt::Place& place : places) {
    if (!place.parse_special && place.end > place.begin) ranges.push_back({place.begin, place.end});
  }
  return ranges;
}

/// Builds ids and, per fragment, how many there are up to its end.
class Assembly {
 public:
  Assembly(const Tokenizer& tokenizer, const spnl_prompt& prompt)
      : tokenizer_(tokenizer),
        prompt_(prompt),
        ends_(prompt.n_fragments, 0),
        known_(prompt.n_fragments, false) {}

  void add_tokens(uint32_t index) {
    const spnl_fragment& fragment = *prompt_.fragments[index];
    for (uint32_t i = 0; i < fragment.n_tokens; ++i) {
      const int32_t id = fragment.tokens[i];
      if (id < 0 || id >= tokenizer_.vocab_size()) {
        throw Error(ErrorCode::kInvalid, "prompt: fragment " + std::to_string(index) +
                                             " has the id " + std::to_string(id) +
                                             ", outside the vocabulary of " +
                                             std::to_string(tokenizer_.vocab_size()));
      }
      ids_.push_back(id);
    }
    set_end(index, ids_.size());
  }

  // `add_eos`: as the vocabulary says, with bos; without it bos alone may be added.
  void add_text(const std::string& text, const std::vector<RenderedPrompt::Place>& places,
                bool add_bos, bool add_eos) {
    EncodedText encoded =
        tokenizer_.encode_marked(text, literal_ranges(places), add_bos && add_eos);
    const auto bos = tokenizer_.bos();
    auto& ids = encoded.ids;
    if (add_bos && bos && tokenizer_.adds_bos()) {
      const bool has_first = !ids.empty() && ids[0] == *bos;
      if (!has_first) {
        ids.insert(ids.begin(), *bos);
        encoded.ends.insert(encoded.ends.begin(), 0);
      } else if (ids.size() > 1 && ids[1] == *bos &&
                 encoded.ends[0] == 0) {  // ours, and the text's own
        ids.erase(ids.begin());
        encoded.ends.erase(encoded.ends.begin());
      }
    }
    for (const RenderedPrompt::Place& place : places) {
      const auto last = std::upper_bound(encoded.ends.begin(), encoded.ends.end(), place.block_end);
      set_end(place.fragment, ids_.size() + static_cast<size_t>(last - encoded.ends.begin()));
    }
    ids_.insert(ids_.end(), ids.begin(), ids.end());
  }

  EncodedPrompt finish() {
    uint64_t before = 0;  // of the last leaf: what has no ids of its own ends there
    for (uint32_t i = 0; i < prompt_.n_fragments; ++i) {
      const int32_t kind = prompt_.fragments[i]->kind;
      const bool leaf = kind == SPNL_FRAG_MESSAGE || kind == SPNL_FRAG_TOKENS;
      if (!known_[i]) ends_[i] = before;
      if (leaf) before = ends_[i];
    }
    for (uint32_t i = prompt_.n_fragments; i-- > 0;) {
      const int32_t parent = prompt_.fragments[i]->parent;
      if (parent >= 0) ends_[parent] = std::max(ends_[parent], ends_[i]);
    }
    return {std::move(ids_), std::move(ends_)};
  }

  bool empty() const { return ids_.empty(); }

 private:
  void set_end(uint32_t fragment, uint64_t end) {
    ends_[fragment] = std::max(ends_[fragment], end);
    known_[fragment] = true;
  }

  const Tokenizer& tokenizer_;
  const spnl_prompt& prompt_;
  std::vector<int32_t> ids_;
  std::vector<uint64_t> ends_;
  std::vector<bool> known_;
};

EncodedPrompt encode_raw(const Tokenizer& tokenizer, const spnl_prompt& prompt,
                         const std::vector<PromptLeaf>& leaves) {
  const bool special = (prompt.flags & SPNL_PROMPT_NO_SPECIAL) == 0;
  const bool only_text = std::none_of(leaves.begin(), leaves.end(),
                                      [](const PromptLeaf& leaf) { return leaf.is_tokens; });
  Assembly assembly(tokenizer, prompt);
  for (size_t i = 0; i < leaves.size();) {
    if (leaves[i].is_tokens) {
      assembly.add_tokens(leaves[i++].fragment);
      continue;
    }
    const bool first = i == 0;
    std::string text;
    std::vector<RenderedPrompt::Place> places;
    for (; i < leaves.size() && !leaves[i].is_tokens; ++i) {  // words may span neighbouring texts
      const spnl_fragment& fragment = *prompt.fragments[leaves[i].fragment];
      const uint64_t begin = text.size();
      text += view_of(fragment.text);
      places.push_back({leaves[i].fragment, (fragment.flags & SPNL_FRAG_PARSE_SPECIAL) != 0, begin,
                        text.size(), text.size()});
    }
    assembly.add_text(text, places, special && first, only_text);
  }
  return assembly.finish();
}

// Ids stand outside the template: before the first message or after the last.
void check_token_places(const std::vector<PromptLeaf>& leaves) {
  size_t changes = 0;
  for (size_t i = 1; i < leaves.size(); ++i)
    changes += leaves[i].is_tokens != leaves[i - 1].is_tokens ? 1 : 0;
  if (changes > 2 || (changes == 2 && !leaves.front().is_tokens)) {
    throw Error(ErrorCode::kInvalid,
                "prompt: ids between messages; they can only stand before or after all of them");
  }
}

}  // namespace

PromptEncoder::PromptEncoder(const Tokenizer& tokenizer, const ChatTemplate* chat_template)
    : tokenizer_(tokenizer), template_(chat_template) {}

std::string PromptEncoder::render(const spnl_prompt& prompt) const {
  validate_prompt(prompt);
  const auto leaves = prompt_leaves(prompt);
  const bool raw = prompt_is_raw(prompt);
  if (!raw) check_token_places(leaves);
  std::string text;
  bool rendered = false;
  for (const PromptLeaf& leaf : leaves) {
    const spnl_fragment& fragment = *prompt.fragments[leaf.fragment];
    if (leaf.is_tokens) {
      text += tokenizer_.decode({fragment.tokens, fragment.tokens + fragment.n_tokens}, true);
    } else if (raw) {
      text += view_of(fragment.text);
    } else if (!rendered) {
      rendered = true;
      text += render_messages(tokenizer_, template_, prompt, prompt_messages(prompt, leaves)).text;
    }
  }
  return text;
}

EncodedPrompt PromptEncoder::encode(const spnl_prompt& prompt) const {
  validate_prompt(prompt);
  const auto leaves = prompt_leaves(prompt);
  if (prompt_is_raw(prompt)) return encode_raw(tokenizer_, prompt, leaves);
  check_token_places(leaves);
  const auto messages = prompt_messages(prompt, leaves);
  const RenderedPrompt rendered = render_messages(tokenizer_, template_, prompt, messages);
  if (!rendered.located) refuse_unplaced_control(tokenizer_, messages);
  const bool special = (prompt.flags & SPNL_PROMPT_NO_SPECIAL) == 0;
  Assembly assembly(tokenizer_, prompt);
  bool done = false;
  for (const PromptLeaf& leaf : leaves) {
    if (leaf.is_tokens) {
      assembly.add_tokens(leaf.fragment);
    } else if (!done) {
      done = true;
      assembly.add_text(rendered.text, rendered.places, special && assembly.empty(), false);
    }
  }
  return assembly.finish();
}

}  // namespace spnl::modelkit
