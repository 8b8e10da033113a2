#include "tokenizer/vocabulary_builder.h"

#include <algorithm>
#include <unordered_map>

#include "spnl/modelkit/error.h"

namespace spnl::modelkit {

VocabularyBuilder::VocabularyBuilder(std::string name, size_t most_ids)
    : name_(std::move(name)), limit_(std::max<size_t>(most_ids, 1 << 15)) {}

void VocabularyBuilder::reserve(size_t tokens, size_t text_bytes) {
  const size_t with_added = tokens + tokens / 16 + 1024;  // which are not counted yet
  texts_.reserve(with_added, text_bytes + (16 << 10));
  types_.reserve(with_added);
}

void VocabularyBuilder::set(uint64_t id, std::string_view text, Type type, double score) {
  if (id >= limit_ || id > INT32_MAX / 4) {
    throw Error(ErrorCode::kCorrupt, name_ + ": token id " + std::to_string(id) +
                                         " is too high for a file of that size");
  }
  if (id >= types_.size()) types_.resize(id + 1, kUnused);
  if (types_[id] == kUnused) ++count_;
  types_[id] = type;
  texts_.set(id, text);
  if (score == 0 && scores_.empty()) return;
  if (scores_.empty()) scores_.reserve(types_.capacity());
  if (id >= scores_.size()) scores_.resize(id + 1);
  scores_[id] = static_cast<float>(score);
}

// Ids as the library gives them: the model's own for a text that it knows, else the next ones above
// the model's and the added tokens' so far.
void VocabularyBuilder::place_added() {
  struct Known {
    uint64_t id = UINT64_MAX;
    bool placed = false;
  };
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return hash_bytes(text); }
  };
  std::unordered_map<std::string, Known, Hash, std::equal_to<>> known;  // texts of added tokens
  for (const AddedSpec& spec : added_) known.emplace(spec.token.text, Known());
  const uint64_t model_size = count_, model_end = texts_.size();
  for (uint64_t id = 0; id < model_end; ++id) {
    if (types_[id] == kUnused) continue;
    const auto wanted = known.find(texts_[id]);
    if (wanted != known.end()) wanted->second.id = id;
  }
  std::vector<AddedSpec> placed;
  uint64_t highest = 0;
  for (AddedSpec& spec : added_) {
    Known& entry = known.find(spec.token.text)->second;
    if (entry.placed) continue;
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
    const double score = id < scores_.size() ? scores_[id] : 0;
    const Type type = spec.token.control ? kControl : outside ? kOutside : kUserDefined;
    set(id, spec.token.text, type, score);
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
  for (size_t id = 0; id < texts_.size(); ++id) {
    const std::string_view token = texts_[id];
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
  if (!scores_.empty()) scores_.resize(texts_.size());
  TokenizerData data;
  data.ends = config.ends;
  data.bos = config.bos ? find_added(*config.bos) : config.bos_id;
  data.eos = config.eos ? find_added(*config.eos) : config.eos_id;
  parts.vocabulary =
      std::make_unique<Vocabulary>(std::move(texts_), std::move(types_), std::move(scores_), data);
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
