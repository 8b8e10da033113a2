#include "spnl/modelkit/model_bundle.h"

#include <system_error>

#include "chat_template_source.h"
#include "spnl/modelkit/error.h"
#include "spnl/modelkit/safetensors.h"

namespace spnl::modelkit {
namespace {

ModelBundle open_gguf(const std::filesystem::path& path, const OpenOptions& options) {
  ModelBundle bundle;
  std::unique_ptr<GgufFile> file = GgufFile::open(path);
  bundle.tokenizer = tokenizer_from_gguf(*file);
  bundle.chat_template = read_chat_template(*file);
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

/// Of a folder that was opened for its vocabulary alone, and may hold no weights.
class NoTensors final : public TensorSource {
 public:
  explicit NoTensors(std::filesystem::path path) : path_(std::move(path)) {}
  const Tensor* find(std::string_view) const override { return nullptr; }
  const std::vector<Tensor>& tensors() const override { return none_; }
  const std::filesystem::path& path() const override { return path_; }

 private:
  const std::filesystem::path path_;
  const std::vector<Tensor> none_;
};

/// `path`: a folder, or a .safetensors file in it that is the whole model.
ModelBundle open_folder(const std::filesystem::path& path, const OpenOptions& options) {
  const bool is_folder = std::filesystem::is_directory(path);
  const std::filesystem::path folder = is_folder ? path : path.parent_path();
  ModelBundle bundle;
  try {
    bundle.tokenizer = tokenizer_from_folder(folder);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kNotFound) throw;
    // The folder is there; it is not all that a model needs.
    throw Error(ErrorCode::kUnsupported, error.what());
  }
  bundle.chat_template = read_chat_template(folder);
  if (options.vocab_only) {
    bundle.tensors = std::make_unique<NoTensors>(folder);
  } else {
    const Config config = Config::read(folder / "config.json");
    auto tensors = SafetensorsFolder::open(path);
    bundle.spec = model_spec_from_folder(*tensors, config);
    bundle.tensors = std::move(tensors);
  }
  return bundle;
}

bool has_extension(const std::filesystem::path& path, std::string_view extension) {
  return path.extension() == extension;
}

}  // namespace

ModelBundle open_model(const std::filesystem::path& path, const OpenOptions& options) {
  std::error_code ignored;
  ModelBundle bundle;
  if (std::filesystem::is_directory(path, ignored) || has_extension(path, ".safetensors"))
    bundle = open_folder(path, options);
  else if (has_extension(path, ".json"))
    bundle = open_folder(path.parent_path(), options);
  else
    bundle = open_gguf(path, options);
  bundle.prompts = std::make_unique<PromptEncoder>(*bundle.tokenizer, bundle.chat_template.get());
  if (!options.ignore_eos) bundle.eos = bundle.tokenizer->end_of_generation();
  return bundle;
}

}  // namespace spnl::modelkit
