#pragma once
#include "json_file.h"
#include "tokenizer/stages.h"

namespace spnl::modelkit {

/// From tokens to text: decoders in order. Const: thread-safe.
class DecoderChain {
 public:
  /// As the library without a decoder: tokens with a blank between them.
  DecoderChain();
  explicit DecoderChain(std::vector<std::unique_ptr<TokenDecoder>> steps)
      : steps_(std::move(steps)) {}
  DecoderChain(DecoderChain&&) noexcept = default;
  DecoderChain& operator=(DecoderChain&&) noexcept = default;

  struct Token {
    std::string text;
    bool added = false;
  };
  std::string text(std::vector<Token> tokens) const;
  /// What one token adds in the middle of a text.
  std::string piece(Token token) const;

 private:
  std::vector<std::unique_ptr<TokenDecoder>> steps_;
};

/// The decoders that `value` describes. Throws Error(kUnsupported) naming a kind that is unknown.
DecoderChain read_decoder(const JsonFile& file, const JsonValue& value);
/// U+2581 to blanks, <0xXX> to bytes; `drops_first`: without the first blank of the whole text.
DecoderChain make_sentencepiece_decoder(bool drops_first);
/// Tokens as they are.
DecoderChain make_plain_decoder();
DecoderChain make_byte_level_decoder();
DecoderChain make_word_piece_decoder(std::string_view continuing);

}  // namespace spnl::modelkit
