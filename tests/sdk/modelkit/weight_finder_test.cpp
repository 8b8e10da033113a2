// Packed linear layers, packed here the slow way from integers, zeros and scales, against value =
// scale * (level - zero).
#include "spnl/modelkit/weight_finder.h"

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <functional>
#include <numeric>
#include <random>

#include "safetensors_builder.h"
#include "spnl/modelkit/block_formats.h"
#include "spnl/modelkit/error.h"
#include "spnl/modelkit/safetensors.h"
#include "spnl/modelkit/weight_views.h"

using namespace spnl::modelkit;
using namespace spnl::test;

namespace {

using Words = std::vector<uint32_t>;

/// A folder on the disk with one model.
struct Folder {
  TempDir dir;
  std::unique_ptr<SafetensorsFolder> tensors;

  WeightFinder open(const SafetensorsBuilder& file, const std::string& quantization) {
    dir.write("model.safetensors", file.bytes());
    tensors = SafetensorsFolder::open(dir.path());
    return WeightFinder(*tensors, Config::parse("{\"quantization_config\":" + quantization + "}",
                                                dir.path() / "config.json"));
  }
};

/// What a layer is made of: levels [in][out], zeros and scales [groups][out].
struct Layer {
  uint64_t in, out, groups;
  uint32_t bits;
  std::vector<uint32_t> levels, zeros, group_of;
  std::vector<uint16_t> scales;  // halves

  Layer(uint64_t in_, uint64_t out_, uint64_t group_size, uint32_t bits_, bool symmetric,
        bool act_order = false, unsigned seed = 1)
      : in(in_), out(out_), groups((in_ + group_size - 1) / group_size), bits(bits_) {
    std::mt19937 random(seed);
    const uint32_t top = 1u << bits;
    for (uint64_t i = 0; i < in * out; ++i) levels.push_back(random() % top);
    for (uint64_t i = 0; i < groups * out; ++i) {
      zeros.push_back(symmetric ? top / 2 : random() % top);
      scales.push_back(float_to_half(0.001f * static_cast<float>(1 + random() % 100)));
    }
    for (uint64_t i = 0; i < in; ++i) group_of.push_back(static_cast<uint32_t>(i / group_size));
    if (act_order) std::shuffle(group_of.begin(), group_of.end(), random);
  }
  float value(uint64_t o, uint64_t i) const {
    const uint64_t g = group_of[i] * out + o;
    return half_to_float(scales[g]) *
           static_cast<float>(static_cast<int>(levels[i * out + o]) - static_cast<int>(zeros[g]));
  }
};

/// Writes integer n of a line as the bits from n * bits on, one by one.
void put_bits(Words& words, uint64_t width, bool down, uint64_t line, uint64_t n, uint32_t bits,
              uint32_t value) {
  for (uint32_t b = 0; b < bits; ++b) {
    const uint64_t bit = n * bits + b;
    const uint64_t at = down ? bit / 32 * width + line : line * width + bit / 32;
    words[at] |= ((value >> b) & 1u) << (bit % 32);
  }
}

SafetensorsBuilder gptq(const Layer& layer, bool second_version, bool with_index) {
  Words qweight(layer.in * layer.bits / 32 * layer.out),
      qzeros(layer.groups * layer.out * layer.bits / 32);
  const uint32_t mask = (1u << layer.bits) - 1;
  for (uint64_t i = 0; i < layer.in; ++i)
    for (uint64_t o = 0; o < layer.out; ++o)
      put_bits(qweight, layer.out, true, o, i, layer.bits, layer.levels[i * layer.out + o]);
  for (uint64_t g = 0; g < layer.groups; ++g)
    for (uint64_t o = 0; o < layer.out; ++o) {
      const uint32_t zero = layer.zeros[g * layer.out + o];
      put_bits(qzeros, layer.out * layer.bits / 32, false, g, o, layer.bits,
               second_version ? zero : (zero - 1) & mask);
    }
  SafetensorsBuilder file;
  file.add_values("l.qweight", "I32", {layer.in * layer.bits / 32, layer.out}, qweight)
      .add_values("l.qzeros", "I32", {layer.groups, layer.out * layer.bits / 32}, qzeros)
      .add_values("l.scales", "F16", {layer.groups, layer.out}, layer.scales);
  if (with_index) file.add_values("l.g_idx", "I32", {layer.in}, layer.group_of);
  return file;
}

/// The weight's values, columns in the model's order.
std::vector<float> values_of(const Weight& weight) {
  std::vector<float> stored(weight.elements()), values(weight.elements());
  weight.read_floats(0, weight.rows(), stored.data());
  for (uint64_t r = 0; r < weight.rows(); ++r)
    for (uint64_t c = 0; c < weight.columns(); ++c) {
      const uint64_t to = weight.input_order() == nullptr ? c : (*weight.input_order())[c];
      values[r * weight.columns() + to] = stored[r * weight.columns() + c];
    }
  return values;
}

void check(const Weight& weight, uint64_t in, uint64_t out,
           const std::function<float(uint64_t, uint64_t)>& wanted) {
  BOOST_TEST_REQUIRE(weight.rows() == out);
  BOOST_TEST_REQUIRE(weight.columns() == in);
  const auto values = values_of(weight);
  size_t wrong = 0;
  for (uint64_t o = 0; o < out; ++o)
    for (uint64_t i = 0; i < in; ++i)
      if (values[o * in + i] != wanted(o, i)) ++wrong;
  BOOST_TEST(wrong == 0u);
  // A part reads as the same rows of the whole.
  const auto part = values_of(weight.rows_of(out / 3, out - out / 3));
  BOOST_TEST(std::equal(part.begin(), part.end(),
                        values.begin() + static_cast<std::ptrdiff_t>(out / 3 * in)));
}

void check(const Weight& weight, const Layer& layer) {
  check(weight, layer.in, layer.out, [&](uint64_t o, uint64_t i) { return layer.value(o, i); });
}

std::string linear_error(const SafetensorsBuilder& file, const std::string& config, uint64_t in,
                         uint64_t out) {
  Folder folder;
  try {
    folder.open(file, config).linear("l", in, out);
    return "";
  } catch (const Error& error) {
    BOOST_TEST(std::string_view(error.what()).find('\n') == std::string_view::npos);
    return error.what();
  }
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != text.npos;
}

}  // namespace

