#include "engine/span_plan.h"

#include <algorithm>
#include <unordered_set>

#include "spnl/modelkit/error.h"

namespace spnl::mistralrs {

int32_t SeenRun::offset() const { return position - extent->positions[static_cast<size_t>(lo)]; }

namespace {

using modelkit::EncodedSpan;

// Beyond these a plan costs more than it saves, and its size would grow with the square of the
// prompt's.
constexpr size_t kMaxExtents = 8192, kMaxRuns = 1 << 20;
constexpr size_t kMaxDepth = 500;  // of fragments in fragments: they are walked on the stack

/// What stands before a fragment, in the positions that its own follow.
struct Context {
  std::vector<SeenRun> runs;
  int32_t length = 0;
  bool store = true;  // holds no one-time text
};

/// A fragment on its own: where its first token stands there, and whether it sees all that a prompt
/// has up to there.
struct Fragment {
  std::vector<SeenRun> runs;
  int32_t begin;
  bool sees_all_before;
  bool store;
};

/// Positions that are filled one after the other: the prompt's, or those of a fragment after its
/// context.
struct Line {
  std::vector<SeenRun> seen;  // in extents that are closed
  ExtentPlan open;
  int32_t next = 0;
};

class Planner {
 public:
  Planner(std::span<const int32_t> prompt, const SpanRequest& request, bool long_rope,
          const BlockCache& cache)
      : prompt_(prompt), request_(request), cache_(cache) {
    plan_.long_rope = long_rope;
    children_.resize(request.spans.size() + 1);
    if (request.mode == SpanMode::kExact) return;
    for (size_t i = 0; i < request.spans.size(); ++i) {
      const EncodedSpan& span = request.spans[i];
      if (span.group >= 0 || find_generated(span) != nullptr)
        children_[static_cast<size_t>(span.parent + 1)].push_back(i);
    }
  }

  SpanPlan plan() {
    Line line;
    size_t begin = 0;
    if (!children_[0].empty()) {
      begin = context_tokens();
      add_spine(line, 0, begin);
      keep_one_time_out(line);
      close(line);
      context_ = {line.seen, line.next, line.open.store};
    }
    walk(line, begin, prompt_.size(), -1);
    own_last_token(line);
    plan_.own = finish(line);
    return std::move(plan_);
  }

 private:
  size_t context_tokens() const {
    const size_t preamble = std::min(request_.preamble, request_.spans[children_[0].front()].begin);
    switch (request_.context) {
      case SpanContext::kBos:
        return std::min<size_t>(1, preamble);
      case SpanContext::kPreamble:
        return preamble;
      case SpanContext::kNone:
      case SpanContext::kPrefix:
        return 0;
    }
    return 0;
  }

  /// Prompt ids [begin, end), which are the span `parent` or all.
  void walk(Line& line, size_t begin, size_t end, int32_t parent) {
    int32_t group = -1;
    Context prefix;
    for (const size_t index : children_[static_cast<size_t>(parent + 1)]) {
      const EncodedSpan& span = request_.spans[index];
      add_spine(line, begin, span.begin);
      if (parent < 0) keep_one_time_out(line);
      begin = span.end;
      if (span.group < 0 || span.group != group) {
        close(line);
        prefix = {line.seen, line.next, line.open.store};
        group = span.group;
      }
      if (span.begin < span.end) add_span(line, index, prefix);
    }
    add_spine(line, begin, end);
  }

  void add_span(Line& line, size_t index, const Context& prefix) {
    const EncodedSpan& span = request_.spans[index];
    const auto generated = find_generated(span);
    const bool sees_prefix = span.sees_prefix || request_.context == SpanContext::kPrefix;
    const Context& context = sees_prefix ? prefix : context_;
    const bool sees_all = generated == nullptr && line.next == context.length;
    if (fresh_rows(span, sees_all) == span.end - span.begin) {
      place(line, span, {{}, line.next, false, !span.no_store});
      return;
    }
    if (generated != nullptr) return place(line, span, from_lineage(span, *generated));
    Line alone{context.runs, {}, context.length};
    alone.open.store = !span.no_store && context.store;
    alone.open.pin = line.open.pin || span.pin;
    alone.open.next_use = std::max(line.open.next_use, span.next_use);
    if (++depth_ > kMaxDepth) refuse();
    walk(alone, span.begin, span.end, static_cast<int32_t>(index));
    --depth_;
    close(alone);
    alone.seen.erase(alone.seen.begin(),
                     alone.seen.begin() + static_cast<std::ptrdiff_t>(context.runs.size()));
    place(line, span, {std::move(alone.seen), context.length, sees_all, alone.open.store});
  }

