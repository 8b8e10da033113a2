#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "cache/block_pool.h"
#include "ops/cpu/attention.h"
#include "ops/memory.h"
#include "spnl/modelkit/model_spec.h"

namespace spnl::mistralrs {

/// The memory of keys and values of all layers, in blocks: block b of every layer of one kind
/// belongs together. Latent attention keeps one compressed row a token. Who owns a block is
/// BlockPool's business. Pages are not touched before a block's first use.
class KvCache {
 public:
  /// Layers that see at most `window` tokens keep theirs in windowed blocks, the others in full
  /// ones; 0: all in full ones. Throws modelkit::Error(kNoMemory), or kUnsupported where the type
  /// does not fit the heads.
  KvCache(const modelkit::ModelSpec& spec, cpu::KvType type, int32_t block_size,
          const BlockCounts& blocks, int32_t window = 0);

  /// Of one block of each kind.
  struct BlockBytes {
    uint64_t full = 0, windowed = 0;
    uint64_t both() const { return full + windowed; }
  };
  static BlockBytes block_bytes(const modelkit::ModelSpec& spec, cpu::KvType type,
                                int32_t block_size, int32_t window = 0);

  int32_t block_size() const { return block_size_; }
  const BlockBytes& block_bytes() const { return block_bytes_; }
  size_t layers() const { return layers_.size(); }
  const cpu::KvLayer& layer(size_t index) const { return layers_[index]; }
  BlockKind kind(size_t layer) const { return kinds_[layer]; }

  /// Copies the first `slots` slots of both blocks in every layer.
  void copy_block(const Block& from, const Block& to, int32_t slots);
  /// Gives the pages of a block back to the system; its contents are lost.
  void discard(BlockKind kind, int32_t block);

  /// One layer's rows outside of blocks, so that they can be put into blocks of any size: keys
  /// [kv_heads, rows, head_dim], then values [kv_heads, rows, value_dim], of the layer's type.
  uint64_t bytes_of_rows(size_t layer, int64_t rows) const;
  /// Copies rows [0, rows), which lie in `blocks` one after the other; `to`
  /// [bytes_of_rows].
  void save_rows(size_t layer, const BlockNumbers& blocks, int64_t rows, std::byte* to) const;
  /// Copies rows [first, rows) back, of the `rows` in `from`; others in the blocks stay.
  void load_rows(size_t layer, const BlockNumbers& blocks, int64_t first, int64_t rows,
                 const std::byte* from);

 private:
  int32_t block_size_;
  BlockBytes block_bytes_;
  std::vector<cpu::KvLayer> layers_;
  std::vector<BlockKind> kinds_;  // of the layers
  std::vector<Memory> memory_;    // of the layers' keys and values
};

}  // namespace spnl::mistralrs
