#include "evaluator/fetch.h"

#include <stdexcept>

#include "spnl/error.h"
#include "util/files.h"
#include "util/text.h"

namespace spnl::evaluator {
namespace {

constexpr size_t kLargestFetch = 100'000'000;

}  // namespace

Query fetch(const Fetch& fetch, SourcePosition position, const std::string& where) {
  if (fetch.location.starts_with("http://") || fetch.location.starts_with("https://"))
    throw Error(ErrorCode::kUnsupported, "fetching http addresses is not supported in this build",
                where);
  const std::string name = text::quote(fetch.location, 200);
  if (fetch.binary)
    throw Error(ErrorCode::kEvaluation, "the binary document " + name + " has no text", where);
  std::string content;
  try {
    content = read_whole_file(fetch.location, kLargestFetch);
  } catch (const std::runtime_error& error) {
    throw Error(ErrorCode::kEvaluation, "file " + name + " cannot be read: " + error.what(), where);
  }
  if (text::first_invalid_utf8(content) != std::string_view::npos)
    throw Error(ErrorCode::kEvaluation, "file " + name + " cannot be read: it is not UTF-8 text",
                where);
  return {User{std::move(content)}, position};
}

}  // namespace spnl::evaluator