BOOST_AUTO_TEST_CASE(gptq_of_all_kinds) {
  for (const uint32_t bits : {2u, 3u, 4u, 8u})
    for (const bool symmetric : {true, false})
      for (const bool act_order : {false, true})
        for (const bool second : {false, true})
          for (const uint64_t group : {32u, 48u, 64u, 192u})
            BOOST_TEST_CONTEXT(bits << " bits, symmetric " << symmetric << ", act order "
                                    << act_order << ", v2 " << second << ", group " << group) {
              const Layer layer(192, 96, group, bits, symmetric, act_order);
              Folder folder;
              const WeightFinder finder = folder.open(
                  gptq(layer, second, act_order || group == 48),
                  std::string(R"({"quant_method":"gptq","bits":4,"group_size":)") +
                      std::to_string(group == 192 ? -1 : static_cast<int>(group)) +
                      ",\"sym\":" + (symmetric ? "true" : "false") + ",\"checkpoint_format\":\"" +
                      (second ? "gptq_v2" : "gptq") + "\"}");
              BOOST_TEST(finder.has_linear("l"));
              const Weight weight = finder.linear("l", 192, 96);
              check(weight, layer);
              // Packed wherever a block type holds the values.
              TensorType wanted = bits == 8 ? TensorType::kQ8_0 : TensorType::kQ4_0;
              if (bits == 4 && !symmetric) wanted = TensorType::kQ5_0;
              if ((bits == 8 && !symmetric) || group == 48) wanted = TensorType::kF32;
              BOOST_TEST((weight.type() == wanted));
              BOOST_TEST((weight.input_order() != nullptr) ==
                         (act_order && group != 192 && wanted != TensorType::kF32));
            }
}

