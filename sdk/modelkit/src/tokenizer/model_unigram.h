#pragma once
#include <array>
#include <optional>

#include "tokenizer/byte_trie.h"
#include "tokenizer/stages.h"
#include "tokenizer_vocab.h"

namespace spnl::modelkit {

struct UnigramOptions {
  std::optional<int32_t> unknown;
  bool byte_fallback = false;
  bool fuse_unknown = true;
  bool user_defined = true;   ///< user-defined tokens are tokens here too
  double lowest = 0;          ///< score of the least likely token; unknown characters cost 10 more
  std::vector<double> exact;  ///< scores of the first tokens, which alone count; empty: the
                              ///< vocabulary's own floats of all
};

/// Unigram language model: the segmentation with the highest sum of scores (Kudo 2018), found by
/// Viterbi's algorithm. Linear in the text.
class UnigramModel final : public TokenModel {
 public:
  UnigramModel(const Vocabulary& vocabulary, UnigramOptions options);
  void encode(std::string_view text, std::span<const TextPiece> pieces,
              EncodedText& out) const override;

 private:
  struct Node {  // the best way to a byte
    double score = 0;
    uint32_t start = 0;
    int32_t id = -2;  // -2: not reached, -1: unknown character
  };
  void encode_piece(std::string_view piece, size_t base, std::vector<Node>& nodes,
                    std::vector<Node>& path, EncodedText& out) const;
  void emit(int32_t id, std::string_view bytes, size_t base, EncodedText& out) const;

  const Vocabulary& vocabulary_;
  UnigramOptions options_;
  ByteTrie trie_;
  std::array<int32_t, 256> byte_tokens_;
};

}  // namespace spnl::modelkit
