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

using Value = JsonFile::Value;

/// Files of old versions do not say which model they hold.
std::string_view model_type(const JsonFile& file, const Value& model) {
  const std::string_view type = file.string(model, "type", "");
  if (!type.empty()) return type;
  if (JsonFile::find(model, "merges") != nullptr) return "BPE";
  const Value* const vocab = JsonFile::find(model, "vocab");
  if (vocab != nullptr && vocab->IsArray()) return "Unigram";
  return JsonFile::find(model, "continuing_subword_prefix") != nullptr ? "WordPiece" : "WordLevel";
}

void read_vocabulary(const JsonFile& file, const Value& model, VocabularyBuilder& builder) {
  const Value* const vocab = JsonFile::find(model, "vocab");
  if (vocab == nullptr || !vocab->IsObject()) file.corrupt("model.vocab is no object");
  for (const auto& [text, id] : vocab->GetObject()) {
    if (!id.IsUint64()) file.corrupt("model.vocab: an id is no natural number");
    builder.set(id.GetUint64(), view_of(text));
  }
}

std::vector<double> read_unigram_vocabulary(const JsonFile& file, const Value& model,
                                            VocabularyBuilder& builder) {
  const Value* const vocab = file.array(model, "vocab");
  if (vocab == nullptr || vocab->Empty()) file.corrupt("model.vocab is empty");
  std::vector<double> scores;
  scores.reserve(vocab->Size());
  for (const Value& entry : vocab->GetArray()) {
    const bool pair = entry.IsArray() && entry.Size() == 2 && entry[0].IsString() &&
                      entry[1].IsNumber() && std::isfinite(entry[1].GetDouble());
    if (!pair) file.corrupt("model.vocab: an entry is no pair of text and number");
    scores.push_back(entry[1].GetDouble());
    builder.set(scores.size() - 1, view_of(entry[0]), VocabularyBuilder::kNormal, scores.back());
  }
  return scores;
}

std::optional<int32_t> find_unknown(const JsonFile& file, const Value& model,
                                    const Vocabulary& vocabulary, std::string_view otherwise) {
  const int32_t id = vocabulary.find(file.string(model, "unk_token", otherwise));
  return id < 0 ? std::nullopt : std::optional(id);
}

std::unique_ptr<TokenModel> read_bpe(const JsonFile& file, const Value& model,
                                     const Vocabulary& vocabulary) {
  BpeOptions options;
  options.unknown = find_unknown(file, model, vocabulary, "");
  options.fuse_unknown = file.flag(model, "fuse_unk", false);
  options.byte_fallback = file.flag(model, "byte_fallback", false);
  options.ignore_merges = file.flag(model, "ignore_merges", false);
  options.prefix = file.string(model, "continuing_subword_prefix", "");
  options.suffix = file.string(model, "end_of_word_suffix", "");
  const Value* const merges = file.array(model, "merges");
  const auto rule = [&](size_t i) -> CharacterBpe::Rule {
    const Value& merge = (*merges)[static_cast<rapidjson::SizeType>(i)];
    if (merge.IsArray() && merge.Size() == 2 && merge[0].IsString() && merge[1].IsString())
      return {view_of(merge[0]), view_of(merge[1])};
    const std::string_view text = merge.IsString() ? view_of(merge) : std::string_view();
    const size_t blank = text.find(' ');
    if (blank == std::string_view::npos || text.find(' ', blank + 1) != std::string_view::npos)
      file.corrupt("model.merges: entry " + std::to_string(i) + " is no pair");
    return {text.substr(0, blank), text.substr(blank + 1)};
  };
  return std::make_unique<CharacterBpe>(vocabulary, std::move(options),
                                        merges == nullptr ? 0 : merges->Size(), rule);
}