BOOST_AUTO_TEST_CASE(gptq_zeros_tell_their_version_better_than_the_label) {
  for (const bool second : {false, true})
    for (const char* label : {"gptq", "gptq_v2"}) {
      const Layer layer(64, 32, 32, 4, true);
      Folder folder;
      check(folder
                .open(gptq(layer, second, false),
                      std::string(R"({"quant_method":"gptq","group_size":32,"sym":true,)") +
                          "\"checkpoint_format\":\"" + label + "\"}")
                .linear("l", 64, 32),
            layer);
    }
}

BOOST_AUTO_TEST_CASE(gptq_of_wrong_shapes_is_refused) {
  const std::string config = R"({"quant_method":"gptq","group_size":32})";
  const Layer layer(64, 32, 32, 4, true);
  BOOST_TEST(contains(linear_error(gptq(layer, false, true), config, 64, 40), "'l.scales'"));
  BOOST_TEST(contains(linear_error(gptq(layer, false, true), config, 96, 32), "'l.qweight'"));
  Layer bad = layer;
  bad.group_of[5] = 2;
  BOOST_TEST(contains(linear_error(gptq(bad, false, true), config, 64, 32), "names group 2 of 2"));
  SafetensorsBuilder alone;
  alone.add_values("l.qweight", "I32", {8, 32}, Words(256));
  BOOST_TEST(contains(linear_error(alone, config, 64, 32), "'l.scales'"));
  BOOST_TEST(contains(linear_error(gptq(layer, false, true), R"({"quant_method":"aqlm"})", 64, 32),
                      "'aqlm' is not supported"));
}

BOOST_AUTO_TEST_CASE(awq_in_both_orders) {
  static constexpr uint64_t kColumn[8] = {0, 2, 4, 6, 1, 3, 5, 7};  // of nibble i
  const Layer layer(64, 96, 32, 4, false);
  Words qweight(64 * 12), qzeros(2 * 12);
  const auto put = [](Words& words, uint64_t row, uint64_t column, uint32_t value) {
    for (uint64_t i = 0; i < 8; ++i)
      if (kColumn[i] == column % 8) words[row * 12 + column / 8] |= value << (4 * i);
  };
  for (uint64_t o = 0; o < 96; ++o) {
    for (uint64_t i = 0; i < 64; ++i) put(qweight, i, o, layer.levels[i * 96 + o]);
    for (uint64_t g = 0; g < 2; ++g) put(qzeros, g, o, layer.zeros[g * 96 + o]);
  }
  SafetensorsBuilder gemm;
  gemm.add_values("l.qweight", "I32", {64, 12}, qweight)
      .add_values("l.qzeros", "I32", {2, 12}, qzeros)
      .add_values("l.scales", "F16", {2, 96}, layer.scales);
  Folder folder;
  const Weight weight =
      folder.open(gemm, R"({"quant_method":"awq","group_size":32,"version":"gemm"})")
          .linear("l", 64, 96);
  check(weight, layer);
  BOOST_TEST((weight.type() == TensorType::kQ5_0));
  BOOST_TEST(contains(
      linear_error(gemm, R"({"quant_method":"awq","group_size":32,"version":"marlin"})", 64, 96),
      "'marlin'"));

  // gemv: [out][in / 8], with room for eight groups where there are two.
  Words straight(96 * 8), straight_zeros(96);
  std::vector<uint16_t> scales(96 * 8);
  for (uint64_t o = 0; o < 96; ++o) {
    for (uint64_t i = 0; i < 64; ++i)
      put_bits(straight, 8, false, o, i, 4, layer.levels[i * 96 + o]);
    for (uint64_t g = 0; g < 2; ++g) {
      put_bits(straight_zeros, 1, false, o, g, 4, layer.zeros[g * 96 + o]);
      scales[o * 8 + g] = layer.scales[g * 96 + o];
    }
  }
  SafetensorsBuilder gemv;
  gemv.add_values("l.qweight", "I32", {96, 8}, straight)
      .add_values("l.qzeros", "I32", {96, 1}, straight_zeros)
      .add_values("l.scales", "F16", {96, 8}, scales);
  Folder other;
  check(other.open(gemv, R"({"quant_method":"awq","group_size":32,"version":"gemv"})")
            .linear("l", 64, 96),
        layer);
}

