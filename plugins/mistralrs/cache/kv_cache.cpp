#include "cache/kv_cache.h"

#include <cstring>

namespace spnl::mistralrs {

uint64_t KvCache::block_bytes(const modelkit::ModelSpec& spec, cpu::KvType type,
                              int32_t block_size) {
  uint64_t elements = 0;
  for (const modelkit::LayerSpec& layer : spec.layers)
    elements += uint64_t{layer.attention.kv_heads} * layer.attention.head_dim;
  return 2 * elements * static_cast<uint64_t>(block_size) * cpu::kv_type_bytes(type);
}

KvCache::KvCache(const modelkit::ModelSpec& spec, cpu::KvType type, int32_t block_size,
                 int32_t blocks)
    : block_size_(block_size), blocks_(blocks), block_bytes_(block_bytes(spec, type, block_size)) {
  for (const modelkit::LayerSpec& layer : spec.layers) {
    const uint64_t bytes = uint64_t{layer.attention.kv_heads} * layer.attention.head_dim *
                           cpu::kv_type_bytes(type) * static_cast<uint64_t>(block_size) *
                           static_cast<uint64_t>(blocks);
    memory_.push_back(allocate(bytes, "the KV cache"));
    memory_.push_back(allocate(bytes, "the KV cache"));
    layers_.push_back({type, block_size, static_cast<int32_t>(layer.attention.kv_heads),
                       static_cast<int32_t>(layer.attention.head_dim),
                       memory_[memory_.size() - 2].data, memory_.back().data});
  }
}

void KvCache::copy_block(int32_t from, int32_t to, int32_t slots) {
  for (const cpu::KvLayer& layer : layers_) {
    // [blocks, kv_heads, block_size, head_dim]: the slots of one head lie together.
    const size_t row = static_cast<size_t>(layer.head_dim) * cpu::kv_type_bytes(layer.type);
    const size_t head = row * static_cast<size_t>(block_size_),
                 block = head * static_cast<size_t>(layer.kv_heads);
    for (void* base : {layer.keys, layer.values}) {
      const char* source = static_cast<const char*>(base) + block * static_cast<size_t>(from);
      char* target = static_cast<char*>(base) + block * static_cast<size_t>(to);
      for (int32_t h = 0; h < layer.kv_heads; ++h)
        std::memcpy(target + head * static_cast<size_t>(h), source + head * static_cast<size_t>(h),
                    row * static_cast<size_t>(slots));
    }
  }
}

}  // namespace spnl::mistralrs