  /// Rows of a fragment that blend computes again where it stands.
  uint64_t fresh_rows(const EncodedSpan& span, bool sees_all_before) const {
    if (request_.mode != SpanMode::kBlend || sees_all_before) return 0;
    return std::min<uint64_t>(request_.k, span.end - span.begin);
  }

  /// Puts a fragment behind what the line has.
  void place(Line& line, const EncodedSpan& span, Fragment fragment) {
    const auto fresh = static_cast<int32_t>(fresh_rows(span, fragment.sees_all_before));
    const int32_t move = line.next - fragment.begin, first = line.next + fresh;
    const int32_t after = line.next + static_cast<int32_t>(span.end - span.begin);
    for (int32_t i = 0; i < fresh; ++i)
      add_row(line, span.begin + static_cast<uint64_t>(i), line.next + i);
    for (SeenRun& run : fragment.runs) {
      run.position += move;
      const int32_t hidden = std::clamp(first - run.position, 0, run.hi - run.lo);
      run.lo += hidden;
      run.position += hidden;
      if (run.lo < run.hi) line.seen.push_back(std::move(run));
    }
    line.next = after;
    line.open.store = line.open.store && fragment.store;
  }

  /// An extent of the prompt's own text with one-time text in it is not kept, nor what follows. The
  /// last one, which output goes on with, is kept up to there (Sequence::storable_rows).
  void keep_one_time_out(Line& line) const {
    const std::vector<int32_t>& at = line.open.prompt_index;
    if (!at.empty() && at.back() >= request_.storable_tokens) line.open.store = false;
  }

  void add_spine(Line& line, size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) add_row(line, i, line.next++);
  }

  void add_row(Line& line, size_t prompt_index, int32_t position) {
    line.open.ids.push_back(prompt_[prompt_index]);
    line.open.positions.push_back(position);
    line.open.prompt_index.push_back(static_cast<int32_t>(prompt_index));
  }

  /// What is open becomes an extent of its own, seen by all that follows.
  void close(Line& line) {
    if (line.open.ids.empty()) return;
    const auto extent = finish(line);
    add(extent);
    for (size_t i = 0; i < extent->pieces.size(); ++i) {
      const int32_t lo = extent->pieces[i];
      const int32_t hi = i + 1 < extent->pieces.size() ? extent->pieces[i + 1]
                                                       : static_cast<int32_t>(extent->rows());
      line.seen.push_back({extent, lo, hi, extent->positions[static_cast<size_t>(lo)]});
    }
  }

  void add(const std::shared_ptr<ExtentPlan>& extent) {
    extent->repeated = !ends_.insert(extent->end).second;
    plan_.extents.push_back(extent);
  }

  std::shared_ptr<ExtentPlan> finish(Line& line) {
    auto extent = std::make_shared<ExtentPlan>(line.open);
    line.open.ids.clear();
    line.open.positions.clear();
    line.open.prompt_index.clear();
    for (size_t row = 0; row < extent->positions.size(); ++row)
      if (row == 0 || extent->positions[row] != extent->positions[row - 1] + 1)
        extent->pieces.push_back(static_cast<int32_t>(row));
    count_extent(line.seen.size());
    extent->sees = line.seen;
    name(*extent);
    return extent;
  }

  void count_extent(size_t runs) {
    runs_ += runs;
    if (runs_ > kMaxRuns || plan_.extents.size() >= kMaxExtents) refuse();
  }

  [[noreturn]] static void refuse() {
    throw modelkit::Error(modelkit::ErrorCode::kInvalid,
                          "the prompt has too many fragments to evaluate them apart; use the "
                          "span mode exact");
  }

  /// The root is a hash over all that the extent sees and where.
  void name(ExtentPlan& extent) const {
    ChainHasher root = cache_.hasher();
    root.add(uint64_t{plan_.long_rope});
    for (const SeenRun& run : extent.sees) {
      const int32_t place[] = {run.lo, run.hi, run.position};
      root.add(run.extent->end).add(std::span(place));
    }
    extent.root = root.finish();
    extent.end = cache_.end_of(extent.chain());
  }

