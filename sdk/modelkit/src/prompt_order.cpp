#include "prompt_order.h"

#include <algorithm>

#include "tokenizer_vocab.h"

namespace spnl::modelkit {
namespace {

/// Per fragment its children, in order.
using Children = std::vector<std::vector<uint32_t>>;

uint64_t join(uint64_t hash, uint64_t next) { return hash_mix(hash ^ (next + (hash << 6))); }

uint64_t own_key(const spnl_fragment& fragment) {
  uint64_t key = join(static_cast<uint64_t>(fragment.kind), static_cast<uint64_t>(fragment.role));
  key = join(key, fragment.flags & (SPNL_FRAG_PARSE_SPECIAL | SPNL_FRAG_SEES_PREFIX));
  key = join(key, hash_bytes(view_of(fragment.text)));
  for (uint32_t i = 0; i < fragment.n_tokens; ++i)
    key = join(key, static_cast<uint32_t>(fragment.tokens[i]));
  return key;
}

// Children come after their parents in pre-order, so going backwards meets them first.
void sort_by_content(const spnl_prompt& prompt, Children& children) {
  std::vector<uint64_t> keys(prompt.n_fragments);
  for (uint32_t i = prompt.n_fragments; i-- > 0;) {
    const spnl_fragment& fragment = *prompt.fragments[i];
    if (fragment.kind == SPNL_FRAG_INDEPENDENT) {
      std::stable_sort(children[i].begin(), children[i].end(),
                       [&](uint32_t a, uint32_t b) { return keys[a] < keys[b]; });
    }
    keys[i] = own_key(fragment);
    for (const uint32_t child : children[i]) keys[i] = join(keys[i], keys[child]);
  }
}

}  // namespace

PromptOrder order_prompt(const spnl_prompt& prompt, ChildOrder order) {
  Children children(prompt.n_fragments);
  std::vector<uint32_t> open;  // top-level fragments, then those still to be visited; last is next
  for (uint32_t i = 0; i < prompt.n_fragments; ++i) {
    const int32_t parent = prompt.fragments[i]->parent;
    (parent < 0 ? open : children[static_cast<size_t>(parent)]).push_back(i);
  }
  if (order.canonical) sort_by_content(prompt, children);
  std::reverse(open.begin(), open.end());

  PromptOrder out;
  out.span_of.assign(prompt.n_fragments, -1);
  while (!open.empty()) {
    const uint32_t i = open.back();
    open.pop_back();
    const spnl_fragment& fragment = *prompt.fragments[i];
    const int32_t parent = fragment.parent;
    int32_t span = parent < 0 ? -1 : out.span_of[static_cast<size_t>(parent)];
    const bool independent = parent >= 0 && prompt.fragments[parent]->kind == SPNL_FRAG_INDEPENDENT;
    if (independent || (fragment.kind == SPNL_FRAG_MESSAGE && fragment.lineage != 0)) {
      out.spans.push_back({span, independent ? parent : -1, i});
      span = static_cast<int32_t>(out.spans.size()) - 1;
    }
    out.span_of[i] = span;
    if (const auto leaf = prompt_leaf(prompt, i)) out.leaves.push_back(*leaf);
    const bool reverse = order.reversed && fragment.kind == SPNL_FRAG_INDEPENDENT;
    if (!reverse) std::reverse(children[i].begin(), children[i].end());
    open.insert(open.end(), children[i].begin(), children[i].end());
  }
  return out;
}

}  // namespace spnl::modelkit
