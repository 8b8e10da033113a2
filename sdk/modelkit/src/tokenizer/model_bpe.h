#pragma once
#include <array>
#include <optional>

#include "tokenizer/bpe_merges.h"
#include "tokenizer/stages.h"
#include "tokenizer_vocab.h"

namespace spnl::modelkit {

struct BpeOptions {
  std::optional<int32_t> unknown;  ///< without it, what is no token is left out
  bool fuse_unknown = false;       ///< neighbouring unknown characters are one
  bool byte_fallback = false;      ///< unknown characters become <0xXX> tokens first
  bool ignore_merges = false;      ///< a piece that is a token as a whole is taken so
  std::string prefix;              ///< of characters that don't begin a piece
  std::string suffix;              ///< of characters that end a piece
};

/// Byte pair encoding over characters, as tokenizer.json's "BPE". Byte-level models are the same:
/// their pre-tokenizer has turned bytes into letters.
class CharacterBpe final : public TokenModel {
 public:
  /// `merges`: how many will be added.
  CharacterBpe(const Vocabulary& vocabulary, BpeOptions options, size_t merges);
  /// In the order of their ranks; of equal ones the last counts. Throws Error(kCorrupt) when its
  /// parts are no tokens.
  void add_merge(std::string_view left, std::string_view right);
  void encode(std::string_view text, std::span<const TextPiece> pieces,
              EncodedText& out) const override;

 private:
  int32_t symbol(std::string_view character, bool first, bool last, std::string& scratch) const;
  size_t split(std::string_view word, std::vector<BpeMerges::Symbol>& symbols) const;
  void encode_word(std::string_view word, size_t base, std::vector<BpeMerges::Symbol>& symbols,
                   EncodedText& out) const;

  const Vocabulary& vocabulary_;
  BpeOptions options_;
  BpeMerges merges_;
  size_t added_ = 0;                          ///< merges
  std::string joined_;                        ///< kept for its memory
  std::array<int32_t, 0x180> short_symbols_;  ///< tokens of characters below U+0180; -1: none
  std::array<int32_t, 256> byte_tokens_;      ///< <0xXX>
  bool words_apart_ = false;  ///< nothing merges across the start of a word that begins with U+2581
};

}  // namespace spnl::modelkit
