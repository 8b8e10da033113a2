#include "model/weights.h"

#include <string>

#include "spnl/modelkit/error.h"

namespace spnl::mistralrs {
namespace {

using modelkit::Error;
using modelkit::ErrorCode;
using modelkit::Weight;

class Loader {
 public:
  Loader(Ops& ops, uint64_t limit) : ops_(ops), limit_(limit) {}

  LoadedLinear linear(const modelkit::Linear& l) { return {matrix(l.weight), vector(l.bias)}; }

  LoadedNorm norm(const modelkit::Norm& n) {
    LoadedNorm loaded{
        vector(n.weight), vector(n.bias), static_cast<int64_t>(n.weight.elements()), {}};
    loaded.params = {
        n.kind == modelkit::NormKind::kLayer ? cpu::NormKind::kLayer : cpu::NormKind::kRms,
        static_cast<float>(n.eps), static_cast<float>(n.weight_offset), loaded.weight.floats(),
        loaded.bias.floats()};
    return loaded;
  }

  LoadedMlp mlp(const modelkit::Mlp& m) { return {linear(m.gate), linear(m.up), linear(m.down)}; }

  LoadedAttention attention(const modelkit::AttentionSpec& a) {
    LoadedAttention loaded{linear(a.q),
                           linear(a.k),
                           linear(a.v),
                           linear(a.o),
                           norm(a.q_norm),
                           norm(a.k_norm),
                           vector(a.sinks),
                           linear(a.latent.q_a),
                           linear(a.latent.kv_a),
                           norm(a.latent.q_a_norm),
                           norm(a.latent.kv_a_norm),
                           {},
                           {}};
    for (const Weight& head : a.latent.k_b) loaded.k_b.push_back(matrix(head));
    for (const Weight& head : a.latent.v_b) loaded.v_b.push_back(matrix(head));
    return loaded;
  }

  LoadedExperts experts(const modelkit::Experts& e) {
    LoadedExperts loaded;
    loaded.router = linear(e.router);
    loaded.selection_bias = vector(e.selection_bias);
    loaded.params = {e.gating,
                     static_cast<int32_t>(e.experts.size()),
                     static_cast<int32_t>(e.used),
                     static_cast<int32_t>(e.groups),
                     static_cast<int32_t>(e.groups_used),
                     e.group_score_is_top_two,
                     e.renormalise,
                     static_cast<float>(e.scale),
                     static_cast<float>(e.jitter),
                     loaded.selection_bias.floats()};
    for (const modelkit::Mlp& expert : e.experts) loaded.experts.push_back(mlp(expert));
    loaded.shared = mlp(e.shared);
    loaded.shared_gate = matrix(e.shared_gate);
    return loaded;
  }

  uint64_t bytes() const { return bytes_; }
  bool all_float32() const { return all_float32_; }

 private:
  MatrixPtr matrix(const Weight& weight) {
    if (!weight) return nullptr;
    MatrixPtr result = ops_.load_matrix(weight);
    if (result->bytes() > 0 && weight.data() != nullptr)
      modelkit::forget_pages({weight.data(), weight.bytes()});
    all_float32_ = all_float32_ && weight.type() == modelkit::TensorType::kF32;
    count(result->bytes());
    return result;
  }

  Memory vector(const Weight& weight) {
    if (!weight) return {};
    Memory result = allocate(weight.elements() * sizeof(float), "weights");
    weight.read_floats(0, weight.rows(), result.floats());
    count(result.bytes);
    return result;
  }

  void count(uint64_t bytes) {
    bytes_ += bytes;
    if (limit_ != 0 && bytes_ > limit_)
      throw Error(ErrorCode::kNoMemory, "the model's weights need more than the limit of " +
                                            std::to_string(limit_ >> 20) + " MiB");
  }

  Ops& ops_;
  const uint64_t limit_;
  uint64_t bytes_ = 0;
  bool all_float32_ = true;
};

LayerWeights load_layer(Loader& loader, const modelkit::LayerSpec& spec) {
  return {loader.norm(spec.pre_attention),  loader.norm(spec.post_attention),
          loader.norm(spec.pre_ffn),        loader.norm(spec.post_ffn),
          loader.attention(spec.attention), loader.mlp(spec.mlp),
          loader.experts(spec.experts)};
}

/// What the forward takes for granted beyond the shapes that readers check. Null: all is well.
const char* contradiction(const modelkit::ModelSpec& spec, const modelkit::LayerSpec& layer) {
  const modelkit::AttentionSpec& a = layer.attention;
  const modelkit::LatentAttention& latent = a.latent;
  const modelkit::Experts& e = layer.experts;
  if (a.kv_heads == 0 || a.heads % a.kv_heads != 0)
    return "its heads are no multiple of its key-value heads";
  if (a.rope >= spec.ropes.size()) return "it has no rotary embedding";
  const modelkit::RopeSpec& rope = spec.ropes[a.rope];
  if (rope.first_dim + 2 * rope.inv_freq.size() > a.head_dim)
    return "its rotary dimensions are more than a head has";
  if (rope.long_from != 0 && rope.long_inv_freq.size() != rope.inv_freq.size())
    return "its short and long rotary frequencies differ in number";
  if (layer.parallel && !layer.pre_attention) return "it is parallel and has no norm";
  if (latent && (latent.k_b.size() != a.heads || latent.v_b.size() != a.heads))
    return "its heads are not those of its latent attention";
  if (latent && rope.first_dim + 2 * rope.inv_freq.size() > latent.nope_dim + latent.rope_dim)
    return "its rotary dimensions are not those of its latent attention";
  if (latent && !rope.inv_freq.empty() && rope.first_dim < latent.nope_dim)
    return "its rotary dimensions are not those that its heads share";
  if (!e) return layer.mlp ? nullptr : "it has neither experts nor a feed-forward part";
  if (e.used == 0 || e.used > e.experts.size()) return "it uses more experts than it has";
  if (e.groups != 0 && (e.experts.size() % e.groups != 0 || e.groups_used > e.groups))
    return "its experts do not fit their groups";
  return nullptr;
}

void check(const modelkit::ModelSpec& spec) {
  for (size_t i = 0; i < spec.layers.size(); ++i)
    if (const char* why = contradiction(spec, spec.layers[i]))
      throw Error(ErrorCode::kCorrupt, "layer " + std::to_string(i) + " cannot be run: " + why);
}

}  // namespace

void forget_pages(const modelkit::TensorSource& file) {
  for (const modelkit::Tensor& tensor : file.tensors())
    if (tensor.data != nullptr) modelkit::forget_pages({tensor.data, tensor.bytes});
}

Weights load_weights(Ops& ops, const modelkit::ModelSpec& spec, uint64_t limit,
                     const LoadProgress& progress) {
  check(spec);
  Loader loader(ops, limit);
  const uint64_t total = spec.layers.size() + 1;
  Weights weights;
  weights.embedding = spec.embedding;
  if (!progress(0, total)) throw LoadStopped();
  // The largest matrix first: while it is packed it is there twice, and nothing else is yet.
  weights.output_norm = loader.norm(spec.output_norm);
  weights.output = loader.linear(spec.output);
  for (const modelkit::LayerSpec& layer : spec.layers) {
    if (!progress(weights.layers.size() + 1, total)) throw LoadStopped();
    weights.layers.push_back(load_layer(loader, layer));
  }
  progress(total, total);
  weights.bytes = loader.bytes();
  weights.all_float32 = loader.all_float32();
  return weights;
}

}  // namespace spnl::mistralrs
