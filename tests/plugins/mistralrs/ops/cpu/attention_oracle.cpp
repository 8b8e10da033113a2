#include "attention_oracle.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace spnl::test {

using namespace mistralrs::cpu;

namespace {
constexpr int kBlocks = 512;
constexpr int kGap = 5;

std::vector<double> turn(const Rope& rope, bool long_rope, std::vector<double> v, double position) {
  const RopeTurns& turns = rope.of(long_rope);
  const size_t pairs = turns.inv_freq.size(), first = static_cast<size_t>(rope.first_dim);
  const std::vector<double> in = v;
  for (size_t i = 0; i < pairs; ++i) {
    const double c = std::cos(position * turns.inv_freq[i]) * turns.magnitude;
    const double s = std::sin(position * turns.inv_freq[i]) * turns.magnitude;
    const size_t a = first + (rope.kind == RopeKind::kHalfSplit ? i : 2 * i);
    const size_t b = first + (rope.kind == RopeKind::kHalfSplit ? i + pairs : 2 * i + 1);
    v[a] = in[a] * c - in[b] * s;
    v[b] = in[a] * s + in[b] * c;
  }
  return v;
}
}  // namespace

AttentionCase::AttentionCase(const AttentionShape& shape, uint32_t seed)
    : shape_(shape), random_(seed) {
  rope.kind = shape.kind;
  rope.turns.magnitude = shape.magnitude;
  for (int i = 0; i < shape.rotary_pairs; ++i)
    rope.turns.inv_freq.push_back(std::pow(10000.0, -double(i) / shape.rotary_pairs));
  rope.first_dim = shape.first_dim;
  rope.long_turns = rope.turns;
  rope.long_turns.magnitude *= 1.3;
  for (double& frequency : rope.long_turns.inv_freq) frequency *= 0.6;
  std::normal_distribution<float> normal(0, 2);
  for (int h = 0; h < shape.heads && shape.sinks; ++h) sinks_.push_back(normal(random_));
  const size_t slots = size_t{kBlocks} * static_cast<size_t>(shape.kv_heads * shape.block_size);
  const auto bytes_of = [&](int dim) {
    return slots * static_cast<size_t>(kv_row_bytes(shape.type, dim));
  };
  keys_.assign(bytes_of(shape.head_dim), 0xff);  // not-a-number wherever nothing is stored
  values_.assign(bytes_of(shape.values()), 0xff);
}

KvLayer AttentionCase::layer() const {
  return {shape_.type,
          shape_.block_size,
          shape_.kv_heads,
          shape_.head_dim,
          shape_.values(),
          keys_.data(),
          shape_.shares_values ? nullptr : values_.data()};
}

void AttentionCase::add_sequence(Isa isa, const std::vector<RunShape>& runs,
                                 const std::vector<int32_t>& positions) {
  const int kv_width = shape_.kv_heads * shape_.head_dim, ld = kv_width + 3;
  const int value_width = shape_.kv_heads * shape_.values(), value_ld = value_width + 5;
  ThreadTeam team(2);
  std::normal_distribution<float> normal(0, 1);
  const bool long_rope = shape_.long_rope && sequences_.size() % 2 == 1;
  Sequence s{rows(), static_cast<int64_t>(positions.size()), long_rope, {}, runs, {}};
  for (const RunShape& run : runs) {
    std::vector<int32_t> blocks;
    for (int i = 0; i * shape_.block_size < run.hi; ++i)
      blocks.push_back((used_blocks_++ * 37) % kBlocks);
    const int n = run.hi - run.lo;
    std::vector<float> k(static_cast<size_t>(n * ld)), v(static_cast<size_t>(n * value_ld));
    for (float& f : k) f = normal(random_);
    for (float& f : v) f = normal(random_);
    std::vector<int32_t> at;
    std::vector<int64_t> slots;
    std::vector<Stored> stored;
    for (int i = 0; i < n; ++i) {
      const int slot = run.lo + i;
      at.push_back(run.e0 + i);
      slots.push_back(int64_t{blocks[static_cast<size_t>(slot / shape_.block_size)]} *
                          shape_.block_size +
                      slot % shape_.block_size);
      stored.push_back({{k.begin() + i * ld, k.begin() + i * ld + kv_width},
                        {v.begin() + i * value_ld, v.begin() + i * value_ld + value_width}});
    }
    const std::vector<uint8_t> long_rows(at.size(), long_rope ? 1 : 0);
    rope_store(team, isa, rope, angles_, layer(), k.data(), ld, v.data(), value_ld, {at, long_rows},
               slots);
    s.blocks.push_back(blocks);
    s.stored.push_back(stored);
  }
  for (int32_t p : positions) {
    positions_.push_back(p);
    for (int i = 0; i < q_width() + kGap; ++i) queries_.push_back(normal(random_));
  }
  sequences_.push_back(s);
}

