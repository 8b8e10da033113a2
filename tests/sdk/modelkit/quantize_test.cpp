// The quantisers' error against the float values they were given, beside that of the usual
// quantiser (llama.cpp's ggml_quantize_chunk, library of llama-cpp-python 0.3.36) on the same rows.
#include "spnl/modelkit/quantize.h"

#include <array>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "spnl/modelkit/block_formats.h"
#include "spnl/modelkit/error.h"

using namespace spnl::modelkit;

namespace {

constexpr uint64_t kColumns = 1024, kRows = 16, kElements = kColumns * kRows;

/// SplitMix64 as a function of the position, so that any language can make the same rows.
uint64_t random_bits(uint64_t seed, uint64_t i) {
  uint64_t z = seed + (i + 1) * 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

/// The sum of eight uniform numbers of 16 bits: nearly normal, exact in every language.
double normal(uint64_t seed, uint64_t i) {
  int64_t sum = -8 * 32768;
  for (int k = 0; k < 64; k += 16)
    sum += static_cast<int64_t>((random_bits(seed, i) >> k & 0xFFFF) +
                                (random_bits(seed + 1000003, i) >> k & 0xFFFF));
  return static_cast<double>(sum) / 65536.0;
}

double uniform(uint64_t seed, uint64_t i) {
  return static_cast<double>(random_bits(seed, i) >> 40) / 16777216.0;
}

enum Kind { kNormal, kHeavyTailed, kOutliers, kShifted };

std::vector<float> sample(Kind kind) {
  std::vector<float> out;
  for (uint64_t i = 0; i < kElements; ++i) {
    double x = 0;
    if (kind == kNormal) x = normal(1, i);
    if (kind == kHeavyTailed) x = normal(2, i) / (uniform(3, i) + 0.02);
    if (kind == kOutliers) x = normal(4, i) * ((random_bits(5, i) & 63) == 0 ? 20 : 1) * 0.02;
    if (kind == kShifted) x = (normal(6, i) + 1.5) * 0.01;
    out.push_back(static_cast<float>(x));
  }
  return out;
}

std::vector<float> sample_importance() {
  std::vector<float> out;
  for (uint64_t i = 0; i < kColumns; ++i) {
    const double u = uniform(7, i);
    out.push_back(static_cast<float>(u * u + 0.01));
  }
  return out;
}

std::vector<float> there_and_back(TensorType type, const std::vector<float>& x,
                                  const float* importance, uint64_t columns = kColumns) {
  std::vector<uint8_t> blocks(tensor_bytes(type, x.size()) + 1, 0xA5);
  const uint64_t row_bytes = tensor_bytes(type, columns);
  for (uint64_t row = 0; row < x.size() / columns; ++row)
    quantize_row(type, x.data() + row * columns, columns, blocks.data() + row * row_bytes,
                 importance);
  BOOST_TEST(blocks.back() == 0xA5);  // nothing is written past the end
  std::vector<float> out(x.size());
  dequantize_row(type, blocks.data(), x.size(), out.data());
  return out;
}

double relative_error(const std::vector<float>& x, const std::vector<float>& y,
                      const float* importance) {
  double error = 0, size = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double w = importance != nullptr ? importance[i % kColumns] : 1;
    error += w * (double{x[i]} - y[i]) * (double{x[i]} - y[i]);
    size += w * double{x[i]} * x[i];
  }
  return std::sqrt(error / size);
}

/// The peer's relative root mean square errors: for each kind of rows plain, then weighted by
/// importance.
struct Peer {
  TensorType type;
  std::array<double, 8> errors;
};
const Peer kPeers[] = {
    {TensorType::kQ4_0,
     {0.083193, 0.075961, 0.140313, 0.141413, 0.147739, 0.154403, 0.066067, 0.058175}},
    {TensorType::kQ4_1,
     {0.076198, 0.064066, 0.113299, 0.100567, 0.114973, 0.103462, 0.036364, 0.031440}},
    {TensorType::kQ5_0,
     {0.041760, 0.038088, 0.077275, 0.078710, 0.087574, 0.093228, 0.032985, 0.029222}},
    {TensorType::kQ5_1,
     {0.037115, 0.031142, 0.055801, 0.051358, 0.055074, 0.051885, 0.017653, 0.015081}},
    {TensorType::kQ8_0,
     {0.005216, 0.005233, 0.010208, 0.010891, 0.011417, 0.012216, 0.004174, 0.004185}},
    {TensorType::kQ2_K,
     {0.291614, 0.239704, 0.361590, 0.267432, 0.251430, 0.239676, 0.146663, 0.131712}},
    {TensorType::kQ3_K,
     {0.149015, 0.134200, 0.178609, 0.176324, 0.146808, 0.150506, 0.116947, 0.102037}},
    {TensorType::kQ4_K,
     {0.069309, 0.064941, 0.103519, 0.103514, 0.103419, 0.106258, 0.033831, 0.031704}},
    {TensorType::kQ5_K,
     {0.035438, 0.033135, 0.054300, 0.054885, 0.054051, 0.055419, 0.017029, 0.015719}},
    {TensorType::kQ6_K,
     {0.017285, 0.016055, 0.030565, 0.030821, 0.033577, 0.035528, 0.014046, 0.012820}},
    {TensorType::kIQ4_NL,
     {0.074857, 0.070632, 0.113057, 0.111570, 0.121611, 0.124789, 0.065268, 0.062013}},
    {TensorType::kIQ4_XS,
     {0.075425, 0.071326, 0.114141, 0.113102, 0.123230, 0.127053, 0.065899, 0.062664}},
    {TensorType::kMXFP4,
     {0.117710, 0.116672, 0.158027, 0.159857, 0.170211, 0.174475, 0.111858, 0.113036}},
};

}  // namespace

