// The registered torch operators against formulas written out here, and the CPU way against them.
#include "ops/ops.h"

#include <boost/test/unit_test.hpp>
#include <cstring>
#include <numeric>
#include <random>

#include "ops/reference.h"
#include "ops/schema.h"
#include "spnl/modelkit/block_formats.h"
#include "spnl/modelkit/error.h"

using namespace spnl::mistralrs;

namespace {

struct Data {
  std::mt19937 random{11};
  std::vector<float> operator()(size_t n, float scale = 1) {
    std::normal_distribution<float> normal(0, scale);
    std::vector<float> out(n);
    for (float& x : out) x = normal(random);
    return out;
  }
};

double worst(const std::vector<float>& a, const std::vector<float>& b) {
  double w = 0;
  for (size_t i = 0; i < a.size(); ++i) w = std::max(w, std::abs(double(a[i]) - b[i]));
  return w;
}

Rows rows(std::vector<float>& x, int64_t width) {
  return {x.data(), static_cast<int64_t>(x.size()) / width, width};
}

using MatrixPtr = std::unique_ptr<Matrix>;

/// Rows of floats that no file holds.
class MadeRows final : public spnl::modelkit::RowSource {
 public:
  MadeRows(std::shared_ptr<const std::vector<float>> values, int64_t columns)
      : values_(std::move(values)), columns_(static_cast<size_t>(columns)) {}
  void read(uint64_t first, uint64_t count, std::byte* out) const override {
    std::memcpy(out, values_->data() + first * columns_, count * columns_ * sizeof(float));
  }

 private:
  const std::shared_ptr<const std::vector<float>> values_;
  const size_t columns_;
};

class MadeBlocks final : public spnl::modelkit::RowSource {
 public:
  MadeBlocks(std::vector<uint8_t> blocks, uint64_t row_bytes)
      : blocks_(std::move(blocks)), row_bytes_(row_bytes) {}
  void read(uint64_t first, uint64_t count, std::byte* out) const override {
    std::memcpy(out, blocks_.data() + first * row_bytes_, count * row_bytes_);
  }

 private:
  const std::vector<uint8_t> blocks_;
  const uint64_t row_bytes_;
};

std::vector<std::unique_ptr<Ops>> all_ops() {
  std::vector<std::unique_ptr<Ops>> out;
  out.push_back(make_reference_ops());
  for (const cpu::Isa isa : cpu::supported_isas()) out.push_back(make_cpu_ops(isa, 2));
  return out;
}

/// A vector of heads turned by position, straight from the definition, in double.
std::vector<double> turn(const float* x, int d, double position, const cpu::Rope& rope) {
  std::vector<double> out(x, x + d);
  const int half = static_cast<int>(rope.turns.inv_freq.size());
  for (int i = 0; i < half; ++i) {
    const int a = rope.kind == cpu::RopeKind::kInterleaved ? 2 * i : i;
    const int b = rope.kind == cpu::RopeKind::kInterleaved ? 2 * i + 1 : i + half;
    const double c = std::cos(position * rope.turns.inv_freq[i]),
                 s = std::sin(position * rope.turns.inv_freq[i]);
    out[a] = rope.turns.magnitude * (x[a] * c - x[b] * s);
    out[b] = rope.turns.magnitude * (x[b] * c + x[a] * s);
  }
  return out;
}

}  // namespace

BOOST_AUTO_TEST_CASE(operators_are_registered_once) {
  register_torch_ops();
  register_torch_ops();
  BOOST_TEST(
      c10::Dispatcher::singleton().findSchema({"spnl_mistralrs::paged_attention", ""}).has_value());
}

BOOST_AUTO_TEST_CASE(norms_activations_and_sums) {
  Data data;
  const int64_t n = 40;
  const std::vector<float> x = data(3 * n), up = data(3 * n), weight = data(n);
  std::vector<float> norm(x.size()), silu(x.size()), gelu(x.size()), sum(x.size());
  for (size_t i = 0; i < x.size(); ++i) {
    double square = 0;
    const size_t row = i / n * n;
    for (size_t j = row; j < row + n; ++j) square += double(x[j]) * x[j];
    norm[i] = static_cast<float>(x[i] / std::sqrt(square / n + 1e-5) * (weight[i % n] + 1.0));
    const double v = x[i];
    silu[i] = static_cast<float>(v / (1 + std::exp(-v)) * up[i]);
    gelu[i] = static_cast<float>(
        0.5 * v * (1 + std::tanh(std::sqrt(2 / M_PI) * (v + 0.044715 * v * v * v))) * up[i]);
    sum[i] = up[i] + 0.5f * x[i];
  }
  for (const auto& ops : all_ops()) {
    std::vector<float> a = x, b = up, y(x.size());
    ops->norm({cpu::NormKind::kRms, 1e-5f, 1.0f, weight.data()}, rows(a, n), rows(y, n));
    BOOST_TEST(worst(y, norm) < 1e-5, ops->name());
    ops->add_scaled(rows(a, n), 0.5f, rows(b, n));
    BOOST_TEST(worst(b, sum) < 1e-6, ops->name());
    b = up;
    ops->activate(cpu::Activation::kSilu, rows(a, n), rows(b, n));
    BOOST_TEST(worst(a, silu) < 1e-5, ops->name());
    a = x;
    ops->activate(cpu::Activation::kGeluTanh, rows(a, n), rows(b, n));
    BOOST_TEST(worst(a, gelu) < 1e-5, ops->name());
  }
}

