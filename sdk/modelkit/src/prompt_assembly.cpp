#include "prompt_assembly.h"

#include <algorithm>
#include <string>
#include <tuple>

#include "spnl/modelkit/error.h"

namespace spnl::modelkit {
namespace {

std::vector<TextRange> literal_ranges(const std::vector<RenderedPrompt::Place>& places) {
  std::vector<TextRange> ranges;
  for (const RenderedPrompt::Place& place : places) {
    if (!place.parse_special && place.end > place.begin) ranges.push_back({place.begin, place.end});
  }
  return ranges;
}

/// What of `ranges` lies in [begin, end), counted from begin.
std::vector<TextRange> ranges_within(const std::vector<TextRange>& ranges, uint64_t begin,
                                     uint64_t end) {
  std::vector<TextRange> within;
  const auto first = std::partition_point(
      ranges.begin(), ranges.end(), [&](const TextRange& range) { return range.end <= begin; });
  for (auto range = first; range != ranges.end() && range->begin < end; ++range)
    within.push_back({std::max(range->begin, begin) - begin, std::min(range->end, end) - begin});
  return within;
}

void prepend(EncodedText& text, int32_t id) {
  text.ids.insert(text.ids.begin(), id);
  text.ends.insert(text.ends.begin(), 0);
}

// A vocabulary that adds bos gives exactly one, whether the text brings its own or not.
void settle_bos(const Tokenizer& tokenizer, EncodedText& text) {
  const auto bos = tokenizer.bos();
  if (!bos || !tokenizer.adds_bos()) return;
  if (text.ids.empty() || text.ids[0] != *bos) {
    prepend(text, *bos);
  } else if (text.ids.size() > 1 && text.ids[1] == *bos && text.ends[0] == 0) {
    text.ids.erase(text.ids.begin());
    text.ends.erase(text.ends.begin());
  }
}

size_t ids_up_to(const EncodedText& text, uint64_t byte) {
  return static_cast<size_t>(std::upper_bound(text.ends.begin(), text.ends.end(), byte) -
                             text.ends.begin());
}

/// Ids that lie wholly in bytes [begin, end).
std::pair<size_t, size_t> ids_within(const EncodedText& text, uint64_t begin, uint64_t end) {
  size_t first = ids_up_to(text, begin);
  const size_t last = ids_up_to(text, end);
  const bool straddles = first < last && (first == 0 ? begin > 0 : text.ends[first - 1] < begin);
  return {std::min(first + (straddles ? 1 : 0), last), last};
}

}  // namespace

PromptAssembly::PromptAssembly(const Tokenizer& tokenizer, const spnl_prompt& prompt,
                               const PromptOrder& order)
    : tokenizer_(tokenizer),
      prompt_(prompt),
      order_(order),
      known_(prompt.n_fragments, false),
      known_span_(order.spans.size(), false),
      texts_(order.spans.empty() ? 0 : prompt.n_fragments) {
  out_.ends.assign(prompt.n_fragments, 0);
  for (const SpanNode& node : order.spans) {
    const spnl_fragment& fragment = *prompt.fragments[node.fragment];
    EncodedSpan span;
    span.parent = node.parent;
    span.group = node.group;
    span.fragment = node.fragment;
    span.sees_prefix = (fragment.flags & SPNL_FRAG_SEES_PREFIX) != 0;
    span.pin = (fragment.flags & SPNL_FRAG_PIN) != 0;
    span.no_store = (fragment.flags & SPNL_FRAG_NO_STORE) != 0;
    span.lineage = fragment.lineage;
    span.next_use = fragment.next_use;
    out_.spans.push_back(span);
  }
}

void PromptAssembly::add_tokens(uint32_t index) {
  const spnl_fragment& fragment = *prompt_.fragments[index];
  const uint64_t begin = out_.ids.size();
  for (uint32_t i = 0; i < fragment.n_tokens; ++i) {
    const int32_t id = fragment.tokens[i];
    if (id < 0 || id >= tokenizer_.vocab_size()) {
      throw Error(ErrorCode::kInvalid, "prompt: fragment " + std::to_string(index) +
                                           " has the id " + std::to_string(id) +
                                           ", outside the vocabulary of " +
                                           std::to_string(tokenizer_.vocab_size()));
    }
    out_.ids.push_back(id);
  }
  set_end(index, out_.ids.size());
  grow_span(order_.span_of[index], begin, out_.ids.size());
  if (!texts_.empty()) texts_[index] = {begin, out_.ids.size()};
}

void PromptAssembly::add_text(std::string_view text,
                              const std::vector<RenderedPrompt::Place>& places,
                              const std::vector<Stretch>& stretches, Specials specials,
                              std::optional<uint64_t> preamble) {
  const std::vector<TextRange> literal = literal_ranges(places);
  const uint64_t base = out_.ids.size();
  EncodedText encoded;
  const bool whole = stretches.size() <= 1 && (stretches.empty() || stretches[0].span < 0);
  if (whole) {
    encoded = tokenizer_.encode_marked(text, literal, specials == Specials::kBosAndEos);
    if (specials != Specials::kNone) settle_bos(tokenizer_, encoded);
  }
  for (const Stretch& stretch : stretches) {
    if (whole) break;
    const std::string_view own = text.substr(stretch.begin, stretch.end - stretch.begin);
    const auto own_literal = ranges_within(literal, stretch.begin, stretch.end);
    const bool opens = stretch.begin == 0 && stretch.span < 0 && base == 0;
    EncodedText piece = opens ? tokenizer_.encode_marked(own, own_literal, false)
                              : tokenizer_.encode_continuation(own, own_literal);
    if (stretch.begin == 0 && specials != Specials::kNone) {
      EncodedText& first = stretch.span < 0 ? piece : encoded;  // bos belongs to no span
      settle_bos(tokenizer_, first);
    }
    const uint64_t begin = base + encoded.ids.size();
    encoded.ids.insert(encoded.ids.end(), piece.ids.begin(), piece.ids.end());
    for (const uint64_t end : piece.ends) encoded.ends.push_back(stretch.begin + end);
    grow_span(stretch.span, begin, base + encoded.ids.size());
  }
  for (const RenderedPrompt::Place& place : places) {
    set_end(place.fragment, base + ids_up_to(encoded, place.block_end));
    if (texts_.empty()) continue;
    const auto [first, last] = ids_within(encoded, place.begin, place.end);
    texts_[place.fragment] = {base + first, base + last};
  }
  if (preamble) out_.preamble = base + ids_up_to(encoded, *preamble);
  out_.ids.insert(out_.ids.end(), encoded.ids.begin(), encoded.ids.end());
}

void PromptAssembly::set_end(uint32_t fragment, uint64_t end) {
  out_.ends[fragment] = std::max(out_.ends[fragment], end);
  known_[fragment] = true;
}

void PromptAssembly::grow_span(int32_t index, uint64_t begin, uint64_t end) {
  while (index >= 0) {
    EncodedSpan& span = out_.spans[static_cast<size_t>(index)];
    if (!known_span_[static_cast<size_t>(index)]) span.begin = begin;
    known_span_[static_cast<size_t>(index)] = true;
    span.end = end;
    index = span.parent;
  }
}

EncodedPrompt PromptAssembly::finish() {
  finish_ends();
  finish_spans();
  finish_preamble();
  return std::move(out_);
}

void PromptAssembly::finish_ends() {
  uint64_t before = 0;  // of the last leaf: what has no ids of its own ends there
  for (uint32_t i = 0; i < prompt_.n_fragments; ++i) {
    const int32_t kind = prompt_.fragments[i]->kind;
    const bool leaf = kind == SPNL_FRAG_MESSAGE || kind == SPNL_FRAG_TOKENS;
    if (!known_[i]) out_.ends[i] = before;
    if (leaf) before = out_.ends[i];
  }
  for (uint32_t i = prompt_.n_fragments; i-- > 0;) {
    const int32_t parent = prompt_.fragments[i]->parent;
    if (parent >= 0) out_.ends[parent] = std::max(out_.ends[parent], out_.ends[i]);
  }
}

void PromptAssembly::finish_spans() {
  std::vector<uint64_t> free_from(out_.spans.size() + 1, 0);  // per parent, -1 first
  for (size_t i = 0; i < out_.spans.size(); ++i) {
    EncodedSpan& span = out_.spans[i];
    const int32_t kind = prompt_.fragments[span.fragment]->kind;
    const bool leaf = kind == SPNL_FRAG_MESSAGE || kind == SPNL_FRAG_TOKENS;
    uint64_t& from = free_from[static_cast<size_t>(span.parent + 1)];
    if (!known_span_[i]) {  // no ids
      const uint64_t limit =
          span.parent < 0 ? out_.ids.size() : out_.spans[static_cast<size_t>(span.parent)].end;
      const uint64_t place = std::max(from, leaf ? texts_[span.fragment].first : 0);
      span.begin = span.end = std::min(place, limit);
    }
    span.text_begin = span.text_end = span.end;
    if (leaf && known_span_[i]) std::tie(span.text_begin, span.text_end) = texts_[span.fragment];
    from = span.end;
    free_from[i + 1] = span.begin;
  }
}

void PromptAssembly::finish_preamble() {
  if (out_.preamble == 0 && !out_.ids.empty() && tokenizer_.bos() == out_.ids[0]) out_.preamble = 1;
  for (const EncodedSpan& span : out_.spans) {
    if (span.begin == span.end) continue;
    out_.preamble = std::min(out_.preamble, span.begin);
    break;  // those after it begin later
  }
  if (out_.spans.empty()) out_.preamble = 0;
}

}  // namespace spnl::modelkit
