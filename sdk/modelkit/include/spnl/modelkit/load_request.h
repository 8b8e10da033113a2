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

/// Asks the host for the model's GGUF file; of a split one, gives the first part. Throws abi::Failure with the host's
/// reason.
std::filesystem::path resolve_gguf(const spnl_host& host, const spnl_load& load);

}  // namespace spnl::modelkit
