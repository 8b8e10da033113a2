#include "spnl/error.h"

namespace spnl {
namespace {

std::string one_line(const std::string& message, const std::string& where,
                     const std::string& hint) {
  std::string text = message;
  if (!where.empty()) text += " (" + where + ")";
  if (!hint.empty()) text += "; " + hint;
  // What is quoted from elsewhere (a template's complaint, a file's text) may hold line breaks.
  for (char& c : text)
    if (c == '\n' || c == '\r') c = ' ';
  return text;
}

}  // namespace

Error::Error(ErrorCode code, std::string message, std::string where, std::string hint)
    : std::runtime_error(one_line(message, where, hint)),
      code_(code),
      message_(std::move(message)),
      where_(std::move(where)),
      hint_(std::move(hint)) {}

}  // namespace spnl
