#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/pipeline.h"
#include "tokenizer/token_texts.h"
#include "tokenizer/tokenizer_config.h"

namespace spnl::modelkit {

/// Collects tokens in any order and makes a Vocabulary of them.
class VocabularyBuilder {
 public:
  /// What TokenizerData calls types.
  enum Type : uint8_t {
    kNormal = 1,
    kUnknown = 2,
    kControl = 3,
    kUserDefined = 4,
    kUnused = 5,
    kByte = 6,
    kOutside = kOutsideType
  };

  /// `most_ids`: how many tokens fit into the file. Ids above them, and above 32768, are refused:
  /// room for them would cost more than the file.
  explicit VocabularyBuilder(std::string name, size_t most_ids);
  void reserve(size_t tokens, size_t text_bytes);
  /// Throws Error(kCorrupt) for an id that is too high.
  void set(uint64_t id, std::string_view text, Type type = kNormal, double score = 0);
  /// An added token: of the model's own, or with the next free id as the library counts them.
  void add(AddedSpec spec) { added_.push_back(std::move(spec)); }
  /// How many ids there are now.
  size_t size() const { return texts_.size(); }

  /// Makes parts.vocabulary and parts.added (those found after normalisation are returned), with
  /// what the configuration says of them.
  std::vector<AddedToken> finish(const TokenizerConfig& config, Pipeline& parts);

 private:
  void place_added();
  void mark_specials(const std::vector<std::string>& specials);
  std::optional<uint64_t> find_added(std::string_view text) const;

  std::string name_;
  size_t limit_, count_ = 0;
  TokenTexts texts_;
  std::vector<uint8_t> types_;
  std::vector<float> scores_;  // empty while all are 0
  std::vector<AddedSpec> added_;
};

/// The ids around a text: what the configuration says explicitly wins over the file's own.
void apply_bos_settings(const TokenizerConfig& config, Pipeline& parts);

}  // namespace spnl::modelkit
