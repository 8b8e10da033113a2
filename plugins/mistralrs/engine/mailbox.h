#pragma once
#include <cstdint>
#include <vector>

#include "engine/output.h"

namespace spnl::mistralrs {

/// One session as the engine sees it: what it has not heard yet, and whether its sequences run.
struct Mailbox {
  // Guarded by the engine's mutex.
  std::vector<Event> events;
  uint32_t unheard_steps = 0;  ///< since the session last called

  // The step loop's.
  bool paused = false;       ///< nobody listens: its sequences neither run nor keep their blocks
  int64_t prefill_rows = 0;  ///< what it may still prefill in this step
};

}  // namespace spnl::mistralrs
