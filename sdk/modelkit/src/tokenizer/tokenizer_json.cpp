#include "tokenizer/tokenizer_json.h"

#include <algorithm>
#include <cmath>

#include "tokenizer/model_bpe.h"
#include "tokenizer/model_unigram.h"
#include "tokenizer/model_words.h"
#include "tokenizer/normalizers.h"
#include "tokenizer/pre_tokenizers.h"
#include "tokenizer/vocabulary_builder.h"

namespace spnl::modelkit {
namespace {

/// Files of old versions do not say which model they hold.
std::string model_type(const JsonFile& file, const JsonValue& model) {
  std::string type = file.string(model, "type", "");
  if (!type.empty()) return type;
  if (model.find("merges")) return "BPE";
  const auto vocab = model.find("vocab");
  if (vocab && vocab->is_array()) return "Unigram";
  return model.find("continuing_subword_prefix") ? "WordPiece" : "WordLevel";
}

constexpr size_t kLeastMemberBytes = 5;  // "":0,

constexpr size_t kTokenBytes = 28, kMergeBytes = 17;  // what a tokenizer keeps of each

constexpr size_t kMostSectionBytes = 512 << 10;  // a table of characters takes 310 KiB

/// A part of the pipeline; none when it is absent or null.
std::optional<JsonValue> find_section(const JsonFile& file, const char* key) {
  const auto section = file.root().find(key);
  if (section && section->text_size() > kMostSectionBytes)
    file.unsupported(std::string(key) + " is larger than that of any tokenizer");
  return section;
}

/// Refuses a file of so many tiny parts that what is made of them would be far larger than itself.
void check_room(const JsonFile& file, const JsonValue& model) {
  const auto count = [&](const char* key) {
    const auto list = model.find(key);
    return list ? list->size() : 0;
  };
  const size_t bytes = count("vocab") * kTokenBytes + count("merges") * kMergeBytes;
  if (bytes > 2 * file.size() + kSmallTokenizer)
    file.corrupt("has more tokens and merges than a file of its size can spell out");
}

/// The two elements of a list that has no others.
std::optional<std::pair<JsonValue, JsonValue>> pair_in(const JsonValue& list) {
  auto element = list.elements().begin();
  const auto end = list.elements().end();
  if (element == end) return std::nullopt;
  const JsonValue first = *element;
  if (++element == end) return std::nullopt;
  const JsonValue second = *element;
  if (++element != end) return std::nullopt;
  return std::pair(first, second);
}

std::vector<double> read_unigram_vocabulary(const JsonFile& file, const JsonValue& model,
                                            VocabularyBuilder& builder) {
  const auto vocab = file.array(model, "vocab");
  const size_t count = vocab ? vocab->size() : 0;
  if (count == 0) file.corrupt("model.vocab is empty");
  std::vector<double> scores;
  scores.reserve(count);
  size_t bytes = 0;
  for (const JsonValue& entry : vocab->elements())
    if (entry.size() > 0) bytes += (*entry.elements().begin()).text_size();
  builder.reserve(count, bytes);
  std::string text;
  for (const JsonValue& entry : vocab->elements()) {
    const auto pair = pair_in(entry);
    if (!pair || !pair->first.is_string() || !pair->second.is_number() ||
        !std::isfinite(pair->second.number()))
      file.corrupt("model.vocab: an entry is no pair of text and number");
    scores.push_back(pair->second.number());
    text.clear();
    pair->first.append_text_to(text);
    builder.set(scores.size() - 1, text, VocabularyBuilder::kNormal, scores.back());
  }
  return scores;
}

std::optional<int32_t> find_unknown(const JsonFile& file, const JsonValue& model,
                                    const Vocabulary& vocabulary, std::string_view otherwise) {
  const int32_t id = vocabulary.find(file.string(model, "unk_token", otherwise));
  return id < 0 ? std::nullopt : std::optional(id);
}

/// Each is a pair, or a string with a blank between the two.
void add_merges(const JsonFile& file, const JsonValue& merges, CharacterBpe& bpe) {
  std::string left, right;
  size_t i = 0;
  for (const JsonValue& merge : merges.elements()) {
    left.clear();
    right.clear();
    if (merge.is_string()) {
      merge.append_text_to(left);
      const size_t blank = left.find(' ');
      if (blank == left.npos || left.find(' ', blank + 1) != left.npos)
        file.corrupt("model.merges: entry " + std::to_string(i) + " is no pair");
      right.assign(left, blank + 1);
      left.resize(blank);
    } else {
      const auto pair = pair_in(merge);
      if (!pair || !pair->first.is_string() || !pair->second.is_string())
        file.corrupt("model.merges: entry " + std::to_string(i) + " is no pair");
      pair->first.append_text_to(left);
      pair->second.append_text_to(right);
    }
    bpe.add_merge(left, right);
    ++i;
  }
}

std::unique_ptr<TokenModel> read_bpe(const JsonFile& file, const JsonValue& model,
                                     const Vocabulary& vocabulary) {
  BpeOptions options;
  options.unknown = find_unknown(file, model, vocabulary, "");
  options.fuse_unknown = file.flag(model, "fuse_unk", false);
  options.byte_fallback = file.flag(model, "byte_fallback", false);
  options.ignore_merges = file.flag(model, "ignore_merges", false);
  options.prefix = file.string(model, "continuing_subword_prefix", "");
  options.suffix = file.string(model, "end_of_word_suffix", "");
  const auto merges = file.array(model, "merges");
  auto bpe =
      std::make_unique<CharacterBpe>(vocabulary, std::move(options), merges ? merges->size() : 0);
  if (merges) add_merges(file, *merges, *bpe);
  return bpe;
}

std::unique_ptr<TokenModel> make_unigram(const JsonFile& file, const JsonValue& model,
                                         const Vocabulary& vocabulary, std::vector<double> scores) {
  UnigramOptions options;
  const auto unknown = file.number(model, "unk_id");
  if (unknown && *unknown >= scores.size()) file.corrupt("model.unk_id is outside the vocabulary");
  if (unknown) options.unknown = static_cast<int32_t>(*unknown);
  options.byte_fallback = file.flag(model, "byte_fallback", false);
  options.lowest = *std::min_element(scores.begin(), scores.end());
  options.exact = std::move(scores);
  return std::make_unique<UnigramModel>(vocabulary, std::move(options));
}

/// Ids before and after the text of "single".
class PostProcessor {
 public:
  PostProcessor(const JsonFile& file, Pipeline& parts) : file_(file), parts_(parts) {}

