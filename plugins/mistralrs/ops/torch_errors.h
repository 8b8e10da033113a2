#pragma once

namespace spnl::mistralrs {

/// Call in a catch block: rethrows what is being handled as abi::Failure with status and one line
/// of text, where it is an error of modelkit or of libtorch (whose messages carry a stack trace,
/// dropped here); else as it is.
[[noreturn]] void rethrow_as_failure();

}  // namespace spnl::mistralrs
