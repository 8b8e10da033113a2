#pragma once
#include <cstdint>
#include <random>
#include <vector>

#include "ops/cpu/attention.h"

// A random paged cache with sequences of runs, and attention over it in double precision. The
// oracle turns the keys instead of the query (the other algebra), and writes every mask as a plain
// condition.
namespace spnl::test {

struct AttentionShape {
  int heads = 4, kv_heads = 2, head_dim = 64, rotary_pairs = 32, block_size = 16;
  mistralrs::cpu::KvType type = mistralrs::cpu::KvType::kF32;
  mistralrs::cpu::RopeKind kind = mistralrs::cpu::RopeKind::kHalfSplit;
  float softcap = 0;
  int window = 0;
  double magnitude = 1.0;
  int first_dim = 0;           ///< of a head, that turns
  int value_dim = 0;           ///< 0: head_dim
  bool shares_values = false;  ///< a value is the first value_dim elements of its key
  bool sinks = false;
  bool long_rope = false;  ///< every other sequence turns by other frequencies

  int values() const { return value_dim != 0 ? value_dim : head_dim; }
};

/// One run as the test asks for it: slots lo..hi-1 of its blocks, first cached position, offset.
struct RunShape {
  int lo, hi, e0, offset;
};

class AttentionCase {
 public:
  AttentionCase(const AttentionShape& shape, uint32_t seed);

  /// Stores fresh keys for the runs through rope_store and adds a sequence of rows at `positions`.
  void add_sequence(mistralrs::cpu::Isa isa, const std::vector<RunShape>& runs,
                    const std::vector<int32_t>& positions);

  /// All sequences in one call; out has a gap after each row that must stay as it is.
  std::vector<float> run(mistralrs::cpu::Isa isa, int threads) const;
  /// Rows first..first+count-1 of sequence `index` alone.
  std::vector<float> run_part(mistralrs::cpu::Isa isa, int threads, size_t index, int64_t first,
                              int64_t count) const;

  std::vector<double> expected() const;

  int64_t rows() const { return static_cast<int64_t>(positions_.size()); }
  int width() const { return shape_.heads * shape_.values(); }    ///< of an output row
  int q_width() const { return shape_.heads * shape_.head_dim; }  ///< of a query row
  mistralrs::cpu::Rope rope;

 private:
  struct Stored {  ///< what the oracle knows of a slot: unrotated key and value, both as double
    std::vector<double> key, value;
  };
  struct Sequence {
    int64_t first_row, rows;
    bool long_rope;
    std::vector<std::vector<int32_t>> blocks;
    std::vector<RunShape> runs;
    std::vector<std::vector<Stored>> stored;  ///< [run][slot - lo]
  };
  std::vector<float> call(mistralrs::cpu::Isa isa, int threads, const std::vector<float>& queries,
                          const std::vector<int32_t>& positions,
                          const std::vector<std::pair<const Sequence*, int64_t>>& sequences) const;
  void expected_row(const Sequence& s, int64_t row, int head, double* out) const;
  mistralrs::cpu::KvLayer layer() const;

  AttentionShape shape_;
  mutable mistralrs::cpu::RopeAngles angles_;  // shared by all calls, as by those of an engine
  std::mt19937 random_;
  int32_t used_blocks_ = 1;
  std::vector<float> sinks_;
  mutable std::vector<uint8_t> keys_, values_;
  std::vector<int32_t> positions_;
  std::vector<float> queries_;
  std::vector<Sequence> sequences_;
};

}  // namespace spnl::test
