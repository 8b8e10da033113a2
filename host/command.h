#pragma once
#include "args.h"
#include "interrupt.h"
#include "terminal.h"

namespace spnl::host {

/// What a command works with.
struct Invocation {
  const Command& command;
  Arguments args;
  Terminal& terminal;
  Interrupt& interrupt;
};

constexpr int kExitDone = 0, kExitFailed = 1, kExitUsage = 2, kExitNotFound = 3,
              kExitInterrupted = 130;

int exit_code(ErrorCode code);

// One file a command: cmd_NAME.cpp.
Command run_command();
Command explain_command();
Command chat_command();
Command generate_command();
Command tokenize_command();
Command template_command();
Command score_command();
Command bench_command();
Command list_command();
Command quantize_command();
Command inspect_command();
Command backends_command();
Command doctor_command();

}  // namespace spnl::host
