#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "spnl/modelkit/gguf.h"

namespace spnl::modelkit {

struct TokenizeOptions {
  bool add_special = true;    ///< bos / eos as the vocabulary's own settings say
  bool parse_special = true;  ///< control tokens spelled in the text become those tokens;
                              ///< user-defined ones always do
  bool continues = false;     ///< the text goes on from an earlier one: nothing is put before it
                              ///< where the vocabulary puts a blank before a text's beginning
};

/// Bytes [begin, end) of a text.
struct TextRange {
  uint64_t begin = 0, end = 0;
};

/// ids, and for each the byte of the text where its own text ends (0 for bos, the text's size for
/// eos).
struct EncodedText {
  std::vector<int32_t> ids;
  std::vector<uint64_t> ends;
};

/// Text to ids and back. Const after construction: thread-safe.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  /// Any bytes are accepted; what is no UTF-8 is tokenised by bytes where the vocabulary can.
  virtual std::vector<int32_t> encode(std::string_view text,
                                      const TokenizeOptions& options) const = 0;
  /// As encode with parse_special, but no control token is taken from text that touches one of the
  /// `literal` ranges (sorted, disjoint). Plain text is still tokenised across their borders in one
  /// go.
  virtual EncodedText encode_marked(std::string_view text, std::span<const TextRange> literal,
                                    bool add_special) const = 0;
  /// As encode_marked for a text that goes on from an earlier one (TokenizeOptions::continues),
  /// without special tokens of the vocabulary's own.
  virtual EncodedText encode_continuation(std::string_view text,
                                          std::span<const TextRange> literal) const = 0;
  /// Bytes of one token as they appear in running text (may be part of a character). Control tokens
  /// give their spelling when `spell_special`, else nothing. Throws Error(kInvalid) for an id
  /// outside the vocabulary.
  virtual std::string piece(int32_t id, bool spell_special) const = 0;
  /// Text of a whole sequence; differs from joined pieces where the vocabulary drops a leading
  /// space.
  virtual std::string decode(const std::vector<int32_t>& ids, bool spell_special) const = 0;

  virtual int32_t vocab_size() const = 0;
  virtual std::optional<int32_t> bos() const = 0;
  virtual std::optional<int32_t> eos() const = 0;
  virtual const std::vector<int32_t>& end_of_generation()
      const = 0;  ///< sorted; ids that end an answer
  virtual bool is_special(
      int32_t id) const = 0;  ///< control token: never part of the answer's text
  virtual bool adds_bos() const = 0;
};

/// From the metadata of a GGUF: the tokenizer.json in tokenizer.huggingface.json when it has one,
/// else tokenizer.ggml.*: byte-level BPE ("gpt2"), SentencePiece-style ("llama", "t5"), WordPiece
/// ("bert") and "gemma4". Throws Error(kUnsupported) for other models or an unknown `pre`, kCorrupt
/// for contradictory lists.
std::unique_ptr<Tokenizer> tokenizer_from_gguf(const GgufFile& file);

/// From a folder in Hugging Face's layout: tokenizer.json, else tokenizer.model (SentencePiece),
/// else tekken.json, else *.tiktoken, else vocab.json with merges.txt; and what
/// tokenizer_config.json, special_tokens_map.json, added_tokens.json, generation_config.json and
/// config.json say about special tokens. An answer ends at any id that generation_config.json,
/// config.json or the tokenizer calls eos; when neither of the two files does, at the usual
/// spellings too. Throws Error: kNotFound without any, kCorrupt, kUnsupported naming the kind that
/// is unknown.
std::unique_ptr<Tokenizer> tokenizer_from_folder(const std::filesystem::path& folder);

}  // namespace spnl::modelkit
