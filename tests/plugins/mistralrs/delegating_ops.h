#pragma once
// Ops that leave everything to others, and a forward over ids by such: for oracles, which do
// attention themselves, and for faults.
#include <memory>
#include <span>
#include <vector>

#include "model/transformer.h"

namespace spnl::mistralrs::test {

class DelegatingOps : public Ops {
 public:
  explicit DelegatingOps(Ops& inner) : inner_(inner) {}

  std::string_view name() const override { return inner_.name(); }
  std::unique_ptr<Matrix> load_matrix(const modelkit::Weight& weight) override {
    return inner_.load_matrix(weight);
  }
  void embed(const modelkit::Weight& table, std::span<const int32_t> ids, float scale,
             Rows y) override {
    inner_.embed(table, ids, scale, y);
  }
  void norm(const cpu::NormParams& params, Rows x, Rows y) override { inner_.norm(params, x, y); }
  void linear(std::span<const LinearGroup> groups) override { inner_.linear(groups); }
  void rope_store(const cpu::Rope& rope, const cpu::KvLayer& layer, Rows keys, Rows values,
                  const cpu::RowPositions& positions, std::span<const int64_t> slots) override {
    inner_.rope_store(rope, layer, keys, values, positions, slots);
  }
  void paged_attention(const cpu::Rope& rope, const cpu::KvLayer& layer,
                       const cpu::AttentionParams& params, Rows queries,
                       const cpu::RowPositions& positions,
                       std::span<const cpu::AttentionSequence> sequences, Rows out) override {
    inner_.paged_attention(rope, layer, params, queries, positions, sequences, out);
  }
  void activate(cpu::Activation activation, Rows gate, Rows up) override {
    inner_.activate(activation, gate, up);
  }
  void add_scaled(Rows x, float scale, Rows y) override { inner_.add_scaled(x, scale, y); }
  void scale_and_cap(float scale, float cap, Rows x) override {
    inner_.scale_and_cap(scale, cap, x);
  }
  void copy(Rows from, Rows to) override { inner_.copy(from, to); }
  void route(const cpu::RouterParams& params, Rows logits, std::span<int32_t> experts,
             std::span<float> weights) override {
    inner_.route(params, logits, experts, weights);
  }
  void combine(Rows parts, std::span<const int32_t> places, std::span<const float> weights,
               Rows y) override {
    inner_.combine(parts, places, weights, y);
  }
  void add_gated(Rows x, Rows gate, Rows y) override { inner_.add_gated(x, gate, y); }

 private:
  Ops& inner_;
};

/// Runs a model by ops that keep no cache, all else in plain ATen. `Attention` is made from the ops
/// that it leaves the rest to.
template <class Attention>
class OracleForward {
 public:
  static constexpr int64_t kMaxRows = 1024;

  explicit OracleForward(const modelkit::ModelSpec& spec)
      : spec_(spec),
        inner_(make_reference_ops(1)),
        attention(*inner_),
        weights_(load_weights(attention, spec, 0, [](uint64_t, uint64_t) { return true; })),
        no_cache_(spec, cpu::KvType::kF32, 1, 1),
        transformer_(spec, weights_, no_cache_, attention, kMaxRows, 1) {}

  /// Logits of the last of up to kMaxRows rows, which stand wherever `attention` has them.
  std::vector<float> last_logits(std::span<const int32_t> ids, bool long_rope) {
    Batch batch;
    for (const int32_t id : ids) {
      batch.ids.push_back(id);
      batch.positions.push_back(0);
      batch.long_rope.push_back(long_rope ? 1 : 0);
      batch.full.slots.push_back(0);
    }
    batch.full.sequences.push_back({0, batch.rows(), {}});
    transformer_.forward(batch);
    const std::vector<int32_t> last = {static_cast<int32_t>(ids.size()) - 1};
    const Rows logits = transformer_.logits(last);
    return {logits.data, logits.data + spec_.vocab_size};
  }

 private:
  const modelkit::ModelSpec& spec_;
  const std::unique_ptr<Ops> inner_;

 public:
  Attention attention;

 private:
  const Weights weights_;
  const KvCache no_cache_;
  Transformer transformer_;
};

}  // namespace spnl::mistralrs::test