BOOST_AUTO_TEST_CASE(compressed_tensors_integers) {
  for (const bool symmetric : {true, false})
    for (const uint32_t bits : {4u, 8u}) {
      const Layer layer(64, 40, 32, bits, symmetric);
      const uint64_t per_word = 32 / bits;
      Words packed(40 * 64 / per_word), zeros(40 / per_word * 2);
      std::vector<uint16_t> scales(40 * 2);
      for (uint64_t o = 0; o < 40; ++o) {
        for (uint64_t i = 0; i < 64; ++i)
          put_bits(packed, 64 / per_word, false, o, i, bits, layer.levels[i * 40 + o]);
        for (uint64_t g = 0; g < 2; ++g) {
          put_bits(zeros, 2, true, g, o, bits, layer.zeros[g * 40 + o]);
          scales[o * 2 + g] = layer.scales[g * 40 + o];
        }
      }
      SafetensorsBuilder file;
      file.add_values("l.weight_packed", "I32", {40, 64 / per_word}, packed)
          .add_values("l.weight_scale", "F16", {40, 2}, scales)
          .add_values("l.weight_shape", "I64", {2}, std::vector<int64_t>{40, 64});
      if (!symmetric) file.add_values("l.weight_zero_point", "I32", {40 / per_word, 2}, zeros);
      Folder folder;
      check(folder.open(file, R"({"quant_method":"compressed-tensors","format":"pack-quantized"})")
                .linear("l", 64, 40),
            layer);
    }
}

BOOST_AUTO_TEST_CASE(eight_bit_floats_with_scales) {
  const uint64_t in = 160, out = 130;
  std::vector<uint8_t> codes(in * out);
  std::mt19937 random(3);
  for (auto& code : codes) code = static_cast<uint8_t>(random() % 0x7F);
  std::vector<float> scales(2 * 2), by_row(out), whole = {0.5f};
  for (auto& scale : scales) scale = static_cast<float>(random() % 1000) * 1e-3f;
  for (auto& scale : by_row) scale = static_cast<float>(random() % 1000) * 1e-3f;
  const auto code = [&](uint64_t o, uint64_t i) { return float8_e4m3_to_float(codes[o * in + i]); };
  const auto open = [&](Folder& folder, const char* suffix, const std::vector<uint64_t>& shape,
                        const std::vector<float>& values) {
    SafetensorsBuilder file;
    file.add_values("l.weight", "F8_E4M3", {out, in}, codes)
        .add_values(std::string("l.") + suffix, "F32", shape, values);
    return folder.open(file, R"({"quant_method":"fp8","weight_block_size":[128,128]})")
        .linear("l", in, out);
  };
  Folder blocks, rows, one;
  check(open(blocks, "weight_scale_inv", {2, 2}, scales), in, out,
        [&](uint64_t o, uint64_t i) { return code(o, i) * scales[o / 128 * 2 + i / 128]; });
  check(open(rows, "weight_scale", {out, 1}, by_row), in, out,
        [&](uint64_t o, uint64_t i) { return code(o, i) * by_row[o]; });
  check(open(one, "weight_scale", {}, whole), in, out,
        [&](uint64_t o, uint64_t i) { return code(o, i) * 0.5f; });
  Folder bad;
  BOOST_CHECK_EXCEPTION(
      open(bad, "weight_scale", {3, 1}, {1, 2, 3}), Error,
      [](const Error& error) { return contains(error.what(), "none of scales"); });
}

BOOST_AUTO_TEST_CASE(int8_rows_with_scales) {
  const uint64_t in = 64, out = 12;
  std::vector<int8_t> levels(in * out);
  std::mt19937 random(5);
  for (auto& level : levels) level = static_cast<int8_t>(random());
  std::vector<uint16_t> scales(out);  // bfloat16
  for (auto& scale : scales)
    scale = float_to_bfloat16(static_cast<float>(1 + random() % 100) * 1e-3f);
  SafetensorsBuilder file, bitsandbytes;
  file.add_values("l.weight", "I8", {out, in}, levels)
      .add_values("l.weight_scale", "BF16", {out, 1}, scales);
  Folder folder, other;
  const Weight weight =
      folder.open(file, R"({"quant_method":"compressed-tensors","format":"int-quantized"})")
          .linear("l", in, out);
  check(weight, in, out, [&](uint64_t o, uint64_t i) {
    return bfloat16_to_float(scales[o]) * static_cast<float>(levels[o * in + i]);
  });
  BOOST_TEST((weight.type() == TensorType::kQ8_0));
  std::vector<float> absmax(out, 3.5f);
  bitsandbytes.add_values("l.weight", "I8", {out, in}, levels)
      .add_values("l.SCB", "F32", {out}, absmax);
  check(other.open(bitsandbytes, R"({"quant_method":"bitsandbytes","load_in_8bit":true})")
            .linear("l", in, out),
        in, out, [&](uint64_t o, uint64_t i) {
          return static_cast<float>(levels[o * in + i]) * 3.5f / 127;
        });
}

