#pragma once
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace spnl::modelkit {

/// An array or object of a JSON text: bytes [begin, end), and how many elements or members it has.
struct JsonExtent {
  size_t begin, end, items;
};

struct JsonCheck {
  size_t root = 0;                ///< where the value begins
  std::vector<JsonExtent> large;  ///< arrays and objects of at least 16 KiB, by begin
  std::string error;              ///< empty: all is well
};

/// Goes through a JSON text (RFC 8259, and Python's NaN and Infinity) once. Strings may hold any
/// bytes from 0x20 on, but escapes must stand for characters. Memory: 24 bytes for each of `large`.
JsonCheck check_json(std::string_view text);

}  // namespace spnl::modelkit
