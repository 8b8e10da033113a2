#pragma once
#include "spm.h"
#include "tokenizer/stages.h"

namespace spnl::modelkit {

/// SentencePiece's BPE over text that its normalizer has escaped.
class SentencePieceBpe final : public TokenModel {
 public:
  SentencePieceBpe(const Vocabulary& vocabulary, const SpmOptions& options)
      : model_(vocabulary, options) {}
  void encode(std::string_view text, std::span<const TextPiece> pieces,
              EncodedText& out) const override;

 private:
  SpmModel model_;
};

/// tiktoken's BPE: bytes are symbols, of all neighbours whose joined bytes are a token those of the
/// lowest rank (the highest score) merge first; a piece that is a token as a whole is taken so.
class RankedBpe final : public TokenModel {
 public:
  explicit RankedBpe(const Vocabulary& vocabulary)
      : vocabulary_(vocabulary), model_(vocabulary, SpmOptions{std::nullopt, false, false}) {}
  void encode(std::string_view text, std::span<const TextPiece> pieces,
              EncodedText& out) const override;

 private:
  const Vocabulary& vocabulary_;
  SpmModel model_;
};

}  // namespace spnl::modelkit