BOOST_AUTO_TEST_CASE(four_bit_codes_of_bitsandbytes) {
  const uint64_t in = 96, out = 10, blocks = in * out / 64;
  std::vector<float> table(16), nested_table(256), nested = {2.0f, 3.0f}, absmax(blocks);
  std::mt19937 random(6);
  for (auto& value : table) value = static_cast<float>(random() % 2001) * 1e-3f - 1;
  for (auto& value : nested_table) value = static_cast<float>(random() % 1000) * 1e-3f;
  std::vector<uint8_t> codes(in * out / 2), magnitudes(blocks);
  for (auto& code : codes) code = static_cast<uint8_t>(random());
  for (auto& code : magnitudes) code = static_cast<uint8_t>(random());
  const std::string state =
      R"({"quant_type":"nf4","blocksize":64,"dtype":"float16","shape":[10,96],)"
      R"("nested_blocksize":8,"nested_offset":0.25})";
  SafetensorsBuilder file;
  file.add_values("l.weight", "U8", {in * out / 2, 1}, codes)
      .add_values("l.weight.absmax", "U8", {blocks}, magnitudes)
      .add_values("l.weight.quant_map", "F32", {16}, table)
      .add_values("l.weight.nested_absmax", "F32", {2}, nested)
      .add_values("l.weight.nested_quant_map", "F32", {256}, nested_table)
      .add("l.weight.quant_state.bitsandbytes__nf4", "U8", {state.size()}, state);
  Folder folder;
  check(folder.open(file, R"({"quant_method":"bitsandbytes","load_in_4bit":true})")
            .linear("l", in, out),
        in, out, [&](uint64_t o, uint64_t i) {
          const uint64_t n = o * in + i, block = n / 64;
          const unsigned code = n % 2 == 0 ? codes[n / 2] >> 4 : codes[n / 2] & 15u;
          return table[code] * (nested_table[magnitudes[block]] * nested[block / 8] + 0.25f);
        });
}

BOOST_AUTO_TEST_CASE(plain_weights) {
  SafetensorsBuilder file;
  file.add_values("l.weight", "F32", {2, 3}, std::vector<float>{1, 2, 3, 4, 5, 6})
      .add_values("n.weight", "I64", {3}, std::vector<int64_t>{1, 2, 3});
  Folder folder;
  const WeightFinder finder = folder.open(file, "null");
  const Weight weight = finder.linear("l", 3, 2);
  BOOST_TEST(weight.data() != nullptr);
  check(weight, 3, 2, [](uint64_t o, uint64_t i) { return static_cast<float>(o * 3 + i + 1); });
  BOOST_TEST(!finder.optional_tensor("l.bias", {2}));
  BOOST_CHECK_EXCEPTION(finder.linear("x", 3, 2), Error, [](const Error& error) {
    return error.code() == ErrorCode::kNotFound && contains(error.what(), "'x.weight' is missing");
  });
  BOOST_CHECK_EXCEPTION(finder.linear("l", 2, 3), Error, [](const Error& error) {
    return contains(error.what(), "has the shape [2, 3] instead of [3, 2]");
  });
  BOOST_CHECK_EXCEPTION(finder.tensor("n.weight", {3}), Error, [](const Error& error) {
    return error.code() == ErrorCode::kUnsupported && contains(error.what(), "I64");
  });
}

