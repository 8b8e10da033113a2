// Llama 1 to 3 and what was converted as such (Mistral, SmolLM, ...).
#include <cmath>

#include "arch.h"

namespace spnl::modelkit {
namespace {

void read_attention(const ArchReader& reader, const std::string& block, uint64_t hidden,
                    LayerSpec& layer) {
  const uint64_t q_rows = uint64_t{layer.heads} * layer.head_dim,
                 kv_rows = uint64_t{layer.kv_heads} * layer.head_dim;
  if (reader.file().find(block + "attn_qkv.weight") != nullptr)
    reader.unsupported("tensor '" + block + "attn_qkv.weight': fused q, k and v are not supported");
  layer.attention_norm = reader.tensor(block + "attn_norm.weight", {hidden});
  layer.q = reader.tensor(block + "attn_q.weight", {hidden, q_rows});
  layer.k = reader.tensor(block + "attn_k.weight", {hidden, kv_rows});
  layer.v = reader.tensor(block + "attn_v.weight", {hidden, kv_rows});
  layer.o = reader.tensor(block + "attn_output.weight", {q_rows, hidden});
  layer.q_bias = reader.optional_tensor(block + "attn_q.bias", {q_rows});
  layer.k_bias = reader.optional_tensor(block + "attn_k.bias", {kv_rows});
  layer.v_bias = reader.optional_tensor(block + "attn_v.bias", {kv_rows});
  layer.o_bias = reader.optional_tensor(block + "attn_output.bias", {hidden});
}

void read_mlp(const ArchReader& reader, const std::string& block, uint64_t hidden,
              LayerSpec& layer) {
  layer.ffn_norm = reader.tensor(block + "ffn_norm.weight", {hidden});
  layer.gate = reader.tensor(block + "ffn_gate.weight", {hidden, layer.ffn_size});
  layer.up = reader.tensor(block + "ffn_up.weight", {hidden, layer.ffn_size});
  layer.down = reader.tensor(block + "ffn_down.weight", {layer.ffn_size, hidden});
  layer.gate_bias = reader.optional_tensor(block + "ffn_gate.bias", {layer.ffn_size});
  layer.up_bias = reader.optional_tensor(block + "ffn_up.bias", {layer.ffn_size});
  layer.down_bias = reader.optional_tensor(block + "ffn_down.bias", {hidden});
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
  spec.norm_eps = reader.positive("attention.layer_norm_rms_epsilon", 1e-5);

  const Tensor* embedding = reader.file().find("token_embd.weight");
  if (embedding == nullptr) reader.corrupt("tensor 'token_embd.weight' is missing");
  if (embedding->dims[1] > INT32_MAX)
    reader.corrupt("tensor 'token_embd.weight' has absurdly many rows");
  spec.vocab_size = static_cast<uint32_t>(embedding->dims[1]);
  spec.embedding = reader.tensor("token_embd.weight", {spec.hidden_size, spec.vocab_size});
  spec.output_norm = reader.tensor("output_norm.weight", {spec.hidden_size});
  spec.output = reader.optional_tensor("output.weight", {spec.hidden_size, spec.vocab_size});
  if (spec.output.empty()) spec.output = spec.embedding;  // tied
  spec.output_bias = reader.optional_tensor("output.bias", {spec.vocab_size});

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
    layer.heads = heads[i];
    layer.kv_heads = kv_heads[i];
    layer.head_dim = head_dim;
    layer.ffn_size = ffn_sizes[i];
    if (layer.heads % layer.kv_heads != 0)
      reader.corrupt("layer " + std::to_string(i) + " has " + std::to_string(layer.heads) +
                     " heads, not a multiple of its " + std::to_string(layer.kv_heads) +
                     " key-value heads");
    layer.attention_scale =
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
