#include "ops/cpu/elementwise.h"

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

using namespace spnl::mistralrs::cpu;

namespace {

std::vector<float> randoms(size_t n, float limit, uint32_t seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> distribution(-limit, limit);
  std::vector<float> v(n);
  for (float& x : v) x = distribution(random);
  return v;
}

constexpr int64_t kWidths[] = {1, 7, 16, 65, 576, 3000};

}  // namespace

BOOST_AUTO_TEST_CASE(rms_norm_matches_double_precision) {
  for (Isa isa : supported_isas()) {
    ThreadTeam team(2);
    for (int64_t n : kWidths) {
      for (int64_t m : {1, 5, 40}) {
        const auto x = randoms(static_cast<size_t>(m * n), 3, 1),
                   w = randoms(static_cast<size_t>(n), 1, 2);
        const NormParams rms{NormKind::kRms, 1e-5f, 1.0f, w.data()};
        std::vector<float> y(x.size()), one(static_cast<size_t>(n));
        norm(team, isa, rms, x.data(), n, m, n, y.data(), n);
        for (int64_t r = 0; r < m; ++r) {
          double sum = 0;
          for (int64_t i = 0; i < n; ++i)
            sum += double{x[static_cast<size_t>(r * n + i)]} * x[static_cast<size_t>(r * n + i)];
          const double scale = 1 / std::sqrt(sum / static_cast<double>(n) + 1e-5);
          for (int64_t i = 0; i < n; ++i) {
            const auto at = static_cast<size_t>(r * n + i);
            BOOST_REQUIRE_SMALL(y[at] - x[at] * scale * (1.0 + w[static_cast<size_t>(i)]), 5e-6);
          }
          norm(team, isa, rms, x.data() + r * n, n, 1, n, one.data(), n);
          BOOST_REQUIRE(std::memcmp(one.data(), y.data() + r * n, one.size() * 4) == 0);
        }
        std::vector<float> in_place = x;
        norm(team, isa, rms, in_place.data(), n, m, n, in_place.data(), n);
        BOOST_TEST((in_place == y));
      }
    }
  }
}

// Rows with gaps, as a norm over the first part of each has them; each head with its own weights.
BOOST_AUTO_TEST_CASE(layer_norm_matches_double_precision) {
  for (Isa isa : supported_isas()) {
    ThreadTeam team(2);
    for (int64_t n : kWidths) {
      const int64_t m = 12, heads = 3, ld = n + 5;
      const auto x = randoms(static_cast<size_t>(m * ld), 3, 1),
                 w = randoms(static_cast<size_t>(heads * n), 1, 2), b = randoms(w.size(), 1, 3);
      std::vector<float> y(x.size(), 42.0f);
      norm(team, isa, {NormKind::kLayer, 1e-5f, 0.0f, w.data(), b.data(), heads}, x.data(), ld, m,
           n, y.data(), ld);
      for (int64_t r = 0; r < m; ++r) {
        const float* row = x.data() + r * ld;
        double mean = 0, square = 0;
        for (int64_t i = 0; i < n; ++i) mean += row[i] / static_cast<double>(n);
        for (int64_t i = 0; i < n; ++i) square += (row[i] - mean) * (row[i] - mean);
        const double scale = 1 / std::sqrt(square / static_cast<double>(n) + 1e-5);
        for (int64_t i = 0; i < n; ++i) {
          const auto at = static_cast<size_t>(r % heads * n + i);
          BOOST_REQUIRE_SMALL(y[static_cast<size_t>(r * ld + i)] -
                                  ((row[i] - mean) * scale * double{w[at]} + b[at]),
                              n == 1 ? 1e-3 : 1e-5);
        }
        BOOST_TEST(y[static_cast<size_t>(r * ld + n)] == 42.0f);
      }
    }
  }
}

namespace {

/// The activation of x, and what it multiplies with.
double definition(Activation activation, double x, double up) {
  switch (activation) {
    case Activation::kSilu:
      return x / (1 + std::exp(-x)) * up;
    case Activation::kGeluTanh:
      return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x))) * up;
    case Activation::kGeluErf:
      return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0))) * up;
    case Activation::kReluSquared:
      return x > 0 ? x * x * up : 0;
    case Activation::kClampedSwiglu:
      break;
  }
  const double g = std::min(x, 7.0);
  return (std::clamp(up, -7.0, 7.0) + 1) * g / (1 + std::exp(-1.702 * g));
}

constexpr Activation kActivations[] = {Activation::kSilu, Activation::kGeluTanh,
                                       Activation::kGeluErf, Activation::kReluSquared,
                                       Activation::kClampedSwiglu};

}  // namespace

BOOST_AUTO_TEST_CASE(activations_match_double_precision) {
  for (Isa isa : supported_isas()) {
    ThreadTeam team(2);
    for (int64_t n : kWidths) {
      for (float limit : {0.01f, 5.0f, 200.0f}) {
        for (Activation activation : kActivations) {
          const auto gate = randoms(static_cast<size_t>(9 * n), limit, 3),
                     up = randoms(gate.size(), 10, 4);
          std::vector<float> y = gate, alone = gate;
          activate(team, isa, activation, y.data(), up.data(), 9, n);
          activate(team, isa, activation, alone.data(), nullptr, 9, n);
          for (size_t i = 0; i < y.size(); ++i) {
            const double scale = 1e-4 * std::fabs(gate[i]) + 1e-20;
            const double want = definition(activation, gate[i], up[i]);
            BOOST_REQUIRE_SMALL((y[i] - want) / (std::fabs(want) + scale), 5e-5);
            // Without a factor it is as with 1 (for the clamped one: with 0, which becomes 1).
            const double one =
                definition(activation, gate[i], activation == Activation::kClampedSwiglu ? 0 : 1);
            BOOST_REQUIRE_SMALL((alone[i] - one) / (std::fabs(one) + scale), 5e-5);
          }
        }
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(logits_are_scaled_and_capped) {
  for (Isa isa : supported_isas()) {
    ThreadTeam team(2);
    const auto x = randoms(20001, 100, 9);
    for (const float cap : {0.0f, 30.0f}) {
      std::vector<float> y = x;
      scale_and_cap(team, isa, 0.5f, cap, y.data(), static_cast<int64_t>(y.size()));
      for (size_t i = 0; i < x.size(); ++i) {
        const double half = 0.5 * x[i];
        BOOST_REQUIRE_SMALL(y[i] - (cap > 0 ? cap * std::tanh(half / cap) : half), 2e-5);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(add_scaled_adds) {
  for (Isa isa : supported_isas()) {
    ThreadTeam team(3);
    for (int64_t n : kWidths) {
      const auto x = randoms(static_cast<size_t>(4 * n), 1, 5), before = randoms(x.size(), 1, 6);
      std::vector<float> y = before;
      y.push_back(42.0f);
      add_scaled(team, isa, x.data(), 0.5f, 4, n, y.data());
      for (size_t i = 0; i < x.size(); ++i)
        BOOST_REQUIRE_SMALL(y[i] - (before[i] + 0.5f * x[i]), 3e-7f);
      BOOST_TEST(y.back() == 42.0f);
    }
  }
}