BOOST_AUTO_TEST_CASE(linear_and_embedding) {
  Data data;
  const int64_t in = 64, out = 10, m = 3;
  const std::vector<float> w = data(in * out), bias = data(out);
  std::vector<uint16_t> halves;
  for (const float v : w) halves.push_back(spnl::modelkit::float_to_half(v));
  const spnl::modelkit::Tensor tensor{"w",
                                      spnl::modelkit::TensorType::kF16,
                                      2,
                                      {in, out, 1, 1},
                                      reinterpret_cast<const std::byte*>(halves.data()),
                                      halves.size() * 2};
  std::vector<float> x = data(in * m), start = data(out * m), want = start;
  for (int64_t i = 0; i < m; ++i)
    for (int64_t o = 0; o < out; ++o) {
      double sum = bias[o];
      for (int64_t j = 0; j < in; ++j)
        sum += double(x[i * in + j]) * spnl::modelkit::half_to_float(halves[o * in + j]);
      want[i * out + o] += static_cast<float>(sum);
    }
  for (const auto& ops : all_ops()) {
    const auto matrix = ops->load_matrix(spnl::modelkit::Weight(tensor));
    BOOST_TEST(matrix->rows() == out);
    std::vector<float> y = start;
    const LinearOutput output[] = {{matrix.get(), bias.data(), rows(y, out), true}};
    ops->linear(rows(x, in), output);
    BOOST_TEST(worst(y, want) < 2e-4, ops->name());
    std::vector<float> e(in * 2);
    const int32_t ids[] = {7, 0};
    ops->embed(spnl::modelkit::Weight(tensor), ids, 2.0f, rows(e, in));
    for (int64_t j = 0; j < in; ++j) {
      BOOST_TEST(e[j] == 2 * spnl::modelkit::half_to_float(halves[7 * in + j]));
      BOOST_TEST(e[in + j] == 2 * spnl::modelkit::half_to_float(halves[j]));
    }
  }
}

// Several inputs at once: some rows of x for one, all for the other, and matrices that want the
// columns of x in another order.
BOOST_AUTO_TEST_CASE(groups_pick_rows_and_columns) {
  Data data;
  const int64_t in = 32, out = 9;
  std::vector<float> x = data(6 * in), z = data(2 * in);
  const auto weight = [&](std::shared_ptr<const std::vector<uint32_t>> order) {
    auto values = std::make_shared<std::vector<float>>(data(in * out));
    spnl::modelkit::Weight w("w", spnl::modelkit::TensorType::kF32, out, in,
                             std::make_shared<MadeRows>(values, in));
    w.set_input_order(std::move(order));
    return std::pair(w, values);
  };
  std::vector<uint32_t> turned(in);
  for (uint32_t i = 0; i < in; ++i) turned[i] = (i * 7 + 3) % in;
  const auto order = std::make_shared<const std::vector<uint32_t>>(turned),
             same = std::make_shared<const std::vector<uint32_t>>(turned);
  const auto a = weight(nullptr), b = weight(order), c = weight(same), d = weight(nullptr);
  const std::vector<int32_t> picked = {4, 0, 5};
  const auto expected = [&](const auto& w, const std::vector<float>& from, int64_t row, int64_t o,
                            bool ordered) {
    double sum = 0;
    for (int64_t j = 0; j < in; ++j)
      sum += double((*w.second)[o * in + j]) * from[row * in + (ordered ? turned[j] : j)];
    return sum;
  };
  for (const auto& ops : all_ops()) {
    std::vector<MatrixPtr> m;
    for (const auto* w : {&a, &b, &c, &d}) m.push_back(ops->load_matrix(w->first));
    std::vector<float> ya(3 * out), yb(3 * out), yc(3 * out), yd(2 * out);
    const LinearOutput first[] = {{m[0].get(), nullptr, rows(ya, out)},
                                  {m[1].get(), nullptr, rows(yb, out)},
                                  {m[2].get(), nullptr, rows(yc, out)}};
    const LinearOutput second[] = {{m[3].get(), nullptr, rows(yd, out)}};
    const LinearGroup groups[] = {{rows(x, in), first, picked}, {rows(z, in), second}};
    ops->linear(groups);
    for (int64_t o = 0; o < out; ++o) {
      for (int64_t r = 0; r < 3; ++r) {
        BOOST_TEST(std::abs(ya[r * out + o] - expected(a, x, picked[r], o, false)) < 1e-4);
        BOOST_TEST(std::abs(yb[r * out + o] - expected(b, x, picked[r], o, true)) < 1e-4);
        BOOST_TEST(std::abs(yc[r * out + o] - expected(c, x, picked[r], o, true)) < 1e-4);
      }
      for (int64_t r = 0; r < 2; ++r)
        BOOST_TEST(std::abs(yd[r * out + o] - expected(d, z, r, o, false)) < 1e-4);
    }
  }
}

