#include "reader/source.h"

#include "spnl/error.h"

namespace spnl::reader {

void Source::fail(SourcePosition position, const std::string& found, const std::string& expected,
                  const std::string& hint) const {
  refuse(position, "found " + found + ", expected " + expected, hint);
}

void Source::refuse(SourcePosition position, const std::string& message,
                    const std::string& hint) const {
  throw Error(ErrorCode::kBadQuery, message,
              name + ":" + std::to_string(position.line) + ":" + std::to_string(position.column),
              hint);
}

}  // namespace spnl::reader
