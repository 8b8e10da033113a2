#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "reader/source.h"
#include "spnl/reader.h"

/// What is bound from outside the text of a query, for all spellings.
namespace spnl::reader {

/// For a name that is not bound: near ones among `known` and those that the host may bind, or how
/// to bind it.
std::string unbound_hint(const std::string& name, std::vector<std::string> known);

/// The name in a text that is nothing but one hole, "{{name}}"; else empty.
std::string_view hole_name(std::string_view text);

/// `text` with each "{{name}}" replaced by what `name` is bound to. Throws Error(kBadQuery) for
/// unbound names and for "{{" that begins no hole, at its place if it is found in the source from
/// `byte` on, else at `position`.
std::string fill_holes(const Source& source, const ReadOptions& options, std::string_view text,
                       size_t byte, SourcePosition position);

}  // namespace spnl::reader
