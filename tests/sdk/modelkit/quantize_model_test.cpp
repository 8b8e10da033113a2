// Whole models: which tensor gets which type, files, and quantisation at load.
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstring>
#include <functional>
#include <iterator>

#include "gguf_builder.h"
#include "spnl/modelkit/block_formats.h"
#include "spnl/modelkit/error.h"
#include "spnl/modelkit/quantize.h"
#include "spnl/modelkit/quantize_file.h"
#include "spnl/modelkit/quantize_isq.h"

using namespace spnl::modelkit;
using namespace spnl::test;
namespace fs = std::filesystem;

namespace {

ErrorCode code_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    BOOST_TEST_MESSAGE(error.what());
    return error.code();
  }
  BOOST_FAIL("nothing thrown");
  return ErrorCode::kInvalid;
}

std::string name_of(TensorType type) { return std::string(tensor_type_info(type)->name); }

/// What llama.cpp's quantiser (llama_model_quantize of llama-cpp-python 0.3.36) chose for a llama
/// of 24 layers, 8 heads and 2 key-value heads: output, embedding, attn_q, attn_output, and the
/// bits of attn_v and ffn_down layer by layer.
struct PeerChoice {
  const char *mix, *output, *embedding, *query, *attention_output, *values, *downs;
};
constexpr PeerChoice kPeerChoices[] = {
    {"Q4_0", "Q6_K", "Q4_0", "Q4_0", "Q4_0", "444444444444444444444444",
     "444444444444444444444444"},
    {"Q2_K", "Q6_K", "Q2_K", "Q2_K", "Q3_K", "444444444444444444444444",
     "333333333333333333333333"},
    {"Q3_K_S", "Q6_K", "Q3_K", "Q3_K", "Q3_K", "333333333333333333333333",
     "333333333333333333333333"},
    {"Q3_K_M", "Q6_K", "Q3_K", "Q3_K", "Q4_K", "554444444444444444444444",
     "544444444444444444444444"},
    {"Q3_K_L", "Q6_K", "Q3_K", "Q3_K", "Q5_K", "555555555555555555555555",
     "555555555555555555555555"},
    {"Q4_K_S", "Q6_K", "Q4_K", "Q4_K", "Q4_K", "555544444444444444444444",
     "555444444444444444444444"},
    {"Q4_K_M", "Q6_K", "Q4_K", "Q4_K", "Q4_K", "666446446446446446446666",
     "666446446446446446446666"},
    {"Q5_K_S", "Q6_K", "Q5_K", "Q5_K", "Q5_K", "555555555555555555555555",
     "555555555555555555555555"},
    {"Q5_K_M", "Q6_K", "Q5_K", "Q5_K", "Q5_K", "666556556556556556556666",
     "666556556556556556556666"},
    {"Q6_K", "Q6_K", "Q6_K", "Q6_K", "Q6_K", "666666666666666666666666",
     "666666666666666666666666"},
    {"IQ4_XS", "Q6_K", "IQ4_XS", "IQ4_XS", "IQ4_XS", "555555555555555555555555",
     "555444444444444444444444"},
};
constexpr uint32_t kLayers = 24;

Tensor matrix(std::string_view name, uint64_t columns = 256, TensorType type = TensorType::kF16) {
  return {name, type, 2, {columns, 256, 1, 1}, nullptr, 0};
}

char bits_of(TensorType type) {
  const std::string name = name_of(type);
  return name[name.find('Q') + 1];
}

std::unique_ptr<GgufFile> write_and_open(const TempDir& folder, const GgufBuilder& builder,
                                         const char* name = "in.gguf") {
  return GgufFile::open(folder.write(name, builder.bytes()));
}

/// A llama as in gguf_builder.h, wide enough for K blocks.
GgufBuilder wide_model() {
  GgufBuilder gguf;
  gguf.alignment = 32;
  gguf.string("general.architecture", "llama")
      .u32("llama.block_count", 1)
      .u32("general.file_type", 1);
  gguf.numbers<int32_t>("llama.attention.head_count_kv", kI32, {1});
  add_vocabulary(gguf);
  gguf.floats("token_embd.weight", {256, kTinyVocabulary}).floats("output_norm.weight", {256}, 1);
  gguf.floats("blk.0.ffn_gate_inp.weight", {256, 4}).floats("blk.0.attn_q.weight", {256, 3000});
  gguf.floats("blk.0.ffn_down.weight", {96, 256});
  return gguf;
}

