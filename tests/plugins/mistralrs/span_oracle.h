#pragma once
// What block and blend mean, worked out the long way (shared/spec/spans.md, 1.3 and 4.1): one dense
// forward over all tokens, with a matrix that says what each row sees and at which distance. No
// blocks, no runs, no turned queries.
#include <cmath>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "delegating_ops.h"
#include "span_prompts.h"

namespace spnl::mistralrs::test {

/// A row of the dense forward: a token, and what it sees of the rows before it, itself included.
struct DenseRow {
  int32_t id;
  std::vector<int32_t> distance;  ///< to each row; negative: hidden
};

/// Attention from the matrix, in double, keys turned by the distance.
class DenseOps final : public DelegatingOps {
 public:
  using DelegatingOps::DelegatingOps;

  /// For the next forward, which is over these rows.
  void see(const std::vector<DenseRow>& rows, bool long_rope) {
    rows_ = &rows;
    long_rope_ = long_rope;
    angles_.clear();
  }

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
    for (size_t t = 0; t < rows_->size(); ++t)
      for (int32_t head = 0; head < params.heads; ++head) {
        const float* q = queries.data + static_cast<int64_t>(t) * queries.stride +
                         int64_t{head} * layer.head_dim;
        const int32_t kv = head / group;
        std::vector<double> scores(rows_->size(), -INFINITY);
        double top = params.sinks != nullptr ? params.sinks[head] : -INFINITY;
        for (size_t s = 0; s < rows_->size(); ++s) {
          const int32_t distance = (*rows_)[t].distance[s];
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
        for (size_t s = 0; s < rows_->size(); ++s) {
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
  const std::vector<DenseRow>* rows_ = nullptr;
  bool long_rope_ = false;
  std::vector<std::vector<float>> keys_, values_;
};

/// One dense forward over all rows of a prompt.
class DenseForward {
 public:
  explicit DenseForward(const modelkit::ModelSpec& spec) : forward_(spec) {}

  /// Logits of the last row.
  std::vector<float> logits(const std::vector<DenseRow>& rows, bool long_rope) {
    std::vector<int32_t> ids;
    for (const DenseRow& row : rows) ids.push_back(row.id);
    forward_.attention.see(rows, long_rope);
    return forward_.last_logits(ids, long_rope);
  }

 private:
  OracleForward<DenseOps> forward_;
};

/// The rule of section 1.3, by token, from the tree of spans. A line is what positions are counted
/// along: the prompt (-1), or a span after its context.
class SpanOracle {
 public:
  SpanOracle(const SpanPrompt& prompt, const SpanRequest& request)
      : prompt_(prompt), request_(request), tokens_(static_cast<int32_t>(prompt.ids.size())) {
    const uint64_t first_span = prompt.spans.empty() ? prompt.ids.size() : prompt.spans[0].begin;
    const uint64_t preamble = std::min(prompt.preamble, first_span);
    if (request.context == SpanContext::kPreamble) context_ = static_cast<int32_t>(preamble);
    if (request.context == SpanContext::kBos)
      context_ = static_cast<int32_t>(std::min<uint64_t>(1, preamble));
  }

  std::vector<DenseRow> rows() const {
    std::vector<Version> versions;
    for (int32_t token = 0; token < tokens_; ++token) add_versions(token, versions);
    std::vector<DenseRow> rows;
    for (const Version& of : versions) {
      DenseRow row{prompt_.ids[static_cast<size_t>(of.token)], {}};
      for (const Version& seen : versions)
        row.distance.push_back(
            sees(of, seen) ? position(of.token, of.line) - position(seen.token, of.line) : -1);
      rows.push_back(std::move(row));
    }
    return rows;
  }

 private:
  /// A token as computed in a line. Blend computes the first of a span in the line around it again.
  struct Version {
    int32_t token, line;
  };
  static constexpr int32_t kNowhere = -2;

  const modelkit::EncodedSpan& span(int32_t i) const {
    return prompt_.spans[static_cast<size_t>(i)];
  }
  bool inside(int32_t token, int32_t line) const {
    return line < 0 || (token >= static_cast<int32_t>(span(line).begin) &&
                        token < static_cast<int32_t>(span(line).end));
  }
  /// The span in a line that a token is in, or the line itself.
  int32_t child_of(int32_t token, int32_t line) const {
    if (request_.mode == SpanMode::kExact) return line;
    for (int32_t i = 0; i < std::ssize(prompt_.spans); ++i)
      if (span(i).parent == line && inside(token, i)) return i;
    return line;
  }
  void add_versions(int32_t token, std::vector<Version>& versions) const {
    std::vector<int32_t> lines = {-1};
    while (child_of(token, lines.back()) != lines.back())
      lines.push_back(child_of(token, lines.back()));
    for (size_t i = lines.size(); i-- > 0;) {
      const int32_t line = current(token, lines[i]);
      if (std::none_of(versions.begin(), versions.end(),
                       [&](const Version& v) { return v.token == token && v.line == line; }))
        versions.push_back({token, line});
    }
  }
  /// Where the version of a token of a line was computed that counts in it. The prompt's last token
  /// always counts as outside of spans.
  int32_t current(int32_t token, int32_t line) const {
    const int32_t child = child_of(token, line);
    if (child == line || (line < 0 && token + 1 == tokens_) || computed_again(token, child))
      return line;
    return current(token, child);
  }
  bool computed_again(int32_t token, int32_t i) const {
    const auto begin = static_cast<int32_t>(span(i).begin);
    return request_.mode == SpanMode::kBlend &&
           position(begin, span(i).parent) != context_length(i) &&
           token - begin < static_cast<int32_t>(std::min<uint32_t>(request_.k, 1 << 20));
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
  /// Where a token stands in a line.
  int32_t position(int32_t token, int32_t line) const {
    if (line < 0) return token;
    if (token >= static_cast<int32_t>(span(line).begin))
      return context_length(line) + token - static_cast<int32_t>(span(line).begin);
    return sees_prefix(line) ? position(token, span(line).parent) : token;
  }
  /// Where the version of a token was computed that a line sees.
  int32_t view(int32_t token, int32_t line) const {
    if (inside(token, line)) return current(token, line);
    if (!sees_prefix(line)) return token < context_ ? -1 : kNowhere;
    return token < group_begin(line) ? view(token, span(line).parent) : kNowhere;
  }
  bool sees(const Version& of, const Version& seen) const {
    return seen.token <= of.token && view(seen.token, of.line) == seen.line;
  }

  const SpanPrompt& prompt_;
  const SpanRequest& request_;
  const int32_t tokens_;
  int32_t context_ = 0;
};

}  // namespace spnl::mistralrs::test
