#include "decoder.h"

#include <algorithm>
#include <cmath>

namespace spnl::modelkit {
namespace {

Activation read_activation(const ModelReader& in, const Style& style) {
  const std::string name = in.text(style.activation_key);
  if (name.empty()) return style.activation;
  if (name == "silu" || name == "swish") return Activation::kSilu;
  if (name == "gelu") return Activation::kGeluErf;
  if (name == "gelu_new" || name == "gelu_pytorch_tanh" || name == "gelu_fast")
    return Activation::kGeluTanh;
  if (name == "relu2") return Activation::kReluSquared;
  in.unsupported("the activation '" + name + "' is not supported");
}

/// q, k and v, separate or as one matrix, whose bias may be separate still.
void read_qkv(const ModelReader& in, const Names& names, uint32_t layer, uint64_t hidden,
              AttentionSpec& attention) {
  const uint64_t q_rows = uint64_t{attention.heads} * attention.head_dim;
  const uint64_t kv_rows = uint64_t{attention.kv_heads} * attention.head_dim;
  const struct {
    Name name;
    Linear& part;
    uint64_t first, rows;
  } parts[] = {{names.q, attention.q, 0, q_rows},
               {names.k, attention.k, q_rows, kv_rows},
               {names.v, attention.v, q_rows + kv_rows, kv_rows}};
  const std::string fused = in.stem(layer, names.qkv);
  const bool is_fused = in.has_linear(fused) && !in.has_linear(in.stem(layer, names.q));
  const Linear all = is_fused ? in.linear(fused, hidden, q_rows + 2 * kv_rows) : Linear();
  for (const auto& [name, part, first, rows] : parts) {
    const std::string stem = in.stem(layer, name);
    part = is_fused ? rows_of(all, first, rows) : in.linear(stem, hidden, rows);
    if (!part.bias) part.bias = in.optional_tensor(stem + ".bias", {rows});
  }
}

Norm read_qk_norm(const ModelReader& in, const Style& style, const std::string& stem,
                  uint64_t heads, uint64_t head_dim) {
  switch (style.qk_norm) {
    case QkNorm::kNone:
      return {};
    case QkNorm::kPerHead:
      return read_norm(in, style, stem, head_dim);
    case QkNorm::kWholeWidth:
      return read_norm(in, style, stem, heads * head_dim);
    case QkNorm::kOwnOfEachHead:
      break;
  }
  Norm norm = read_norm(in, style, "", 0);
  norm.weight = in.tensor(stem + ".weight", {head_dim, heads});
  return norm;
}

std::optional<uint32_t> hf_default(const ModelReader& in, uint32_t value) {
  return in.is_gguf() || value == 0 ? std::nullopt : std::optional(value);
}

uint32_t read_head_dim(const ModelReader& in, const Style& style, uint64_t hidden) {
  const uint32_t heads = in.uint_of_layer(keys::kHeads, 0, hf_default(in, style.hf_heads));
  const auto divided = static_cast<uint32_t>(std::max<uint64_t>(1, hidden / heads));
  const uint32_t head_dim =
      in.uint_or(keys::kHeadDim, hf_default(in, style.hf_head_dim).value_or(divided));
  if (in.uint_or({"attention.value_length", {}}, head_dim) != head_dim)
    in.unsupported("keys and values of different lengths are not supported for this architecture");
  return head_dim;
}

AttentionSpec read_attention(const ModelReader& in, const Style& style, uint32_t layer,
                             uint64_t hidden) {
  AttentionSpec attention;
  attention.heads = in.uint_of_layer(keys::kHeads, layer, hf_default(in, style.hf_heads));
  attention.kv_heads = in.uint_of_layer(
      keys::kKvHeads, layer, hf_default(in, style.hf_kv_heads).value_or(attention.heads));
  attention.head_dim = attention.value_dim = read_head_dim(in, style, hidden);
  if (attention.heads % attention.kv_heads != 0)
    in.corrupt("layer " + std::to_string(layer) + " has " + std::to_string(attention.heads) +
               " heads, not a multiple of its " + std::to_string(attention.kv_heads) +
               " key-value heads");
  const uint64_t width = uint64_t{attention.heads} * attention.head_dim;
  attention.scale = 1 / std::sqrt(static_cast<double>(attention.head_dim));
  read_qkv(in, style.names, layer, hidden, attention);
  if (style.needs_qkv_bias && (!attention.q.bias || !attention.k.bias || !attention.v.bias))
    in.corrupt("the biases of '" + in.stem(layer, style.names.q) + "', k and v are missing");
  attention.o = in.linear(in.stem(layer, style.names.o), width, hidden);
  attention.norm_whole_width = style.qk_norm == QkNorm::kWholeWidth;
  attention.q_norm = read_qk_norm(in, style, in.stem(layer, style.names.q_norm), attention.heads,
                                  attention.head_dim);
  attention.k_norm = read_qk_norm(in, style, in.stem(layer, style.names.k_norm), attention.kv_heads,
                                  attention.head_dim);
  return attention;
}

Mlp read_mlp(const ModelReader& in, const Style& style, uint32_t layer, uint64_t hidden) {
  Mlp mlp;
  mlp.size = in.uint_of_layer(keys::kFfnSize, layer, std::nullopt);
  mlp.activation = read_activation(in, style);
  const std::string gate = in.stem(layer, style.names.gate), up = in.stem(layer, style.names.up);
  const std::string gate_up = in.stem(layer, style.names.gate_up);
  if (!style.is_gated) {
    mlp.up = in.linear(up, hidden, mlp.size);
  } else if (!in.has_linear(gate) && in.has_linear(gate_up)) {
    const Linear both = in.linear(gate_up, hidden, uint64_t{2} * mlp.size);
    mlp.gate = rows_of(both, 0, mlp.size);
    mlp.up = rows_of(both, mlp.size, mlp.size);
  } else {
    mlp.gate = in.linear(gate, hidden, mlp.size);
    mlp.up = in.linear(up, hidden, mlp.size);
  }
  mlp.down = in.linear(in.stem(layer, style.names.down), mlp.size, hidden);
  return mlp;
}

Norm read_layer_norm(const ModelReader& in, const Style& style, uint32_t layer, Name name,
                     uint64_t hidden) {
  return name.empty() ? Norm() : read_norm(in, style, in.stem(layer, name), hidden);
}

LayerSpec read_layer(const ModelReader& in, const Style& style, uint32_t index, uint64_t hidden) {
  LayerSpec layer;
  layer.parallel = style.is_parallel;
  layer.pre_attention = read_layer_norm(in, style, index, style.names.pre_attention, hidden);
  layer.post_attention = read_layer_norm(in, style, index, style.names.post_attention, hidden);
  layer.pre_ffn = read_layer_norm(in, style, index, style.names.pre_ffn, hidden);
  layer.post_ffn = read_layer_norm(in, style, index, style.names.post_ffn, hidden);
  layer.attention = style.read_attention != nullptr ? style.read_attention(in, style, index, hidden)
                                                    : read_attention(in, style, index, hidden);
  if (style.experts && in.has_linear(in.stem(index, style.experts->names.router)))
    layer.experts = read_experts(in, style, index, hidden);
  else
    layer.mlp = read_mlp(in, style, index, hidden);
  return layer;
}

}  // namespace

void set_windows(ModelSpec& spec, const std::vector<uint32_t>& windows) {
  for (uint32_t i = 0; i < layer_count(spec); ++i) spec.layers[i].attention.window = windows[i];
}

Norm read_norm(const ModelReader& in, const Style& style, const std::string& stem, uint64_t size) {
  Norm norm;
  norm.kind = style.norm;
  norm.eps = in.positive_or(style.eps, style.hf_eps);
  norm.weight_offset = style.hf_norms_add_one && !in.is_gguf() ? 1 : 0;
  if (stem.empty()) return norm;
  norm.weight = in.tensor(stem + ".weight", {size});
  if (norm.kind == NormKind::kLayer) norm.bias = in.optional_tensor(stem + ".bias", {size});
  return norm;
}

Linear rows_of(const Linear& linear, uint64_t first, uint64_t count) {
  return {linear.weight.rows_of(first, count),
          linear.bias ? linear.bias.elements_of(first, count) : Weight()};
}

ModelSpec read_decoder(const ModelReader& in, const Style& style) {
  ModelSpec spec;
  spec.architecture = in.architecture();
  spec.name = in.model_name();
  spec.hidden_size = in.uint(keys::kHidden);
  spec.context = in.uint_of_layer(keys::kContext, 0, hf_default(in, style.hf_context));
  const std::string embedding = in.stem(style.names.embedding);
  const Tensor* plain = in.find_tensor(embedding + ".weight");
  const uint64_t rows = plain != nullptr ? plain->dims[1] : in.uint({{}, "vocab_size"});
  if (rows == 0 || rows > INT32_MAX)
    in.corrupt("tensor '" + embedding + ".weight' has absurdly many rows");
  spec.vocab_size = static_cast<uint32_t>(rows);
  spec.embedding = in.matrix(embedding, spec.hidden_size, rows);
  spec.output_norm = read_norm(in, style, in.stem(style.names.output_norm), spec.hidden_size);
  const std::string output = in.stem(style.names.output);
  spec.output.weight =
      in.is_tied(style.is_tied) ? spec.embedding : in.matrix(output, spec.hidden_size, rows);
  spec.output.bias = in.optional_tensor(output + ".bias", {rows});

  const uint32_t layers = in.uint(keys::kLayers);
  if (layers > in.tensor_count())
    in.corrupt(in.describe(keys::kLayers) + " is " + std::to_string(layers) +
               ", but there are only " + std::to_string(in.tensor_count()) + " tensors");
  for (uint32_t i = 0; i < layers; ++i)
    spec.layers.push_back(read_layer(in, style, i, spec.hidden_size));
  const auto has_experts = [](const LayerSpec& layer) { return bool{layer.experts}; };
  if (style.experts && std::none_of(spec.layers.begin(), spec.layers.end(), has_experts))
    in.corrupt("there are experts, but no tensor '" + in.stem(0, style.experts->names.router) +
               ".weight' of a router");
  // After the tensors, which vouch for the size of heads.
  if (style.read_attention == nullptr)
    spec.ropes.push_back(in.rope(style.rope, spec.layers[0].attention.head_dim, spec.context));
  return spec;
}

}  // namespace spnl::modelkit
