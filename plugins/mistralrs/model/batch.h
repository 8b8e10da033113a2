#pragma once
#include <cstdint>
#include <vector>

#include "ops/cpu/attention.h"

namespace spnl::mistralrs {

/// Where the rows of a batch and all that they see lie, in the blocks of one kind.
struct Placement {
  std::vector<int64_t> slots;  ///< [rows] where keys and values go: block * block_size + index
  std::vector<cpu::AttentionSequence> sequences;
  std::vector<cpu::KvRun>
      runs;  ///< what `sequences` point into; they in turn point into block tables

  void clear() {
    slots.clear();
    sequences.clear();
    runs.clear();
  }
};

/// One forward's input: the rows of all sequences that take part, each sequence's rows together and
/// in order.
struct Batch {
  std::vector<int32_t> ids;  ///< [rows]
  std::vector<int32_t>
      positions;  ///< [rows] linear positions; in a plain sequence also what keys are turned to
  std::vector<uint8_t> long_rope;   ///< [rows] 1: of a sequence that turns by the long frequencies
  Placement full;                   ///< for layers that keep all tokens
  Placement windowed;               ///< for those that keep a window; empty where there are none
  std::vector<int32_t> logit_rows;  ///< rows whose logits are wanted, ascending

  int64_t rows() const { return static_cast<int64_t>(ids.size()); }
  cpu::RowPositions row_positions() const { return {positions, long_rope}; }
  void clear() {
    ids.clear();
    positions.clear();
    long_rope.clear();
    full.clear();
    windowed.clear();
    logit_rows.clear();
  }
};

}  // namespace spnl::mistralrs