BOOST_AUTO_TEST_CASE(an_input_order_that_is_none_is_refused) {
  Data data;
  auto values = std::make_shared<std::vector<float>>(data(32));
  spnl::modelkit::Weight w("w", spnl::modelkit::TensorType::kF32, 1, 32,
                           std::make_shared<MadeRows>(values, 32));
  for (const std::vector<uint32_t>& order :
       {std::vector<uint32_t>(31, 0), std::vector<uint32_t>(32, 32)}) {
    w.set_input_order(std::make_shared<const std::vector<uint32_t>>(order));
    BOOST_CHECK_THROW(make_cpu_ops(cpu::Isa::kScalar, 1)->load_matrix(w), spnl::modelkit::Error);
  }
}

// Every type that can be decoded has products: from kernels, or decoded panel by panel. Rows lie
// in memory or are made on demand.
BOOST_AUTO_TEST_CASE(every_block_type_has_products) {
  using spnl::modelkit::TensorType;
  std::mt19937 random(3);
  for (uint32_t id = 0; id < 64; ++id) {
    const auto type = static_cast<TensorType>(id);
    const auto info = spnl::modelkit::tensor_type_info(type);
    if (!info || !info->can_dequantize || info->block_elements == 1) continue;
    const int64_t in = 512, out = 35, m = 3;
    const uint64_t row_bytes = spnl::modelkit::tensor_bytes(type, in);
    std::vector<uint8_t> blocks(row_bytes * out);
    for (uint8_t& byte : blocks) byte = static_cast<uint8_t>(random() % 64);  // scales stay finite
    std::vector<float> decoded(in * out), x = Data()(in * m);
    spnl::modelkit::dequantize_row(type, blocks.data(), in * out, decoded.data());
    const spnl::modelkit::Tensor tensor{
        "w",          type, 2, {in, out, 1, 1}, reinterpret_cast<const std::byte*>(blocks.data()),
        blocks.size()};
    const spnl::modelkit::Weight in_memory(tensor);
    const spnl::modelkit::Weight on_demand("w", type, out, in,
                                           std::make_shared<MadeBlocks>(blocks, row_bytes));
    for (const auto& ops : all_ops()) {
      for (const spnl::modelkit::Weight& weight : {in_memory, on_demand}) {
        const auto matrix = ops->load_matrix(weight);
        std::vector<float> y(out * m);
        const LinearOutput output[] = {{matrix.get(), nullptr, rows(y, out)}};
        ops->linear(rows(x, in), output);
        double error = 0, size = 0;
        for (int64_t r = 0; r < m; ++r)
          for (int64_t o = 0; o < out; ++o) {
            double want = 0;
            for (int64_t j = 0; j < in; ++j) want += double(decoded[o * in + j]) * x[r * in + j];
            error += std::pow(y[r * out + o] - want, 2);
            size += want * want;
          }
        // Kernels of quantised types take int8 activations; all others are exact.
        BOOST_TEST(std::sqrt(error / size) < 2e-2,
                   info->name << " " << ops->name() << " is off by " << std::sqrt(error / size));
      }
    }
  }
}

