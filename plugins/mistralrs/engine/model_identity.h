#pragma once
#include <string_view>

#include "cache/chain_key.h"
#include "engine/settings.h"
#include "spnl/modelkit/model_bundle.h"

namespace spnl::mistralrs {

/// Adds all that the bits of keys and values depend on besides tokens and what those see: the
/// model's metadata, its tensors by name, type, shape and some of their pages; what they become at
/// load; the type of keys and values; `kernels` (Ops::name) and the code of this build itself.
/// Block size, threads and batches change no bit.
void add_model(ChainHasher& hasher, const modelkit::ModelBundle& bundle, const Settings& settings,
               cpu::KvType kv_type, std::string_view kernels);

}  // namespace spnl::mistralrs