std::unique_ptr<TokenModel> make_unigram(const JsonFile& file, const Value& model,
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

  void read(const Value& value) {
    const std::string_view type = file_.type(value, "a post-processor");
    if (type == "Sequence") {
      if (const Value* const list = file_.array(value, "processors")) {
        for (const Value& step : list->GetArray()) read(step);
      }
    } else if (type == "TemplateProcessing") {
      read_template(value);
    } else if (type == "BertProcessing" || type == "RobertaProcessing") {
      surround({pair_id(value, "cls")}, {pair_id(value, "sep")});
    } else if (type != "ByteLevel") {
      file_.unsupported("post-processor \"" + std::string(type.substr(0, 60)) + "\" is unknown");
    }
  }

 private:
  using Ids = std::vector<int32_t>;

  int32_t checked(const Value& id) const {
    if (!id.IsUint64() || id.GetUint64() >= static_cast<uint64_t>(parts_.vocabulary->size()))
      file_.corrupt("post_processor: an id is outside the vocabulary");
    return static_cast<int32_t>(id.GetUint64());
  }

  int32_t pair_id(const Value& value, const char* key) const {
    const Value* const pair = file_.array(value, key);
    if (pair == nullptr || pair->Size() != 2)
      file_.corrupt(std::string("post_processor: ") + key + " is no pair");
    return checked((*pair)[1]);
  }

  void surround(Ids before, const Ids& after) {
    before.insert(before.end(), parts_.prefix.begin(), parts_.prefix.end());
    parts_.prefix = std::move(before);
    parts_.suffix.insert(parts_.suffix.end(), after.begin(), after.end());
  }

  void read_template(const Value& value) {
    const Value* const single = file_.array(value, "single");
    if (single == nullptr) return;
    Ids before, after;
    bool text_seen = false;
    for (const Value& piece : single->GetArray()) {
      const Value* const special = JsonFile::find(piece, "SpecialToken");
      if (special == nullptr) {
        if (text_seen) file_.unsupported("post_processor: a template has its text twice");
        text_seen = true;
        continue;
      }
      const std::string name(file_.string(*special, "id", ""));
      const Value* const tokens = JsonFile::find(value, "special_tokens");
      const Value* const entry =
          tokens == nullptr ? nullptr : JsonFile::find(*tokens, name.c_str());
      const Value* const ids = entry == nullptr ? nullptr : file_.array(*entry, "ids");
      if (ids == nullptr) file_.corrupt("post_processor: a special token has no ids");
      for (const Value& id : ids->GetArray()) (text_seen ? after : before).push_back(checked(id));
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

Pipeline read_tokenizer_json(const JsonFile& file, const TokenizerConfig& config) {
  const Value& root = file.root();
  const Value* const model = JsonFile::find(root, "model");
  if (model == nullptr || !model->IsObject()) file.corrupt("has no model");
  const std::string_view type = model_type(file, *model);
  const bool unigram = type == "Unigram";
  if (!unigram && type != "BPE" && type != "WordPiece" && type != "WordLevel")
    file.unsupported("model \"" + std::string(type.substr(0, 60)) + "\" is unknown");

  Pipeline parts;
  VocabularyBuilder builder(file.name(), file.size());
  std::vector<double> scores;
  if (unigram) {
    scores = read_unigram_vocabulary(file, *model, builder);
  } else {
    read_vocabulary(file, *model, builder);
  }
  if (const Value* const added = file.array(root, "added_tokens")) {
    for (const Value& value : added->GetArray()) {
      AddedSpec spec = read_added_token(file, value);
      spec.id = file.number(value, "id");
      builder.add(std::move(spec));
    }
  }
  if (const Value* const value = JsonFile::find(root, "normalizer"))
    parts.normalizer = read_normalizer(file, *value);
  add_normalized_tokens(builder.finish(config, parts), parts);
  const Vocabulary& vocabulary = *parts.vocabulary;

  if (const Value* const value = JsonFile::find(root, "pre_tokenizer"))
    parts.pre_tokenizer = read_pre_tokenizer(file, *value);
  if (const Value* const value = JsonFile::find(root, "decoder"))
    parts.decoder = read_decoder(file, *value);
  if (const Value* const value = JsonFile::find(root, "post_processor"))
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
