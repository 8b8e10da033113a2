#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "cache/block_cache.h"
#include "cache/chain_key.h"
#include "cache/kv_cache.h"

namespace spnl::mistralrs {

/// What a file of keys and values is of. `group` stands for all that they depend on besides tokens:
/// model, type, kernels. `end` names the chain.
struct SpanName {
  ChainKey group, end;
};

/// The file of one chain; little-endian, and each part begins at a multiple of 4096 bytes:
///   header  "spnlspan", version, type of keys and values; the keys of group, root and end; the
///           numbers of rows, layers and bytes of the file; ids and positions [rows]; a checksum
///           of each layer; zeros; in the last 16 bytes a checksum of the header
///   layers  KvCache::save_rows of each, zeros
/// All but the checksums follows from what is looked for, so a file is compared with what it must
/// be, and no length in it is trusted. Checksums are SipHash with the folder's secret: who does not
/// know that cannot make a file that is taken for one of ours.
struct SpanFileLayout {
  SpanFileLayout(const KvCache& memory, int64_t rows);

  uint64_t checksums;           ///< where the layers' are
  std::vector<uint64_t> begin;  ///< of each layer; then the end of the file
  uint64_t header_bytes() const { return begin.front(); }
  uint64_t bytes() const { return begin.back(); }
};

/// The bytes of a file that is to be written.
class SpanImage {
 public:
  /// Copies the rows of a chain out of its blocks.
  SpanImage(const KvCache& memory, const SpanName& name, const Chain& chain,
            const BlockNumbers& blocks);
  /// Fills in the checksums; any thread.
  void seal(const ChainSecret& secret);

  const SpanName& name() const { return name_; }
  uint64_t rows() const { return rows_; }
  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  SpanName name_;
  uint64_t rows_;
  SpanFileLayout layout_;
  std::vector<std::byte> bytes_;
};

/// Reads rows [first, chain.rows()) from an open file of any content into their blocks. False: it
/// is not the file of this chain, or damaged; what the blocks hold of those rows is then undefined.
bool read_span_file(int file, const ChainSecret& secret, const SpanName& name, const Chain& chain,
                    KvCache& memory, const BlockNumbers& blocks, int64_t first);

/// Whether an open file begins like one that this version writes.
bool is_span_file(int file);

}  // namespace spnl::mistralrs
