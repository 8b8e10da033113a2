// Llama 1 to 3 and what was converted as such (Mistral, SmolLM, ...).
#include <cmath>

#include "arch.h"

namespace spnl::modelkit {
namespace {

Linear read_linear(const ArchReader& reader, const std::string& stem, uint64_t in, uint64_t out) {
  return {reader.tensor(stem + ".weight", {in, out}),
          reader.optional_tensor(stem + ".bias", {out})};
}

Norm read_norm(const ArchReader& reader, const std::string& name, uint64_t size) {
  Norm norm;
  norm.weight = reader.tensor(name, {size});
  norm.eps = reader.positive("attention.layer_norm_rms_epsilon", 1e-5);
  return norm;
}

void read_attention(const ArchReader& reader, const std::string& block, uint64_t hidden,
                    LayerSpec& layer) {
  AttentionSpec& attention = layer.attention;
  const uint64_t q_rows = uint64_t{attention.heads} * attention.head_dim,
                 kv_rows = uint64_t{attention.kv_heads} * attention.head_dim;
  if (reader.file().find(block + "attn_qkv.weight") != nullptr)
    reader.unsupported("tensor '" + block + "attn_qkv.weight': fused q, k and v are not supported");
  layer.pre_attention = read_norm(reader, block + "attn_norm.weight", hidden);
  attention.q = read_linear(reader, block + "attn_q", hidden, q_rows);
  attention.k = read_linear(reader, block + "attn_k", hidden, kv_rows);
  attention.v = read_linear(reader, block + "attn_v", hidden, kv_rows);
  attention.o = read_linear(reader, block + "attn_output", q_rows, hidden);
}

void read_mlp(const ArchReader& reader, const std::string& block, uint64_t hidden,
              LayerSpec& layer) {
  layer.pre_ffn = read_norm(reader, block + "ffn_norm.weight", hidden);
  layer.mlp.gate = read_linear(reader, block + "ffn_gate", hidden, layer.mlp.size);
  layer.mlp.up = read_linear(reader, block + "ffn_up", hidden, layer.mlp.size);
  layer.mlp.down = read_linear(reader, block + "ffn_down", layer.mlp.size, hidden);
}

uint32_t read_head_dim(const ArchReader& reader, uint32_t hidden, uint32_t heads) {
  const uint32_t head_dim = reader.uint_or("attention.key_length", std::max(1u, hidden / heads));
  if (reader.uint_or("attention.value_length", head_dim) != head_dim)
    reader.unsupported(
        "keys and values of different lengths are not supported for this architecture");
  const uint32_t rotary = reader.uint_or("rope.dimension_count", head_dim);
  if (rotary != head_dim || head_dim % 2 != 0)
    reader.corrupt("rope.dimension_count is " + std::to_string(rotary) + ", but heads are " +
                   std::to_string(head_dim) + " wide; they must be equal and even");
  return head_dim;
}

}  // namespace

ModelSpec llama_spec(const ArchReader& reader) {
  if (reader.find_uint("expert_count").value_or(0) > 0)
    reader.unsupported(
        "mixture-of-experts models (Mixtral) of the architecture 'llama' are not supported yet");
  ModelSpec spec;
  spec.architecture = "llama";
  spec.name = std::string(reader.file().get_string("general.name").value_or(""));
  spec.hidden_size = reader.uint("embedding_length");
  spec.context = reader.uint("context_length");

  const Tensor* embedding = reader.file().find("token_embd.weight");
  if (embedding == nullptr) reader.corrupt("tensor 'token_embd.weight' is missing");
  if (embedding->dims[1] > INT32_MAX)
    reader.corrupt("tensor 'token_embd.weight' has absurdly many rows");
  spec.vocab_size = static_cast<uint32_t>(embedding->dims[1]);
  spec.embedding = reader.tensor("token_embd.weight", {spec.hidden_size, spec.vocab_size});
  spec.output_norm = read_norm(reader, "output_norm.weight", spec.hidden_size);
  spec.output.weight = reader.optional_tensor("output.weight", {spec.hidden_size, spec.vocab_size});
  if (!spec.output.weight) spec.output.weight = spec.embedding;  // tied
  spec.output.bias = reader.optional_tensor("output.bias", {spec.vocab_size});

  const uint32_t layers = reader.uint("block_count");
  if (layers > reader.file().tensors().size())
    reader.corrupt("block_count is " + std::to_string(layers) + ", but there are only " +
                   std::to_string(reader.file().tensors().size()) + " tensors");
  const auto heads = reader.per_layer("attention.head_count", layers, std::nullopt);
  const auto kv_heads = reader.per_layer("attention.head_count_kv", layers, heads[0]);
  const auto ffn_sizes = reader.per_layer("feed_forward_length", layers, std::nullopt);
  const uint32_t head_dim = read_head_dim(reader, spec.hidden_size, heads[0]);

  for (uint32_t i = 0; i < layers; ++i) {
    LayerSpec layer;
    AttentionSpec& attention = layer.attention;
    attention.heads = heads[i];
    attention.kv_heads = kv_heads[i];
    attention.head_dim = attention.value_dim = head_dim;
    layer.mlp.size = ffn_sizes[i];
    if (attention.heads % attention.kv_heads != 0)
      reader.corrupt("layer " + std::to_string(i) + " has " + std::to_string(attention.heads) +
                     " heads, not a multiple of its " + std::to_string(attention.kv_heads) +
                     " key-value heads");
    attention.scale =
        reader.positive("attention.scale", 1 / std::sqrt(static_cast<double>(head_dim)));
    const std::string block = "blk." + std::to_string(i) + ".";
    read_attention(reader, block, spec.hidden_size, layer);
    read_mlp(reader, block, spec.hidden_size, layer);
    spec.layers.push_back(std::move(layer));
  }
  // After the tensors, which vouch for head_dim. The converter permutes the rows of q and k, so
  // that pairs are neighbours.
  spec.ropes.push_back(read_rope(reader, RopePairs::kInterleaved, head_dim, spec.context));
  return spec;
}

}  // namespace spnl::modelkit
