#pragma once
#include <optional>

#include "tokenizer/stages.h"
#include "tokenizer_vocab.h"

namespace spnl::modelkit {

struct WordPieceOptions {
  std::optional<int32_t> unknown;  ///< without it, what is no token is left out
  std::string first;               ///< prefix of what begins a word
  std::string next = "##";         ///< prefix of what continues one
  size_t longest_word = 100;       ///< in characters; longer ones are unknown
};

/// Greedy longest match from the left of each word (BERT's WordPiece).
class WordPieceModel final : public TokenModel {
 public:
  WordPieceModel(const Vocabulary& vocabulary, WordPieceOptions options)
      : vocabulary_(vocabulary), options_(std::move(options)) {}
  void encode(std::string_view text, std::span<const TextPiece> pieces,
              EncodedText& out) const override;

 private:
  bool encode_word(std::string_view word, size_t base, EncodedText& out) const;

  const Vocabulary& vocabulary_;
  WordPieceOptions options_;
};

/// Each piece is one token, or unknown.
class WordLevelModel final : public TokenModel {
 public:
  WordLevelModel(const Vocabulary& vocabulary, std::optional<int32_t> unknown)
      : vocabulary_(vocabulary), unknown_(unknown) {}
  void encode(std::string_view text, std::span<const TextPiece> pieces,
              EncodedText& out) const override;

 private:
  const Vocabulary& vocabulary_;
  std::optional<int32_t> unknown_;
};

}  // namespace spnl::modelkit
