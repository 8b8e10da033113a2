#pragma once
// What block and blend mean, worked out the long way (shared/spec/spans.md, 1.3 and 4.1): one dense
// forward over all tokens, with a matrix that says what each row sees and at which distance. No
// blocks, no runs, no turned queries.
#include <cmath>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "model/transformer.h"
#include "span_prompts.h"

namespace spnl::mistralrs::test {

/// A row of the dense forward: a token, and what it sees of the rows before it, itself included.
struct DenseRow {
  int32_t id;
  std::vector<int32_t> distance;  ///< to each row; negative: hidden
};

/// Attention from the matrix, in double, keys turned by the distance; all else from `inner`.
class DenseOps final : public Ops {
 public:
  DenseOps(std::unique_ptr<Ops> inner, const std::vector<DenseRow>& rows, bool long_rope)
      : inner_(std::move(inner)), rows_(rows), long_rope_(long_rope) {}

  std::string_view name() const override { return "dense"; }
  std::unique_ptr<Matrix> load_matrix(const modelkit::Weight& weight) override {
    return inner_->load_matrix(weight);
  }
  void embed(const modelkit::Weight& table, std::span<const int32_t> ids, float scale,
             Rows y) override {
    inner_->embed(table, ids, scale, y);
  }
  void norm(const cpu::NormParams& params, Rows x, Rows y) override { inner_->norm(params, x, y); }
  void linear(std::span<const LinearGroup> groups) override { inner_->linear(groups); }
  void activate(cpu::Activation activation, Rows gate, Rows up) override {
    inner_->activate(activation, gate, up);
  }
  void add_scaled(Rows x, float scale, Rows y) override { inner_->add_scaled(x, scale, y); }
  void scale_and_cap(float scale, float cap, Rows x) override {
    inner_->scale_and_cap(scale, cap, x);
  }
  void copy(Rows from, Rows to) override { inner_->copy(from, to); }
  void route(const cpu::RouterParams& params, Rows logits, std::span<int32_t> experts,
             std::span<float> weights) override {
    inner_->route(params, logits, experts, weights);
  }
  void combine(Rows parts, std::span<const int32_t> places, std::span<const float> weights,
               Rows y) override {
    inner_->combine(parts, places, weights, y);
  }
  void add_gated(Rows x, Rows gate, Rows y) override { inner_->add_gated(x, gate, y); }

  void rope_store(const cpu::Rope&, const cpu::KvLayer& layer, Rows keys, Rows values,
                  const cpu::RowPositions&, std::span<const int64_t>) override {
    keys_.assign(static_cast<size_t>(keys.count), {});
    values_.assign(static_cast<size_t>(keys.count), {});
    for (int64_t r = 0; r < keys.count; ++r) {
      const float* key = keys.data + r * keys.stride;
      const float* value = values.data != nullptr ? values.data + r * values.stride : key;
      const int64_t width =
          values.data != nullptr ? int64_t{layer.kv_heads} * layer.value_dim : layer.value_dim;
      keys_[static_cast<size_t>(r)].assign(key, key + keys.width);
      values_[static_cast<size_t>(r)].assign(value, value + width);
    }
  }

  void paged_attention(const cpu::Rope& rope, const cpu::KvLayer& layer,
                       const cpu::AttentionParams& params, Rows queries, const cpu::RowPositions&,
                       std::span<const cpu::AttentionSequence>, Rows out) override {
    const int32_t group = params.heads / layer.kv_heads;
    for (size_t t = 0; t < rows_.size(); ++t)
      for (int32_t head = 0; head < params.heads; ++head) {
        const float* q = queries.data + static_cast<int64_t>(t) * queries.stride +
                         int64_t{head} * layer.head_dim;
        const int32_t kv = head / group;
        std::vector<double> scores(rows_.size(), -INFINITY);
        double top = params.sinks != nullptr ? params.sinks[head] : -INFINITY;
        for (size_t s = 0; s < rows_.size(); ++s) {
          const int32_t distance = rows_[t].distance[s];
          if (distance < 0 || (params.window > 0 && distance >= params.window)) continue;
          scores[s] =
              params.scale * turned_product(rope, q, keys_[s].data() + int64_t{kv} * layer.head_dim,
                                            layer.head_dim, distance);
          if (params.logit_softcap > 0)
            scores[s] = params.logit_softcap * std::tanh(scores[s] / params.logit_softcap);
          top = std::max(top, scores[s]);
        }
        double sum = params.sinks != nullptr ? std::exp(params.sinks[head] - top) : 0;
        std::vector<double> mean(static_cast<size_t>(layer.value_dim));
        for (size_t s = 0; s < rows_.size(); ++s) {
          if (std::isinf(scores[s])) continue;
          const double weight = std::exp(scores[s] - top);
          sum += weight;
          for (size_t d = 0; d < mean.size(); ++d)
            mean[d] += weight * values_[s][static_cast<size_t>(kv) * mean.size() + d];
        }
        float* to =
            out.data + static_cast<int64_t>(t) * out.stride + int64_t{head} * layer.value_dim;
        for (size_t d = 0; d < mean.size(); ++d) to[d] = static_cast<float>(mean[d] / sum);
      }
  }

