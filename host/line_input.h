#pragma once
#include <filesystem>
#include <memory>
#include <string>

#include "interrupt.h"

namespace spnl::host {

/// Where the lines of a session come from.
class LineInput {
 public:
  enum class Event { kLine, kEnd, kInterrupted };

  virtual ~LineInput() = default;
  /// Waits for the next line, without its line break. kInterrupted: `interrupt` was asked to stop;
  /// what had been typed is dropped. Not necessarily UTF-8. Throws Error(kUsage) for a line of more
  /// than 16 MB.
  virtual Event read(const char* prompt, std::string& line) = 0;
};

/// Lines from standard input as they are. `prompts`: shown on standard error before each.
std::unique_ptr<LineInput> plain_lines(Interrupt& interrupt, bool prompts);

/// Lines that a person edits on the terminal of standard input and standard error, with a history
/// kept in a file (no history where that file cannot be made). Null where the terminal is of no
/// known type.
std::unique_ptr<LineInput> edited_lines(Interrupt& interrupt,
                                        const std::filesystem::path& history_file);

}  // namespace spnl::host