  void read(const JsonValue& value) {
    const std::string type = file_.type(value, "a post-processor");
    if (type == "Sequence") {
      if (const auto list = file_.array(value, "processors")) {
        for (const JsonValue& step : list->elements()) read(step);
      }
    } else if (type == "TemplateProcessing") {
      read_template(value);
    } else if (type == "BertProcessing" || type == "RobertaProcessing") {
      surround({pair_id(value, "cls")}, {pair_id(value, "sep")});
    } else if (type != "ByteLevel") {
      file_.unsupported("post-processor \"" + type.substr(0, 60) + "\" is unknown");
    }
  }

 private:
  using Ids = std::vector<int32_t>;

  int32_t checked(const JsonValue& value) const {
    const auto id = value.whole();
    if (!id || *id >= static_cast<uint64_t>(parts_.vocabulary->size()))
      file_.corrupt("post_processor: an id is outside the vocabulary");
    return static_cast<int32_t>(*id);
  }

  int32_t pair_id(const JsonValue& value, const char* key) const {
    const auto list = file_.array(value, key);
    const auto pair = list ? pair_in(*list) : std::nullopt;
    if (!pair) file_.corrupt(std::string("post_processor: ") + key + " is no pair");
    return checked(pair->second);
  }

  void surround(Ids before, const Ids& after) {
    before.insert(before.end(), parts_.prefix.begin(), parts_.prefix.end());
    parts_.prefix = std::move(before);
    parts_.suffix.insert(parts_.suffix.end(), after.begin(), after.end());
  }

