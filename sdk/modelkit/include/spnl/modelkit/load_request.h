#pragma once
#include <filesystem>
#include <string_view>

#include "spnl/backend.h"
#include "spnl/modelkit/model_bundle.h"

namespace spnl::modelkit {

/// A true/false option of a load request; false when it is not given. Throws abi::Failure(SPNL_INVALID) for other
/// values.
bool load_flag(const spnl_load& load, std::string_view key);

/// The options "vocab_only" and "ignore_eos".
OpenOptions open_options(const spnl_load& load);

/// Asks the host for the model's files and says which to open: a GGUF (of a split one, the first part), the folder of
/// its safetensors, or the file that was named. For open_model(). Throws abi::Failure with the host's reason, or
/// SPNL_UNSUPPORTED for a model that is there in PyTorch pickles alone.
std::filesystem::path resolve_model(const spnl_host& host, const spnl_load& load);

}  // namespace spnl::modelkit
