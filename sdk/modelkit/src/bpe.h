#pragma once
#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "pretokenizer.h"
#include "tokenizer_vocab.h"

namespace spnl::modelkit {

/// Byte-level BPE: words from the pre-tokenizer, bytes as symbols, the merge of lowest rank first
/// and of equal ranks the leftmost (Sennrich et al. 2016; bytes as in GPT-2). Const after
/// construction: thread-safe.
class BpeModel {
 public:
  /// Throws Error(kCorrupt) for a merge that has no blank.
  BpeModel(const Vocabulary& vocabulary, Pretokenizer pretokenizer,
           std::span<const std::string_view> merges);

  /// Appends the ids of text[begin, end) and where each ends.
  void encode(std::string_view text, size_t begin, size_t end, EncodedText& out) const;

  /// Bytes of a normal token's text.
  std::string decode(std::string_view text) const;
  const Pretokenizer& pretokenizer() const { return pretokenizer_; }

 private:
  struct Merge {
    uint32_t rank;  // kNoRank: none
    int32_t result;
  };
  struct MergeSlot {
    uint64_t key;
    Merge merge;
  };
  struct Symbol {
    int32_t id;
    uint32_t size;  // bytes; 0: merged into the one before
    int32_t previous, next;
  };
  void add_merge(int32_t left, int32_t right, Merge merge);
  Merge merge_of(int32_t left, int32_t right) const;
  void merge_short(std::vector<Symbol>& symbols) const;
  void merge_long(std::vector<Symbol>& symbols) const;
  void encode_word(std::string_view word, size_t base, std::vector<Symbol>& symbols,
                   EncodedText& out) const;
  void emit(int32_t symbol, std::string_view bytes, size_t base, EncodedText& out) const;

  const Vocabulary& vocabulary_;
  Pretokenizer pretokenizer_;
  std::array<int32_t, 256>
      byte_symbols_;  // ids from vocabulary.size() on: in no vocabulary, only parts of merges
  std::vector<MergeSlot> merges_;  // open addressing, a power of two
};

}  // namespace spnl::modelkit
