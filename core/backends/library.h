#pragma once
#include "backends/manifest.h"
#include "spnl/backend.h"

namespace spnl::backends {

/// Opens a backend's library (once a process and path; it stays mapped to the end) and returns its
/// table, checked against the ABI and the manifest. Refuses a library whose process-wide libraries
/// clash with those of one that was opened before. Serial by a lock. Throws Error(kNotLoadable)
/// with the backend's id, the file and the reason.
const spnl_backend* open_library(const Manifest& manifest);

}  // namespace spnl::backends
