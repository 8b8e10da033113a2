#include "hub/short_names.h"

#include <algorithm>

#include "util/text.h"

namespace spnl::hub {

namespace {

struct ShortName {
  std::string_view name, repository;
};

constexpr ShortName kShortNames[] = {
    {"llama3.1:8b", "unsloth/Llama-3.1-8B-Instruct-GGUF"},
    {"llama3.1:70b", "unsloth/Llama-3.1-70B-Instruct-GGUF"},
    {"llama3.2:1b", "unsloth/Llama-3.2-1B-Instruct-GGUF"},
    {"llama3.2:3b", "unsloth/Llama-3.2-3B-Instruct-GGUF"},
    {"llama3.3:70b", "unsloth/Llama-3.3-70B-Instruct-GGUF"},
    {"gemma2:2b", "unsloth/gemma-2-it-GGUF"},
    {"gemma3:270m", "unsloth/gemma-3-270m-it-GGUF"},
    {"gemma3:1b", "unsloth/gemma-3-1b-it-GGUF"},
    {"gemma3:4b", "unsloth/gemma-3-4b-it-GGUF"},
    {"gemma3:12b", "unsloth/gemma-3-12b-it-GGUF"},
    {"gemma3:27b", "unsloth/gemma-3-27b-it-GGUF"},
    {"phi3:3b", "unsloth/Phi-3-mini-4k-instruct-GGUF"},
    {"phi3.5:3b", "unsloth/Phi-3.5-mini-instruct-GGUF"},
    {"phi4:14b", "unsloth/Phi-4-GGUF"},
    {"qwen2.5:0.5b", "unsloth/Qwen2.5-Coder-0.5B-Instruct-GGUF"},
    {"qwen2.5:1.5b", "unsloth/Qwen2.5-Coder-1.5B-Instruct-GGUF"},
    {"qwen2.5:3b", "unsloth/Qwen2.5-Coder-3B-Instruct-GGUF"},
    {"qwen2.5:7b", "unsloth/Qwen2.5-Coder-7B-Instruct-GGUF"},
    {"qwen2.5:14b", "unsloth/Qwen2.5-Coder-14B-Instruct-GGUF"},
    {"qwen2.5:32b", "unsloth/Qwen2.5-Coder-32B-Instruct-GGUF"},
    {"qwen3:0.6b", "unsloth/Qwen3-0.6B-GGUF"},
    {"qwen3:1.7b", "unsloth/Qwen3-1.7B-GGUF"},
    {"qwen3:4b", "unsloth/Qwen3-4B-GGUF"},
    {"qwen3:8b", "unsloth/Qwen3-8B-GGUF"},
    {"smollm2:135m", "HuggingFaceTB/SmolLM2-135M-Instruct-GGUF"},
    {"smollm2:360m", "HuggingFaceTB/SmolLM2-360M-Instruct-GGUF"},
    {"smollm2:1.7b", "HuggingFaceTB/SmolLM2-1.7B-Instruct-GGUF"},
};

}  // namespace

std::optional<std::string> short_name_repository(std::string_view name) {
  for (const ShortName& entry : kShortNames)
    if (entry.name == name) return std::string(entry.repository);
  return std::nullopt;
}

std::vector<std::string> near_short_names(std::string_view name) {
  if (name.size() > 64) return {};
  std::vector<std::pair<size_t, std::string_view>> scored;
  for (const ShortName& entry : kShortNames) {
    // A bare family ("smollm2") is near all its sizes.
    const std::string_view family = entry.name.substr(0, entry.name.find(':'));
    const size_t distance = name == family ? 0 : text::edit_distance(name, entry.name);
    if (distance <= 3) scored.emplace_back(distance, entry.name);
  }
  std::stable_sort(scored.begin(), scored.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<std::string> out;
  for (const auto& [distance, near] : scored)
    if (out.size() < 3) out.emplace_back(near);
  return out;
}

}  // namespace spnl::hub
