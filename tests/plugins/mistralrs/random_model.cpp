#include "random_model.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <random>

#include "spnl/modelkit/block_formats.h"

namespace spnl::mistralrs::test {
namespace {

using namespace modelkit;

constexpr uint32_t kHidden = 64, kVocab = 96, kHeads = 4, kKvHeads = 2, kHeadDim = 32, kFfn = 96;
constexpr uint32_t kExperts = 8, kExpertSize = 32;

class Made final : public RowSource {
 public:
  Made(std::vector<std::byte> bytes, uint64_t row_bytes)
      : bytes_(std::move(bytes)), row_bytes_(row_bytes) {}
  void read(uint64_t first, uint64_t count, std::byte* out) const override {
    std::memcpy(out, bytes_.data() + first * row_bytes_, count * row_bytes_);
  }

 private:
  const std::vector<std::byte> bytes_;
  const uint64_t row_bytes_;
};

/// 32 floats as a block of Q8_0.
void quantise(const float* x, std::byte* out) {
  float most = 1e-9f;
  for (int i = 0; i < 32; ++i) most = std::max(most, std::abs(x[i]));
  const uint16_t d = float_to_half(most / 127);
  std::memcpy(out, &d, 2);
  for (int i = 0; i < 32; ++i)
    out[2 + i] = static_cast<std::byte>(static_cast<int8_t>(std::lrint(x[i] / half_to_float(d))));
}

class Builder {
 public:
  explicit Builder(TensorType type) : type_(type) {}

  Weight vector(uint32_t size, float mean, float deviation) {
    return floats(1, size, mean, deviation);
  }
  Weight matrix(uint32_t rows, uint32_t columns) {
    return floats(rows, columns, 0, 1.5f / std::sqrt(static_cast<float>(columns)), type_);
  }
  Linear linear(uint32_t rows, uint32_t columns, bool bias = false) {
    return {matrix(rows, columns), bias ? vector(rows, 0, 0.3f) : Weight()};
  }
  Norm norm(uint32_t size, NormKind kind = NormKind::kRms) {
    Norm made{vector(size, 1, 0.2f), {}, kind, 1e-5, 0};
    if (kind == NormKind::kLayer) made.bias = vector(size, 0, 0.3f);
    return made;
  }
  Mlp mlp(uint32_t size, Activation activation, bool gated = true, bool bias = false) {
    return {size, activation, gated ? linear(size, kHidden, bias) : Linear(),
            linear(size, kHidden, bias), linear(kHidden, size, bias)};
  }
  AttentionSpec attention(bool bias = false) {
    AttentionSpec a;
    a.heads = kHeads;
    a.kv_heads = kKvHeads;
    a.head_dim = a.value_dim = kHeadDim;
    a.scale = 1 / std::sqrt(double{kHeadDim});
    a.q = linear(kHeads * kHeadDim, kHidden, bias);
    a.k = linear(kKvHeads * kHeadDim, kHidden, bias);
    a.v = linear(kKvHeads * kHeadDim, kHidden, bias);
    a.o = linear(kHidden, kHeads * kHeadDim, bias);
    return a;
  }
  AttentionSpec latent_attention(bool q_latent) {
    AttentionSpec a;
    LatentAttention& l = a.latent;
    l.latent_dim = 64;
    l.nope_dim = l.rope_dim = 32;
    a.heads = kHeads;
    a.kv_heads = 1;
    a.head_dim = 64;
    a.value_dim = 32;
    a.scale = 1 / std::sqrt(64.0);
    const uint32_t q_in = q_latent ? 32 : kHidden;
    if (q_latent) {
      l.q_a = linear(q_in, kHidden);
      l.q_a_norm = norm(q_in);
    }
    a.q = linear(kHeads * 64, q_in);
    l.kv_a = linear(64 + 32, kHidden);
    l.kv_a_norm = norm(64);
    for (uint32_t h = 0; h < kHeads; ++h) {
      l.k_b.push_back(matrix(64, 32));
      l.v_b.push_back(matrix(32, 64));
    }
    a.o = linear(kHidden, kHeads * 32);
    return a;
  }
  Experts experts(Gating gating, Activation activation = Activation::kSilu, bool bias = false) {
    Experts e;
    e.router = {floats(kExperts, kHidden, 0, 0.4f), bias ? vector(kExperts, 0, 0.5f) : Weight()};
    e.used = 2;
    e.gating = gating;
    for (uint32_t i = 0; i < kExperts; ++i)
      e.experts.push_back(mlp(kExpertSize, activation, true, bias));
    return e;
  }
  LayerSpec layer() {
    LayerSpec l;
    l.pre_attention = norm(kHidden);
    l.pre_ffn = norm(kHidden);
    l.attention = attention();
    l.mlp = mlp(kFfn, Activation::kSilu);
    return l;
  }
  RopeSpec rope(uint32_t pairs, RopePairs kind = RopePairs::kHalfSplit, uint32_t first = 0) {
    RopeSpec r;
    r.pairs = kind;
    r.first_dim = first;
    for (uint32_t i = 0; i < pairs; ++i)
      r.inv_freq.push_back(std::pow(500.0, -static_cast<double>(i) / pairs));
    return r;
  }
  ModelSpec model(std::vector<LayerSpec> layers, std::vector<RopeSpec> ropes) {
    ModelSpec spec;
    spec.architecture = "random";
    spec.hidden_size = kHidden;
    spec.vocab_size = kVocab;
    spec.context = 2048;
    spec.ropes = std::move(ropes);
    spec.layers = std::move(layers);
    spec.embedding = floats(kVocab, kHidden, 0, 1);
    spec.output_norm = norm(kHidden);
    spec.output = linear(kVocab, kHidden);
    return spec;
  }

