#pragma once
// Small models with random weights, one for each way in which architectures differ.
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/model.h"

namespace spnl::mistralrs::test {

/// kF32, or kQ8_0 for the matrices of the layers.
std::vector<std::pair<std::string, modelkit::ModelSpec>> random_models(modelkit::TensorType type);

/// A model of this spec, with the tokenizer of the fixtures' llama.
std::unique_ptr<Model> load(const modelkit::ModelSpec& spec, const Settings& settings);

/// Of random_models("long rope"): sequences longer than this turn by the long frequencies.
inline constexpr uint32_t kLongFrom = 24;

}  // namespace spnl::mistralrs::test
