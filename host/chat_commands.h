#pragma once
#include <string>

#include "chat_session.h"

namespace spnl::host {

/// Does what a line like "/save talk.json" says; false when the session is to end. Throws Error for
/// unknown commands, with near names, and for what goes wrong.
bool run_chat_command(const std::string& line, ChatSession& session, Terminal& terminal);

/// Takes over the conversation in a query file. Throws Error.
void load_conversation(const std::string& path, ChatSession& session);

}  // namespace spnl::host
