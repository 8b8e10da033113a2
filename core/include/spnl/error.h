#pragma once
#include <stdexcept>
#include <string>
#include <utility>

namespace spnl {

/// Why something failed. The host turns it into its exit code.
enum class ErrorCode {
  kUsage,        ///< exit 2: bad command line or argument
  kBadQuery,     ///< exit 2: the query cannot be read or does not mean anything
  kNotFound,     ///< exit 3: model or backend not found
  kNotLoadable,  ///< exit 3: model or backend found but not loadable
  kNoRoom,       ///< exit 3: models in use leave no memory for this one now
  kEvaluation,   ///< exit 1: evaluating failed
  kUnsupported,  ///< exit 1: asked for what the backend cannot do
  kInterrupted,  ///< exit 130: the person or a time limit stopped it
};

/// One line for a person: `message (where); hint`. `where` names a place (file:line:column, node path, model file) and
/// `hint` what to do; both may be empty.
class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, std::string message, std::string where = "", std::string hint = "");

  ErrorCode code() const noexcept { return code_; }
  const std::string& message() const noexcept { return message_; }
  const std::string& where() const noexcept { return where_; }
  const std::string& hint() const noexcept { return hint_; }

 private:
  ErrorCode code_;
  std::string message_, where_, hint_;
};

}  // namespace spnl