BOOST_AUTO_TEST_CASE(no_worse_than_the_usual_quantiser) {
  const std::vector<float> importance = sample_importance();
  for (const Kind kind : {kNormal, kHeavyTailed, kOutliers, kShifted}) {
    const std::vector<float> x = sample(kind);
    for (const Peer& peer : kPeers)
      for (const bool weighted : {false, true}) {
        const float* w = weighted ? importance.data() : nullptr;
        const double error = relative_error(x, there_and_back(peer.type, x, w), w);
        const double theirs = peer.errors[static_cast<size_t>(kind) * 2 + (weighted ? 1 : 0)];
        BOOST_TEST(error <= 1.01 * theirs, tensor_type_info(peer.type)->name
                                               << " kind " << kind << " weighted " << weighted
                                               << ": " << error << ", theirs " << theirs);
        BOOST_TEST(error > 0.5 * theirs);  // the figures belong to these rows
      }
  }
}

BOOST_AUTO_TEST_CASE(halves_round_to_the_nearest) {
  const std::vector<float> x = {0, -0.0f, 1, 1.0005f, 65504, 1e6f, -1e6f, 1e-9f, INFINITY};
  const std::vector<float> half = there_and_back(TensorType::kF16, x, nullptr, x.size());
  const std::vector<float> want = {0, -0.0f, 1, 1.0009765625f, 65504, 65504, -65504, 0, INFINITY};
  BOOST_TEST(half == want, boost::test_tools::per_element());
  const std::vector<float> brain = there_and_back(TensorType::kBF16, x, nullptr, x.size());
  for (size_t i = 0; i + 1 < x.size(); ++i)
    BOOST_TEST(std::abs(brain[i] - x[i]) <= std::abs(x[i]) / 256);
  BOOST_TEST(there_and_back(TensorType::kF32, x, nullptr, x.size()) == x,
             boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(odd_rows_give_finite_blocks_near_them) {
  using Limits = std::numeric_limits<float>;
  const auto filled = [](float value) { return std::vector<float>(256, value); };
  std::vector<std::vector<float>> rows = {filled(0),    filled(-0.0f), filled(1),
                                          filled(-3),   filled(1e-7f), filled(Limits::denorm_min()),
                                          filled(3e4f), filled(1e-30f)};
  rows.push_back(filled(0));
  rows.back()[17] = 5;  // one value alone
  rows.push_back(filled(0));
  rows.back()[255] = -5;
  for (const Peer& peer : kPeers)
    for (const auto& row : rows) {
      const std::vector<float> got = there_and_back(peer.type, row, nullptr, 256);
      float largest = 0, worst = 0;
      for (size_t i = 0; i < row.size(); ++i) {
        largest = std::max(largest, std::abs(row[i]));
        worst = std::max(worst, std::abs(got[i] - row[i]));
      }
      // Scales are float16, so what is as small as its steps comes out as some multiple of them.
      BOOST_TEST(worst <= 0.2f * largest + 1e-6f,
                 tensor_type_info(peer.type)->name << " of " << row[17] << ": off by " << worst);
    }
}

BOOST_AUTO_TEST_CASE(what_is_no_number_never_reaches_a_block) {
  constexpr float kHuge = std::numeric_limits<float>::max();
  for (const Peer& peer : kPeers)
    for (const float odd : {NAN, INFINITY, -INFINITY, kHuge, -kHuge}) {
      std::vector<float> row(256, 0.5f), importance(256, 1.0f);
      row[3] = row[200] = odd;
      for (const float y : there_and_back(peer.type, row, nullptr, 256))
        BOOST_TEST_REQUIRE(std::isfinite(y));
      importance[9] = odd;
      for (const float y : there_and_back(peer.type, row, importance.data(), 256))
        BOOST_TEST_REQUIRE(std::isfinite(y));
    }
}

BOOST_AUTO_TEST_CASE(importance_of_nothing_counts_as_none) {
  const std::vector<float> x = sample(kNormal), none(kColumns, 0.0f), tiny(kColumns, 1e-30f);
  for (const Peer& peer : kPeers) {
    const std::vector<float> want = there_and_back(peer.type, x, nullptr);
    BOOST_TEST((there_and_back(peer.type, x, none.data()) == want));
    BOOST_TEST(relative_error(x, there_and_back(peer.type, x, tiny.data()), nullptr) <
               1.01 * relative_error(x, want, nullptr));
  }
}

BOOST_AUTO_TEST_CASE(other_types_are_refused_by_name) {
  BOOST_TEST(can_quantize(TensorType::kQ4_K));
  BOOST_TEST(!can_quantize(TensorType::kIQ2_XS));
  const std::vector<float> x(256);
  std::vector<uint8_t> out(256);
  try {
    quantize_row(TensorType::kIQ2_XS, x.data(), 256, out.data());
    BOOST_FAIL("quantised");
  } catch (const Error& error) {
    BOOST_TEST((error.code() == ErrorCode::kUnsupported));
    BOOST_TEST(std::string(error.what()).find("IQ2_XS") != std::string::npos);
  }
}
