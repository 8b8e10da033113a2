#pragma once
#include <string>

#include "reader/source.h"
#include "spnl/reader.h"

/// Files named by a query, for all spellings.
namespace spnl::reader {

/// Refuses what cannot be a path at the place of the name.
void check_path(const Source& source, const std::string& name, SourcePosition position);

/// `name` as seen from the query's folder; addresses stay as they are.
std::string located(const ReadOptions& options, const std::string& name);

/// The text of a file of at most kLargestFile bytes; must be UTF-8. Throws Error(kBadQuery) at
/// `position`.
std::string read_file(const Source& source, const ReadOptions& options, const std::string& name,
                      SourcePosition position);

}  // namespace spnl::reader
