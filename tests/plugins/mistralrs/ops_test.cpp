// The registered torch operators against formulas written out here, and the CPU way against them.
#include "ops/ops.h"

#include <boost/test/unit_test.hpp>
#include <random>

#include "ops/reference.h"
#include "ops/schema.h"
#include "spnl/modelkit/block_formats.h"

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

std::vector<std::unique_ptr<Ops>> all_ops() {
  std::vector<std::unique_ptr<Ops>> out;
  out.push_back(make_reference_ops());
  for (const cpu::Isa isa : cpu::supported_isas()) out.push_back(make_cpu_ops(isa, 2));
  return out;
}

/// A vector of heads turned by position, straight from the definition, in double.
std::vector<double> turn(const float* x, int d, double position, const cpu::Rope& rope) {
  std::vector<double> out(x, x + d);
  const int half = static_cast<int>(rope.inv_freq.size());
  for (int i = 0; i < half; ++i) {
    const int a = rope.kind == cpu::RopeKind::kInterleaved ? 2 * i : i;
    const int b = rope.kind == cpu::RopeKind::kInterleaved ? 2 * i + 1 : i + half;
    const double c = std::cos(position * rope.inv_freq[i]),
                 s = std::sin(position * rope.inv_freq[i]);
    out[a] = rope.magnitude * (x[a] * c - x[b] * s);
    out[b] = rope.magnitude * (x[b] * c + x[a] * s);
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
    ops->rms_norm(rows(a, n), weight.data(), 1e-5f, 1.0f, rows(y, n));
    BOOST_TEST(worst(y, norm) < 1e-5, ops->name());
    ops->add_scaled(rows(a, n), 0.5f, rows(b, n));
    BOOST_TEST(worst(b, sum) < 1e-6, ops->name());
    b = up;
    ops->gated_activation(cpu::Activation::kSilu, rows(a, n), rows(b, n));
    BOOST_TEST(worst(a, silu) < 1e-5, ops->name());
    a = x;
    ops->gated_activation(cpu::Activation::kGeluTanh, rows(a, n), rows(b, n));
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

// Runs with offsets, windows, soft-caps, grouped heads: against the definition in double.
BOOST_AUTO_TEST_CASE(attention_over_relocated_runs) {
  const int d = 16, kv_heads = 2, heads = 4, block_size = 5, blocks = 12;
  for (const auto kind : {cpu::RopeKind::kHalfSplit, cpu::RopeKind::kInterleaved})
    for (const int window : {0, 6})
      for (const float cap : {0.0f, 3.0f}) {
        Data data;
        const cpu::Rope rope{kind, {1.0, 0.3, 0.1, 0.03, 0.01, 0.003}, 1.1};  // 12 of 16 dims turn
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
          const cpu::KvLayer layer{cpu::KvType::kF32, block_size,    kv_heads, d,
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
