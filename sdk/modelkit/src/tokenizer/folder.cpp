#include <array>

#include "spnl/modelkit/error.h"
#include "spnl/modelkit/tokenizer.h"
#include "tokenizer/tokenizer_files.h"
#include "tokenizer/tokenizer_json.h"

namespace spnl::modelkit {
namespace {

namespace fs = std::filesystem;

/// Pre-tokenizer of a class of transformers whose files leave it to the code.
std::string_view recipe_of_class(std::string_view name) {
  constexpr std::pair<std::string_view, std::string_view> kRecipes[] = {
      {"Qwen2Tokenizer", "qwen2"},    {"Qwen2TokenizerFast", "qwen2"},
      {"QWenTokenizer", "qwen2"},     {"TikTokenTokenizer", "kimi-k2"},
      {"CodeGenTokenizer", "gpt-2"},  {"GPT2Tokenizer", "gpt-2"},
      {"GPT2TokenizerFast", "gpt-2"}, {"CodeGenTokenizerFast", "gpt-2"},
      {"GPTNeoXTokenizer", "gpt-2"},  {"CohereTokenizer", "command-r"},
  };
  for (const auto& [known, recipe] : kRecipes) {
    if (name == known) return recipe;
  }
  return {};
}

std::optional<Pipeline> from_tiktoken(const fs::path& folder, const TokenizerConfig& config) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const fs::path& path = entry.path();
    if (path.extension() != ".tiktoken" && path.filename() != "tiktoken.model") continue;
    const std::string_view recipe = recipe_of_class(config.tokenizer_class);
    if (recipe.empty()) {
      throw Error(ErrorCode::kUnsupported,
                  path.string() +
                      ": where words end is not in the file, and the tokenizer class \"" +
                      config.tokenizer_class.substr(0, 60) + "\" is unknown; add a tokenizer.json");
    }
    if (const auto text = read_text_file(path))
      return read_tiktoken(*text, path.string(), recipe, config);
  }
  return std::nullopt;
}

std::optional<Pipeline> from_vocab_and_merges(const fs::path& folder,
                                              const TokenizerConfig& config) {
  const auto vocab = JsonFile::open(folder / "vocab.json");
  const auto merges = read_text_file(folder / "merges.txt");
  if (!vocab || !merges) return std::nullopt;
  const std::string_view recipe = recipe_of_class(config.tokenizer_class);
  return read_vocab_and_merges(*vocab, *merges, recipe.empty() ? "gpt-2" : recipe, config);
}

}  // namespace

Pipeline pipeline_of_folder(const fs::path& folder) {
  const TokenizerConfig config = read_tokenizer_config(folder);
  if (const auto file = JsonFile::open(folder / "tokenizer.json"))
    return read_tokenizer_json(*file, config);
  if (const auto model = read_text_file(folder / "tokenizer.model"))
    return read_sentencepiece(*model, (folder / "tokenizer.model").string(), config);
  if (const auto file = JsonFile::open(folder / "tekken.json")) return read_tekken(*file, config);
  if (auto parts = from_tiktoken(folder, config)) return std::move(*parts);
  if (auto parts = from_vocab_and_merges(folder, config)) return std::move(*parts);
  throw Error(ErrorCode::kNotFound,
              folder.string() +
                  ": has no tokenizer (tokenizer.json, tokenizer.model, tekken.json, "
                  "*.tiktoken, or vocab.json with merges.txt)");
}

std::unique_ptr<Tokenizer> tokenizer_from_folder(const fs::path& folder) {
  return make_pipeline_tokenizer(pipeline_of_folder(folder));
}

}  // namespace spnl::modelkit
