#include "ops/cpu/elementwise.h"

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
        std::vector<float> y(x.size()), one(static_cast<size_t>(n));
        rms_norm(team, isa, x.data(), w.data(), 1e-5f, 1.0f, m, n, y.data());
        for (int64_t r = 0; r < m; ++r) {
          double sum = 0;
          for (int64_t i = 0; i < n; ++i)
            sum += double{x[static_cast<size_t>(r * n + i)]} * x[static_cast<size_t>(r * n + i)];
          const double scale = 1 / std::sqrt(sum / static_cast<double>(n) + 1e-5);
          for (int64_t i = 0; i < n; ++i) {
            const auto at = static_cast<size_t>(r * n + i);
            BOOST_REQUIRE_SMALL(y[at] - x[at] * scale * (1.0 + w[static_cast<size_t>(i)]), 5e-6);
          }
          rms_norm(team, isa, x.data() + r * n, w.data(), 1e-5f, 1.0f, 1, n, one.data());
          BOOST_REQUIRE(std::memcmp(one.data(), y.data() + r * n, one.size() * 4) == 0);
        }
        std::vector<float> in_place = x;
        rms_norm(team, isa, in_place.data(), w.data(), 1e-5f, 1.0f, m, n, in_place.data());
        BOOST_TEST((in_place == y));
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(gated_activations_match_double_precision) {
  for (Isa isa : supported_isas()) {
    ThreadTeam team(2);
    for (int64_t n : kWidths) {
      for (float limit : {0.01f, 5.0f, 200.0f}) {
        for (Activation activation : {Activation::kSilu, Activation::kGeluTanh}) {
          const auto gate = randoms(static_cast<size_t>(9 * n), limit, 3),
                     up = randoms(gate.size(), 2, 4);
          std::vector<float> y = gate;
          gated_activation(team, isa, activation, y.data(), up.data(), 9, n);
          for (size_t i = 0; i < y.size(); ++i) {
            const double x = gate[i];
            const double a =
                activation == Activation::kSilu
                    ? x / (1 + std::exp(-x))
                    : 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
            BOOST_REQUIRE_SMALL(
                (y[i] - a * up[i]) / (std::fabs(a * up[i]) + 1e-4 * std::fabs(x) + 1e-20), 5e-5);
          }
        }
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
