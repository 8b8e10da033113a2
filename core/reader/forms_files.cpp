#include <filesystem>

#include "reader/forms.h"
#include "spnl/error.h"
#include "util/files.h"
#include "util/text.h"

namespace spnl::reader {
namespace {

/// `name` as seen from the query's folder.
std::string located(const Interpreter& in, const std::string& name) {
  const std::filesystem::path path(name), folder(in.options().folder);
  if (path.is_absolute() || folder.empty() || folder == ".") return name;
  return (folder / path).lexically_normal().string();
}

std::string content(Interpreter& in, const std::string& name, SourcePosition position) {
  std::string text;
  try {
    text = read_whole_file(located(in, name), kLargestFile);
  } catch (const std::runtime_error& error) {
    in.source().refuse(position,
                       "file " + text::quote(name, 200) + " cannot be read: " + error.what());
  }
  if (text::first_invalid_utf8(text) != std::string_view::npos)
    in.source().refuse(position,
                       "file " + text::quote(name, 200) + " cannot be read: it is not UTF-8 text");
  in.charge(text.size(), position);
  return text;
}

std::string path_argument(Interpreter& in, Call& call, const char* usage) {
  in.expect_count(call, 1, 1, usage);
  std::string name = in.string(call.values[0], "a file's path");
  if (name.empty() || name.find('\0') != std::string::npos)
    in.source().fail(call.values[0].position,
                     name.empty() ? "an empty string" : "a string with a zero byte",
                     "a file's path");
  return name;
}

Value fetch(Interpreter& in, Call& call, const char* usage, bool named, bool binary) {
  std::string name = path_argument(in, call, usage);
  const bool remote = name.starts_with("http://") || name.starts_with("https://");
  if (!remote) name = located(in, name);
  return {Query{Fetch{std::move(name), named, binary}, in.position(call)}, in.position(call)};
}

}  // namespace

Value build_file(Interpreter& in, Call& call) {
  const std::string name = path_argument(in, call, "(file PATH)");
  return {content(in, name, call.values[0].position), in.position(call)};
}

Value build_filen(Interpreter& in, Call& call) {
  const std::string name = path_argument(in, call, "(filen PATH)");
  return {Document{name, content(in, name, call.values[0].position)}, in.position(call)};
}

Value build_fetch(Interpreter& in, Call& call) {
  return fetch(in, call, "(fetch PLACE)", false, false);
}
Value build_fetchn(Interpreter& in, Call& call) {
  return fetch(in, call, "(fetchn PLACE)", true, false);
}
Value build_fetchb(Interpreter& in, Call& call) {
  return fetch(in, call, "(fetchb PLACE)", true, true);
}

}  // namespace spnl::reader
