#include "spnl/modelkit/sampler.h"

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <set>

#include "spnl/modelkit/error.h"

using namespace spnl::modelkit;

namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

std::vector<float> random_logits(size_t n, uint32_t state, float scale = 4) {
  std::vector<float> logits(n);
  for (float& logit : logits) {
    state = state * 1664525u + 1013904223u;
    logit = (static_cast<float>(state >> 8) / static_cast<float>(1 << 24) - 0.5f) * 2 * scale;
  }
  return logits;
}

// The filters, straight from their definitions and with a full sort: id -> probability.
std::map<int32_t, double> reference(std::vector<float> logits, const SamplingParams& p) {
  std::vector<int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int32_t a, int32_t b) { return logits[a] > logits[b]; });
  if (p.top_k > 0 && order.size() > static_cast<size_t>(p.top_k))
    order.resize(static_cast<size_t>(p.top_k));
  const double best = logits[order[0]];
  double mass = 0, sum = 0;
  for (const int32_t id : order) mass += std::exp(logits[id] - best);
  size_t kept = 0;
  while (kept < order.size()) {
    sum += std::exp(logits[order[kept++]] - best);
    if (p.top_p < 1 && sum >= static_cast<double>(p.top_p) * mass) break;
  }
  order.resize(kept);
  std::map<int32_t, double> out;
  double total = 0;
  for (const int32_t id : order) {
    if (std::exp(logits[id] - best) < static_cast<double>(p.min_p) * (1 - 1e-12)) continue;
    total += out[id] = std::exp((logits[id] - best) / static_cast<double>(p.temperature));
  }
  for (auto& [id, probability] : out) probability /= total;
  return out;
}

void check_distribution(const std::vector<float>& logits, SamplingParams params,
                        int draws = 20000) {
  const auto want = reference(logits, params);
  Sampler sampler(params);
  std::map<int32_t, int> seen;
  for (int i = 0; i < draws; ++i) ++seen[sampler.sample(logits, {})];
  for (const auto& [id, count] : seen)
    BOOST_REQUIRE_MESSAGE(want.count(id) == 1, "token " << id << " was filtered");
  double chi2 = 0;
  int cells = 0;
  for (const auto& [id, probability] : want) {
    const double expected = probability * draws;
    if (expected < 5) continue;
    chi2 += (seen[id] - expected) * (seen[id] - expected) / expected;
    ++cells;
  }
  // Mean cells - 1, deviation sqrt(2 (cells - 1)): six deviations never happen by chance, and seeds
  // are fixed.
  BOOST_TEST(chi2 < cells + 6 * std::sqrt(2.0 * cells) + 6);
}

}  // namespace

BOOST_AUTO_TEST_CASE(greedy_takes_the_lowest_of_equal_ids) {
  Sampler sampler(SamplingParams{});
  BOOST_TEST(sampler.sample(std::vector<float>{1, 3, 2, 3}, {}) == 1);
  BOOST_TEST(sampler.sample(std::vector<float>{kNan, -5, kNan}, {}) == 1);
  BOOST_TEST(sampler.sample(std::vector<float>{-kInf, kNan}, {}) == 0);
  BOOST_TEST(sampler.sample(std::vector<float>{0, kInf, 1}, {}) == 1);
  for (const size_t n : {1u, 15u, 16u, 17u, 1000u, 151936u}) {
    const auto logits = random_logits(n, static_cast<uint32_t>(n));
    const auto best = std::max_element(logits.begin(), logits.end()) - logits.begin();
    BOOST_TEST(sampler.sample(logits, {}) == best);
  }
}

BOOST_AUTO_TEST_CASE(filters_leave_the_right_distribution) {
  const auto logits = random_logits(60, 11);
  check_distribution(logits, {.temperature = 1, .seed = 1});
  check_distribution(logits, {.temperature = 0.7f, .seed = 2});
  check_distribution(logits, {.temperature = 1, .top_k = 7, .seed = 3});
  check_distribution(logits, {.temperature = 1, .top_p = 0.6f, .seed = 4});
  check_distribution(logits, {.temperature = 1.5f, .min_p = 0.1f, .seed = 5});
  check_distribution(logits,
                     {.temperature = 0.8f, .top_k = 20, .top_p = 0.9f, .min_p = 0.05f, .seed = 6});
  check_distribution(logits, {.temperature = 2, .top_k = 1000, .top_p = 0.95f, .seed = 7});
}

BOOST_AUTO_TEST_CASE(large_vocabulary_keeps_the_same_set_as_a_full_sort) {
  const auto logits = random_logits(50000, 5, 2);
  for (const SamplingParams& params :
       {SamplingParams{.temperature = 1, .top_p = 0.02f},
        SamplingParams{.temperature = 1, .top_k = 40},
        SamplingParams{.temperature = 1, .top_k = 3000, .top_p = 0.5f},
        SamplingParams{.temperature = 1, .min_p = 0.9f},
        SamplingParams{.temperature = 1, .top_p = 0.3f, .min_p = 0.99f}}) {
    const auto want = reference(logits, params);
    Sampler sampler(params);
    std::set<int32_t> seen;
    for (int i = 0; i < 300; ++i) seen.insert(sampler.sample(logits, {}));
    for (const int32_t id : seen) BOOST_TEST(want.count(id) == 1u);
    BOOST_TEST(seen.size() > std::min<size_t>(20, want.size() / 2));
  }
}

