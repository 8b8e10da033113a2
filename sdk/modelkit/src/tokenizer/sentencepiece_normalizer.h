#pragma once
#include <optional>

#include "tokenizer/charsmap.h"
#include "tokenizer/stages.h"

namespace spnl::modelkit {

struct SentencePieceRules {
  std::optional<Charsmap> charsmap;
  bool dummy_prefix = true;  ///< a blank before the text
  bool blank_after = false;  ///< ... or rather after it
  bool remove_extra_whitespaces = false;
  bool escape_whitespaces = true;  ///< blanks become U+2581
};

/// SentencePiece's normalizer (normalizer_spec of its model files).
class SentencePieceNormalizer final : public TextNormalizer {
 public:
  explicit SentencePieceNormalizer(SentencePieceRules rules) : rules_(std::move(rules)) {}
  AlignedText apply(AlignedText text, StretchPlace place) const override;
  bool wants_empty() const override { return rules_.dummy_prefix && !rules_.blank_after; }

 private:
  SentencePieceRules rules_;
};

}  // namespace spnl::modelkit
