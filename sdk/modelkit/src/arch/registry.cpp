#include <algorithm>
#include <cctype>

#include "../gguf_part.h"
#include "architectures.h"
#include "reader.h"
#include "spnl/modelkit/error.h"

namespace spnl::modelkit {
namespace {

struct Architecture {
  std::string_view gguf;  ///< general.architecture; empty: GGUF files hold it as the one above
  std::string_view hf;    ///< model_type of config.json
  ModelSpec (*read)(const ModelReader& in);
};

constexpr Architecture kArchitectures[] = {
    {"llama", "llama", llama_spec},
    {"", "mistral", llama_spec},
    {"", "mixtral", llama_spec},
    {"qwen2", "qwen2", qwen2_spec},
    {"qwen2moe", "qwen2_moe", qwen2_moe_spec},
    {"qwen3", "qwen3", qwen3_spec},
    {"qwen3moe", "qwen3_moe", qwen3_moe_spec},
    {"phi2", "phi", phi_spec},
    {"phi3", "phi3", phi3_spec},
    {"phimoe", "phimoe", phimoe_spec},
    {"gemma", "gemma", gemma_spec},
    {"gemma2", "gemma2", gemma2_spec},
    {"gemma3", "gemma3_text", gemma3_spec},
    {"", "gemma3", gemma3_spec},
    {"smollm3", "smollm3", smollm3_spec},
    {"starcoder2", "starcoder2", starcoder2_spec},
    {"granite", "granite", granite_spec},
    {"granitemoe", "granitemoe", granite_spec},
    {"", "granitemoeshared", granite_spec},
    {"glm4", "glm4", glm4_spec},
    {"olmo2", "olmo2", olmo2_spec},
    {"", "olmo3", olmo2_spec},
    {"command-r", "cohere", cohere_spec},
    {"cohere2", "cohere2", cohere2_spec},
    {"deepseek2", "deepseek_v2", deepseek_spec},
    {"", "deepseek_v3", deepseek_spec},
    {"gpt-oss", "gpt_oss", gpt_oss_spec},
};

using NameOf = std::string_view Architecture::*;

const Architecture* find(NameOf name_of, std::string_view name) {
  for (const Architecture& architecture : kArchitectures)
    if (!name.empty() && architecture.*name_of == name) return &architecture;
  return nullptr;
}

[[noreturn]] void refuse(const std::string& file, NameOf name_of, std::string_view name) {
  std::string known;
  for (const Architecture& architecture : kArchitectures)
    if (!(architecture.*name_of).empty())
      known += (known.empty() ? "" : ", ") + std::string(architecture.*name_of);
  throw Error(ErrorCode::kUnsupported, file + ": the architecture '" + printable(name) +
                                           "' is not supported; known: " + known);
}

/// "PhiMoEForCausalLM" names phimoe, whatever case it is written in: for folders without
/// model_type.
std::string type_of_class(std::string name) {
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  name = name.substr(0, name.find("forcausallm"));
  for (const Architecture& architecture : kArchitectures) {
    std::string type(architecture.hf);
    type.erase(std::remove(type.begin(), type.end(), '_'), type.end());
    if (type == name) return std::string(architecture.hf);
  }
  return name;
}

std::string model_type(const Config& config) {
  const Config text = config.get_object("text_config").value_or(config);
  for (const Config* section : {&text, &config})
    if (const auto type = section->get_string("model_type")) return *type;
  const auto classes = config.get_strings("architectures");
  if (!classes || classes->empty()) config.corrupt("model_type", "is missing");
  return type_of_class(classes->front());
}

const Architecture& architecture_of(const Config& config) {
  const std::string type = model_type(config);
  const Architecture* found = find(&Architecture::hf, type);
  if (found == nullptr) refuse(config.path().string(), &Architecture::hf, type);
  return *found;
}

}  // namespace

ModelSpec model_spec_from_gguf(const GgufFile& file) {
  const auto name = file.get_string("general.architecture");
  if (!name)
    throw Error(ErrorCode::kCorrupt,
                file.path().string() + ": the metadata lacks 'general.architecture'");
  const Architecture* found = find(&Architecture::gguf, *name);
  if (found == nullptr) refuse(file.path().string(), &Architecture::gguf, *name);
  return found->read(*make_reader(file, std::string(*name)));
}

ModelSpec model_spec_from_folder(const TensorSource& tensors, const Config& config) {
  return model_spec_from_folder(tensors, config, nullptr);
}

ModelSpec model_spec_from_folder(const TensorSource& tensors, const Config& config,
                                 ReadObserver* observer) {
  const Architecture& found = architecture_of(config);
  const auto reader = make_reader(tensors, config, std::string(found.hf));
  if (observer != nullptr) reader->observe(*observer);
  return found.read(*reader);
}

std::string gguf_architecture(const Config& config) {
  const Architecture* found = &architecture_of(config);
  while (found->gguf.empty()) --found;  // it stands below the one that GGUF files hold it as
  return std::string(found->gguf);
}

}  // namespace spnl::modelkit