std::vector<float> AttentionCase::call(
    Isa isa, int threads, const std::vector<float>& queries, const std::vector<int32_t>& positions,
    const std::vector<std::pair<const Sequence*, int64_t>>& sequences) const {
  std::vector<std::vector<KvRun>> runs(sequences.size());
  std::vector<AttentionSequence> list;
  std::vector<uint8_t> long_rows;
  int64_t row = 0;
  for (size_t i = 0; i < sequences.size(); ++i) {
    const Sequence& s = *sequences[i].first;
    for (size_t r = 0; r < s.runs.size(); ++r) {
      runs[i].push_back(
          {s.blocks[r].data(), s.runs[r].lo, s.runs[r].hi, s.runs[r].e0, s.runs[r].offset});
    }
    list.push_back({row, sequences[i].second, runs[i]});
    long_rows.insert(long_rows.end(), static_cast<size_t>(sequences[i].second),
                     s.long_rope ? 1 : 0);
    row += sequences[i].second;
  }
  AttentionParams params;
  params.heads = shape_.heads;
  params.scale = 1.0f / std::sqrt(static_cast<float>(shape_.head_dim));
  params.logit_softcap = shape_.softcap;
  params.window = shape_.window;
  if (shape_.sinks) params.sinks = sinks_.data();
  const int ld = width() + kGap;
  std::vector<float> out(positions.size() * static_cast<size_t>(ld), 7.0f);
  ThreadTeam team(threads);
  paged_attention(team, isa, rope, angles_, layer(), params, queries.data(), q_width() + kGap,
                  {positions, long_rows}, list, out.data(), ld);
  std::vector<float> packed;
  for (size_t r = 0; r < positions.size(); ++r) {
    const float* from = out.data() + r * static_cast<size_t>(ld);
    packed.insert(packed.end(), from, from + width());
    for (int i = 0; i < kGap; ++i) {
      if (from[width() + i] != 7.0f) packed.back() = NAN;  // wrote past the row
    }
  }
  return packed;
}

std::vector<float> AttentionCase::run(Isa isa, int threads) const {
  std::vector<std::pair<const Sequence*, int64_t>> all;
  for (const Sequence& s : sequences_) all.push_back({&s, s.rows});
  return call(isa, threads, queries_, positions_, all);
}

std::vector<float> AttentionCase::run_part(Isa isa, int threads, size_t index, int64_t first,
                                           int64_t count) const {
  const Sequence& s = sequences_[index];
  const int64_t row = s.first_row + first;
  const int64_t ld = q_width() + kGap;
  return call(isa, threads, {queries_.begin() + row * ld, queries_.begin() + (row + count) * ld},
              {positions_.begin() + row, positions_.begin() + row + count}, {{&s, count}});
}

void AttentionCase::expected_row(const Sequence& s, int64_t row, int head, double* out) const {
  const int dim = shape_.head_dim, value_dim = shape_.values(),
            kv_head = head / (shape_.heads / shape_.kv_heads);
  const int64_t p = positions_[static_cast<size_t>(row)];
  const float* q = queries_.data() + row * (q_width() + kGap) + head * dim;
  const std::vector<double> turned = turn(rope, s.long_rope, {q, q + dim}, static_cast<double>(p));
  std::vector<double> scores;
  std::vector<std::vector<double>> values;
  for (size_t r = 0; r < s.runs.size(); ++r) {
    for (int i = 0; i < s.runs[r].hi - s.runs[r].lo; ++i) {
      const int64_t linear = int64_t{s.runs[r].e0} + i + s.runs[r].offset;
      if (linear > p || (shape_.window > 0 && p - linear >= shape_.window)) continue;
      const Stored& stored = s.stored[r][static_cast<size_t>(i)];
      const auto from = stored.key.begin() + kv_head * dim;
      const std::vector<double> key =
          turn(rope, s.long_rope, {from, from + dim}, static_cast<double>(linear));
      double dot = 0;
      for (int d = 0; d < dim; ++d)
        dot += turned[static_cast<size_t>(d)] * key[static_cast<size_t>(d)];
      dot /= std::sqrt(static_cast<double>(dim));
      scores.push_back(shape_.softcap > 0 ? shape_.softcap * std::tanh(dot / shape_.softcap) : dot);
      const auto value = stored.value.begin() + kv_head * value_dim;
      // Shared values lie before what turns, so the turned key has them as they were.
      values.push_back(shape_.shares_values
                           ? std::vector<double>(key.begin(), key.begin() + value_dim)
                           : std::vector<double>(value, value + value_dim));
    }
  }
  std::fill(out, out + value_dim, 0.0);
  if (scores.empty()) return;
  const double top = *std::max_element(scores.begin(), scores.end());
  double sum = shape_.sinks ? std::exp(sinks_[static_cast<size_t>(head)] - top) : 0;
  for (double& x : scores) sum += x = std::exp(x - top);
  for (size_t i = 0; i < scores.size(); ++i) {
    for (int d = 0; d < value_dim; ++d)
      out[d] += scores[i] / sum * values[i][static_cast<size_t>(d)];
  }
}

std::vector<double> AttentionCase::expected() const {
  std::vector<double> out(static_cast<size_t>(rows() * width()));
  for (const Sequence& s : sequences_) {
    for (int64_t r = s.first_row; r < s.first_row + s.rows; ++r) {
      for (int h = 0; h < shape_.heads; ++h)
        expected_row(s, r, h, out.data() + r * width() + h * shape_.values());
    }
  }
  return out;
}

}  // namespace spnl::test
