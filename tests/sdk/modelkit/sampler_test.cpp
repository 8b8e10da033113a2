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
  if (p.typical_p < 1) {  // Meister et al., the set of section 3.2
    double total = 0, entropy = 0;
    for (const int32_t id : order) total += std::exp(logits[id] - best);
    const auto surprise = [&](int32_t id) { return std::log(total) - (logits[id] - best); };
    for (const int32_t id : order) entropy += std::exp(logits[id] - best) / total * surprise(id);
    std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
      return std::abs(surprise(a) - entropy) < std::abs(surprise(b) - entropy);
    });
    double reached = 0;
    size_t left = 0;
    while (left < order.size() && reached < static_cast<double>(p.typical_p) * total)
      reached += std::exp(logits[order[left++]] - best);
    order.resize(left);
    std::stable_sort(order.begin(), order.end(),
                     [&](int32_t a, int32_t b) { return logits[a] > logits[b]; });
  }
  double mass = 0, sum = 0;
  for (const int32_t id : order) mass += std::exp(logits[id] - best);
  const double top = logits[order[0]];
  size_t kept = 0;
  while (kept < order.size()) {
    sum += std::exp(logits[order[kept++]] - best);
    if (p.top_p < 1 && sum >= static_cast<double>(p.top_p) * mass) break;
  }
  order.resize(kept);
  std::map<int32_t, double> out;
  double total = 0;
  for (const int32_t id : order) {
    if (std::exp(logits[id] - top) < static_cast<double>(p.min_p) * (1 - 1e-12)) continue;
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
  check_distribution(logits, {.temperature = 1, .typical_p = 0.5f, .seed = 8});
  check_distribution(logits, {.temperature = 1, .top_k = 30, .typical_p = 0.8f, .seed = 9});
  check_distribution(
      logits, {.temperature = 1.2f, .typical_p = 0.7f, .top_p = 0.8f, .min_p = 0.02f, .seed = 10});
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

BOOST_AUTO_TEST_CASE(logit_biases_and_least_number_of_tokens) {
  const std::vector<float> logits{4, 3, 2, 1};
  Sampler biased({.logit_biases = {{3, 9.5f}, {0, -kInf}, {99, 5}, {-1, 5}}});
  BOOST_TEST(biased.sample(logits, {}) == 3);
  Sampler banned({.logit_biases = {{0, -kInf}}});
  BOOST_TEST(banned.sample(logits, {}) == 1);
  Sampler longer({.min_tokens = 2, .end_ids = {0, 7}});
  BOOST_TEST(longer.sample(logits, {}) == 1);
  BOOST_TEST(longer.sample(logits, {}) == 1);
  BOOST_TEST(longer.sample(logits, {}) == 0);
}

// DRY from its definition: for each token, the longest ending of the history that stood before an
// earlier occurrence of that token.
std::vector<float> dry_reference(std::vector<float> logits, const std::vector<int32_t>& history,
                                 const DryParams& dry) {
  const auto n = static_cast<int>(history.size());
  const auto breaks = [&](int32_t id) { return dry.breakers && (*dry.breakers)[id]; };
  std::map<int32_t, int> longest;
  for (int i = 0; i < n; ++i) {
    int length = 0;
    while (i - 1 - length >= 0 && history[i - 1 - length] == history[n - 1 - length] &&
           !breaks(history[n - 1 - length]))
      ++length;
    longest[history[i]] = std::max(longest[history[i]], length);
  }
  for (const auto& [id, length] : longest)
    if (length >= dry.allowed_length && !breaks(id))
      logits[id] -= dry.multiplier * std::pow(dry.base, float(length - dry.allowed_length));
  return logits;
}

BOOST_AUTO_TEST_CASE(dry_is_its_definition) {
  auto breakers = std::make_shared<std::vector<bool>>(4);
  (*breakers)[3] = true;
  uint32_t state = 7;
  for (int round = 0; round < 400; ++round) {
    const auto logits = random_logits(4, static_cast<uint32_t>(round), 3);
    std::vector<int32_t> history;
    for (int i = 0; i < round % 40; ++i)
      history.push_back(static_cast<int32_t>((state = state * 1664525u + 1013904223u) >> 30));
    DryParams dry{.multiplier = 0.9f, .base = 1.3f, .allowed_length = 1 + round % 3};
    if (round % 2 == 0) dry.breakers = breakers;
    const auto want = dry_reference(logits, history, dry);
    const auto best = std::max_element(want.begin(), want.end()) - want.begin();
    BOOST_TEST(Sampler({.dry = dry}).sample(logits, history) == best, "round " << round);
  }
  const std::vector<int32_t> same(5000, 1);
  BOOST_TEST(Sampler({.dry = {.multiplier = 1}}).sample(std::vector<float>{0, kInf}, same) >= 0);
  BOOST_TEST(
      Sampler({.dry = {.multiplier = 1, .window = 1}}).sample(std::vector<float>{0, 0.5f}, same) ==
      1);
}

BOOST_AUTO_TEST_CASE(extreme_logits_never_choose_the_impossible) {
  Sampler sampler({.temperature = 1, .top_k = 2, .top_p = 0.9f, .min_p = 0.1f});
  const std::vector<float> logits{-kInf, kNan, 1e30f, -1e30f};
  for (int i = 0; i < 50; ++i) BOOST_TEST(sampler.sample(logits, {}) == 2);
  Sampler typical({.temperature = 1, .typical_p = 0.5f});
  for (int i = 0; i < 50; ++i) BOOST_TEST(typical.sample(logits, {}) == 2);
  BOOST_TEST(typical.sample(std::vector<float>{1, kInf, kNan}, {}) == 1);
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
        SamplingParams{.typical_p = 1.1f}, SamplingParams{.dry = {.multiplier = -1}},
        SamplingParams{.dry = {.base = 0.5f}}, SamplingParams{.dry = {.allowed_length = 0}},
        SamplingParams{.logit_biases = {{1, kNan}}}, SamplingParams{.min_p = -0.1f},
        SamplingParams{.repeat_penalty = 0}, SamplingParams{.presence_penalty = kNan},
        SamplingParams{.frequency_penalty = kInf}}) {
    BOOST_CHECK_EXCEPTION(Sampler{params}, Error,
                          [](const Error& e) { return e.code() == ErrorCode::kInvalid; });
  }
  BOOST_CHECK_THROW(Sampler(SamplingParams{}).sample({}, {}), Error);
}
