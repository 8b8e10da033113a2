#include "tokenizer/vocabulary_builder.h"

#include <algorithm>
#include <unordered_map>

#include "spnl/modelkit/error.h"

namespace spnl::modelkit {

VocabularyBuilder::VocabularyBuilder(std::string name, size_t file_bytes)
    : name_(std::move(name)), limit_(std::max<size_t>(file_bytes, 1 << 16)) {}

void VocabularyBuilder::set(uint64_t id, std::string_view text, Type type, double score) {
  if (id >= limit_ || id > INT32_MAX / 4) {
    throw Error(ErrorCode::kCorrupt, name_ + ": token id " + std::to_string(id) +
                                         " is too high for a file of that size");
  }
  if (id >= tokens_.size()) {
    tokens_.resize(id + 1);
    types_.resize(id + 1, kUnused);
    scores_.resize(id + 1);
  }
  if (types_[id] == kUnused) ++count_;
  tokens_[id] = text;
  types_[id] = type;
  scores_[id] = score;
}

// Ids as the library gives them: the model's own for a text that it knows, else the next ones above
// the model's and the added tokens' so far.
void VocabularyBuilder::place_added() {
  struct Known {
    uint64_t id = UINT64_MAX;
    bool placed = false;
  };
  std::unordered_map<std::string, Known> known;  // texts of added tokens
  for (const AddedSpec& spec : added_) known.emplace(spec.token.text, Known());
  const uint64_t model_size = count_, model_end = tokens_.size();
  for (uint64_t id = 0; id < model_end; ++id) {
    if (types_[id] == kUnused) continue;
    const auto wanted = known.find(std::string(tokens_[id]));
    if (wanted != known.end()) wanted->second.id = id;
  }
  std::vector<AddedSpec> placed;
  uint64_t highest = 0;
  for (AddedSpec& spec : added_) {
    Known& entry = known.at(spec.token.text);
    if (spec.token.text.empty() || entry.placed) continue;
    entry.placed = true;
    uint64_t& id = entry.id;
    const bool outside = id == UINT64_MAX;
    if (outside) {
      id = placed.empty() || highest < model_size ? model_size : highest + 1;
      const bool taken = id < types_.size() && types_[id] != kUnused;
      if (taken && spec.id) id = *spec.id;
      if (id < types_.size() && types_[id] != kUnused) id = types_.size();
    }
    highest = placed.empty() ? id : std::max(highest, id);
    own_texts_.push_back(spec.token.text);
    const double score = id < scores_.size() ? scores_[id] : 0;
    const Type type = spec.token.control ? kControl : outside ? kOutside : kUserDefined;
    set(id, own_texts_.back(), type, score);
    spec.token.id = static_cast<int32_t>(id);
    placed.push_back(std::move(spec));
  }
  added_ = std::move(placed);
}

// What the configuration calls special is, when it is a token at all.
void VocabularyBuilder::mark_specials(const std::vector<std::string>& specials) {
  std::unordered_map<std::string_view, bool> known;
  for (const std::string& text : specials) known.emplace(text, false);
  for (AddedSpec& spec : added_) {
    const auto special = known.find(spec.token.text);
    if (special == known.end()) continue;
    special->second = true;
    spec.token.control = true;
  }
  for (const std::string_view token : tokens_) {
    const auto special = known.find(token);
    if (special == known.end() || special->second || token.empty()) continue;
    special->second = true;
    AddedSpec spec;
    spec.token.text = token;
    add(std::move(spec));
  }
}

std::optional<uint64_t> VocabularyBuilder::find_added(std::string_view text) const {
  for (const AddedSpec& spec : added_) {
    if (spec.token.text == text) return static_cast<uint64_t>(spec.token.id);
  }
  return std::nullopt;
}

std::vector<AddedToken> VocabularyBuilder::finish(const TokenizerConfig& config, Pipeline& parts) {
  for (const AddedSpec& spec : config.added) add(spec);
  mark_specials(config.specials);
  place_added();
  TokenizerData data;
  data.tokens = tokens_;
  data.types = types_;
  data.scores = scores_;
  data.ends = config.ends;
  data.bos = config.bos ? find_added(*config.bos) : config.bos_id;
  data.eos = config.eos ? find_added(*config.eos) : config.eos_id;
  parts.vocabulary = std::make_unique<Vocabulary>(data);
  std::vector<AddedToken> normalized;
  for (AddedSpec& spec : added_)
    (spec.normalized ? normalized : parts.added).push_back(std::move(spec.token));
  return normalized;
}

void apply_bos_settings(const TokenizerConfig& config, Pipeline& parts) {
  const auto bos = parts.vocabulary->bos(), eos = parts.vocabulary->eos();
  if (config.add_bos && bos) {
    const bool has = !parts.prefix.empty() && parts.prefix.front() == *bos;
    if (*config.add_bos && !has) parts.prefix.insert(parts.prefix.begin(), *bos);
    if (!*config.add_bos && has) parts.prefix.erase(parts.prefix.begin());
  }
  if (config.add_eos && eos) {
    const bool has = !parts.suffix.empty() && parts.suffix.back() == *eos;
    if (*config.add_eos && !has) parts.suffix.push_back(*eos);
    if (!*config.add_eos && has) parts.suffix.pop_back();
  }
}

}  // namespace spnl::modelkit
