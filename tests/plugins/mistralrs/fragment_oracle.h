#pragma once
// What block and blend mean, worked out fragment by fragment (shared/spec/spans.md, 4.1): forwards
// that keep all keys as they came and turn them, like the queries, wherever they are looked at.
#include <cmath>
#include <map>
#include <vector>

#include "delegating_ops.h"
#include "span_prompts.h"

namespace spnl::mistralrs::test {

/// A row of an earlier forward, and where it stands for who looks.
struct SeenRow {
  size_t row;
  int32_t position;
};

/// Attention in double over rows of earlier forwards and of this one.
class FragmentOps final : public DelegatingOps {
 public:
  using DelegatingOps::DelegatingOps;

  void forget() { layers_.clear(); }
  /// For the next forward, whose rows stand at `first` and after it.
  void see(const std::vector<SeenRow>& context, int32_t first, bool long_rope) {
    context_ = context;
    first_ = first;
    long_rope_ = long_rope;
  }

  void rope_store(const cpu::Rope&, const cpu::KvLayer& layer, Rows keys, Rows values,
                  const cpu::RowPositions&, std::span<const int64_t>) override {
    Stored& stored = layers_[&layer];
    const Rows from = values.data != nullptr ? values : keys;  // of latents the key is the value
    for (int64_t r = 0; r < keys.count; ++r) {
      const float* key = keys.data + r * keys.stride;
      const float* value = from.data + r * from.stride;
      stored.keys.emplace_back(key, key + keys.width);
      stored.values.emplace_back(value, value + from.width);
    }
  }

  void paged_attention(const cpu::Rope& rope, const cpu::KvLayer& layer,
                       const cpu::AttentionParams& params, Rows queries, const cpu::RowPositions&,
                       std::span<const cpu::AttentionSequence>, Rows out) override {
    const Stored& stored = layers_.at(&layer);
    std::vector<SeenRow> rows = context_;
    const size_t before = stored.keys.size() - static_cast<size_t>(queries.count);
    for (int64_t r = 0; r < queries.count; ++r)
      rows.push_back({before + static_cast<size_t>(r), first_ + static_cast<int32_t>(r)});
    for (int32_t head = 0; head < params.heads; ++head) {
      const auto kv = static_cast<size_t>(head / (params.heads / layer.kv_heads));
      std::vector<std::vector<double>> keys;
      for (const SeenRow& seen : rows)
        keys.push_back(turned(rope, stored.keys[seen.row].data() + kv * size(layer.head_dim),
                              layer.head_dim, seen.position));
      for (int64_t r = 0; r < queries.count; ++r) {
        const int32_t at = first_ + static_cast<int32_t>(r);
        const auto query =
            turned(rope, queries.data + r * queries.stride + int64_t{head} * layer.head_dim,
                   layer.head_dim, at);
        std::vector<double> mean(size(layer.value_dim));
        double sum = params.sinks != nullptr ? std::exp(double{params.sinks[head]}) : 0;
        for (size_t s = 0; s < rows.size(); ++s) {
          const int32_t distance = at - rows[s].position;
          if (distance < 0 || (params.window > 0 && distance >= params.window)) continue;
          const double weight = std::exp(score(params, query, keys[s]));
          sum += weight;
          const float* value = stored.values[rows[s].row].data() + kv * mean.size();
          for (size_t d = 0; d < mean.size(); ++d) mean[d] += weight * value[d];
        }
        float* to = out.data + r * out.stride + int64_t{head} * layer.value_dim;
        for (size_t d = 0; d < mean.size(); ++d) to[d] = static_cast<float>(mean[d] / sum);
      }
    }
  }

  size_t rows() const { return layers_.empty() ? 0 : layers_.begin()->second.keys.size(); }

 private:
  struct Stored {
    std::vector<std::vector<float>> keys, values;  // of each row
  };

  static size_t size(int32_t dim) { return static_cast<size_t>(dim); }

  static double score(const cpu::AttentionParams& params, const std::vector<double>& q,
                      const std::vector<double>& k) {
    double sum = 0;
    for (size_t d = 0; d < q.size(); ++d) sum += q[d] * k[d];
    sum *= double{params.scale};
    const double cap = params.logit_softcap;
    return cap > 0 ? cap * std::tanh(sum / cap) : sum;
  }

