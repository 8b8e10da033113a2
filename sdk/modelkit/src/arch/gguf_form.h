#pragma once
#include <map>
#include <string>
#include <variant>
#include <vector>

#include "spnl/modelkit/config.h"
#include "spnl/modelkit/model_spec.h"
#include "spnl/modelkit/tensor_source.h"

namespace spnl::modelkit {

/// A tensor under the name, in the order of rows and with the values of GGUF files.
struct GgufTensor {
  std::string name;
  Weight weight;               ///< the rows of all outer dimensions one after the other
  std::vector<uint64_t> dims;  ///< innermost first
};

/// A model in the terms of GGUF files.
struct GgufForm {
  using Value = std::variant<bool, uint32_t, float, std::string, std::vector<int32_t>>;

  ModelSpec spec;
  std::string architecture;             ///< general.architecture
  std::map<std::string, Value> values;  ///< without "{architecture}."
  std::vector<GgufTensor> rope_factors;
  std::vector<GgufTensor> tensors;  ///< all others
};

/// Reads the model of a folder and notes, as it is read, what the same things are called in GGUF
/// files; so the names of registry.cpp and of each architecture serve both ways. What a GGUF cannot
/// hold shows when the result is read back: see difference() of spec_difference.h. Throws Error as
/// model_spec_from_folder does. `tensors` must outlive the result.
GgufForm gguf_form_of_folder(const TensorSource& tensors, const Config& config);

}  // namespace spnl::modelkit
