#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "ops/cpu/attention.h"
#include "ops/memory.h"
#include "spnl/modelkit/model_spec.h"

namespace spnl::mistralrs {

/// The memory of keys and values of all layers, in blocks: block b of every layer belongs together.
/// Latent attention keeps one compressed row a token. Who owns a block is BlockPool's business.
/// Pages are not touched before a block's first use.
class KvCache {
 public:
  /// Throws modelkit::Error(kNoMemory), or kUnsupported where the type does not fit the heads.
  KvCache(const modelkit::ModelSpec& spec, cpu::KvType type, int32_t block_size, int32_t blocks);

  static uint64_t block_bytes(const modelkit::ModelSpec& spec, cpu::KvType type,
                              int32_t block_size);

  int32_t block_size() const { return block_size_; }
  int32_t blocks() const { return blocks_; }
  uint64_t block_bytes() const { return block_bytes_; }
  size_t layers() const { return layers_.size(); }
  const cpu::KvLayer& layer(size_t index) const { return layers_[index]; }

  /// Copies the first `slots` slots of a block in every layer.
  void copy_block(int32_t from, int32_t to, int32_t slots);

  /// One layer's rows outside of blocks, so that they can be put into blocks of any size: keys
  /// [kv_heads, rows, head_dim], then values [kv_heads, rows, value_dim], of the layer's type.
  uint64_t bytes_of_rows(size_t layer, int64_t rows) const;
  /// Copies rows [0, rows), which lie in `blocks` one after the other; `to` [bytes_of_rows].
  void save_rows(size_t layer, std::span<const int32_t> blocks, int64_t rows, std::byte* to) const;
  /// Copies rows [first, rows) back, of the `rows` in `from`; others in the blocks stay.
  void load_rows(size_t layer, std::span<const int32_t> blocks, int64_t first, int64_t rows,
                 const std::byte* from);

 private:
  int32_t block_size_, blocks_;
  uint64_t block_bytes_;
  std::vector<cpu::KvLayer> layers_;
  std::vector<Memory> memory_;  // of the layers' keys and values
};

}  // namespace spnl::mistralrs
