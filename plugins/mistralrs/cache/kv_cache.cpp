#include "cache/kv_cache.h"

#include <algorithm>
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

BlockKind kind_of(const modelkit::AttentionSpec& spec, int32_t window) {
  const bool windowed = spec.window != 0 && spec.window <= static_cast<uint32_t>(window);
  return windowed ? BlockKind::kWindowed : BlockKind::kFull;
}

/// Keys, or values, of one layer: [blocks, kv_heads, block_size, dim], so the slots of one head lie
/// together.
struct Part {
  std::byte* data;
  size_t row, slots, heads;

  std::byte* at(int32_t block, size_t head, size_t slot) const {
    return data + ((static_cast<size_t>(block) * heads + head) * slots + slot) * row;
  }
};

template <class Visit>
void for_each_part(const cpu::KvLayer& layer, const Visit& visit) {
  const auto part = [&](void* data, int32_t dim) {
    return Part{static_cast<std::byte*>(data),
                static_cast<size_t>(cpu::kv_row_bytes(layer.type, dim)),
                static_cast<size_t>(layer.block_size), static_cast<size_t>(layer.kv_heads)};
  };
  visit(part(layer.keys, layer.head_dim));
  if (layer.values != nullptr) visit(part(layer.values, layer.value_dim));
}

/// Calls move(in blocks, offset in contiguous rows, bytes) for rows [first, rows) of each head.
template <class Move>
void for_each_stretch(const cpu::KvLayer& layer, std::span<const int32_t> blocks, size_t first,
                      size_t rows, const Move& move) {
  size_t begin = 0;
  for_each_part(layer, [&](const Part& part) {
    for (size_t head = 0; head < part.heads; ++head, begin += rows * part.row)
      for (size_t row = first, count = 0; row < rows; row += count) {
        const size_t slot = row % part.slots;
        count = std::min(part.slots - slot, rows - row);
        move(part.at(blocks[row / part.slots], head, slot), begin + row * part.row,
             count * part.row);
      }
  });
}

}  // namespace

KvCache::BlockBytes KvCache::block_bytes(const modelkit::ModelSpec& spec, cpu::KvType type,
                                         int32_t block_size, int32_t window) {
  BlockBytes bytes;
  for (const modelkit::LayerSpec& layer : spec.layers) {
    const cpu::KvLayer shape = shape_of(layer.attention, type, block_size);
    uint64_t of_layer = bytes_of(shape, shape.head_dim);
    if (!layer.attention.latent) of_layer += bytes_of(shape, shape.value_dim);
    const bool windowed = kind_of(layer.attention, window) == BlockKind::kWindowed;
    (windowed ? bytes.windowed : bytes.full) += of_layer;
  }
  return bytes;
}

KvCache::KvCache(const modelkit::ModelSpec& spec, cpu::KvType type, int32_t block_size,
                 const BlockCounts& blocks, int32_t window)
    : block_size_(block_size), block_bytes_(block_bytes(spec, type, block_size, window)) {
  const auto make = [&](uint64_t bytes, BlockKind kind) {
    const bool windowed = kind == BlockKind::kWindowed;
    const int32_t count = windowed ? blocks.windowed + kNoWindowed + 1 : blocks.full;
    memory_.push_back(allocate(bytes * static_cast<uint64_t>(count), "the KV cache"));
    if (windowed) std::memset(memory_.back().data, 0, static_cast<size_t>(bytes));  // kNoWindowed
    return memory_.back().data;
  };
  for (const modelkit::LayerSpec& layer : spec.layers) {
    cpu::KvLayer made = shape_of(layer.attention, type, block_size);
    const BlockKind kind = kind_of(layer.attention, window);
    made.keys = make(bytes_of(made, made.head_dim), kind);
    if (!layer.attention.latent) made.values = make(bytes_of(made, made.value_dim), kind);
    layers_.push_back(made);
    kinds_.push_back(kind);
  }
}

void KvCache::copy_block(const Block& from, const Block& to, int32_t slots) {
  for (size_t layer = 0; layer < layers_.size(); ++layer) {
    const bool windowed = kinds_[layer] == BlockKind::kWindowed;
    for_each_part(layers_[layer], [&](const Part& part) {
      for (size_t head = 0; head < part.heads; ++head)
        std::memcpy(part.at(windowed ? to.windowed : to.full, head, 0),
                    part.at(windowed ? from.windowed : from.full, head, 0),
                    part.row * static_cast<size_t>(slots));
    });
  }
}

void KvCache::discard(BlockKind kind, int32_t block) {
  for (size_t layer = 0; layer < layers_.size(); ++layer)
    if (kinds_[layer] == kind)
      for_each_part(layers_[layer], [&](const Part& part) {
        discard_pages(part.at(block, 0, 0), part.row * part.slots * part.heads);
      });
}

uint64_t KvCache::bytes_of_rows(size_t layer, int64_t rows) const {
  uint64_t bytes = 0;
  for_each_part(layers_[layer], [&](const Part& part) {
    bytes += part.heads * part.row * static_cast<uint64_t>(rows);
  });
  return bytes;
}

void KvCache::save_rows(size_t layer, const BlockNumbers& blocks, int64_t rows,
                        std::byte* to) const {
  for_each_stretch(layers_[layer], blocks.of(kinds_[layer]), 0, static_cast<size_t>(rows),
                   [&](const std::byte* in_block, size_t offset, size_t bytes) {
                     std::memcpy(to + offset, in_block, bytes);
                   });
}

void KvCache::load_rows(size_t layer, const BlockNumbers& blocks, int64_t first, int64_t rows,
                        const std::byte* from) {
  for_each_stretch(layers_[layer], blocks.of(kinds_[layer]), static_cast<size_t>(first),
                   static_cast<size_t>(rows),
                   [&](std::byte* in_block, size_t offset, size_t bytes) {
                     std::memcpy(in_block, from + offset, bytes);
                   });
}

}  // namespace spnl::mistralrs
