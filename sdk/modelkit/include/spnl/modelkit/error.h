#pragma once
#include <stdexcept>
#include <string>

namespace spnl::modelkit {

/// Why something failed; maps one to one onto the ABI's spnl_status (see spnl/backend.h).
enum class ErrorCode {
  kInvalid,      ///< the caller's mistake: bad argument, bad template input
  kNotFound,     ///< a file, tensor or key that must exist does not
  kUnsupported,  ///< understood, but not something this build can do
  kIo,           ///< the operating system refused to open, map or read
  kCorrupt,      ///< a file contradicts itself or its size
  kNoMemory,     ///< would need more memory than allowed
};

/// One line of text for a person: what is wrong, where, and what to do where that helps.
class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& what) : std::runtime_error(what), code_(code) {}
  ErrorCode code() const noexcept { return code_; }

 private:
  ErrorCode code_;
};

}  // namespace spnl::modelkit