 private:
  Weight floats(uint32_t rows, uint32_t columns, float mean, float deviation,
                TensorType type = TensorType::kF32) {
    std::normal_distribution<float> normal(mean, deviation);
    std::vector<float> values(size_t{rows} * columns);
    for (float& x : values) x = normal(random_);
    const uint64_t row_bytes = tensor_bytes(type, columns);
    std::vector<std::byte> bytes(row_bytes * rows);
    if (type == TensorType::kF32)
      std::memcpy(bytes.data(), values.data(), bytes.size());
    else
      for (size_t i = 0; i < values.size(); i += 32)
        quantise(values.data() + i, bytes.data() + i / 32 * 34);
    return Weight("random", type, rows, columns,
                  std::make_shared<Made>(std::move(bytes), row_bytes));
  }

  const TensorType type_;
  std::mt19937 random_{7};
};

ModelSpec plain(Builder& b) { return b.model({b.layer(), b.layer()}, {b.rope(16)}); }

ModelSpec post_norms_windows_and_caps(Builder& b) {
  std::vector<LayerSpec> layers = {b.layer(), b.layer()};
  for (LayerSpec& l : layers) {
    l.post_attention = b.norm(kHidden);
    l.post_ffn = b.norm(kHidden);
    l.post_ffn.weight_offset = 1;
    l.attention.softcap = 5;
    l.mlp.activation = Activation::kGeluTanh;
  }
  layers[0].attention.window = 9;
  ModelSpec spec = b.model(layers, {b.rope(16)});
  spec.logit_softcap = 3;
  spec.embedding_scale = 2;
  return spec;
}

ModelSpec parallel_with_layer_norms(Builder& b) {
  std::vector<LayerSpec> layers(2);
  for (LayerSpec& l : layers) {
    l.parallel = true;
    l.pre_attention = b.norm(kHidden, NormKind::kLayer);
    l.attention = b.attention(/*bias=*/true);
    l.mlp = b.mlp(kFfn, Activation::kGeluErf, /*gated=*/false, /*bias=*/true);
  }
  ModelSpec spec = b.model(layers, {b.rope(6, RopePairs::kInterleaved)});
  spec.output_norm = b.norm(kHidden, NormKind::kLayer);
  spec.output = b.linear(kVocab, kHidden, /*bias=*/true);
  spec.logit_scale = 0.25;
  return spec;
}

ModelSpec norms_after_and_over_all_heads(Builder& b) {
  std::vector<LayerSpec> layers = {b.layer(), b.layer()};
  for (LayerSpec& l : layers) {
    std::swap(l.pre_attention, l.post_attention);
    std::swap(l.pre_ffn, l.post_ffn);
    l.attention.norm_whole_width = true;
    l.attention.q_norm = b.norm(kHeads * kHeadDim);
    l.attention.k_norm = b.norm(kKvHeads * kHeadDim);
  }
  return b.model(layers, {b.rope(16)});
}

ModelSpec norms_of_heads_and_no_positions(Builder& b) {
  std::vector<LayerSpec> layers = {b.layer(), b.layer(), b.layer()};
  layers[0].attention.q_norm = b.norm(kHeadDim);
  layers[0].attention.k_norm = b.norm(kHeadDim);
  layers[1].attention.q_norm = b.norm(kHeads * kHeadDim, NormKind::kLayer);  // each head its own
  layers[1].attention.k_norm = b.norm(kKvHeads * kHeadDim, NormKind::kLayer);
  layers[1].attention.rope = 1;
  layers[1].mlp.activation = Activation::kReluSquared;
  ModelSpec spec = b.model(layers, {b.rope(16), RopeSpec()});
  spec.residual_scale = 0.4;
  return spec;
}

ModelSpec experts_with_a_shared_one(Builder& b) {
  std::vector<LayerSpec> layers = {b.layer(), b.layer(), b.layer()};
  for (size_t i = 1; i < 3; ++i) layers[i].mlp = {};
  layers[1].experts = b.experts(Gating::kSoftmax);
  layers[1].experts.shared = b.mlp(kFfn, Activation::kSilu);
  layers[1].experts.shared_gate = b.matrix(1, kHidden);
  layers[2].experts = b.experts(Gating::kSparseMixer);
  layers[2].experts.jitter = 0.01;
  layers[2].post_ffn = b.norm(kHidden);
  return b.model(layers, {b.rope(16)});
}

ModelSpec latent_attention_and_grouped_experts(Builder& b) {
  std::vector<LayerSpec> layers = {b.layer(), b.layer()};
  layers[0].attention = b.latent_attention(/*q_latent=*/true);
  layers[1].attention = b.latent_attention(/*q_latent=*/false);
  layers[1].mlp = {};
  Experts& e = layers[1].experts = b.experts(Gating::kSigmoid);
  e.selection_bias = b.vector(kExperts, 0, 0.2f);
  e.groups = 4;
  e.groups_used = 2;
  e.group_score_is_top_two = e.renormalise = true;
  e.scale = 2.5;
  e.shared = b.mlp(kFfn, Activation::kSilu);
  return b.model(layers, {b.rope(16, RopePairs::kInterleaved, 32)});
}

ModelSpec sinks_windows_and_biased_experts(Builder& b) {
  std::vector<LayerSpec> layers = {b.layer(), b.layer()};
  for (LayerSpec& l : layers) {
    l.attention = b.attention(/*bias=*/true);
    l.attention.sinks = b.vector(kHeads, 0, 1);
    l.mlp = {};
    l.experts = b.experts(Gating::kSoftmaxOfTop, Activation::kClampedSwiglu, /*bias=*/true);
  }
  layers[0].attention.window = 7;
  return b.model(layers, {b.rope(16)});
}

ModelSpec two_thetas_and_yarn(Builder& b) {
  std::vector<LayerSpec> layers = {b.layer(), b.layer(), b.layer()};
  layers[0].attention.window = 11;
  layers[1].attention.rope = 1;
  RopeSpec yarn = b.rope(16);
  for (size_t i = 0; i < yarn.inv_freq.size(); ++i) yarn.inv_freq[i] /= i < 8 ? 1 : 16;
  yarn.magnitude = 1.3;
  return b.model(layers, {b.rope(16), yarn});
}

ModelSpec long_rope(Builder& b) {
  RopeSpec rope = b.rope(12);
  rope.long_from = kLongFrom;
  rope.long_magnitude = 1.2;
  for (const double frequency : rope.inv_freq) rope.long_inv_freq.push_back(frequency / 3);
  return b.model({b.layer(), b.layer()}, {rope});
}

}  // namespace

std::vector<std::pair<std::string, ModelSpec>> random_models(TensorType type) {
  Builder b(type);
  return {{"plain", plain(b)},
          {"post norms, windows and caps", post_norms_windows_and_caps(b)},
          {"parallel with layer norms", parallel_with_layer_norms(b)},
          {"norms after and over all heads", norms_after_and_over_all_heads(b)},
          {"norms of heads and no positions", norms_of_heads_and_no_positions(b)},
          {"experts with a shared one", experts_with_a_shared_one(b)},
          {"latent attention and grouped experts", latent_attention_and_grouped_experts(b)},
          {"sinks, windows and biased experts", sinks_windows_and_biased_experts(b)},
          {"two thetas and yarn", two_thetas_and_yarn(b)},
          {"long rope", long_rope(b)}};
}

std::unique_ptr<Model> load(const ModelSpec& spec, const Settings& settings) {
  ModelBundle bundle = open_model(SPNL_TEST_FIXTURES_DIR "/gguf/llama-bf16.gguf", {});
  bundle.spec = spec;
  return std::make_unique<Model>(
      std::move(bundle), settings, [](uint64_t, uint64_t) { return true; },
      [](const std::string&) {});
}

}  // namespace spnl::mistralrs::test
