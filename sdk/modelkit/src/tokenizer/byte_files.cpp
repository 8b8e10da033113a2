// Vocabularies of bytes: tekken.json, *.tiktoken, and GPT-2's vocab.json with merges.txt.
#include <algorithm>
#include <charconv>

#include "spnl/modelkit/error.h"
#include "tokenizer/base64.h"
#include "tokenizer/model_bpe.h"
#include "tokenizer/model_score.h"
#include "tokenizer/normalizers.h"
#include "tokenizer/pre_tokenizers.h"
#include "tokenizer/text_search.h"
#include "tokenizer/tokenizer_files.h"
#include "tokenizer/tokenizer_json.h"
#include "tokenizer/vocabulary_builder.h"

namespace spnl::modelkit {
namespace {

constexpr size_t kMostSpecials = 1 << 14;
constexpr size_t kLeastTekkenBytes = 32;   // {"rank":0,"token_bytes":"AA=="},
constexpr size_t kLeastTiktokenBytes = 7;  // AA== 0

void add_control(VocabularyBuilder& builder, uint64_t id, std::string_view text) {
  builder.set(id, text, VocabularyBuilder::kControl);
  AddedSpec spec;
  spec.token.text = text;
  builder.add(std::move(spec));
}

// Special tokens stand first. Old files leave them out; these are what they mean.
size_t read_tekken_specials(const JsonFile& file, const JsonValue& settings,
                            VocabularyBuilder& builder) {
  constexpr std::string_view kFirst[] = {"<unk>",
                                         "<s>",
                                         "</s>",
                                         "[INST]",
                                         "[/INST]",
                                         "[AVAILABLE_TOOLS]",
                                         "[/AVAILABLE_TOOLS]",
                                         "[TOOL_RESULTS]",
                                         "[/TOOL_RESULTS]",
                                         "[TOOL_CALLS]",
                                         "[IMG]",
                                         "<pad>",
                                         "[IMG_BREAK]",
                                         "[IMG_END]",
                                         "[PREFIX]",
                                         "[MIDDLE]",
                                         "[SUFFIX]",
                                         "[SYSTEM_PROMPT]",
                                         "[/SYSTEM_PROMPT]",
                                         "[TOOL_CONTENT]"};
  const size_t count = file.number(settings, "default_num_special_tokens").value_or(1000);
  if (count > kMostSpecials) file.corrupt("default_num_special_tokens is too high");
  std::vector<std::string> texts;
  for (size_t id = 0; id < count; ++id) {
    texts.push_back(id < std::size(kFirst) ? std::string(kFirst[id])
                                           : "<SPECIAL_" + std::to_string(id) + ">");
  }
  if (const auto list = file.array(file.root(), "special_tokens")) {
    for (const JsonValue& token : list->elements()) {
      const auto rank = file.number(token, "rank");
      if (!rank || *rank >= count) file.corrupt("special_tokens: a rank is too high");
      texts[*rank] = file.string(token, "token_str", texts[*rank]);
    }
  }
  for (size_t id = 0; id < count; ++id) add_control(builder, id, texts[id]);
  return count;
}

}  // namespace

Pipeline read_tekken(const JsonFile& file, const TokenizerConfig& config) {
  VocabularyBuilder builder(file.name(), file.size() / kLeastTekkenBytes);
  const auto settings = file.root().find("config");
  if (!settings) file.corrupt("has no config");
  const size_t first = read_tekken_specials(file, *settings, builder);
  const uint64_t size = file.number(*settings, "default_vocab_size").value_or(UINT64_MAX);
  const auto vocab = file.array(file.root(), "vocab");
  if (!vocab) file.corrupt("has no vocab");
  for (const JsonValue& token : vocab->elements()) {
    const auto rank = file.number(token, "rank");
    auto bytes = from_base64(file.string(token, "token_bytes", "="));
    if (!rank || !bytes || bytes->empty()) file.corrupt("vocab: a token has no rank or no bytes");
    if (*rank >= file.size()) file.corrupt("vocab: a rank is too high");
    if (first + *rank >= size) continue;  // the model was cut to fewer
    builder.set(first + *rank, *bytes, VocabularyBuilder::kNormal, -static_cast<double>(*rank));
  }
  TokenizerConfig filled = config;
  if (!config.bos && !config.bos_id) filled.bos = "<s>";
  if (!config.eos && !config.eos_id) filled.eos = "</s>";
  if (!config.add_bos) filled.add_bos = true;
  Pipeline parts;
  parts.added_normalized = builder.finish(filled, parts);
  apply_bos_settings(filled, parts);
  const std::string pattern = file.string(*settings, "pattern", "");
  if (pattern.empty()) file.corrupt("config has no pattern");
  parts.pre_tokenizer = make_splitter(regex_from_oniguruma(pattern));
  parts.model = std::make_unique<RankedBpe>(*parts.vocabulary);
  parts.decoder = make_plain_decoder();
  return parts;
}

Pipeline read_tiktoken(std::string_view text, const std::string& name, std::string_view recipe,
                       const TokenizerConfig& config) {
  VocabularyBuilder builder(name, text.size() / kLeastTiktokenBytes);
  for (size_t line = 1; !text.empty(); ++line) {
    const std::string_view entry = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), entry.size() + 1));
    const size_t blank = entry.find(' ');
    if (entry.empty()) continue;
    uint64_t rank = 0;
    auto bytes = from_base64(entry.substr(0, blank));
    const bool numbered =
        blank != std::string_view::npos &&
        std::from_chars(entry.data() + blank + 1, entry.data() + entry.size(), rank).ec ==
            std::errc();
    if (!bytes || bytes->empty() || !numbered)
      throw Error(ErrorCode::kCorrupt,
                  name + ": line " + std::to_string(line) + " is no base64 with a rank");
    builder.set(rank, *bytes, VocabularyBuilder::kNormal, -static_cast<double>(rank));
  }
  if (config.tokenizer_class == "QWenTokenizer") {  // its special tokens are in its code
    for (const char* special : {"<|endoftext|>", "<|im_start|>", "<|im_end|>"})
      add_control(builder, builder.size(), special);
    for (int i = 0; i < 205; ++i)
      add_control(builder, builder.size(), "<|extra_" + std::to_string(i) + "|>");
  }
  Pipeline parts;
  parts.added_normalized = builder.finish(config, parts);
  apply_bos_settings(config, parts);
  parts.pre_tokenizer = make_recipe_pre_tokenizer(Pretokenizer(recipe), /*letters=*/false);
  parts.model = std::make_unique<RankedBpe>(*parts.vocabulary);
  parts.decoder = make_plain_decoder();
  return parts;
}

