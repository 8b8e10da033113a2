#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "tokenizer_vocab.h"

namespace spnl::modelkit {

struct SpmOptions {
  std::optional<int32_t> unknown;  ///< without it, what is no token is left out
  bool fuse_unknown = false;       ///< neighbouring unknown characters are one
  bool byte_fallback = true;       ///< unknown characters become byte tokens first
};

/// SentencePiece's BPE as GGUF's "llama" vocabularies mean it: characters are symbols, and of all
/// neighbours whose joined text is a token those with the highest score merge first, of equal ones
/// the leftmost. What is no token in the end becomes its bytes. Const after construction:
/// thread-safe.
class SpmModel {
 public:
  SpmModel(const Vocabulary& vocabulary, const SpmOptions& options);

  /// Appends the ids of text[begin, end) and where each ends. `prefix`: as if a blank stood before
  /// it.
  void encode(std::string_view text, size_t begin, size_t end, bool prefix, EncodedText& out) const;
  /// As encode for one word whose symbols are bytes.
  void encode_bytes(std::string_view word, size_t base, EncodedText& out) const;

 private:
  struct Symbol {
    size_t begin;       // in the escaped text
    size_t source_end;  // in the text
    uint32_t size;      // bytes; 0: merged into the one before
    int32_t previous, next;
  };
  struct Candidate {
    float score;
    int32_t left;
    uint32_t size;
    bool operator<(const Candidate& other) const {  // a heap keeps the greatest on top
      return score != other.score ? score < other.score : left > other.left;
    }
  };
  void encode_word(std::string_view word, std::vector<Symbol>& symbols,
                   std::vector<Candidate>& heap, EncodedText& out) const;
  void add_candidate(std::string_view word, const std::vector<Symbol>& symbols, int32_t left,
                     std::vector<Candidate>& heap) const;
  void emit(std::string_view piece, size_t source_begin, size_t source_end, EncodedText& out) const;

  const Vocabulary& vocabulary_;
  SpmOptions options_;
  std::array<int32_t, 256> byte_tokens_;
  bool words_apart_;  ///< no token has a blank after another character, so nothing merges across
                      ///< the start of a word
};

}  // namespace spnl::modelkit
