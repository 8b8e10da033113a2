// Whole models whose linear layers are packed in each of the ways of Hugging Face's quantisers,
// against the same model in the floats that the packed numbers mean. The packing is written here
// from the formats' descriptions, number by number.
#include <algorithm>
#include <array>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <functional>
#include <random>

#include "forward.h"
#include "model.h"
#include "safetensors_builder.h"
#include "spnl/modelkit/safetensors.h"

using namespace spnl::cpu_ref;
using spnl::test::SafetensorsBuilder;
using spnl::test::TempDir;
namespace mk = spnl::modelkit;

namespace {

struct Matrix {
  uint64_t out, in;
  std::vector<float> values;  ///< [out][in]
  float& at(uint64_t o, uint64_t i) { return values[o * in + i]; }
};

/// Writes the packed tensors of module `stem`, and changes `matrix` to what they mean.
using Packing = std::function<void(const std::string& stem, Matrix& matrix, SafetensorsBuilder&)>;

template <class Visit>
float largest(Matrix& m, uint64_t o, uint64_t first, uint64_t count, Visit&& magnitude) {
  float most = 1e-6f;
  for (uint64_t i = first; i < first + count; ++i) most = std::max(most, magnitude(m.at(o, i)));
  return most;
}
float largest(Matrix& m, uint64_t o, uint64_t first, uint64_t count) {
  return largest(m, o, first, count, [](float x) { return std::abs(x); });
}

/// A scale that bfloat16 holds exactly.
float round_scale(float scale) {
  uint32_t bits;
  std::memcpy(&bits, &scale, 4);
  bits = (bits + 0x8000) & 0xFFFF0000;
  std::memcpy(&scale, &bits, 4);
  return scale;
}
uint16_t bfloat16(float exact) {
  uint32_t bits;
  std::memcpy(&bits, &exact, 4);
  return static_cast<uint16_t>(bits >> 16);
}

/// compressed-tensors, "pack-quantized": 4 bits, groups of 32 inputs, with or without zero points.
Packing packed_integers(bool symmetric) {
  return [symmetric](const std::string& stem, Matrix& m, SafetensorsBuilder& file) {
    const uint64_t groups = m.in / 32;
    std::vector<uint32_t> levels(m.out * m.in / 8), zeros(m.out / 8 * groups);
    std::vector<uint16_t> scales;
    for (uint64_t o = 0; o < m.out; ++o)
      for (uint64_t g = 0; g < groups; ++g) {
        const float scale = round_scale(largest(m, o, g * 32, 32) / 7);
        const int zero = symmetric ? 8 : 6 + static_cast<int>((o + g) % 4);
        scales.push_back(bfloat16(scale));
        zeros[o / 8 * groups + g] |= static_cast<uint32_t>(zero) << (o % 8 * 4);
        for (uint64_t i = g * 32; i < g * 32 + 32; ++i) {
          const int level =
              std::clamp(static_cast<int>(std::lround(m.at(o, i) / scale)) + zero, 0, 15);
          levels[(o * m.in + i) / 8] |= static_cast<uint32_t>(level) << (i % 8 * 4);
          m.at(o, i) = static_cast<float>(level - zero) * scale;
        }
      }
    file.add_values(stem + ".weight_packed", "I32", {m.out, m.in / 8}, levels)
        .add_values(stem + ".weight_scale", "BF16", {m.out, groups}, scales)
        .add_values(stem + ".weight_shape", "I64", {2},
                    std::vector<int64_t>{static_cast<int64_t>(m.out), static_cast<int64_t>(m.in)});
    if (!symmetric) file.add_values(stem + ".weight_zero_point", "I32", {m.out / 8, groups}, zeros);
  };
}

/// Value of a float of 1 sign, 4 exponent (bias 7) and 3 mantissa bits; the largest is 448.
float e4m3(uint8_t code) {
  const int exponent = code >> 3 & 15, mantissa = code & 7;
  const float size = exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -9)
                                   : std::ldexp(1 + static_cast<float>(mantissa) / 8, exponent - 7);
  return code < 128 ? size : -size;
}

uint8_t nearest(float value, int codes, float (*meaning)(uint8_t)) {
  int best = 0;
  for (int code = 1; code < codes; ++code) {
    if (meaning == e4m3 && (code & 127) == 127) continue;  // not a number
    if (std::abs(meaning(static_cast<uint8_t>(code)) - value) <
        std::abs(meaning(static_cast<uint8_t>(best)) - value))
      best = code;
  }
  return static_cast<uint8_t>(best);
}