Pipeline read_vocab_and_merges(const JsonFile& vocab, std::string_view merges,
                               std::string_view recipe, const TokenizerConfig& config) {
  if (!vocab.root().is_object()) vocab.corrupt("is no object");
  VocabularyBuilder builder(vocab.name(), vocab.size() / kLeastTokenBytes);
  read_vocabulary(vocab, vocab.root(), builder);
  Pipeline parts;
  parts.added_normalized = builder.finish(config, parts);
  apply_bos_settings(config, parts);
  const auto lines = static_cast<size_t>(std::count(merges.begin(), merges.end(), '\n'));
  auto model = std::make_unique<CharacterBpe>(*parts.vocabulary, BpeOptions(), lines + 1);
  while (!merges.empty()) {
    std::string_view line = merges.substr(0, merges.find('\n'));
    merges.remove_prefix(std::min(merges.size(), line.size() + 1));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty() || line.starts_with("#version")) continue;
    const size_t blank = line.find(' ');
    if (blank == std::string_view::npos)
      throw Error(ErrorCode::kCorrupt,
                  vocab.name() + ": a line of merges.txt beside it is no pair");
    model->add_merge(line.substr(0, blank), line.substr(blank + 1));
  }
  parts.model = std::move(model);
  if (recipe == "qwen2") parts.normalizer = make_nfc_normalizer();
  parts.pre_tokenizer = make_recipe_pre_tokenizer(Pretokenizer(recipe), /*letters=*/true);
  parts.decoder = make_byte_level_decoder();
  return parts;
}

}  // namespace spnl::modelkit
