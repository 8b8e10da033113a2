// Reference vectors: random blocks and their values from an independent decoder
// (shared/fixtures/blocks). Small copies are in tests/fixtures/gguf/blocks, so that the check
// always runs.
#include "spnl/modelkit/block_formats.h"

#include <bit>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "spnl/modelkit/error.h"

using namespace spnl::modelkit;
namespace fs = std::filesystem;

namespace {

std::vector<char> read_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return std::vector<char>(std::istreambuf_iterator<char>(in), {});
}

/// All that can be decoded and for which the folder has vectors.
std::vector<TensorType> decodable_types(const fs::path& folder) {
  std::vector<TensorType> types;
  for (uint32_t id = 0; id < kFirstOwnType; ++id) {
    const auto info = tensor_type_info(static_cast<TensorType>(id));
    if (info && info->can_dequantize && info->name != "F32" &&
        fs::exists(folder / (std::string(info->name) + ".bin")))
      types.push_back(static_cast<TensorType>(id));
  }
  return types;
}

void check_folder(const fs::path& folder, size_t types) {
  size_t checked = 0;
  for (const TensorType type : decodable_types(folder)) {
    const auto info = *tensor_type_info(type);
    const auto raw = read_file(folder / (std::string(info.name) + ".bin"));
    const auto want = read_file(folder / (std::string(info.name) + ".f32"));
    BOOST_TEST_REQUIRE(!raw.empty(), info.name);
    const size_t n = want.size() / 4;
    BOOST_TEST_REQUIRE(tensor_bytes(type, n) == raw.size(), info.name);
    std::vector<float> got(n), expected(n);
    std::memcpy(expected.data(), want.data(), want.size());
    dequantize_row(type, raw.data(), n, got.data());
    double worst = 0;
    for (size_t i = 0; i < n; ++i) {
      if (std::isnan(expected[i])) {
        BOOST_TEST(std::isnan(got[i]));
        continue;
      }
      if (got[i] == expected[i]) continue;
      worst = std::max(worst, std::abs(double(got[i]) - expected[i]) /
                                  std::max(std::abs(double(expected[i])), 1e-30));
    }
    // K formats subtract a minimum: relative to a difference near zero, rounding shows more; they
    // are compared below 1e-5.
    BOOST_TEST(worst <= (info.block_elements == 256 ? 1e-5 : 1e-6),
               info.name << " worst " << worst);
    ++checked;
  }
  BOOST_TEST(checked == types);
}

}  // namespace

BOOST_AUTO_TEST_CASE(committed_vectors) {
  check_folder(fs::path(SPNL_TEST_FIXTURES_DIR) / "gguf/blocks", 28);
}

BOOST_AUTO_TEST_CASE(shared_vectors) {
  const fs::path folder = fs::path(SPNL_SHARED_DIR) / "fixtures/blocks";
  if (!fs::exists(folder)) {
    BOOST_TEST_MESSAGE("no shared fixtures: skipped");
    return;
  }
  check_folder(folder, 25);
}

BOOST_AUTO_TEST_CASE(every_half_survives_the_way_there_and_back) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float value = half_to_float(static_cast<uint16_t>(bits));
    if (std::isnan(value)) {
      BOOST_TEST(std::isnan(half_to_float(float_to_half(value))));
      continue;
    }
    BOOST_TEST_REQUIRE(float_to_half(value) == bits);
    if (bits % 0x8000 < 0x7BFF) {  // half way to the next goes to the even one
      const float next = half_to_float(static_cast<uint16_t>(bits + 1));
      const uint16_t even = static_cast<uint16_t>(bits % 2 == 0 ? bits : bits + 1);
      BOOST_TEST_REQUIRE(float_to_half((value + next) / 2) == even);
    }
  }
  BOOST_TEST(float_to_half(65520.0f) == 0x7C00);
  BOOST_TEST(float_to_half(65519.9f) == 0x7BFF);
  BOOST_TEST(float_to_half(1e-9f) == 0);
}

BOOST_AUTO_TEST_CASE(bfloat16_rounds_to_even) {
  BOOST_TEST(float_to_bfloat16(std::bit_cast<float>(0x3F808000u)) == 0x3F80);
  BOOST_TEST(float_to_bfloat16(std::bit_cast<float>(0x3F818000u)) == 0x3F82);
  BOOST_TEST(float_to_bfloat16(std::bit_cast<float>(0x3F808001u)) == 0x3F81);
  BOOST_TEST(std::isnan(bfloat16_to_float(float_to_bfloat16(std::bit_cast<float>(0x7F800001u)))));
}

BOOST_AUTO_TEST_CASE(eight_bit_floats_are_what_their_fields_say) {
  for (int bits = 0; bits < 256; ++bits) {
    const auto byte = static_cast<uint8_t>(bits);
    const auto decode = [&](TensorType type) {
      float value = 0;
      dequantize_row(type, &byte, 1, &value);
      return value;
    };
    const double sign = bits & 0x80 ? -1 : 1;
    const int e4 = bits >> 3 & 15, m3 = bits & 7, e5 = bits >> 2 & 31, m2 = bits & 3;
    if ((bits & 0x7F) == 0x7F)
      BOOST_TEST(std::isnan(decode(TensorType::kF8_E4M3)));
    else
      BOOST_TEST(decode(TensorType::kF8_E4M3) ==
                 sign * (e4 == 0 ? std::ldexp(m3, -9) : std::ldexp(8 + m3, e4 - 10)));
    if (e5 == 31)
      BOOST_TEST(!std::isfinite(decode(TensorType::kF8_E5M2)));
    else
      BOOST_TEST(decode(TensorType::kF8_E5M2) ==
                 sign * (e5 == 0 ? std::ldexp(m2, -16) : std::ldexp(4 + m2, e5 - 17)));
    if (bits == 255)
      BOOST_TEST(std::isnan(decode(TensorType::kF8_E8M0)));
    else
      BOOST_TEST(decode(TensorType::kF8_E8M0) == std::ldexp(1.0, bits - 127));
  }
}

BOOST_AUTO_TEST_CASE(types_without_values_are_refused_by_name) {
  float out[256];
  char block[512] = {};
  try {
    dequantize_row(TensorType::kQ8_K, block, 256, out);
    BOOST_FAIL("decoded");
  } catch (const Error& error) {
    BOOST_TEST((error.code() == ErrorCode::kUnsupported));
    BOOST_TEST(std::string(error.what()).find("Q8_K") != std::string::npos);
  }
  BOOST_TEST(!tensor_type_info(static_cast<TensorType>(4)));
}
