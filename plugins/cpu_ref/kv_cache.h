#pragma once
#include <cstdint>
#include <vector>

namespace spnl::cpu_ref {

/// What one sequence has seen: rotated keys and values of all its tokens, per layer
/// [token][kv_head][size of a key, size of a value]. Latent attention keeps what keys and values
/// are made of: one "key" a token, the normed latent followed by the rotated part, and no values.
struct KvCache {
  struct Layer {
    std::vector<float> keys, values;
  };
  std::vector<Layer> layers;
  std::vector<int32_t> ids;  ///< of the tokens
  bool is_long = false;      ///< turned by the frequencies for long sequences

  uint64_t bytes() const {
    uint64_t floats = 0;
    for (const Layer& layer : layers) floats += layer.keys.capacity() + layer.values.capacity();
    return floats * sizeof(float);
  }
};

}  // namespace spnl::cpu_ref
