#pragma once
#include <string>

#include "spnl/modelkit/error.h"
#include "tokenizer_vocab.h"

namespace spnl::modelkit {

/// What all tokenizers share: everything that a Vocabulary alone can answer.
class VocabularyTokenizer : public Tokenizer {
 public:
  std::vector<int32_t> encode(std::string_view text,
                              const TokenizeOptions& options) const override {
    return run(text, {}, options).ids;
  }
  EncodedText encode_marked(std::string_view text, std::span<const TextRange> literal,
                            bool add_special) const override {
    return run(text, literal, {.add_special = add_special, .parse_special = true});
  }
  EncodedText encode_continuation(std::string_view text,
                                  std::span<const TextRange> literal) const override {
    return run(text, literal, {.add_special = false, .parse_special = true, .continues = true});
  }

  int32_t vocab_size() const override { return vocabulary().size(); }
  std::optional<int32_t> bos() const override { return vocabulary().bos(); }
  std::optional<int32_t> eos() const override { return vocabulary().eos(); }
  const std::vector<int32_t>& end_of_generation() const override {
    return vocabulary().end_of_generation();
  }
  bool is_special(int32_t id) const override {
    return id >= 0 && id < vocabulary().size() &&
           (vocabulary().flags(id) & (Vocabulary::kControl | Vocabulary::kUnknown)) != 0;
  }

 protected:
  virtual const Vocabulary& vocabulary() const = 0;
  virtual EncodedText run(std::string_view text, std::span<const TextRange> literal,
                          const TokenizeOptions& options) const = 0;

  void check_id(int32_t id) const {
    if (id >= 0 && id < vocabulary().size()) return;
    throw Error(ErrorCode::kInvalid, "token id " + std::to_string(id) +
                                         " is outside the vocabulary of " +
                                         std::to_string(vocabulary().size()));
  }
};

}  // namespace spnl::modelkit
