#pragma once
#include "engine/session.h"
#include "spnl/backend.h"

namespace spnl::mistralrs {

/// A request of the ABI in the engine's words. Throws abi::Failure(SPNL_UNSUPPORTED) naming what
/// this plugin cannot do, SPNL_INVALID for a malformed one, and what the prompt encoder throws.
Request to_request(const Model& model, const spnl_request& request);

/// Hands an event of the engine to the host's callback; answers what that answers.
int32_t send_event(const spnl_events& events, const Event& event);

}  // namespace spnl::mistralrs
