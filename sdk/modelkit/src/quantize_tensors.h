#pragma once
#include <span>

#include "spnl/modelkit/gguf_writer.h"
#include "spnl/modelkit/quantize_file.h"
#include "spnl/modelkit/weight.h"

namespace spnl::modelkit {

/// Writes the bytes of the tensors, which the writer knows already, in their order and in `types`.
/// `tensors` give names, `weights` the values. Returns false when stopped.
bool write_tensors(std::span<const Tensor> tensors, std::span<const Weight> weights,
                   std::span<const TensorType> types, const QuantizeOptions& options,
                   GgufWriter& writer);

/// general.file_type and what belongs to it.
void add_kind(const QuantMix& mix, GgufWriter& writer);

}  // namespace spnl::modelkit
