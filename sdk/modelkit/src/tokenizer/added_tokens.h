#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "spnl/modelkit/tokenizer.h"
#include "tokenizer/aligned_text.h"
#include "tokenizer/byte_trie.h"

namespace spnl::modelkit {

class Vocabulary;

/// A token that is found by its spelling before the model sees the text.
struct AddedToken {
  std::string text;
  int32_t id = -1;
  bool control = true;       ///< only where control tokens may be read from text
  bool strip_left = false;   ///< takes the white space before it
  bool strip_right = false;  ///< takes the white space after it
  bool single_word = false;  ///< only where no word character touches it
};

/// The control, unknown and user-defined tokens of a vocabulary.
std::vector<AddedToken> added_tokens_of(const Vocabulary& vocabulary);

/// Finds added tokens spelled in a text: leftmost first, of those the longest, as the models' own
/// tokenizers do. Const after construction.
class AddedTokens {
 public:
  explicit AddedTokens(std::vector<AddedToken> tokens);

  struct Part {
    size_t begin, end;        ///< bytes of the text
    const AddedToken* token;  ///< null: plain text
  };
  /// Cuts `text` into plain stretches and tokens, in order; bytes that a token strips after itself
  /// belong to no part. Control tokens count when `parse_special`, and only where their source
  /// touches no range of `literal`; the others always.
  std::vector<Part> split(const AlignedText& text, bool parse_special,
                          std::span<const TextRange> literal) const;
  bool empty() const { return tokens_.empty(); }

 private:
  std::vector<AddedToken> tokens_;
  std::optional<ByteTrie> trie_;
};

}  // namespace spnl::modelkit
