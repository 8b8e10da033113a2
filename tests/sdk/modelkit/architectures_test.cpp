// What files leave out, say in two ways or say misleadingly. That each architecture computes the
// right logits is tested in tests/plugins/cpu_ref/forward_test.cpp.
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <fstream>
#include <functional>
#include <iterator>

#include "gguf_builder.h"
#include "spnl/modelkit/error.h"
#include "spnl/modelkit/model_spec.h"
#include "spnl/modelkit/safetensors.h"

namespace fs = std::filesystem;
using namespace spnl::modelkit;
using namespace spnl::test;

namespace {

std::string read_text(const fs::path& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// A spec with what its weights show.
struct Read {
  std::unique_ptr<TensorSource> tensors;
  ModelSpec spec;
};

Read read_gguf(const GgufBuilder& gguf) {
  const TempDir dir;
  auto file = GgufFile::open(dir.write("m.gguf", gguf.bytes()));
  ModelSpec spec = model_spec_from_gguf(*file);
  return {std::move(file), std::move(spec)};
}

/// A model of tests/fixtures/models with pieces of its config.json replaced. Each must be there.
Read read_folder(const std::string& name,
                 const std::vector<std::pair<std::string, std::string>>& edits) {
  const fs::path folder = fs::path(SPNL_TEST_FIXTURES_DIR) / "models" / name;
  std::string text = read_text(folder / "config.json");
  for (const auto& [from, to] : edits) {
    const size_t at = text.find(from);
    BOOST_TEST_REQUIRE(at != std::string::npos, from);
    text.replace(at, from.size(), to);
  }
  auto tensors = SafetensorsFolder::open(folder);
  ModelSpec spec = model_spec_from_folder(*tensors, Config::parse(text, folder / "config.json"));
  return {std::move(tensors), std::move(spec)};
}

void check_refused(const std::function<void()>& read, ErrorCode code, std::string_view word) {
  try {
    read();
    BOOST_ERROR("accepted; should say " << word);
  } catch (const Error& error) {
    BOOST_TEST((error.code() == code), error.what());
    BOOST_TEST(std::string(error.what()).find(word) != std::string::npos,
               "'" << error.what() << "' does not say '" << word << "'");
  }
}

std::vector<float> floats(const Weight& weight) {
  std::vector<float> values(weight.elements());
  weight.read_floats(0, weight.rows(), values.data());
  return values;
}

std::vector<uint32_t> windows(const ModelSpec& spec) {
  std::vector<uint32_t> windows;
  for (const LayerSpec& layer : spec.layers) windows.push_back(layer.attention.window);
  return windows;
}

std::vector<bool> turns(const ModelSpec& spec) {
  std::vector<bool> turns;
  for (const LayerSpec& layer : spec.layers)
    turns.push_back(!spec.ropes[layer.attention.rope].inv_freq.empty());
  return turns;
}

constexpr uint64_t kHidden = 8, kFfn = 6;

/// Keys and embeddings of a model with 2 heads of 4 and 1 key-value head.
GgufBuilder gguf_values(const std::string& arch, uint32_t layers) {
  GgufBuilder gguf;
  gguf.string("general.architecture", arch);
  gguf.u32(arch + ".block_count", layers).u32(arch + ".embedding_length", kHidden);
  gguf.u32(arch + ".context_length", 64).u32(arch + ".feed_forward_length", kFfn);
  gguf.u32(arch + ".attention.head_count", 2).u32(arch + ".attention.head_count_kv", 1);
  gguf.floats("token_embd.weight", {kHidden, 16}).floats("output_norm.weight", {kHidden});
  return gguf;
}

void add_attention(GgufBuilder& gguf, const std::string& block) {
  gguf.floats(block + "attn_norm.weight", {kHidden}).floats(block + "ffn_norm.weight", {kHidden});
  gguf.floats(block + "attn_q.weight", {kHidden, 8}).floats(block + "attn_k.weight", {kHidden, 4});
  gguf.floats(block + "attn_v.weight", {kHidden, 4});
  gguf.floats(block + "attn_output.weight", {8, kHidden});
}

void add_mlp(GgufBuilder& gguf, const std::string& block) {
  gguf.floats(block + "ffn_gate.weight", {kHidden, kFfn});
  gguf.floats(block + "ffn_up.weight", {kHidden, kFfn});
  gguf.floats(block + "ffn_down.weight", {kFfn, kHidden});
}

GgufBuilder gguf_model(const std::string& arch, uint32_t layers) {
  GgufBuilder gguf = gguf_values(arch, layers);
  for (uint32_t i = 0; i < layers; ++i) {
    const std::string block = "blk." + std::to_string(i) + ".";
    add_attention(gguf, block);
    add_mlp(gguf, block);
    if (arch == "gemma2" || arch == "gemma3")
      gguf.floats(block + "post_attention_norm.weight", {kHidden})
          .floats(block + "post_ffw_norm.weight", {kHidden});
    if (arch == "gemma3")
      gguf.floats(block + "attn_q_norm.weight", {4}).floats(block + "attn_k_norm.weight", {4});
  }
  return gguf;
}

}  // namespace

BOOST_AUTO_TEST_CASE(windows_that_are_off_or_left_out) {
  BOOST_TEST(windows(read_folder("qwen2", {}).spec) == (std::vector<uint32_t>{0, 8}),
             boost::test_tools::per_element());
  const auto off = read_folder("qwen2", {{"\"use_sliding_window\": true", "\"x\": 0"}});
  BOOST_TEST(windows(off.spec) == (std::vector<uint32_t>{0, 0}), boost::test_tools::per_element());
  const auto null = read_folder("mistral", {{"\"sliding_window\": 8", "\"sliding_window\": null"}});
  BOOST_TEST(windows(null.spec) == (std::vector<uint32_t>{0, 0}), boost::test_tools::per_element());
  const auto silent = read_folder("mistral", {{"\"sliding_window\"", "\"x\""}});
  BOOST_TEST(silent.spec.layers[0].attention.window == 4096u);
  // By the class's pattern where layer_types is missing: all but every sixth.
  const auto gemma = read_folder("gemma3", {{"\"layer_types\"", "\"x\""}});
  BOOST_TEST(windows(gemma.spec) == (std::vector<uint32_t>{8, 8, 8}),
             boost::test_tools::per_element());
  // GGUF files of Qwen 2 may hold the number of a window that is off.
  GgufBuilder gguf = gguf_model("qwen2", 1);
  gguf.u32("qwen2.attention.sliding_window", 8);
  for (const char* name : {"q", "k", "v"})
    gguf.floats(std::string("blk.0.attn_") + name + ".bias", {name[0] == 'q' ? 8ull : 4ull});
  BOOST_TEST(read_gguf(gguf).spec.layers[0].attention.window == 0u);
  check_refused(
      [] {
        read_folder("olmo3", {{"sliding_attention", "chunked_attention"}});
      },
      ErrorCode::kUnsupported, "chunked_attention");
}

BOOST_AUTO_TEST_CASE(scales_of_the_largest_gemmas_are_not_in_gguf_files) {
  BOOST_TEST(read_gguf(gguf_model("gemma2", 2)).spec.layers[0].attention.scale == 0.5);
  GgufBuilder largest = gguf_model("gemma2", 46);
  largest.u32("gemma2.attention.key_length", 4);
  BOOST_TEST(read_gguf(largest).spec.layers[0].attention.scale == 0.5);  // 8 / 2 heads
  GgufBuilder gemma3 = gguf_model("gemma3", 62);
  const ModelSpec spec = read_gguf(gemma3).spec;
  BOOST_TEST(spec.layers[61].attention.scale == 0.5);
  BOOST_TEST(spec.layers[0].attention.softcap == 0);
  BOOST_TEST(spec.embedding_scale == std::sqrt(8.0));
  BOOST_TEST(spec.layers[0].pre_attention.weight_offset == 0);  // the 1 is in the weights
  BOOST_TEST(read_folder("gemma3", {}).spec.layers[0].attention.k_norm.weight_offset == 1);
  BOOST_TEST(read_gguf(gguf_model("gemma2", 2)).spec.logit_softcap == 30);
  const std::string cap = "\"final_logit_softcapping\"";
  BOOST_TEST(read_folder("gemma2", {{cap + ": 3.0", cap + ": null"}}).spec.logit_softcap == 0);
  BOOST_TEST(read_folder("gemma2", {{cap, "\"x\""}}).spec.logit_softcap == 30);
}

BOOST_AUTO_TEST_CASE(scale_of_logits_divides_or_multiplies) {
  GgufBuilder granite = gguf_model("granite", 1);
  granite.f32("granite.logit_scale", 4);
  BOOST_TEST(read_gguf(granite).spec.logit_scale == 0.25);
  GgufBuilder cohere = gguf_model("command-r", 1);
  cohere.f32("command-r.logit_scale", 4);
  BOOST_TEST(read_gguf(cohere).spec.logit_scale == 4);
  BOOST_TEST(read_gguf(cohere).spec.layers[0].parallel);
  BOOST_TEST(!read_gguf(cohere).spec.layers[0].pre_ffn);
}

BOOST_AUTO_TEST_CASE(layers_without_positions) {
  BOOST_TEST(turns(read_gguf(gguf_model("smollm3", 5)).spec) ==
                 (std::vector<bool>{true, true, true, false, true}),
             boost::test_tools::per_element());
  GgufBuilder cohere = gguf_model("cohere2", 4);
  cohere.u32("cohere2.attention.sliding_window", 8);
  BOOST_TEST(turns(read_gguf(cohere).spec) == (std::vector<bool>{true, true, true, false}),
             boost::test_tools::per_element());
  GgufBuilder granite = gguf_model("granite", 1);
  granite.flag("granite.rope.scaling.finetuned", false);
  BOOST_TEST(!turns(read_gguf(granite).spec)[0]);
}

BOOST_AUTO_TEST_CASE(matrices_in_one_tensor) {
  GgufBuilder gguf = gguf_values("qwen2", 1);
  gguf.floats("blk.0.attn_qkv.weight", {kHidden, 16}).floats("blk.0.attn_q.bias", {8});
  gguf.floats("blk.0.attn_k.bias", {4}).floats("blk.0.attn_v.bias", {4});
  gguf.floats("blk.0.attn_norm.weight", {kHidden}).floats("blk.0.ffn_norm.weight", {kHidden});
  gguf.floats("blk.0.attn_output.weight", {8, kHidden});
  gguf.floats("blk.0.ffn_up.weight", {kHidden, 2 * kFfn});
  gguf.floats("blk.0.ffn_down.weight", {kFfn, kHidden});
  const Read read = read_gguf(gguf);
  const auto all = floats(Weight(*read.tensors->find("blk.0.attn_qkv.weight")));
  const AttentionSpec& attention = read.spec.layers[0].attention;
  BOOST_TEST((floats(attention.k.weight) == std::vector<float>(&all[64], &all[96])));
  BOOST_TEST((floats(attention.v.weight) == std::vector<float>(&all[96], &all[128])));
  BOOST_TEST(attention.v.bias.name() == "blk.0.attn_v.bias");
  const auto both = floats(Weight(*read.tensors->find("blk.0.ffn_up.weight")));
  const Mlp& mlp = read.spec.layers[0].mlp;
  BOOST_TEST((floats(mlp.gate.weight) == std::vector<float>(&both[0], &both[48])));  // gate first
  BOOST_TEST((floats(mlp.up.weight) == std::vector<float>(&both[48], &both[96])));
  check_refused([] { read_gguf(gguf_model("qwen2", 1)); }, ErrorCode::kCorrupt, "bias");
}

BOOST_AUTO_TEST_CASE(experts_in_every_form) {
  const auto model = [](const std::string& arch) {
    GgufBuilder gguf = gguf_values(arch, 1);
    add_attention(gguf, "blk.0.");
    gguf.u32(arch + ".expert_count", 2).u32(arch + ".expert_used_count", 1);
    gguf.floats("blk.0.ffn_gate_inp.weight", {kHidden, 2});
    return gguf;
  };
  GgufBuilder separate = model("llama"),
              fused = model("llama");  // as in 2023; with one tensor less
  for (const char* e : {"0", "1"}) {
    separate.floats(std::string("blk.0.ffn_gate.") + e + ".weight", {kHidden, kFfn});
    separate.floats(std::string("blk.0.ffn_up.") + e + ".weight", {kHidden, kFfn});
    separate.floats(std::string("blk.0.ffn_down.") + e + ".weight", {kFfn, kHidden});
  }
  const ModelSpec old = read_gguf(separate).spec;
  BOOST_TEST(old.layers[0].experts.experts[1].up.weight.name() == "blk.0.ffn_up.1.weight");
  BOOST_TEST(old.layers[0].experts.renormalise);
  fused.floats("blk.0.ffn_gate_up_exps.weight", {kHidden, 2 * kFfn, 2});
  fused.floats("blk.0.ffn_down_exps.weight", {kFfn, kHidden, 2});
  const Read read = read_gguf(fused);
  const auto all = floats(Weight(*read.tensors->find("blk.0.ffn_gate_up_exps.weight")));
  const auto& experts = read.spec.layers[0].experts.experts;
  BOOST_TEST((floats(experts[1].up.weight) == std::vector<float>(&all[144], &all[192])));
  BOOST_TEST((floats(experts[1].gate.weight) == std::vector<float>(&all[96], &all[144])));

  for (const auto& [used, word] : {std::pair(3u, "3 experts"), std::pair(0u, "is 0")}) {
    GgufBuilder wrong = gguf_values("llama", 1);
    add_attention(wrong, "blk.0.");
    wrong.u32("llama.expert_count", 2).u32("llama.expert_used_count", used);
    wrong.floats("blk.0.ffn_gate_inp.weight", {kHidden, 2});
    check_refused([&] { read_gguf(wrong); }, ErrorCode::kCorrupt, word);
  }
  check_refused(
      [] {
        read_folder("deepseek_v3", {{"\"n_group\": 4", "\"n_group\": 3"}});
      },
      ErrorCode::kCorrupt, "groups");
  check_refused(
      [] {
        read_folder("gpt_oss", {{"\"swiglu_limit\": 7.0", "\"swiglu_limit\": 6.0"}});
      },
      ErrorCode::kUnsupported, "swiglu_limit");
}

BOOST_AUTO_TEST_CASE(rules_of_routers) {
  const Experts v2 = read_folder("deepseek_v2", {}).spec.layers[1].experts;
  BOOST_TEST((v2.gating == Gating::kSoftmax && !v2.renormalise && !v2.group_score_is_top_two));
  BOOST_TEST(v2.groups == 4u);
  const auto greedy = read_folder("deepseek_v2", {{"group_limited_greedy", "greedy"}});
  BOOST_TEST(greedy.spec.layers[1].experts.groups == 0u);
  const Experts v3 = read_folder("deepseek_v3", {}).spec.layers[1].experts;
  BOOST_TEST((v3.gating == Gating::kSigmoid && v3.renormalise && v3.group_score_is_top_two));
  BOOST_TEST(v3.scale == 2.5);
  const auto qwen = read_folder("qwen3_moe", {{"\"norm_topk_prob\": true", "\"x\": 0"}});
  BOOST_TEST(!qwen.spec.layers[0].experts.renormalise);  // the class's default
  BOOST_TEST(read_folder("phimoe", {}).spec.layers[0].experts.jitter == 0.05);
}

BOOST_AUTO_TEST_CASE(latent_norms_have_an_eps_of_their_own_and_scores_grow_with_yarn) {
  const ModelSpec spec = read_folder("deepseek_v2", {}).spec;
  const AttentionSpec& attention = spec.layers[0].attention;
  BOOST_TEST(attention.latent.kv_a_norm.eps == 1e-6);
  BOOST_TEST(spec.layers[0].pre_attention.eps == 1e-3);
  const double growth = 1 + 0.07 * std::log(4.0);
  BOOST_TEST(std::abs(attention.scale - growth * growth / std::sqrt(12.0)) < 1e-9);
  BOOST_TEST(spec.ropes[0].magnitude == 1);
  BOOST_TEST(spec.ropes[0].first_dim == 4u);
}

BOOST_AUTO_TEST_CASE(heads_that_are_tied_or_not) {
  const auto tied = [](const std::string& model, const std::string& from, const std::string& to) {
    const Read read = read_folder(model, {{from, to}});
    return read.spec.output.weight.place() == read.spec.embedding.place();
  };
  const std::string yes = "\"tie_word_embeddings\": true", no = "\"tie_word_embeddings\": false";
  BOOST_TEST(tied("gemma", yes, "\"x\": 0"));  // the class's default
  BOOST_TEST(tied("llama", no, yes));          // though a head is there
  BOOST_TEST(!tied("llama", no, "\"x\": 0"));  // the class's default
  check_refused([&] { tied("gemma", yes, no); }, ErrorCode::kNotFound, "lm_head");
}

BOOST_AUTO_TEST_CASE(names_of_architectures) {
  const auto phi = read_folder("phimoe", {{"\"model_type\": \"phimoe\"", "\"x\": 0"},
                                          {"PhimoeForCausalLM", "PhiMoEForCausalLM"}});
  BOOST_TEST(phi.spec.architecture == "phimoe");
  check_refused(
      [] {
        read_folder("llama", {{"\"model_type\": \"llama\"", "\"model_type\": \"mamba\""}});
      },
      ErrorCode::kUnsupported, "deepseek_v3");
  BOOST_TEST(read_folder("gemma3-inside", {}).spec.layers[0].attention.heads == 8u);
  check_refused(
      [] {
        read_folder("gemma3", {{"\"use_bidirectional_attention\": false",
                                "\"use_bidirectional_attention\": true"}});
      },
      ErrorCode::kUnsupported, "directions");
  check_refused(
      [] {
        read_folder("llama", {{"\"silu\"", "\"mish\""}});
      },
      ErrorCode::kUnsupported, "mish");
}

BOOST_AUTO_TEST_CASE(rotary_scalings) {
  const auto llama = [](const std::string& scaling) {
    const std::string before = "\"rope_parameters\": {";
    return read_folder("llama",
                       {{before, before + scaling}, {"\"rope_type\": \"default\"", "\"x\": 0"}});
  };
  const ModelSpec linear = llama("\"type\": \"linear\", \"factor\": 4.0, ").spec;
  BOOST_TEST(linear.ropes[0].inv_freq[0] == 0.25);
  // Dynamic scaling starts where the context ends.
  const ModelSpec dynamic = llama("\"rope_type\": \"dynamic\", \"factor\": 4.0, ").spec;
  BOOST_TEST(dynamic.ropes[0].inv_freq[0] == 1);
  BOOST_TEST(dynamic.context == 128u);
  check_refused([&] { llama("\"rope_type\": \"spiral\", "); }, ErrorCode::kUnsupported, "spiral");
  check_refused([&] { llama("\"rope_type\": \"linear\", \"factor\": 0, "); }, ErrorCode::kCorrupt,
                "factor");
  check_refused(
      [] {
        read_folder("phi3", {{"[1.2, 3.0]", "[1.2]"}});
      },
      ErrorCode::kCorrupt, "long_factor");

  const RopeSpec longrope = read_folder("phi3", {}).spec.ropes[0];
  BOOST_TEST(longrope.long_from == 16u);
  BOOST_TEST(longrope.inv_freq.size() == 2u);  // half of 8 dimensions turn
  BOOST_TEST(std::abs(longrope.long_inv_freq[1] - 0.1 / 3.0) < 1e-12);
  const RopeSpec phimoe = read_folder("phimoe", {}).spec.ropes[0];
  BOOST_TEST((phimoe.long_inv_freq == phimoe.inv_freq));
  BOOST_TEST(phimoe.long_magnitude == 1.3);

  // The ends of yarn's ramp are rounded unless truncate is false, which GGUF files cannot say.
  const auto rounded = read_folder("gpt_oss", {{"\"truncate\": false", "\"truncate\": true"}});
  BOOST_TEST((rounded.spec.ropes[0].inv_freq != read_folder("gpt_oss", {}).spec.ropes[0].inv_freq));
}

BOOST_AUTO_TEST_CASE(numbers_for_each_layer) {
  GgufBuilder gguf;
  gguf.string("general.architecture", "llama").u32("llama.block_count", 2);
  gguf.u32("llama.embedding_length", kHidden).u32("llama.context_length", 64);
  gguf.numbers<int32_t>("llama.attention.head_count", kI32, {2, 1});
  gguf.numbers<int32_t>("llama.attention.head_count_kv", kI32, {1, 1});
  gguf.numbers<int32_t>("llama.feed_forward_length", kI32, {6, 5});
  gguf.u32("llama.attention.key_length", 4).u32("llama.attention.value_length", 4);
  gguf.floats("token_embd.weight", {kHidden, 16}).floats("output_norm.weight", {kHidden});
  add_attention(gguf, "blk.0.");
  add_mlp(gguf, "blk.0.");
  gguf.floats("blk.1.attn_norm.weight", {kHidden}).floats("blk.1.ffn_norm.weight", {kHidden});
  for (const char* name : {"q", "k", "v"})
    gguf.floats(std::string("blk.1.attn_") + name + ".weight", {kHidden, 4});
  gguf.floats("blk.1.attn_output.weight", {4, kHidden});
  gguf.floats("blk.1.ffn_gate.weight", {kHidden, 5}).floats("blk.1.ffn_up.weight", {kHidden, 5});
  gguf.floats("blk.1.ffn_down.weight", {5, kHidden});
  const ModelSpec spec = read_gguf(gguf).spec;
  BOOST_TEST(spec.layers[1].attention.heads == 1u);
  BOOST_TEST(spec.layers[1].mlp.size == 5u);
}

/// One value of config.json after the other becomes something else: the model is read or refused.
BOOST_AUTO_TEST_CASE(hostile_configs) {
  int read = 0, refused = 0;
  for (const auto& entry : fs::directory_iterator(fs::path(SPNL_TEST_FIXTURES_DIR) / "models")) {
    const auto tensors = SafetensorsFolder::open(entry.path());
    for (const char* name : {"config.json", "config.v4.json"}) {
      const fs::path path = entry.path() / name;
      const std::string text = read_text(path);
      for (size_t at = text.find("\": "); at != std::string::npos; at = text.find("\": ", at + 1)) {
        const size_t value = at + 3, end = text.find_first_of(",}", value);
        for (const char* hostile : {"0", "-1", "1", "3", "2147483647", "1e300", "1e-300", "\"x\"",
                                    "null", "[]", "[1]", "{}", "true"}) {
          try {
            const Config config =
                Config::parse(text.substr(0, value) + hostile + text.substr(end), path);
            model_spec_from_folder(*tensors, config);
            ++read;
          } catch (const Error&) {
            ++refused;
          }
        }
      }
    }
  }
  BOOST_TEST_MESSAGE(read << " read, " << refused << " refused");
  BOOST_TEST(read > 1000);
  BOOST_TEST(refused > 1000);
}
