#include "args.h"

namespace spnl::host {
namespace {

struct Grouped {
  OptionGroup group;
  OptionSpec option;
};

const std::vector<Grouped>& table() {
  static const std::vector<Grouped> options = {
      {kModel,
       {"model", 'm', "M",
        "prefix/name: mistralrs/org/name[:QUANT], mistralrs//absolute/path.gguf, or a short name"}},
      {kModel, {"backend", 0, "ID", "prefix to put before --model"}},
      {kSampling,
       {"max-tokens", 'l', "N",
        "most new tokens; 0: until the model stops or its context is full"}},
      {kSampling, {"temperature", 't', "T", "0 is greedy"}},
      {kSampling,
       {"seed", 0, "N", "of the random choices; equal seeds give equal results (default 0)"}},
      {kSampling, {"top-k", 0, "N", "choose among the N likeliest tokens; 0: all"}},
      {kSampling,
       {"top-p", 0, "P", "choose among the likeliest tokens that reach P together, 0 to 1"}},
      {kSampling, {"min-p", 0, "P", "drop tokens less likely than P times the likeliest, 0 to 1"}},
      {kSampling,
       {"typical-p", 0, "P", "drop tokens far from the expected surprise, 0 to 1; 1: off"}},
      {kSampling, {"repeat-penalty", 0, "X", "make repeated tokens less likely; 1: off"}},
      {kSampling, {"presence-penalty", 0, "X", "taken once from tokens that were there; 0: off"}},
      {kSampling, {"frequency-penalty", 0, "X", "taken each time a token was there; 0: off"}},
      {kSampling,
       {"penalty-window", 0, "N", "recent tokens that penalties see; -1: all (default 64)"}},
      {kSampling, {"dry", 0, "X", "weaken tokens that would make a repetition longer; 0: off"}},
      {kSampling,
       {"dry-base", 0, "X", "growth of that with the repetition's length (default 1.75)"}},
      {kSampling, {"dry-length", 0, "N", "longest repetition that is allowed (default 2)"}},
      {kSampling, {"dry-breaker", 0, "S", "text that ends repetitions; may be repeated", true}},
      {kSampling, {"logit-bias", 0, "ID=X", "add X to a token's logit; may be repeated", true}},
      {kSampling, {"min-tokens", 0, "N", "no end of the answer before N tokens"}},
      {kSampling, {"stop", 0, "S", "end before this text; may be repeated", true}},
      {kSampling, {"time", 0, "", "print times per generation"}},
      {kSpans,
       {"spans", 0, "exact|block|blend[:K]",
        "how the parts of a plus are evaluated where a g does not say (SPNL_SPANS)"}},
      {kSpans,
       {"span-context", 0, "none|bos|preamble|prefix|lineage",
        "what such a part sees besides itself (SPNL_SPAN_CONTEXT)"}},
      {kSpans,
       {"span-order", 0, "given|canonical",
        "write the parts as given, or so that their order changes nothing (SPNL_SPAN_ORDER)"}},
      {kBackend, {"device", 0, "auto|cpu|cuda|metal", "where to compute (MISTRALRS_DEVICE)"}},
      {kBackend, {"threads", 0, "N", "CPU threads"}},
      {kBackend,
       {"speculate", 0, "off|ngram|auto",
        "guess tokens from the text so far, and check several at once: same text, maybe sooner"}},
      {kBackend,
       {"memory-limit", 0, "SIZE",
        "of all models together, like 8G; least recently used ones leave (SPNL_MEMORY_LIMIT)"}},
      {kBackend,
       {"kv-type", 0, "auto|f32|f16|bf16|q8_0", "in what keys and values of tokens are kept"}},
      {kBackend, {"kv-memory", 0, "SIZE", "most memory for them, like 2G"}},
      {kBackend,
       {"span-cache", 0, "DIR",
        "keep what was computed of a plus's parts here for later runs (SPNL_SPAN_CACHE)"}},
      {kBackend,
       {"span-cache-size", 0, "SIZE",
        "most bytes of that folder, like 2G; what was used longest ago goes "
        "(SPNL_SPAN_CACHE_SIZE)"}},
      {kBackend, {"backend-path", 0, "DIR", "look for backends here first; may be repeated", true}},
      {kGeneral, {"json", 0, "", "print the result as JSON"}},
      {kGeneral, {"quiet", 'q', "", "no notes or progress, only errors"}},
      {kGeneral, {"verbose", 'v', "", "more about what happens"}},
      {kGeneral,
       {"color", 0, "auto|always|never",
        "green generated text (auto: on a terminal, unless NO_COLOR)"}},
      {kGeneral, {"help", 'h', "", "this text"}},
      {kGeneral, {"version", 'V', "", "the program's version"}},
  };
  return options;
}

}  // namespace

std::vector<OptionSpec> common_options(unsigned groups) {
  std::vector<OptionSpec> out;
  for (const Grouped& entry : table())
    if ((groups & entry.group) != 0) out.push_back(entry.option);
  return out;
}

}  // namespace spnl::host