  void read_template(const JsonValue& value) {
    const auto single = file_.array(value, "single");
    if (!single) return;
    Ids before, after;
    bool text_seen = false;
    for (const JsonValue& piece : single->elements()) {
      const auto special = piece.find("SpecialToken");
      if (!special) {
        if (text_seen) file_.unsupported("post_processor: a template has its text twice");
        text_seen = true;
        continue;
      }
      const std::string name = file_.string(*special, "id", "");
      const auto tokens = value.find("special_tokens");
      const auto entry = tokens ? tokens->find(name) : std::nullopt;
      const auto ids = entry ? file_.array(*entry, "ids") : std::nullopt;
      if (!ids) file_.corrupt("post_processor: a special token has no ids");
      for (const JsonValue& id : ids->elements())
        (text_seen ? after : before).push_back(checked(id));
    }
    surround(std::move(before), after);
  }

  const JsonFile& file_;
  Pipeline& parts_;
};

void add_normalized_tokens(std::vector<AddedToken> tokens, Pipeline& parts) {
  for (AddedToken& token : tokens) {
    if (parts.normalizer) {
      AlignedText text;
      text.text = std::move(token.text);
      token.text = parts.normalizer->apply(std::move(text), {}).text;
    }
    parts.added_normalized.push_back(std::move(token));
  }
}

}  // namespace

void read_vocabulary(const JsonFile& file, const JsonValue& vocab, VocabularyBuilder& builder) {
  const size_t count = vocab.size();
  builder.reserve(count, vocab.text_size() - kLeastMemberBytes * count);
  std::string text;
  for (const auto& [key, value] : vocab.members()) {
    const auto id = value.whole();
    if (!id) file.corrupt("model.vocab: an id is no natural number");
    text.clear();
    key.append_text_to(text);
    builder.set(*id, text);
  }
}

Pipeline read_tokenizer_json(const JsonFile& file, const TokenizerConfig& config) {
  const JsonValue root = file.root();
  const auto model = root.find("model");
  if (!model || !model->is_object()) file.corrupt("has no model");
  const std::string type = model_type(file, *model);
  const bool unigram = type == "Unigram";
  if (!unigram && type != "BPE" && type != "WordPiece" && type != "WordLevel")
    file.unsupported("model \"" + type.substr(0, 60) + "\" is unknown");
  check_room(file, *model);

  Pipeline parts;
  VocabularyBuilder builder(file.name(), file.size() / kLeastTokenBytes);
  std::vector<double> scores;
  if (unigram) {
    scores = read_unigram_vocabulary(file, *model, builder);
  } else {
    const auto vocab = model->find("vocab");
    if (!vocab || !vocab->is_object()) file.corrupt("model.vocab is no object");
    read_vocabulary(file, *vocab, builder);
  }
  if (const auto added = file.array(root, "added_tokens")) {
    std::vector<AddedSpec> list;
    AddedSpecs specs(file, list);
    for (const JsonValue& value : added->elements()) {
      AddedSpec spec = read_added_token(file, value);
      spec.id = file.number(value, "id");
      specs.add(std::move(spec));
    }
    for (AddedSpec& spec : list) builder.add(std::move(spec));
  }
  if (const auto value = find_section(file, "normalizer"))
    parts.normalizer = read_normalizer(file, *value);
  add_normalized_tokens(builder.finish(config, parts), parts);
  const Vocabulary& vocabulary = *parts.vocabulary;

  if (const auto value = find_section(file, "pre_tokenizer"))
    parts.pre_tokenizer = read_pre_tokenizer(file, *value);
  if (const auto value = find_section(file, "decoder")) parts.decoder = read_decoder(file, *value);
  if (const auto value = find_section(file, "post_processor"))
    PostProcessor(file, parts).read(*value);
  apply_bos_settings(config, parts);

  if (unigram) {
    parts.model = make_unigram(file, *model, vocabulary, std::move(scores));
  } else if (type == "BPE") {
    parts.model = read_bpe(file, *model, vocabulary);
  } else if (type == "WordPiece") {
    WordPieceOptions options;
    options.unknown = find_unknown(file, *model, vocabulary, "[UNK]");
    options.next = file.string(*model, "continuing_subword_prefix", "##");
    options.longest_word = file.number(*model, "max_input_chars_per_word").value_or(100);
    parts.model = std::make_unique<WordPieceModel>(vocabulary, std::move(options));
  } else {
    parts.model = std::make_unique<WordLevelModel>(vocabulary,
                                                   find_unknown(file, *model, vocabulary, "<unk>"));
  }
  return parts;
}

}  // namespace spnl::modelkit