/// FP8 with one scale for blocks of rows x columns.
Packing float8(uint64_t block_rows, uint64_t block_columns, const char* suffix) {
  return [=](const std::string& stem, Matrix& m, SafetensorsBuilder& file) {
    const uint64_t rows = std::min(block_rows, m.out), columns = std::min(block_columns, m.in);
    const uint64_t down = (m.out + rows - 1) / rows, across = (m.in + columns - 1) / columns;
    std::vector<float> scales(down * across, 1e-6f);
    const auto scale = [&](uint64_t o, uint64_t i) -> float& {
      return scales[o / rows * across + i / columns];
    };
    for (uint64_t o = 0; o < m.out; ++o)
      for (uint64_t i = 0; i < m.in; ++i)
        scale(o, i) = std::max(scale(o, i), std::abs(m.at(o, i)) / 448);
    std::vector<uint8_t> codes(m.out * m.in);
    for (uint64_t o = 0; o < m.out; ++o)
      for (uint64_t i = 0; i < m.in; ++i) {
        const uint8_t code = nearest(m.at(o, i) / scale(o, i), 256, e4m3);
        codes[o * m.in + i] = code;
        m.at(o, i) = e4m3(code) * scale(o, i);
      }
    file.add_values(stem + ".weight", "F8_E4M3", {m.out, m.in}, codes)
        .add_values(stem + suffix, "F32", {down, across}, scales);
  };
}

/// compressed-tensors, "int-quantized": int8 with a scale for each output.
void int8_rows(const std::string& stem, Matrix& m, SafetensorsBuilder& file) {
  std::vector<int8_t> levels(m.out * m.in);
  std::vector<uint16_t> scales;
  for (uint64_t o = 0; o < m.out; ++o) {
    const float scale = round_scale(largest(m, o, 0, m.in) / 126);
    scales.push_back(bfloat16(scale));
    for (uint64_t i = 0; i < m.in; ++i) {
      levels[o * m.in + i] = static_cast<int8_t>(std::lround(m.at(o, i) / scale));
      m.at(o, i) = static_cast<float>(levels[o * m.in + i]) * scale;
    }
  }
  file.add_values(stem + ".weight", "I8", {m.out, m.in}, levels)
      .add_values(stem + ".weight_scale", "BF16", {m.out, 1}, scales);
}

float e2m1(uint8_t code) {
  constexpr float kSizes[] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6};
  return code < 8 ? kSizes[code] : -kSizes[code - 8];
}

/// compressed-tensors, "nvfp4-pack-quantized": pairs of FP4, an FP8 scale for 16 inputs, one more
/// scale for the whole matrix, which divides.
void nvfp4(const std::string& stem, Matrix& m, SafetensorsBuilder& file) {
  const uint64_t groups = m.in / 16;
  const float global = 512;
  std::vector<uint8_t> codes(m.out * m.in / 2), scales;
  for (uint64_t o = 0; o < m.out; ++o)
    for (uint64_t g = 0; g < groups; ++g) {
      scales.push_back(nearest(largest(m, o, g * 16, 16) / 6 * global, 127, e4m3));
      const float scale = e4m3(scales.back()) / global;
      for (uint64_t i = g * 16; i < g * 16 + 16; ++i) {
        const uint8_t code = nearest(m.at(o, i) / scale, 16, e2m1);
        codes[(o * m.in + i) / 2] |= static_cast<uint8_t>(i % 2 == 0 ? code : code << 4);
        m.at(o, i) = e2m1(code) * scale;
      }
    }
  file.add_values(stem + ".weight_packed", "U8", {m.out, m.in / 2}, codes)
      .add_values(stem + ".weight_scale", "F8_E4M3", {m.out, groups}, scales)
      .add_values(stem + ".weight_global_scale", "F32", {1}, std::vector<float>{global});
}

