#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "spnl/backend.h"

namespace spnl::backends {

/// The smallest legal struct_size of what plugins fill, as of minor 0. Written down and frozen:
/// they do not follow today's structs, so an older plugin stays welcome when those grow.
constexpr uint32_t kMinBackend = 136, kMinDescriptor = 112, kMinEvent = 104, kMinUsage = 80,
                   kMinError = 512, kMinScore = 16;

/// What is wrong with a plugin's table, in one line; empty: nothing. `table` may be null.
std::string table_problem(const spnl_backend* table);

/// A capability's word ("bulk_map") and bit; bits and words that this host does not know are left
/// out.
std::vector<std::string> capability_words(uint64_t bits);
uint64_t capability_bits(const std::vector<std::string>& words);

/// Text that came over the ABI; empty when the pointer is null.
std::string_view text_of(spnl_str text);

/// "no memory" for SPNL_NO_MEMORY; an unknown status counts as an internal error.
std::string_view status_text(spnl_status status);

/// The plugin's message as one printable line, else the status in words.
std::string failure_text(spnl_status status, const spnl_error& error);

inline spnl_error empty_error() {
  spnl_error error{};
  error.struct_size = sizeof error;
  return error;
}

}  // namespace spnl::backends