// The kernels' way to choose experts against torch's, ties aside.
BOOST_AUTO_TEST_CASE(experts_are_chosen_as_the_reference_chooses) {
  using spnl::modelkit::Gating;
  Data data;
  const int64_t m = 50, experts = 12;
  const std::vector<float> bias = data(experts, 0.3f);
  const auto reference = make_reference_ops();
  const auto cpu_ops = make_cpu_ops(cpu::Isa::kScalar, 2);
  int compared = 0;
  for (const Gating gating :
       {Gating::kSoftmax, Gating::kSoftmaxOfTop, Gating::kSigmoid, Gating::kSparseMixer})
    for (const int32_t used : {1, 2, 5})
      for (const int32_t groups : {0, 3})
        for (const bool option : {false, true}) {
          cpu::RouterParams params{
              gating, static_cast<int32_t>(experts), used, groups, 2, option, option, 1.7f,
              0.01f,  option ? bias.data() : nullptr};
          std::vector<float> logits = data(m * experts, 2);
          std::vector<int32_t> chosen(m * used), want_chosen(m * used);
          std::vector<float> weights(m * used), want_weights(m * used);
          reference->route(params, rows(logits, experts), want_chosen, want_weights);
          cpu_ops->route(params, rows(logits, experts), chosen, weights);
          BOOST_TEST(chosen == want_chosen, boost::test_tools::per_element());
          BOOST_TEST(worst(weights, want_weights) < 1e-5);
          ++compared;
        }
  BOOST_TEST(compared == 48);
}

// PhiMoE's own words: two picks, whose weights do not sum to 1.
BOOST_AUTO_TEST_CASE(sparse_mixer_by_hand) {
  std::vector<float> logits = {1.0f, 3.0f, 2.97f, -2.0f};
  std::vector<int32_t> chosen(2);
  std::vector<float> weights(2);
  const cpu::RouterParams params{
      spnl::modelkit::Gating::kSparseMixer, 4, 2, 0, 0, false, false, 1, 0.01f};
  for (const auto& ops : all_ops()) {
    ops->route(params, rows(logits, 4), chosen, weights);
    BOOST_TEST(chosen[0] == 1);
    BOOST_TEST(chosen[1] == 2);
    // (3 - 2.97) / 3 = 0.01 is within 0.02, (3 - 1) / 3 is not.
    BOOST_TEST(std::abs(weights[0] - 1 / (1 + std::exp(-0.03))) < 1e-6);
    BOOST_TEST(weights[1] == 1.0f);  // alone near the top that is left
  }
}

BOOST_AUTO_TEST_CASE(parts_are_combined_by_weight) {
  Data data;
  const int64_t n = 20;
  std::vector<float> parts = data(6 * n), x = data(3 * n), gate = data(3);
  const std::vector<int32_t> places = {5, 0, 1, 4, 2, 3};
  const std::vector<float> weights = data(6);
  for (const auto& ops : all_ops()) {
    std::vector<float> y(3 * n), want(3 * n);
    for (int64_t i = 0; i < 3; ++i)
      for (int64_t j = 0; j < n; ++j)
        want[i * n + j] = weights[2 * i] * parts[places[2 * i] * n + j] +
                          weights[2 * i + 1] * parts[places[2 * i + 1] * n + j] +
                          x[i * n + j] / (1 + std::exp(-gate[i]));
    ops->combine(rows(parts, n), places, weights, rows(y, n));
    ops->add_gated(rows(x, n), rows(gate, 1), rows(y, n));
    BOOST_TEST(worst(y, want) < 1e-5, ops->name());
  }
}

// Blocks of bytes: both ways store the same ones, to a step where one rounds a turned key another
// way, and read the same from them.
BOOST_AUTO_TEST_CASE(cache_in_blocks_of_bytes) {
  const int d = 64, heads = 4, kv_heads = 2, block_size = 8, n = 21;
  Data data;
  std::vector<float> keys = data(n * kv_heads * d), values = data(n * kv_heads * d),
                     q = data(heads * d);
  std::fill_n(values.begin(), 32, 0.0f);
  const cpu::Rope rope{cpu::RopeKind::kHalfSplit, {{1.0, 0.3, 0.1, 0.03}, 1.0}};
  std::vector<int32_t> positions(n);
  std::iota(positions.begin(), positions.end(), 0);
  const std::vector<int64_t> slots(positions.begin(), positions.end());
  const int32_t blocks[] = {0, 1, 2};
  const cpu::KvRun runs[] = {{blocks, 0, n, 0, 0}};
  const cpu::AttentionSequence sequences[] = {{0, 1, runs}};
  const std::vector<int32_t> last = {n - 1};
  std::vector<int8_t> first_keys, first_values;
  std::vector<float> first_out;
  for (const auto& ops : all_ops()) {
    const auto bytes =
        static_cast<size_t>(3 * block_size * kv_heads * cpu::kv_row_bytes(cpu::KvType::kQ8_0, d));
    std::vector<int8_t> key_cache(bytes), value_cache(bytes);
    std::vector<float> out(q.size());
    const cpu::KvLayer layer{cpu::KvType::kQ8_0, block_size,        kv_heads, d, d,
                             key_cache.data(),   value_cache.data()};
    ops->rope_store(rope, layer, rows(keys, kv_heads * d), rows(values, kv_heads * d), positions,
                    slots);
    ops->paged_attention(rope, layer, {heads, 0.125f}, rows(q, heads * d), last, sequences,
                         rows(out, heads * d));
    if (first_out.empty()) {
      first_keys = key_cache;
      first_values = value_cache;
      first_out = out;
    }
    BOOST_TEST((value_cache == first_values), ops->name());
    int steps = 0;
    for (size_t i = 0; i < bytes; ++i)
      steps = std::max(steps, std::abs(key_cache[i] - first_keys[i]));
    BOOST_TEST(steps <= 1, ops->name());
    BOOST_TEST(worst(out, first_out) < 1e-3, ops->name());
  }
}

