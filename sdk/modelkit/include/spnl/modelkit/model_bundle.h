#pragma once
#include <filesystem>
#include <memory>
#include <optional>
#include <vector>

#include "spnl/modelkit/chat_template.h"
#include "spnl/modelkit/gguf.h"
#include "spnl/modelkit/model_spec.h"
#include "spnl/modelkit/prompt.h"
#include "spnl/modelkit/tokenizer.h"

namespace spnl::modelkit {

/// Everything about a model but the arithmetic: what a plugin loads first. Movable; const use is thread-safe.
struct ModelBundle {
  std::unique_ptr<TensorSource> tensors;  ///< the mapped weights; of a folder none when vocab_only
  std::unique_ptr<Tokenizer> tokenizer;
  std::unique_ptr<ChatTemplate> chat_template;  ///< null when the model has none
  std::unique_ptr<PromptEncoder> prompts;
  ModelSpec spec;            ///< empty when vocab_only
  std::vector<int32_t> eos;  ///< ids that end an answer, sorted; empty with ignore_eos
};

struct OpenOptions {
  bool vocab_only = false;  ///< tokenizer and template alone, for a file that may hold no tensors
  bool ignore_eos = false;  ///< no id ends an answer: benchmarks generate as many tokens as they ask for
};

/// `path`: a GGUF or older GGML file whatever its name, a folder of safetensors, or a .safetensors or .json file in such a
/// folder. Throws Error as the readers do, and kUnsupported for a folder without a tokenizer.
ModelBundle open_model(const std::filesystem::path& path, const OpenOptions& options);

}  // namespace spnl::modelkit
