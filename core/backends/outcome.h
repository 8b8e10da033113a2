#pragma once
#include <optional>
#include <string>
#include <utility>

#include "spnl/error.h"

namespace spnl::backends {

/// What a job on another thread came to: a value, or the parts of an Error. By value, since an
/// exception object that two threads share is freed by whichever lets go last, perhaps while the
/// other still reads it in a handler of its own.
template <class T>
class Outcome {
 public:
  template <class Call>
  static Outcome of(Call call) {
    Outcome out;
    try {
      out.value_.emplace(call());
    } catch (const Error& e) {
      // Copies of the text, not of the exception: those would share it.
      out.code_ = e.code();
      out.message_ = std::string(e.message());
      out.where_ = std::string(e.where());
      out.hint_ = std::string(e.hint());
    } catch (const std::exception& e) {
      out.message_ = e.what();
    } catch (...) {
      out.message_ = "unknown exception";
    }
    return out;
  }

  /// The value, or the error thrown on this thread.
  T take() && {
    if (!value_) throw Error(code_, message_, where_, hint_);
    return std::move(*value_);
  }

 private:
  std::optional<T> value_;
  ErrorCode code_ = ErrorCode::kEvaluation;
  std::string message_, where_, hint_;
};

}  // namespace spnl::backends
