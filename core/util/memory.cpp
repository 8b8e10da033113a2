#include "util/memory.h"

#include <array>
#include <charconv>
#include <cstdio>
#include <fstream>

namespace spnl {
namespace {

/// Bits of a unit's power of two; empty for a unit that is none.
std::optional<int> shift_of(std::string unit) {
  for (char& c : unit)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  if (unit.empty() || unit == "b") return 0;
  const std::string_view rest = std::string_view(unit).substr(1);
  if (!rest.empty() && rest != "b" && rest != "ib") return std::nullopt;
  switch (unit[0]) {
    case 'k':
      return 10;
    case 'm':
      return 20;
    case 'g':
      return 30;
    default:
      return std::nullopt;
  }
}

}  // namespace

std::optional<uint64_t> parse_bytes(std::string_view text) {
  uint64_t number = 0;
  const char* last = text.data() + text.size();
  const auto [end, error] = std::from_chars(text.data(), last, number);
  if (error != std::errc()) return std::nullopt;
  const std::optional<int> shift = shift_of(std::string(end, last));
  if (!shift || number > (UINT64_MAX >> *shift)) return std::nullopt;
  return number << *shift;
}

std::string bytes_text(uint64_t bytes) {
  constexpr std::array<const char*, 4> kUnits = {"bytes", "KiB", "MiB", "GiB"};
  size_t unit = 0;
  double value = static_cast<double>(bytes);
  while (value >= 1024 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  char text[40];
  std::snprintf(text, sizeof text, unit == 0 || value >= 100 ? "%.0f %s" : "%.1f %s", value,
                kUnits[unit]);
  return text;
}

std::optional<uint64_t> available_memory() {
  std::ifstream file("/proc/meminfo");
  std::string word;
  while (file >> word)
    if (uint64_t kib = 0; word == "MemAvailable:" && file >> kib) return kib * 1024;
  return std::nullopt;
}

}  // namespace spnl
