#pragma once
/// Writes llama files in the containers from before GGUF.
#include <string>
#include <string_view>

#include "gguf_builder.h"
#include "spnl/modelkit/tensor_type.h"

namespace spnl::test {

/// A llama of one layer in the containers from before GGUF: F32 but for wq in `wq_type`.
inline std::string legacy_llama(std::string_view magic, uint32_t version, uint32_t wq_type = 0) {
  const auto raw = [](auto value) { return GgufBuilder::raw(value); };
  std::string out(magic);
  if (version != 0) out += raw(version);
  for (const uint32_t n : {262u, 64u, 256u, 4u, 1u, 16u, 0u}) out += raw(n);
  for (uint32_t id = 0; id < 262; ++id) {
    std::string text = id == 0 ? " \xE2\x81\x87 " : id < 3 ? "" : " a" + std::to_string(id);
    if (id >= 3 && id < 259) text = std::string(1, static_cast<char>(id - 3));
    out += raw(static_cast<uint32_t>(text.size())) + text;
    if (magic != "lmgg") out += raw(-static_cast<float>(id));
  }
  const auto tensor = [&](const std::string& name, uint32_t columns, uint32_t rows, uint32_t type) {
    out += raw(rows == 0 ? 1u : 2u) + raw(static_cast<uint32_t>(name.size())) + raw(type) +
           raw(columns);
    if (rows != 0) out += raw(rows);
    out += name;
    if (magic == "tjgg") out.resize((out.size() + 31) / 32 * 32);
    const uint64_t bytes = spnl::modelkit::tensor_bytes(
        static_cast<spnl::modelkit::TensorType>(type), uint64_t{columns} * (rows == 0 ? 1 : rows));
    out += std::string(bytes, static_cast<char>(name.size()));
  };
  tensor("tok_embeddings.weight", 64, 262, 0);
  tensor("norm.weight", 64, 0, 0);
  tensor("output.weight", 64, 262, 0);
  tensor("layers.0.attention.wq.weight", 64, 64, wq_type);
  for (const char* name : {"wk", "wv"})
    tensor(std::string("layers.0.attention.") + name + ".weight", 64, 32, 0);
  tensor("layers.0.attention.wo.weight", 64, 64, 0);
  tensor("layers.0.attention_norm.weight", 64, 0, 0);
  tensor("layers.0.feed_forward.w1.weight", 64, 96, 0);
  tensor("layers.0.feed_forward.w2.weight", 96, 64, 0);
  tensor("layers.0.feed_forward.w3.weight", 64, 96, 0);
  tensor("layers.0.ffn_norm.weight", 64, 0, 0);
  return out;
}

}  // namespace spnl::test
