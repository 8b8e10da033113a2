#include "cache/kv_cache.h"

#include <cstring>
#include <string>

#include "spnl/modelkit/error.h"

namespace spnl::mistralrs {

namespace {

/// The layer's shape, without memory.
cpu::KvLayer shape_of(const modelkit::AttentionSpec& spec, cpu::KvType type, int32_t block_size) {
  const modelkit::LatentAttention& latent = spec.latent;
  if (latent)
    return {type,
            block_size,
            1,
            static_cast<int32_t>(latent.latent_dim + latent.rope_dim),
            static_cast<int32_t>(latent.latent_dim),
            nullptr,
            nullptr};
  return {type,
          block_size,
          static_cast<int32_t>(spec.kv_heads),
          static_cast<int32_t>(spec.head_dim),
          static_cast<int32_t>(spec.value_dim),
          nullptr,
          nullptr};
}

/// Bytes of one block of keys, or of values. Throws where the type does not fit.
uint64_t bytes_of(const cpu::KvLayer& layer, int32_t dim) {
  if (!cpu::kv_type_fits(layer.type, dim))
    throw modelkit::Error(modelkit::ErrorCode::kUnsupported,
                          "keys or values of " + std::to_string(dim) +
                              " elements cannot be cached in blocks of " +
                              std::to_string(cpu::kKvQuantBlock) + "; use the KV type f16");
  return static_cast<uint64_t>(layer.kv_heads) * static_cast<uint64_t>(layer.block_size) *
         static_cast<uint64_t>(cpu::kv_row_bytes(layer.type, dim));
}

}  // namespace

uint64_t KvCache::block_bytes(const modelkit::ModelSpec& spec, cpu::KvType type,
                              int32_t block_size) {
  uint64_t bytes = 0;
  for (const modelkit::LayerSpec& layer : spec.layers) {
    const cpu::KvLayer shape = shape_of(layer.attention, type, block_size);
    bytes += bytes_of(shape, shape.head_dim);
    if (!layer.attention.latent) bytes += bytes_of(shape, shape.value_dim);
  }
  return bytes;
}

KvCache::KvCache(const modelkit::ModelSpec& spec, cpu::KvType type, int32_t block_size,
                 int32_t blocks)
    : block_size_(block_size), blocks_(blocks), block_bytes_(block_bytes(spec, type, block_size)) {
  const auto make = [&](uint64_t bytes) {
    memory_.push_back(allocate(bytes * static_cast<uint64_t>(blocks), "the KV cache"));
    return memory_.back().data;
  };
  for (const modelkit::LayerSpec& layer : spec.layers) {
    cpu::KvLayer made = shape_of(layer.attention, type, block_size);
    made.keys = make(bytes_of(made, made.head_dim));
    if (!layer.attention.latent) made.values = make(bytes_of(made, made.value_dim));
    layers_.push_back(made);
  }
}

void KvCache::copy_block(int32_t from, int32_t to, int32_t slots) {
  const auto copy = [&](const cpu::KvLayer& layer, void* base, int32_t dim) {
    // [blocks, kv_heads, block_size, dim]: the slots of one head lie together.
    const size_t row = static_cast<size_t>(cpu::kv_row_bytes(layer.type, dim));
    const size_t head = row * static_cast<size_t>(block_size_),
                 block = head * static_cast<size_t>(layer.kv_heads);
    const char* source = static_cast<const char*>(base) + block * static_cast<size_t>(from);
    char* target = static_cast<char*>(base) + block * static_cast<size_t>(to);
    for (int32_t h = 0; h < layer.kv_heads; ++h)
      std::memcpy(target + head * static_cast<size_t>(h), source + head * static_cast<size_t>(h),
                  row * static_cast<size_t>(slots));
  };
  for (const cpu::KvLayer& layer : layers_) {
    copy(layer, layer.keys, layer.head_dim);
    if (layer.values != nullptr) copy(layer, layer.values, layer.value_dim);
  }
}

}  // namespace spnl::mistralrs
