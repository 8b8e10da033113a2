#pragma once
#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "pretokenizer.h"
#include "tokenizer/bpe_merges.h"
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

  const Pretokenizer& pretokenizer() const { return pretokenizer_; }

 private:
  void encode_word(std::string_view word, size_t base, std::vector<BpeMerges::Symbol>& symbols,
                   EncodedText& out) const;
  void emit(int32_t symbol, std::string_view bytes, size_t base, EncodedText& out) const;

  const Vocabulary& vocabulary_;
  Pretokenizer pretokenizer_;
  std::array<int32_t, 256>
      byte_symbols_;  // ids from vocabulary.size() on: in no vocabulary, only parts of merges
  BpeMerges merges_;
};

}  // namespace spnl::modelkit
