#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace spnl {

/// "2G", "512M", "4096": bytes, or a number with K, M or G (powers of 1024), in any case, with or
/// without "B" or "iB" after it. Empty for anything else.
std::optional<uint64_t> parse_bytes(std::string_view text);

/// "1.5 GiB", "12 MiB": for messages.
std::string bytes_text(uint64_t bytes);

/// Bytes that the system can give without swapping; empty where it does not say.
std::optional<uint64_t> available_memory();

}  // namespace spnl
