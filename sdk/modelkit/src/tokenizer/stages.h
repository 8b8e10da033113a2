#pragma once
// The steps between text and ids, as Hugging Face's tokenizers library cuts them: normalizer,
// pre-tokenizer, model; and decoders back. All are const after construction: thread-safe.
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "spnl/modelkit/tokenizer.h"
#include "tokenizer/aligned_text.h"

namespace spnl::modelkit {

/// Where a stretch of plain text stands.
struct StretchPlace {
  bool opens = true;       ///< nothing, or a control token, before it
  bool closes = true;      ///< nothing, or a control token, after it
  bool continues = false;  ///< goes on from an earlier text: nothing may be put before it
};

class TextNormalizer {
 public:
  virtual ~TextNormalizer() = default;
  virtual AlignedText apply(AlignedText text, StretchPlace place) const = 0;
  /// Must see a stretch before an added token even when it is empty.
  virtual bool wants_empty() const { return false; }
};

/// Text cut into pieces, ascending; what lies between them is dropped.
struct PreTokenized {
  AlignedText text;
  std::vector<TextPiece> pieces;
  bool continues = false;  ///< goes on from an earlier text: nothing may be put before it
};

class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  virtual void apply(PreTokenized& words) const = 0;
};

class TokenModel {
 public:
  virtual ~TokenModel() = default;
  /// Appends the ids of the pieces of `text`, and the byte of `text` where each ends.
  virtual void encode(std::string_view text, std::span<const TextPiece> pieces,
                      EncodedText& out) const = 0;
};

/// What a decoder is told about a token besides its text.
struct TokenPlace {
  bool first = false, last = false;  ///< of the sequence
  bool added = false;                ///< an added token: its text is what it spells
};

class TokenDecoder {
 public:
  virtual ~TokenDecoder() = default;
  virtual std::string apply(std::string_view token, TokenPlace place) const = 0;
  /// Joins all tokens into one, which later decoders see.
  virtual bool fuses() const { return false; }
};

}  // namespace spnl::modelkit