  std::vector<double> turned(const cpu::Rope& rope, const float* x, int32_t dim,
                             int32_t position) const {
    std::vector<double> y(x, x + dim);
    const cpu::RopeTurns& turns = rope.of(long_rope_);
    const size_t pairs = turns.inv_freq.size();
    for (size_t i = 0; i < pairs; ++i) {
      const bool halves = rope.kind == cpu::RopeKind::kHalfSplit;
      const size_t a = size(rope.first_dim) + (halves ? i : 2 * i), b = halves ? a + pairs : a + 1;
      const double angle = position * turns.inv_freq[i];
      const double c = turns.magnitude * std::cos(angle), s = turns.magnitude * std::sin(angle);
      y[a] = double{x[a]} * c - double{x[b]} * s;
      y[b] = double{x[a]} * s + double{x[b]} * c;
    }
    return y;
  }

  std::map<const cpu::KvLayer*, Stored> layers_;
  std::vector<SeenRow> context_;
  int32_t first_ = 0;
  bool long_rope_ = false;
};

class FragmentOracle {
 public:
  explicit FragmentOracle(const modelkit::ModelSpec& spec) : forward_(spec) {}

  /// Logits of the prompt's last token.
  std::vector<float> logits(const SpanPrompt& prompt, const SpanRequest& request, bool long_rope) {
    prompt_ = &prompt;
    request_ = &request;
    long_rope_ = long_rope;
    forward_.attention.forget();
    Line line;
    const size_t context = context_tokens();
    compute(line, 0, context);
    context_ = line;
    walk(line, context, prompt.ids.size(), -1);
    if (line.own_end < prompt.ids.size()) {  // it ends with a fragment
      const auto last = static_cast<int32_t>(prompt.ids.size()) - 1;
      std::erase_if(line.seen, [&](const SeenRow& seen) { return seen.position == last; });
      line.next = last;
      compute(line, prompt.ids.size() - 1, prompt.ids.size());
    }
    return logits_;
  }

 private:
  /// What is seen from behind it.
  struct Line {
    std::vector<SeenRow> seen;
    int32_t next = 0;    // position
    size_t own_end = 0;  // of the ids, up to which the last forward for it went
  };

  size_t context_tokens() const {
    size_t preamble = std::min<size_t>(prompt_->preamble, prompt_->ids.size());
    for (const auto& span : prompt_->spans) preamble = std::min<size_t>(preamble, span.begin);
    if (request_->mode == SpanMode::kExact) return 0;
    if (request_->context == SpanContext::kPreamble) return preamble;
    return request_->context == SpanContext::kBos ? std::min<size_t>(1, preamble) : 0;
  }

  void compute(Line& line, size_t begin, size_t end) {
    if (begin == end) return;
    FragmentOps& ops = forward_.attention;
    const size_t row = ops.rows();
    ops.see(line.seen, line.next, long_rope_);
    logits_ = forward_.last_logits(std::span(prompt_->ids).subspan(begin, end - begin), long_rope_);
    for (size_t i = 0; i < end - begin; ++i) line.seen.push_back({row + i, line.next++});
    line.own_end = end;
  }

  void walk(Line& line, size_t begin, size_t end, int32_t parent) {
    int32_t group = -1;
    Line prefix;
    for (size_t i = 0; i < prompt_->spans.size() && request_->mode != SpanMode::kExact; ++i) {
      const modelkit::EncodedSpan& span = prompt_->spans[i];
      if (span.parent != parent) continue;
      compute(line, begin, span.begin);
      begin = span.end;
      if (span.group != group) prefix = line;
      group = span.group;
      const bool sees_prefix = span.sees_prefix || request_->context == SpanContext::kPrefix;
      place(line, i, sees_prefix ? prefix : context_);
    }
    compute(line, begin, end);
  }

  /// A fragment on its own, and then as it is seen from behind it.
  void place(Line& line, size_t index, const Line& context) {
    const modelkit::EncodedSpan& span = prompt_->spans[index];
    const int32_t move = line.next - context.next;
    const size_t length = span.end - span.begin;
    const bool again = request_->mode == SpanMode::kBlend && move != 0;
    const size_t fresh = again ? std::min<size_t>(request_->k, length) : 0;
    Line alone{context.seen, context.next, 0};
    walk(alone, span.begin, span.end, static_cast<int32_t>(index));
    const int32_t after = line.next + static_cast<int32_t>(length);
    compute(line, span.begin, span.begin + fresh);
    for (size_t i = context.seen.size(); i < alone.seen.size(); ++i)
      if (alone.seen[i].position + move >= line.next)
        line.seen.push_back({alone.seen[i].row, alone.seen[i].position + move});
    line.next = after;
  }

  OracleForward<FragmentOps> forward_;
  const SpanPrompt* prompt_ = nullptr;
  const SpanRequest* request_ = nullptr;
  bool long_rope_ = false;
  Line context_;
  std::vector<float> logits_;
};

}  // namespace spnl::mistralrs::test