 private:
  /// q . k with k turned back by `distance` positions.
  double turned_product(const cpu::Rope& rope, const float* q, const float* k, int32_t dim,
                        int32_t distance) const {
    const cpu::RopeTurns& turns = rope.of(long_rope_);
    const auto pairs = static_cast<int32_t>(turns.inv_freq.size());
    const auto& angles = angles_of(turns, distance);
    const bool halves = rope.kind == cpu::RopeKind::kHalfSplit;
    double sum = 0;
    for (int32_t d = 0; d < dim; ++d)
      if (d < rope.first_dim || d >= rope.first_dim + 2 * pairs) sum += double{q[d]} * k[d];
    for (int32_t i = 0; i < pairs; ++i) {
      const int32_t x = rope.first_dim + (halves ? i : 2 * i);
      const int32_t y = halves ? x + pairs : x + 1;
      const auto [c, s] = angles[static_cast<size_t>(i)];
      sum += turns.magnitude * turns.magnitude *
             (q[x] * (k[x] * c - k[y] * s) + q[y] * (k[x] * s + k[y] * c));
    }
    return sum;
  }

  /// cos and sin of each pair, remembered by distance: layers of one model may differ in `turns`.
  const std::vector<std::pair<double, double>>& angles_of(const cpu::RopeTurns& turns,
                                                          int32_t distance) const {
    auto& angles = angles_[{turns.inv_freq.empty() ? 0 : turns.inv_freq.back(), distance}];
    if (angles.empty())
      for (const double frequency : turns.inv_freq)
        angles.emplace_back(std::cos(-distance * frequency), std::sin(-distance * frequency));
    return angles;
  }

  mutable std::map<std::pair<double, int32_t>, std::vector<std::pair<double, double>>> angles_;
  const std::unique_ptr<Ops> inner_;
  const std::vector<DenseRow>& rows_;
  const bool long_rope_;
  std::vector<std::vector<float>> keys_, values_;
};

/// Logits of the last row.
inline std::vector<float> dense_logits(const modelkit::ModelSpec& spec,
                                       const std::vector<DenseRow>& rows, bool long_rope) {
  DenseOps ops(make_reference_ops(), rows, long_rope);
  const Weights weights = load_weights(ops, spec, 0, [](uint64_t, uint64_t) { return true; });
  const KvCache no_cache(spec, cpu::KvType::kF32, 1, 1);
  Transformer transformer(spec, weights, no_cache, ops, std::ssize(rows), 1);
  Batch batch;
  for (const DenseRow& row : rows) {
    batch.ids.push_back(row.id);
    batch.positions.push_back(0);
    batch.long_rope.push_back(long_rope ? 1 : 0);
    batch.slots.push_back(0);
  }
  batch.sequences.push_back({0, batch.rows(), {}});
  transformer.forward(batch);
  const std::vector<int32_t> last = {static_cast<int32_t>(rows.size()) - 1};
  const Rows logits = transformer.logits(last);
  return {logits.data, logits.data + spec.vocab_size};
}

/// The rule of section 1.3, by token, from the tree of spans. For blend, spans must not be nested.
class SpanOracle {
 public:
  SpanOracle(const SpanPrompt& prompt, const SpanRequest& request)
      : prompt_(prompt), request_(request) {
    const uint64_t first_span = prompt.spans.empty() ? prompt.ids.size() : prompt.spans[0].begin;
    const uint64_t preamble = std::min(prompt.preamble, first_span);
    if (request.context == SpanContext::kPreamble) context_ = static_cast<int32_t>(preamble);
    if (request.context == SpanContext::kBos)
      context_ = static_cast<int32_t>(std::min<uint64_t>(1, preamble));
  }