  void own_last_token(Line& line) {
    const auto last = static_cast<int32_t>(prompt_.size()) - 1;
    if (!line.open.positions.empty() && line.open.positions.back() == last) return;
    for (SeenRun& run : line.seen)
      if (run.position + (run.hi - run.lo) == last + 1) --run.hi;
    std::erase_if(line.seen, [](const SeenRun& run) { return run.lo == run.hi; });
    add_row(line, static_cast<size_t>(last), last);
  }

  /// The sequence that wrote the span's text, if its ids are the very same here, and so is the
  /// header that invited it.
  std::shared_ptr<const GeneratedText> find_generated(const EncodedSpan& span) const {
    if (span.lineage == 0) return nullptr;
    const auto text = prompt_.subspan(span.text_begin, span.text_end - span.text_begin);
    const auto header = prompt_.subspan(span.begin, span.text_begin - span.begin);
    const auto [begin, end] = request_.lineage.equal_range(span.lineage);
    for (auto it = begin; it != end; ++it) {
      const GeneratedText& g = *it->second;
      const ExtentPlan& own = *g.plan->own;
      const auto rows = std::ssize(own.ids), h = std::ssize(header);
      if (g.plan->long_rope != plan_.long_rope || h > rows || text.empty()) continue;
      const auto first = static_cast<size_t>(rows - h);
      if (std::equal(text.begin(), text.end(), g.output.begin(), g.output.end()) &&
          std::equal(header.begin(), header.end(), own.ids.begin() + (rows - h)) &&
          (h == 0 || own.positions.back() - own.positions[first] == h - 1))
        return it->second;
    }
    return nullptr;
  }

  /// The fragment as its author computed it: the rows of that sequence from its last header on,
  /// and what closes the message here.
  Fragment from_lineage(const EncodedSpan& span, const GeneratedText& generated) {
    count_extent(generated.plan->own->sees.size());
    for (const auto& seen : generated.plan->extents) {
      count_extent(seen->sees.size());
      auto elsewhere = std::make_shared<ExtentPlan>(*seen);
      elsewhere->prompt_index.clear();
      add(elsewhere);
    }
    auto extent = std::make_shared<ExtentPlan>(*generated.plan->own);
    const auto lo =
        std::ssize(extent->ids) - static_cast<std::ptrdiff_t>(span.text_begin - span.begin);
    int32_t position = extent->positions.back();
    extent->prompt_index.assign(extent->ids.size(), -1);
    for (uint64_t i = span.begin; i < span.text_begin; ++i)
      extent->prompt_index[static_cast<size_t>(lo) + (i - span.begin)] = static_cast<int32_t>(i);
    for (uint64_t i = span.text_begin; i < span.end; ++i) {
      extent->ids.push_back(prompt_[i]);
      extent->positions.push_back(++position);
      extent->prompt_index.push_back(static_cast<int32_t>(i));
    }
    extent->store = extent->store && generated.store && !span.no_store;
    extent->pin = span.pin;
    extent->next_use = span.next_use;
    extent->end = cache_.end_of(extent->chain());
    add(extent);
    const int32_t begin = extent->positions[static_cast<size_t>(lo)];
    const auto rows = static_cast<int32_t>(extent->rows());
    return {{{extent, static_cast<int32_t>(lo), rows, begin}}, begin, false, extent->store};
  }

  const std::span<const int32_t> prompt_;
  const SpanRequest& request_;
  const BlockCache& cache_;
  std::vector<std::vector<size_t>> children_;  // of span i: at i + 1; the first: of none
  Context context_;                            // of fragments that do not see the prefix
  SpanPlan plan_;
  std::unordered_set<ChainKey, ChainKeyHash> ends_;  // of the plan's extents
  size_t runs_ = 0, depth_ = 0;
};

}  // namespace

std::shared_ptr<const SpanPlan> plan_spans(std::span<const int32_t> prompt,
                                           const SpanRequest& request, bool long_rope,
                                           const BlockCache& cache) {
  return std::make_shared<const SpanPlan>(Planner(prompt, request, long_rope, cache).plan());
}

}  // namespace spnl::mistralrs