BOOST_AUTO_TEST_CASE(views_of_weights) {
  std::vector<float> numbers(6 * 4);
  std::iota(numbers.begin(), numbers.end(), 0.0f);
  Folder folder;
  SafetensorsBuilder file;
  file.add_values("l.weight", "F32", {6, 4}, numbers)
      .add_values("v", "F32", {6}, std::vector<float>{0, 1, 2, 3, 4, 5});
  const WeightFinder finder = folder.open(file, "null");
  const Weight whole = finder.linear("l", 4, 6);
  const auto at = [](uint64_t r, uint64_t c) { return static_cast<float>(r * 4 + c); };
  check(transposed(whole), 6, 4, [&](uint64_t o, uint64_t i) { return at(i, o); });
  check(transposed(transposed(whole)), 4, 6, at);
  check(transposed(whole.rows_of(2, 3)), 3, 4,
        [&](uint64_t o, uint64_t i) { return at(i + 2, o); });
  check(strided_rows(whole, 1, 2, 3), 4, 3,
        [&](uint64_t o, uint64_t i) { return at(1 + 2 * o, i); });
  check(joined_rows({whole.rows_of(4, 2), strided_rows(whole, 0, 3, 2)}, "j"), 4, 4,
        [&](uint64_t o, uint64_t i) { return at(o < 2 ? o + 4 : (o - 2) * 3, i); });
  check(scaled(whole, 0.5f), 4, 6, [&](uint64_t o, uint64_t i) { return at(o, i) * 0.5f; });
  BOOST_TEST(values_of(strided_elements(finder.tensor("v", {6}), 1, 2, 3)) ==
                 (std::vector<float>{1, 3, 5}),
             boost::test_tools::per_element());
  BOOST_CHECK_THROW(strided_rows(whole, 1, 2, 4), Error);
  BOOST_CHECK_THROW(strided_elements(finder.tensor("v", {6}), 0, 3, 3), Error);
  BOOST_CHECK_THROW(joined_rows({whole, transposed(whole)}, "j"), Error);

  // Packed weights with different input orders have only float rows in common.
  const Layer a(64, 32, 32, 4, true, true, 1), b(64, 32, 32, 4, true, true, 2);
  Folder fa, fb;
  const std::string config = R"({"quant_method":"gptq","group_size":32})";
  const Weight wa = fa.open(gptq(a, false, true), config).linear("l", 64, 32),
               wb = fb.open(gptq(b, false, true), config).linear("l", 64, 32);
  BOOST_TEST((joined_rows({wa, wa}, "j").type() == TensorType::kQ4_0));
  check(joined_rows({wa, wb}, "j"), 64, 64,
        [&](uint64_t o, uint64_t i) { return o < 32 ? a.value(o, i) : b.value(o - 32, i); });
  check(transposed(wa), 32, 64, [&](uint64_t o, uint64_t i) { return a.value(i, o); });
}

BOOST_AUTO_TEST_CASE(mxfp4_of_hugging_face) {
  // [experts 2][rows 3][blocks 2][16] with neighbours in a byte.
  std::vector<uint8_t> blocks(2 * 3 * 2 * 16), scales(2 * 3 * 2);
  std::mt19937 random(8);
  for (auto& byte : blocks) byte = static_cast<uint8_t>(random());
  for (auto& byte : scales) byte = static_cast<uint8_t>(120 + random() % 10);
  SafetensorsBuilder file;
  file.add_values("b", "U8", {2, 3, 2, 16}, blocks).add_values("s", "U8", {2, 3, 2}, scales);
  Folder folder;
  folder.open(file, "null");
  const Weight weight = mxfp4_rows(*folder.tensors->find("b"), *folder.tensors->find("s"));
  BOOST_TEST((weight.type() == TensorType::kMXFP4));
  static constexpr float kValues[8] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6};
  check(weight, 64, 6, [&](uint64_t o, uint64_t i) {
    const unsigned byte = blocks[o * 32 + i / 2], code = i % 2 == 0 ? byte & 15 : byte >> 4;
    const float value = code < 8 ? kValues[code] : -kValues[code - 8];
    return std::ldexp(value, scales[o * 2 + i / 32] - 127);
  });
  BOOST_CHECK_THROW(mxfp4_rows(*folder.tensors->find("b"), *folder.tensors->find("b")), Error);
}