  std::vector<DenseRow> rows() const {
    std::vector<Version> versions;  // stored rows, then those that blend computes again
    const auto n = static_cast<int32_t>(prompt_.ids.size());
    for (int32_t t = 0; t < n; ++t) {
      const int32_t span = span_of(t);
      if (span < 0 || request_.mode != SpanMode::kBlend || !computed_again(t, span)) {
        versions.push_back({t, span, true});
      } else {
        versions.push_back({t, span, false});
        versions.push_back({t, -1, true});
      }
    }
    std::vector<DenseRow> rows;
    for (const Version& of : versions) {
      DenseRow row{prompt_.ids[static_cast<size_t>(of.token)], {}};
      for (const Version& seen : versions)
        row.distance.push_back(
            sees(of, seen) ? position(of.token, of.span) - position(seen.token, of.span) : -1);
      rows.push_back(std::move(row));
    }
    return rows;
  }

 private:
  /// A token as computed in a span (-1: in the prompt); `current`: this one counts for what is
  /// outside of the span.
  struct Version {
    int32_t token, span;
    bool current;
  };

  const modelkit::EncodedSpan& span(int32_t i) const {
    return prompt_.spans[static_cast<size_t>(i)];
  }
  bool inside(int32_t token, int32_t index) const {
    return index < 0 || (token >= static_cast<int32_t>(span(index).begin) &&
                         token < static_cast<int32_t>(span(index).end));
  }
  /// The innermost; the last token always counts as outside.
  int32_t span_of(int32_t token) const {
    int32_t found = -1;
    if (token + 1 == static_cast<int32_t>(prompt_.ids.size())) return found;
    for (int32_t i = 0; i < std::ssize(prompt_.spans); ++i)
      if (inside(token, i)) found = i;
    return found;
  }
  bool sees_prefix(int32_t i) const {
    return span(i).sees_prefix || request_.context == SpanContext::kPrefix;
  }
  int32_t group_begin(int32_t i) const {
    uint64_t begin = span(i).begin;
    for (const auto& other : prompt_.spans)
      if (other.group == span(i).group) begin = std::min(begin, other.begin);
    return static_cast<int32_t>(begin);
  }
  int32_t context_length(int32_t i) const {
    return sees_prefix(i) ? position(group_begin(i), span(i).parent) : context_;
  }
  /// Where a token stands for those of a span.
  int32_t position(int32_t token, int32_t i) const {
    if (i < 0) return token;
    if (token >= static_cast<int32_t>(span(i).begin))
      return context_length(i) + token - static_cast<int32_t>(span(i).begin);
    return sees_prefix(i) ? position(token, span(i).parent) : token;
  }
  bool in_context(int32_t token, int32_t i) const {
    if (!sees_prefix(i)) return token < context_;
    const int32_t parent = span(i).parent;
    if (token >= group_begin(i)) return false;
    return parent < 0 || inside(token, parent) || in_context(token, parent);
  }
  bool computed_again(int32_t token, int32_t i) const {
    const auto begin = static_cast<int32_t>(span(i).begin);
    return begin != context_length(i) &&
           token - begin < static_cast<int32_t>(std::min<uint32_t>(request_.k, 1 << 20));
  }
  bool sees(const Version& of, const Version& seen) const {
    if (seen.token > of.token) return false;
    if (of.span < 0) return seen.current && (seen.token < of.token || seen.span < 0);
    if (inside(seen.token, of.span)) return seen.span >= 0;
    return seen.current && in_context(seen.token, of.span);
  }

  const SpanPrompt& prompt_;
  const SpanRequest& request_;
  int32_t context_ = 0;
};

}  // namespace spnl::mistralrs::test