/// bitsandbytes, 4 bits: the table of NF4 (arXiv:2305.14314, appendix E), blocks of 64, their
/// largest magnitudes in 8 bits.
void nf4(const std::string& stem, Matrix& m, SafetensorsBuilder& file) {
  static const std::vector<float> kTable = {-1.0f,        -0.69619280f, -0.52507305f, -0.39491749f,
                                            -0.28444138f, -0.18477343f, -0.09105004f, 0.0f,
                                            0.07958030f,  0.16093020f,  0.24611230f,  0.33791524f,
                                            0.44070983f,  0.56261700f,  0.72295684f,  1.0f};
  constexpr uint64_t kNested = 8;
  constexpr float kOffset = 0.125f;
  std::vector<float> magnitudes_table(256);
  for (int i = 0; i < 256; ++i) magnitudes_table[i] = static_cast<float>(i) / 128 - 1;
  const uint64_t blocks = m.values.size() / 64;
  std::vector<uint8_t> codes(m.values.size() / 2), magnitudes(blocks);
  std::vector<float> nested((blocks + kNested - 1) / kNested, 1e-6f), absmax(blocks, 1e-6f);
  for (uint64_t i = 0; i < m.values.size(); ++i)
    absmax[i / 64] = std::max(absmax[i / 64], std::abs(m.values[i]));
  for (uint64_t b = 0; b < blocks; ++b)
    nested[b / kNested] = std::max(nested[b / kNested], std::abs(absmax[b] - kOffset));
  for (uint64_t b = 0; b < blocks; ++b) {
    const float part = (absmax[b] - kOffset) / nested[b / kNested];
    magnitudes[b] =
        static_cast<uint8_t>(std::clamp(std::lround((part + 1) * 128), long{0}, long{255}));
    absmax[b] = magnitudes_table[magnitudes[b]] * nested[b / kNested] + kOffset;
  }
  for (uint64_t i = 0; i < m.values.size(); ++i) {
    const float wanted = m.values[i] / absmax[i / 64];
    const auto best = std::min_element(kTable.begin(), kTable.end(), [&](float a, float b) {
      return std::abs(a - wanted) < std::abs(b - wanted);
    });
    const auto code = static_cast<uint8_t>(best - kTable.begin());
    codes[i / 2] |= static_cast<uint8_t>(i % 2 == 0 ? code << 4 : code);
    m.values[i] = *best * absmax[i / 64];
  }
  const std::string state = R"({"quant_type":"nf4","blocksize":64,"dtype":"bfloat16","shape":[)" +
                            std::to_string(m.out) + "," + std::to_string(m.in) +
                            R"(],"nested_blocksize":8,"nested_offset":0.125})";
  file.add_values(stem + ".weight", "U8", {codes.size(), 1}, codes)
      .add_values(stem + ".weight.absmax", "U8", {blocks}, magnitudes)
      .add_values(stem + ".weight.quant_map", "F32", {16}, kTable)
      .add_values(stem + ".weight.nested_absmax", "F32", {nested.size()}, nested)
      .add_values(stem + ".weight.nested_quant_map", "F32", {256}, magnitudes_table)
      .add(stem + ".weight.quant_state.bitsandbytes__nf4", "U8", {state.size()}, state);
}

/// bitsandbytes, 8 bits: int8 rows of 127ths of their largest magnitude.
void llm_int8(const std::string& stem, Matrix& m, SafetensorsBuilder& file) {
  std::vector<int8_t> levels(m.out * m.in);
  std::vector<float> absmax;
  for (uint64_t o = 0; o < m.out; ++o) {
    absmax.push_back(largest(m, o, 0, m.in));
    for (uint64_t i = 0; i < m.in; ++i) {
      levels[o * m.in + i] = static_cast<int8_t>(std::lround(m.at(o, i) / absmax[o] * 127));
      m.at(o, i) = static_cast<float>(levels[o * m.in + i]) * absmax[o] / 127;
    }
  }
  file.add_values(stem + ".weight", "I8", {m.out, m.in}, levels)
      .add_values(stem + ".SCB", "F32", {m.out}, absmax);
}

constexpr uint64_t kHidden = 64, kFfn = 128, kKv = 32, kVocab = 96;

/// A Llama of random weights, once packed and once in the floats that this means.
void write_models(const Packing& packing, SafetensorsBuilder& packed, SafetensorsBuilder& plain) {
  std::mt19937 random(11);
  std::normal_distribution<float> normal(0, 0.15f);
  const auto matrix = [&](uint64_t out, uint64_t in) {
    Matrix m{out, in, std::vector<float>(out * in)};
    for (float& value : m.values) value = normal(random);
    return m;
  };
  const auto both = [&](const std::string& name, const Matrix& m) {
    for (SafetensorsBuilder* file : {&packed, &plain})
      file->add_values(name, "F32", {m.out, m.in}, m.values);
  };
  const auto norm = [&](const std::string& name) {
    for (SafetensorsBuilder* file : {&packed, &plain})
      file->add_values(name, "F32", {kHidden}, std::vector<float>(kHidden, 1.0f));
  };
  both("model.embed_tokens.weight", matrix(kVocab, kHidden));
  both("lm_head.weight", matrix(kVocab, kHidden));
  norm("model.norm.weight");
  for (int layer = 0; layer < 2; ++layer) {
    const std::string prefix = "model.layers." + std::to_string(layer) + ".";
    norm(prefix + "input_layernorm.weight");
    norm(prefix + "post_attention_layernorm.weight");
    const std::tuple<const char*, uint64_t, uint64_t> parts[] = {
        {"self_attn.q_proj", kHidden, kHidden}, {"self_attn.k_proj", kKv, kHidden},
        {"self_attn.v_proj", kKv, kHidden},     {"self_attn.o_proj", kHidden, kHidden},
        {"mlp.gate_proj", kFfn, kHidden},       {"mlp.up_proj", kFfn, kHidden},
        {"mlp.down_proj", kHidden, kFfn}};
    for (const auto& [name, out, in] : parts) {
      Matrix m = matrix(out, in);
      packing(prefix + name, m, packed);
      plain.add_values(prefix + name + ".weight", "F32", {out, in}, m.values);
    }
  }
}

