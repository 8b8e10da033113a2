#pragma once
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "cache/block_cache.h"
#include "spnl/modelkit/prompt.h"

namespace spnl::mistralrs {

enum class SpanMode { kExact, kBlock, kBlend };
/// What a fragment sees besides itself.
enum class SpanContext { kNone, kBos, kPreamble, kPrefix };

struct ExtentPlan;

/// Rows [lo, hi) of an extent, at consecutive positions, as seen from elsewhere: the first of them
/// stands at `position` there.
struct SeenRun {
  std::shared_ptr<const ExtentPlan> extent;
  int32_t lo, hi;
  int32_t position;

  int32_t offset() const;  ///< from the extent's own positions
};

/// Tokens that are computed together, in order, with blocks of their own: a stretch of the prompt
/// outside all fragments, a fragment, or a part of one. Row i holds ids[i] at positions[i], which
/// is what its key is turned to; it sees the rows of its own extent and of `sees` that do not stand
/// after it. Positions are those of the prompt for what is outside of fragments, else those of the
/// fragment standing directly after its context. Const once made, so the keys name all that its
/// keys and values depend on.
struct ExtentPlan {
  std::vector<int32_t> ids, positions;
  std::vector<int32_t>
      prompt_index;             ///< of each row in the request's prompt; -1, or empty: not in it
  std::vector<int32_t> pieces;  ///< first rows of the stretches of consecutive positions
  std::vector<SeenRun> sees;
  ChainKey root, end;
  bool store = true, pin = false;
  bool repeated = false;  ///< an extent before it in the plan is the very same
  uint64_t next_use = 0;

  Chain chain() const { return {root, ids, positions}; }
  int64_t rows() const { return static_cast<int64_t>(ids.size()); }
};

/// All extents of a request.
struct SpanPlan {
  std::shared_ptr<const ExtentPlan> own;  ///< ends with the prompt's last token; output goes on
  std::vector<std::shared_ptr<const ExtentPlan>> extents;  ///< the others, none before what it sees
  bool long_rope = false;
};

/// What a finished sequence computed, to be seen by later prompts that its output stands in.
struct GeneratedText {
  std::shared_ptr<const SpanPlan> plan;
  std::vector<int32_t> output;
  bool store = true;  ///< its prompt may be kept in the cache
};
/// By sequence; one for each sample.
using Lineage = std::multimap<uint64_t, std::shared_ptr<const GeneratedText>>;

/// How a prompt is to be computed.
struct SpanRequest {
  std::vector<modelkit::EncodedSpan> spans;
  uint64_t preamble = 0;  ///< leading ids that all fragments see with SpanContext::kPreamble
  SpanMode mode = SpanMode::kExact;
  SpanContext context = SpanContext::kPreamble;
  uint32_t k = 16;  ///< kBlend: first tokens of each fragment that are computed again
  Lineage lineage;  ///< of the messages in `spans`
  /// Ids from here on are not kept in the cache, but for spans that neither are no_store nor see
  /// such text.
  int64_t storable_tokens = std::numeric_limits<int64_t>::max();
};

/// Which extents a prompt consists of (shared/spec/spans.md, sections 1.3 to 1.6). In exact mode,
/// or without spans, it is one. A pure function of its arguments and the cache's secret. The last
/// token of a prompt always sees all of it, even when the prompt ends with a fragment. Throws
/// modelkit::Error(kInvalid) for more than some thousand fragments or a million runs.
std::shared_ptr<const SpanPlan> plan_spans(std::span<const int32_t> prompt,
                                           const SpanRequest& request, bool long_rope,
                                           const BlockCache& cache);

}  // namespace spnl::mistralrs
