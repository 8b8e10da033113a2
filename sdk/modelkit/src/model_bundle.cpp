#include "spnl/modelkit/model_bundle.h"

#include <algorithm>

#include "spnl/modelkit/error.h"

namespace spnl::modelkit {
namespace {

/// A template that refuses everything, with the reason: text of the file's own template must not
/// stop raw prompts, but messages must not be rendered by guesswork either.
std::unique_ptr<ChatTemplate> refusing_template(std::string_view why) {
  std::string text;
  for (const char c : why.substr(0, 300))
    text += c == '\'' ? '"' : c == '\\' ? '/' : static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  return std::make_unique<ChatTemplate>("{{ raise_exception('" + text + "') }}");
}

std::unique_ptr<ChatTemplate> read_chat_template(const GgufFile& file) {
  const auto source = file.get_string("tokenizer.chat_template");
  if (!source) return nullptr;
  try {
    return std::make_unique<ChatTemplate>(*source);
  } catch (const Error& error) {
    return refusing_template("the model has a broken chat template (" + std::string(error.what()) +
                             "); use raw prompts");
  }
}

}  // namespace

ModelBundle open_model(const std::filesystem::path& path, const OpenOptions& options) {
  ModelBundle bundle;
  std::unique_ptr<GgufFile> file = GgufFile::open(path);
  bundle.tokenizer = tokenizer_from_gguf(*file);
  bundle.chat_template = read_chat_template(*file);
  bundle.prompts = std::make_unique<PromptEncoder>(*bundle.tokenizer, bundle.chat_template.get());
  if (!options.ignore_eos) bundle.eos = bundle.tokenizer->end_of_generation();
  if (!options.vocab_only) {
    bundle.spec = model_spec_from_gguf(*file);
    const auto tokens = static_cast<int64_t>(bundle.tokenizer->vocab_size());
    if (tokens > bundle.spec.vocab_size)
      throw Error(ErrorCode::kCorrupt, path.string() + ": the vocabulary has " +
                                           std::to_string(tokens) + " tokens, but the model only " +
                                           std::to_string(bundle.spec.vocab_size) +
                                           " rows for them");
  }
  bundle.tensors = std::move(file);
  return bundle;
}

}  // namespace spnl::modelkit
