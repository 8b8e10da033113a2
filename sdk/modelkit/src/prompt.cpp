#include "spnl/modelkit/prompt.h"

#include <algorithm>
#include <map>

#include "prompt_assembly.h"
#include "prompt_order.h"
#include "prompt_render.h"
#include "prompt_spans.h"
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
                               const spnl_prompt& prompt, std::vector<PromptMessage> messages,
                               bool frames = false) {
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
  RenderedPrompt rendered = locate_parts(*chat_template, messages, options, std::move(text));
  if (frames && rendered.located) find_frames(*chat_template, messages, options, rendered);
  return rendered;
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

bool has_spans(const spnl_prompt& prompt) {
  return std::any_of(prompt.fragments, prompt.fragments + prompt.n_fragments,
                     [](const spnl_fragment* fragment) {
                       return fragment->kind == SPNL_FRAG_INDEPENDENT || fragment->lineage != 0;
                     });
}

PromptOrder without_spans(const spnl_prompt& prompt, std::vector<PromptLeaf> leaves) {
  return {std::move(leaves), {}, std::vector<int32_t>(prompt.n_fragments, -1)};
}

PromptOrder order_of(const spnl_prompt& prompt, const EncodeOptions& options) {
  if (!has_spans(prompt)) return without_spans(prompt, prompt_leaves(prompt));
  return order_prompt(prompt, {.canonical = options.canonical_order});
}

EncodedPrompt encode_raw(const Tokenizer& tokenizer, const spnl_prompt& prompt,
                         const PromptOrder& order) {
  const auto& leaves = order.leaves;
  const bool special = (prompt.flags & SPNL_PROMPT_NO_SPECIAL) == 0;
  const bool only_text = std::none_of(leaves.begin(), leaves.end(),
                                      [](const PromptLeaf& leaf) { return leaf.is_tokens; });
  PromptAssembly assembly(tokenizer, prompt, order);
  for (size_t i = 0; i < leaves.size();) {
    if (leaves[i].is_tokens) {
      assembly.add_tokens(leaves[i++].fragment);
      continue;
    }
    const Specials specials = !special || i > 0 ? Specials::kNone
                              : only_text       ? Specials::kBosAndEos
                                                : Specials::kBos;
    std::string text;
    std::vector<RenderedPrompt::Place> places;
    std::vector<Stretch> stretches;
    for (; i < leaves.size() && !leaves[i].is_tokens; ++i) {  // words may span neighbouring texts
      const spnl_fragment& fragment = *prompt.fragments[leaves[i].fragment];
      const uint64_t begin = text.size();
      text += view_of(fragment.text);
      places.push_back({leaves[i].fragment, (fragment.flags & SPNL_FRAG_PARSE_SPECIAL) != 0, begin,
                        text.size(), text.size()});
      append_stretch(stretches, {begin, text.size(), order.span_of[leaves[i].fragment]});
    }
    assembly.add_text(text, places, stretches, specials);
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

// Fragments that may stand in any order must have the same text in every order.
std::string why_order_matters(const Tokenizer& tokenizer, const ChatTemplate* chat_template,
                              const spnl_prompt& prompt, const EncodeOptions& options,
                              const PromptOrder& written,
                              const std::map<uint32_t, std::string>& texts) {
  const PromptOrder order =
      order_prompt(prompt, {.canonical = options.canonical_order, .reversed = true});
  if (std::equal(order.leaves.begin(), order.leaves.end(), written.leaves.begin(),
                 written.leaves.end(),
                 [](const PromptLeaf& a, const PromptLeaf& b) { return a.fragment == b.fragment; }))
    return {};
  try {
    const RenderedPrompt rendered = render_messages(tokenizer, chat_template, prompt,
                                                    prompt_messages(prompt, order.leaves), true);
    const SpanText cut = cut_messages(prompt, order, rendered);
    if (!cut.note.empty()) return cut.note;
    if (own_texts(cut, order, rendered.text) == texts) return {};
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kInvalid) throw;
  }
  return "the chat template writes fragments differently in another order";
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

EncodedPrompt PromptEncoder::encode(const spnl_prompt& prompt, const EncodeOptions& options) const {
  validate_prompt(prompt);
  PromptOrder order = order_of(prompt, options);
  if (prompt_is_raw(prompt)) return encode_raw(tokenizer_, prompt, order);
  check_token_places(order.leaves);
  const auto messages = prompt_messages(prompt, order.leaves);
  const RenderedPrompt rendered =
      render_messages(tokenizer_, template_, prompt, messages, !order.spans.empty());
  if (!rendered.located) refuse_unplaced_control(tokenizer_, messages);
  SpanText cut;
  if (!order.spans.empty()) cut = cut_messages(prompt, order, rendered);
  if (!order.spans.empty() && cut.note.empty())
    cut.note = why_order_matters(tokenizer_, template_, prompt, options, order,
                                 own_texts(cut, order, rendered.text));
  const bool hold = cut.note.empty();
  if (!hold) order = without_spans(prompt, std::move(order.leaves));
  if (order.spans.empty()) cut.stretches = {{0, rendered.text.size(), -1}};

  const bool special = (prompt.flags & SPNL_PROMPT_NO_SPECIAL) == 0;
  PromptAssembly assembly(tokenizer_, prompt, order);
  bool done = false;
  for (const PromptLeaf& leaf : order.leaves) {
    if (leaf.is_tokens) {
      assembly.add_tokens(leaf.fragment);
    } else if (!done) {
      done = true;
      assembly.add_text(rendered.text, rendered.places, cut.stretches,
                        special && assembly.empty() ? Specials::kBos : Specials::kNone,
                        cut.preamble);
    }
  }
  EncodedPrompt encoded = assembly.finish();
  encoded.spans_hold = hold;
  encoded.note = std::move(cut.note);
  return encoded;
}

}  // namespace spnl::modelkit