BOOST_AUTO_TEST_CASE(top_k_ties_go_to_the_lowest_ids) {
  const std::vector<float> logits(500, 1.0f);
  Sampler sampler({.temperature = 1, .top_k = 3});
  std::set<int32_t> seen;
  for (int i = 0; i < 200; ++i) seen.insert(sampler.sample(logits, {}));
  BOOST_TEST((seen == std::set<int32_t>{0, 1, 2}));
}

BOOST_AUTO_TEST_CASE(top_p_zero_keeps_one) {
  const auto logits = random_logits(100, 9);
  Sampler greedy(SamplingParams{}), sampler({.temperature = 1, .top_p = 0});
  for (int i = 0; i < 20; ++i) BOOST_TEST(sampler.sample(logits, {}) == greedy.sample(logits, {}));
}

BOOST_AUTO_TEST_CASE(draws_depend_on_seed_sample_and_number_alone) {
  const auto logits = random_logits(1000, 21);
  const auto draw = [&](uint64_t seed, uint32_t sample) {
    Sampler sampler({.temperature = 1, .seed = seed, .sample = sample});
    std::vector<int32_t> ids;
    for (int i = 0; i < 50; ++i) ids.push_back(sampler.sample(logits, {}));
    return ids;
  };
  BOOST_TEST(draw(1, 0) == draw(1, 0), boost::test_tools::per_element());
  BOOST_TEST((draw(1, 0) != draw(2, 0)));
  BOOST_TEST((draw(1, 0) != draw(1, 1)));
  BOOST_TEST((draw(0, 1) != draw(1, 0)));

  Sampler first({.temperature = 1, .seed = 4}), second({.temperature = 1, .seed = 4});
  first.sample(logits, {});
  second.sample(random_logits(10, 1), {});  // other logits take one draw as well
  BOOST_TEST(first.sample(logits, {}) == second.sample(logits, {}));
  Sampler copy = first;
  BOOST_TEST(copy.sample(logits, {}) == first.sample(logits, {}));
}

BOOST_AUTO_TEST_CASE(penalties_look_at_recent_tokens) {
  const std::vector<float> logits{4, 3, -1, 2};
  const auto next = [&](SamplingParams params, std::vector<int32_t> history) {
    return Sampler(params).sample(logits, history);
  };
  BOOST_TEST(next({.repeat_penalty = 2}, {0}) == 1);  // 4 / 2 < 3
  BOOST_TEST(next({.repeat_penalty = 2, .penalty_window = 1}, {0, 2}) == 0);
  BOOST_TEST(next({.repeat_penalty = 2, .penalty_window = -1}, {0, 2}) == 1);
  BOOST_TEST(next({.repeat_penalty = 2, .penalty_window = 0}, {0}) == 0);
  BOOST_TEST(next({.presence_penalty = 1.5f}, {0, 0, 0}) == 1);
  BOOST_TEST(next({.presence_penalty = 0.5f}, {0, 0, 0}) == 0);
  BOOST_TEST(next({.frequency_penalty = 0.5f}, {0, 0, 0}) == 1);  // 4 - 1.5 < 3
  BOOST_TEST(next({.frequency_penalty = 0.5f}, {0}) == 0);
  BOOST_TEST(next({.frequency_penalty = -9}, {2}) == 2);
  BOOST_TEST(next({.repeat_penalty = 1.5f}, {-7, 99, INT32_MAX}) ==
             0);  // foreign ids change nothing
  Sampler negative({.repeat_penalty = 4});
  BOOST_TEST(negative.sample(std::vector<float>{-1, -2}, std::vector<int32_t>{0}) == 1);  // -4 < -2
}

BOOST_AUTO_TEST_CASE(extreme_logits_never_choose_the_impossible) {
  Sampler sampler({.temperature = 1, .top_k = 2, .top_p = 0.9f, .min_p = 0.1f});
  const std::vector<float> logits{-kInf, kNan, 1e30f, -1e30f};
  for (int i = 0; i < 50; ++i) BOOST_TEST(sampler.sample(logits, {}) == 2);
  Sampler tiny({.temperature = 1e-30f});
  for (int i = 0; i < 50; ++i) BOOST_TEST(tiny.sample(std::vector<float>{0, 1, 0.999f}, {}) == 1);
  Sampler hot({.temperature = 3e38f});
  for (int i = 0; i < 50; ++i)
    BOOST_TEST(hot.sample(std::vector<float>{0, -kInf, kNan, 5}, {}) % 3 == 0);
  BOOST_TEST(sampler.sample(std::vector<float>{-kInf, -kInf}, {}) == 0);
  BOOST_TEST(sampler.sample(std::vector<float>{1, kInf, kInf}, {}) > 0);
}

BOOST_AUTO_TEST_CASE(refuses_parameters_out_of_range) {
  for (const SamplingParams& params :
       {SamplingParams{.temperature = -1}, SamplingParams{.temperature = kNan},
        SamplingParams{.temperature = kInf}, SamplingParams{.top_k = -1},
        SamplingParams{.top_p = 1.5f}, SamplingParams{.top_p = kNan},
        SamplingParams{.min_p = -0.1f}, SamplingParams{.repeat_penalty = 0},
        SamplingParams{.presence_penalty = kNan}, SamplingParams{.frequency_penalty = kInf}}) {
    BOOST_CHECK_EXCEPTION(Sampler{params}, Error,
                          [](const Error& e) { return e.code() == ErrorCode::kInvalid; });
  }
  BOOST_CHECK_THROW(Sampler(SamplingParams{}).sample({}, {}), Error);
}