std::vector<float> floats_of(const Tensor& tensor) {
  std::vector<float> out(tensor.elements());
  dequantize_row(tensor.type, tensor.data, out.size(), out.data());
  return out;
}

}  // namespace

BOOST_AUTO_TEST_CASE(mixes_choose_types_as_the_usual_quantiser_does) {
  std::vector<std::string> names = {"output.weight", "token_embd.weight", "blk.0.attn_q.weight",
                                    "blk.0.attn_output.weight"};
  for (const char* role : {"attn_v", "ffn_down"})
    for (uint32_t i = 0; i < kLayers; ++i)
      names.push_back("blk." + std::to_string(i) + "." + role + ".weight");
  std::vector<Tensor> tensors;
  for (const std::string& name : names) tensors.push_back(matrix(name));
  for (const PeerChoice& peer : kPeerChoices) {
    const auto types = quantized_types(*find_quant_mix(peer.mix), {kLayers, 8, 2, 0}, tensors);
    BOOST_TEST(name_of(types[0]) == peer.output, peer.mix);
    BOOST_TEST(name_of(types[1]) == peer.embedding, peer.mix);
    BOOST_TEST(name_of(types[2]) == peer.query, peer.mix);
    BOOST_TEST(name_of(types[3]) == peer.attention_output, peer.mix);
    std::string values, downs;
    for (uint32_t i = 0; i < kLayers; ++i) {
      values += bits_of(types[4 + i]);
      downs += bits_of(types[4 + kLayers + i]);
    }
    BOOST_TEST(values == peer.values, peer.mix);
    BOOST_TEST(downs == peer.downs, peer.mix);
  }
}

BOOST_AUTO_TEST_CASE(what_has_no_whole_blocks_falls_back_and_some_stay) {
  Tensor norm = matrix("blk.0.attn_norm.weight", 256, TensorType::kF32);
  norm.n_dims = 1;
  const std::vector<Tensor> tensors = {
      matrix("token_embd.weight"), norm, matrix("blk.0.ffn_gate_inp.weight"),
      matrix("blk.0.attn_q.weight", 96), matrix("blk.0.attn_k.weight", 40)};
  const auto types = quantized_types(*find_quant_mix("q4_k"), {1, 1, 1, 0}, tensors);
  using enum TensorType;
  const TensorType want[] = {kQ6_K /* tied: it is the output */, kF32, kF16, kQ5_0, kF16};
  for (size_t i = 0; i < types.size(); ++i) BOOST_TEST(name_of(types[i]) == name_of(want[i]));
  BOOST_TEST(name_of(quantized_types(*find_quant_mix("Q8_0"), {}, tensors)[0]) == "Q8_0");
  BOOST_TEST(!find_quant_mix("Q9").has_value());
}

BOOST_AUTO_TEST_CASE(a_quantised_file_holds_the_same_model) {
  const TempDir folder;
  const auto in = write_and_open(folder, wide_model());
  const fs::path one = folder.path() / "one.gguf", many = folder.path() / "many.gguf";
  QuantizeOptions options;
  options.mix = *find_quant_mix("Q4_K_M");
  uint64_t reported = 0;
  options.progress = [&](const QuantizeProgress& done) { reported = done.elements; };
  BOOST_TEST(quantize_gguf(*in, one, options));
  options.threads = 5;
  BOOST_TEST(quantize_gguf(*in, many, options));
  std::ifstream a(one, std::ios::binary), b(many, std::ios::binary);
  BOOST_TEST((std::string(std::istreambuf_iterator<char>(a), {}) ==
              std::string(std::istreambuf_iterator<char>(b), {})));

  const auto out = GgufFile::open(many);
  BOOST_TEST(out->get_uint("general.file_type").value() == 15u);
  BOOST_TEST(out->get_uint("general.quantization_version").value() == 2u);
  BOOST_TEST(out->get_strings("tokenizer.ggml.tokens")->size() == kTinyVocabulary);
  BOOST_TEST(out->tensors().size() == in->tensors().size());
  uint64_t total = 0;
  for (const Tensor& tensor : in->tensors()) {
    total += tensor.elements();
    const Tensor& after = *out->find(tensor.name);
    const std::vector<float> x = floats_of(tensor), y = floats_of(after);
    double error = 0, size = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      error += std::pow(double{x[i]} - y[i], 2);
      size += std::pow(double{x[i]}, 2);
    }
    BOOST_TEST(std::sqrt(error / size) < (after.type == TensorType::kF32 ? 1e-9 : 0.08),
               tensor.name);
  }
  BOOST_TEST(reported == total);
  BOOST_TEST(name_of(out->find("blk.0.ffn_gate_inp.weight")->type) == "F32");
  BOOST_TEST(name_of(out->find("blk.0.attn_q.weight")->type) == "Q4_K");
}

