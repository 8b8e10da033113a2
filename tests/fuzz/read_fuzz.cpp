// libFuzzer entry point for one spelling, SPNL_FUZZ_SPELLING. Whatever the bytes, reading gives a
// query, which survives printing and reading again, or an error with a place.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "spnl/error.h"
#include "spnl/print.h"
#include "spnl/reader.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace spnl;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  ReadOptions options;
  options.folder = "/nowhere";  // no input shall find a file
  options.bindings = {{"model", std::string("m/x")}, {"n", 3.0}, {"prompt", std::string("Hi")}};
  try {
    const Query query = read_query(text, Spelling::SPNL_FUZZ_SPELLING, options);
    if (!(read_json(print_json(query), {}) == query)) std::abort();
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kBadQuery || error.where().empty()) std::abort();
  }
  return 0;
}