// Runs with offsets, windows, soft-caps, grouped heads: against the definition in double.
BOOST_AUTO_TEST_CASE(attention_over_relocated_runs) {
  const int d = 16, kv_heads = 2, heads = 4, block_size = 5, blocks = 12;
  for (const auto kind : {cpu::RopeKind::kHalfSplit, cpu::RopeKind::kInterleaved})
    for (const int window : {0, 6})
      for (const float cap : {0.0f, 3.0f}) {
        Data data;
        const cpu::Rope rope{kind,
                             {{1.0, 0.3, 0.1, 0.03, 0.01, 0.003}, 1.1}};  // 12 of 16 dims turn
        // One sequence: 7 cached tokens e 0..6 at offset 0, then a fragment of 9 (first two hidden)
        // moved by 4, then rows 20..22.
        const int32_t context[] = {3, 8}, fragment[] = {1, 5}, own[] = {0};
        const cpu::KvRun runs[] = {
            {context, 0, 7, 0, 0}, {fragment, 2, 9, 9, 4}, {own, 0, 3, 20, 0}};
        std::vector<int32_t> e, p;
        std::vector<int64_t> slots;
        for (const cpu::KvRun& run : runs)
          for (int i = run.lo; i < run.hi; ++i) {
            e.push_back(run.e0 + i - run.lo);
            p.push_back(e.back() + run.offset);
            slots.push_back(int64_t{run.blocks[i / block_size]} * block_size + i % block_size);
          }
        const size_t n = e.size();
        std::vector<float> keys = data(n * kv_heads * d), values = data(n * kv_heads * d),
                           q = data(3 * heads * d);
        const std::vector<int32_t> positions = {20, 21, 22};
        const cpu::AttentionSequence sequences[] = {{0, 3, runs}};
        const cpu::AttentionParams params{heads, 0.25f, cap, window};
        std::vector<float> want(q.size(), 0.0f);
        for (int r = 0; r < 3; ++r)
          for (int h = 0; h < heads; ++h) {
            const auto turned_q = turn(&q[(r * heads + h) * d], d, positions[r], rope);
            double total = 0;
            std::vector<double> sum(d, 0.0);
            for (size_t t = 0; t < n; ++t) {
              if (p[t] > positions[r] || (window > 0 && p[t] <= positions[r] - window)) continue;
              const size_t at = (t * kv_heads + h / (heads / kv_heads)) * d;
              const auto turned_k = turn(&keys[at], d, p[t], rope);
              double s = 0;
              for (int i = 0; i < d; ++i) s += turned_q[i] * turned_k[i];
              s *= params.scale;
              if (cap > 0) s = cap * std::tanh(s / cap);
              total += std::exp(s);
              for (int i = 0; i < d; ++i) sum[i] += std::exp(s) * values[at + i];
            }
            for (int i = 0; i < d; ++i)
              want[(r * heads + h) * d + i] = static_cast<float>(sum[i] / total);
          }
        for (const auto& ops : all_ops()) {
          std::vector<float> k_cache(blocks * block_size * kv_heads * d), v_cache(k_cache.size()),
              out(q.size());
          const cpu::KvLayer layer{cpu::KvType::kF32, block_size,    kv_heads, d, d,
                                   k_cache.data(),    v_cache.data()};
          ops->rope_store(rope, layer, rows(keys, kv_heads * d), rows(values, kv_heads * d), e,
                          slots);
          ops->paged_attention(rope, layer, params, rows(q, heads * d), positions, sequences,
                               rows(out, heads * d));
          BOOST_TEST(worst(out, want) < 1e-5, ops->name()
                                                  << " window " << window << " cap " << cap);
        }
      }
}
