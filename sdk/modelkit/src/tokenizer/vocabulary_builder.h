#pragma once
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/pipeline.h"
#include "tokenizer/tokenizer_config.h"

namespace spnl::modelkit {

/// Collects tokens in any order and makes a Vocabulary of them. Texts must live until finish().
class VocabularyBuilder {
 public:
  /// What TokenizerData calls types.
  enum Type : int64_t {
    kNormal = 1,
    kUnknown = 2,
    kControl = 3,
    kUserDefined = 4,
    kUnused = 5,
    kByte = 6,
    kOutside = kOutsideType
  };

  /// `file_bytes`: no file of that size can mean ids above it.
  explicit VocabularyBuilder(std::string name, size_t file_bytes);
  /// Throws Error(kCorrupt) for an id that is too high.
  void set(uint64_t id, std::string_view text, Type type = kNormal, double score = 0);
  /// An added token: of the model's own, or with the next free id as the library counts them.
  void add(AddedSpec spec) { added_.push_back(std::move(spec)); }
  /// How many ids there are now.
  size_t size() const { return tokens_.size(); }

  /// Makes parts.vocabulary and parts.added (those found after normalisation are returned), with
  /// what the configuration says of them.
  std::vector<AddedToken> finish(const TokenizerConfig& config, Pipeline& parts);

 private:
  void place_added();
  void mark_specials(const std::vector<std::string>& specials);
  std::optional<uint64_t> find_added(std::string_view text) const;

  std::string name_;
  size_t limit_, count_ = 0;
  std::vector<std::string_view> tokens_;
  std::vector<int64_t> types_;
  std::vector<double> scores_;
  std::vector<AddedSpec> added_;
  std::deque<std::string> own_texts_;
};

/// The ids around a text: what the configuration says explicitly wins over the file's own.
void apply_bos_settings(const TokenizerConfig& config, Pipeline& parts);

}  // namespace spnl::modelkit