std::vector<float> logits_of(const TempDir& folder) {
  const auto tensors = mk::SafetensorsFolder::open(folder.path());
  const mk::ModelSpec spec =
      mk::model_spec_from_folder(*tensors, mk::Config::read(folder.path() / "config.json"));
  ThreadPool pool(2);
  const Weights weights(spec, uint64_t{1} << 30, {std::malloc, std::free}, pool,
                        [](uint64_t, uint64_t) {});
  const Transformer transformer(spec, weights, pool);
  std::vector<int32_t> ids(24);
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int32_t>(i * 37 % kVocab);
  KvCache cache;
  const std::vector<float> hidden = transformer.forward(ids, cache);
  std::vector<float> logits(spec.vocab_size);
  transformer.logits(std::span(hidden).last(spec.hidden_size), logits);
  return logits;
}

std::string config_with(const std::string& quantization) {
  return R"({"model_type":"llama","hidden_size":64,"intermediate_size":128,"num_hidden_layers":2,)"
         R"("num_attention_heads":4,"num_key_value_heads":2,"vocab_size":96,"rms_norm_eps":1e-5,)"
         R"("max_position_embeddings":128,"tie_word_embeddings":false,"quantization_config":)" +
         quantization + "}";
}

}  // namespace

BOOST_AUTO_TEST_CASE(packed_models_mean_their_floats) {
  const struct {
    const char* name;
    Packing packing;
    const char* config;
  } cases[] = {
      {"compressed-tensors int4", packed_integers(true),
       R"({"quant_method":"compressed-tensors","format":"pack-quantized"})"},
      {"compressed-tensors int4 with zero points", packed_integers(false),
       R"({"quant_method":"compressed-tensors","format":"pack-quantized"})"},
      {"compressed-tensors int8", int8_rows,
       R"({"quant_method":"compressed-tensors","format":"int-quantized"})"},
      {"compressed-tensors fp8", float8(1, 4096, ".weight_scale"),
       R"({"quant_method":"compressed-tensors","format":"float-quantized"})"},
      {"compressed-tensors nvfp4", nvfp4,
       R"({"quant_method":"compressed-tensors","format":"nvfp4-pack-quantized"})"},
      {"fp8 of blocks", float8(48, 48, ".weight_scale_inv"),
       R"({"quant_method":"fp8","weight_block_size":[48,48]})"},
      {"bitsandbytes nf4", nf4, R"({"quant_method":"bitsandbytes","load_in_4bit":true})"},
      {"bitsandbytes int8", llm_int8, R"({"quant_method":"bitsandbytes","load_in_8bit":true})"}};
  std::vector<float> unpacked;
  for (const auto& [name, packing, config] : cases) {
    BOOST_TEST_CONTEXT(name) {
      SafetensorsBuilder packed, plain;
      write_models(packing, packed, plain);
      const TempDir folders[2];
      for (int i = 0; i < 2; ++i) {
        folders[i].write("model.safetensors", (i == 0 ? packed : plain).bytes());
        folders[i].write("config.json", config_with(i == 0 ? config : "null"));
      }
      const std::vector<float> got = logits_of(folders[0]), want = logits_of(folders[1]);
      const auto [low, high] = std::minmax_element(want.begin(), want.end());
      float worst = 0;
      for (size_t i = 0; i < want.size(); ++i) worst = std::max(worst, std::abs(got[i] - want[i]));
      BOOST_TEST(*high - *low > 0.1f);
      BOOST_TEST(worst <= 1e-4f * (*high - *low),
                 "logits off by " << worst / (*high - *low) << " of their range");
      BOOST_TEST((want != unpacked));  // each packing rounds in a way of its own
      unpacked = want;
    }
  }
}
