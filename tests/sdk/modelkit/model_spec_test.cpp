#include "spnl/modelkit/model_spec.h"

#include <boost/test/unit_test.hpp>
#include <cmath>
#include <functional>

#include "gguf_builder.h"
#include "spnl/modelkit/error.h"

using namespace spnl::modelkit;
using namespace spnl::test;

namespace {

ModelSpec read_spec(const GgufBuilder& gguf) {
  const TempDir dir;
  return model_spec_from_gguf(*GgufFile::open(dir.write("m.gguf", gguf.bytes())));
}

void check_refused(const GgufBuilder& gguf, ErrorCode code, std::string_view word) {
  try {
    read_spec(gguf);
    BOOST_ERROR("accepted; should say " << word);
  } catch (const Error& error) {
    BOOST_TEST((error.code() == code), error.what());
    BOOST_TEST(std::string(error.what()).find(word) != std::string::npos,
               "'" << error.what() << "' does not say '" << word << "'");
  }
}

/// The tiny llama with one number of its metadata replaced, or left out when there is none.
GgufBuilder llama_with(const std::string& replaced, std::optional<uint32_t> number) {
  const std::pair<const char*, uint32_t> values[] = {
      {"block_count", 1},          {"context_length", 64},      {"embedding_length", 8},
      {"feed_forward_length", 16}, {"attention.head_count", 2}, {"attention.head_count_kv", 1},
      {"rope.dimension_count", 4}};
  GgufBuilder gguf;
  gguf.string("general.architecture", "llama").f32("llama.attention.layer_norm_rms_epsilon", 1e-5f);
  for (const auto& [key, value] : values)
    if (key != replaced) gguf.u32(std::string("llama.") + key, value);
  if (number) gguf.u32("llama." + replaced, *number);
  add_llama_tensors(gguf);
  return gguf;
}

}  // namespace

BOOST_AUTO_TEST_CASE(reads_a_llama) {
  const ModelSpec spec = read_spec(tiny_llama());
  BOOST_TEST(spec.architecture == "llama");
  BOOST_TEST(spec.hidden_size == 8u);
  BOOST_TEST(spec.vocab_size == kTinyVocabulary);
  BOOST_TEST(spec.context == 64u);
  BOOST_TEST((spec.output.weight.place() == spec.embedding.place()));  // tied
  BOOST_TEST_REQUIRE(spec.layers.size() == 1u);
  const LayerSpec& layer = spec.layers[0];
  BOOST_TEST(layer.attention.head_dim == 4u);
  BOOST_TEST(layer.attention.scale == 0.5);
  BOOST_TEST(layer.attention.q.weight.name() == "blk.0.attn_q.weight");
  BOOST_TEST(!layer.attention.q.bias);
  BOOST_TEST_REQUIRE(spec.ropes.size() == 1u);
  BOOST_TEST((spec.ropes[0].pairs == RopePairs::kInterleaved));
  BOOST_TEST(spec.ropes[0].inv_freq[0] == 1.0);
  BOOST_TEST(std::abs(spec.ropes[0].inv_freq[1] - 0.01) < 1e-12);
}

BOOST_AUTO_TEST_CASE(optional_parts) {
  GgufBuilder gguf = tiny_llama();
  gguf.floats("output.weight", {8, kTinyVocabulary})
      .floats("blk.0.attn_q.bias", {8})
      .floats("blk.0.ffn_down.bias", {8});
  gguf.tensor("rope_freqs.weight", {2}, 0, GgufBuilder::raw(1.0f) + GgufBuilder::raw(8.0f));
  gguf.string("llama.rope.scaling.type", "linear").f32("llama.rope.scaling.factor", 2);
  const ModelSpec spec = read_spec(gguf);
  BOOST_TEST(spec.output.weight.name() == "output.weight");
  BOOST_TEST(spec.layers[0].attention.q.bias.name() == "blk.0.attn_q.bias");
  BOOST_TEST(spec.layers[0].mlp.down.bias.name() == "blk.0.ffn_down.bias");
  BOOST_TEST(spec.ropes[0].inv_freq[0] == 0.5);
  BOOST_TEST(std::abs(spec.ropes[0].inv_freq[1] - 0.01 / 16) < 1e-12);
}

BOOST_AUTO_TEST_CASE(absurd_numbers_are_refused) {
  for (const char* key : {"block_count", "context_length", "embedding_length",
                          "feed_forward_length", "attention.head_count"}) {
    check_refused(llama_with(key, 0), ErrorCode::kCorrupt, key);
    check_refused(llama_with(key, std::nullopt), ErrorCode::kCorrupt, key);
    check_refused(llama_with(key, 0xFFFFFFFF), ErrorCode::kCorrupt, key);
  }
  check_refused(llama_with("block_count", 1000000), ErrorCode::kCorrupt, "block_count");
  check_refused(llama_with("block_count", 2), ErrorCode::kCorrupt, "blk.1.");
  check_refused(llama_with("embedding_length", 16), ErrorCode::kCorrupt, "token_embd.weight");
  check_refused(llama_with("attention.head_count", 1u << 30), ErrorCode::kCorrupt, "");
  check_refused(llama_with("attention.head_count_kv", 2), ErrorCode::kCorrupt, "attn_k.weight");
  check_refused(llama_with("attention.head_count_kv", 0), ErrorCode::kCorrupt, "head_count_kv");
  check_refused(llama_with("feed_forward_length", 17), ErrorCode::kCorrupt, "ffn_gate.weight");
  check_refused(llama_with("rope.dimension_count", 2), ErrorCode::kCorrupt, "rope.dimension_count");
  check_refused(llama_with("attention.key_length", 0x7FFFFFFE), ErrorCode::kCorrupt, "");
  check_refused(llama_with("expert_count", 8), ErrorCode::kCorrupt, "router");
}

BOOST_AUTO_TEST_CASE(what_is_not_known_is_named) {
  check_refused(GgufBuilder().string("general.architecture", "mamba"), ErrorCode::kUnsupported,
                "known: llama");
  check_refused(GgufBuilder(), ErrorCode::kCorrupt, "general.architecture");
  GgufBuilder scaled = tiny_llama();
  check_refused(scaled.string("llama.rope.scaling.type", "longrope"), ErrorCode::kCorrupt,
                "longrope");
  GgufBuilder typed;
  add_llama_values(typed);
  typed.tensor("token_embd.weight", {8, kTinyVocabulary}, 24,
               std::string(8 * kTinyVocabulary, '\0'));
  check_refused(typed, ErrorCode::kUnsupported, "I8");
  GgufBuilder factors = tiny_llama();
  check_refused(factors.tensor("rope_freqs.weight", {2}, 0, std::string(8, '\0')),
                ErrorCode::kCorrupt, "rope_freqs");
  GgufBuilder lists;
  lists.string("general.architecture", "llama")
      .numbers<uint32_t>("llama.attention.head_count", kU32, {});
  lists.u32("llama.block_count", 1).u32("llama.embedding_length", 8).u32("llama.context_length", 9);
  add_llama_tensors(lists);
  check_refused(lists, ErrorCode::kCorrupt, "head_count");
}
