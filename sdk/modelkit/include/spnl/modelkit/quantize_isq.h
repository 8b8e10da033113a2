#pragma once
#include <cstdint>
#include <string_view>

#include "spnl/modelkit/model_spec.h"
#include "spnl/modelkit/tensor_type.h"

namespace spnl::modelkit {

/// In-situ quantisation: float weights are quantised as they are loaded. Reads the value of
/// MISTRALRS_ISQ: "Q4K", "Q8_0",
/// ... as mistral.rs spells them, "Q4_K" as GGUF does, or bits alone ("4"); case does not matter.
/// Throws Error(kUnsupported) for a type of mistral.rs that this build cannot make, naming it, and
/// kInvalid for anything else; both list what there is.
TensorType parse_isq(std::string_view name);

/// Replaces the float matrices of linear layers (attention, MLPs, experts) by quantized() ones of
/// `type`, and the output's by one of at least 6 bits. Embedding, norms, biases, routers and what
/// is quantised already stay. Rows that do not fill blocks get type_for_rows(). Returns how many
/// matrices were replaced.
uint64_t quantize_linears(ModelSpec& spec, TensorType type);

}  // namespace spnl::modelkit