BOOST_AUTO_TEST_CASE(bad_values_and_a_stop_leave_no_file) {
  const TempDir folder;
  GgufBuilder builder = wide_model();
  std::string row(256 * 8, '\0');
  const float nan = NAN;
  std::memcpy(row.data() + 256 * 4 + 40, &nan, sizeof nan);
  builder.tensor("blk.0.attn_k.weight", {256, 2}, 0, row);
  const auto in = write_and_open(folder, builder);
  QuantizeOptions options;
  options.mix = *find_quant_mix("Q8_0");
  options.threads = 3;
  BOOST_TEST((code_of([&] { quantize_gguf(*in, folder.path() / "out.gguf", options); }) ==
              ErrorCode::kCorrupt));
  std::stop_source stop;
  stop.request_stop();
  options.stop = stop.get_token();
  BOOST_TEST(!quantize_gguf(*in, folder.path() / "out.gguf", options));
  BOOST_TEST(std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator()) == 1);
}

BOOST_AUTO_TEST_CASE(isq_names_are_those_of_mistral_rs) {
  for (const char* name : {"Q4K", "q4k", "Q4_K", "4"})
    BOOST_TEST(name_of(parse_isq(name)) == "Q4_K");
  for (const char* name : {"Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"})
    BOOST_TEST(name_of(parse_isq(name)) == name);
  BOOST_TEST(name_of(parse_isq("Q6K")) == "Q6_K");
  BOOST_TEST(name_of(parse_isq("8")) == "Q8_0");
  for (const char* name : {"HQQ4", "afq8", "FP8", "Q8_1"})
    BOOST_TEST((code_of([&] { parse_isq(name); }) == ErrorCode::kUnsupported));
  for (const char* name : {"", "Q7K", "true"})
    BOOST_TEST((code_of([&] { parse_isq(name); }) == ErrorCode::kInvalid));
}

BOOST_AUTO_TEST_CASE(isq_quantises_linears_alone_and_row_by_row) {
  const TempDir folder;
  GgufBuilder builder;
  builder.floats("x", {256, 6})
      .floats("v", {256})
      .tensor("q", {256, 1}, 8, std::string(34 * 8, '\1'));
  const auto file = write_and_open(folder, builder);
  const Weight x(*file->find("x"));
  ModelSpec spec;
  spec.layers.resize(1);
  LayerSpec& layer = spec.layers[0];
  spec.embedding = spec.output.weight = x;
  layer.pre_attention.weight = Weight(*file->find("v"));
  layer.attention.q = {x, Weight(*file->find("v"))};
  layer.attention.k.weight = Weight(*file->find("q"));
  layer.experts.router.weight = x;
  layer.experts.experts.resize(1);
  layer.experts.experts[0].down.weight = x;
  BOOST_TEST(quantize_linears(spec, TensorType::kQ4_K) == 3u);
  BOOST_TEST(name_of(layer.attention.q.weight.type()) == "Q4_K");
  BOOST_TEST(name_of(layer.experts.experts[0].down.weight.type()) == "Q4_K");
  BOOST_TEST(name_of(spec.output.weight.type()) == "Q6_K");
  BOOST_TEST(name_of(layer.attention.k.weight.type()) == "Q8_0");
  for (const Weight* same : {&spec.embedding, &layer.pre_attention.weight, &layer.attention.q.bias,
                             &layer.experts.router.weight})
    BOOST_TEST(name_of(same->type()) == "F32");

  const Weight& q = layer.attention.q.weight;
  std::vector<std::byte> whole(q.bytes()), part(q.row_bytes());
  const std::vector<float> floats = floats_of(*file->find("x"));
  quantize_row(TensorType::kQ4_K, floats.data(), floats.size(), whole.data());
  for (uint64_t row = 0; row < q.rows(); ++row) {
    q.read_blocks(row, 1, part.data());
    BOOST_TEST((std::memcmp(part.data(), whole.data() + row * part.size(), part.size()) == 0));
  }
  BOOST_TEST((q.rows_of(2, 3).place() != q.place()));
  std::vector<float> back(256);
  q.rows_of(2, 3).read_floats(1, 1, back.data());
  for (size_t i = 0; i < back.size(); ++i)
    BOOST_TEST(std::abs(back[i] - floats[3 * 256 + i]) < 0.05f);
}
