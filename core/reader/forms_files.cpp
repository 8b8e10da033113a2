#include "reader/files.h"
#include "reader/forms.h"

namespace spnl::reader {
namespace {

std::string content(Interpreter& in, const std::string& name, SourcePosition position) {
  std::string text = read_file(in.source(), in.options(), name, position);
  in.charge(text.size(), position);
  return text;
}

std::string path_argument(Interpreter& in, Call& call, const char* usage) {
  in.expect_count(call, 1, 1, usage);
  std::string name = in.string(call.values[0], "a file's path");
  check_path(in.source(), name, call.values[0].position);
  return name;
}

Value fetch(Interpreter& in, Call& call, const char* usage, bool named, bool binary) {
  std::string name = located(in.options(), path_argument(in, call, usage));
  return {Query{Fetch{std::move(name), named, binary}, in.position(call)}, in.position(call)};
}

}  // namespace

Value build_file(Interpreter& in, Call& call) {
  const std::string name = path_argument(in, call, "(file PATH)");
  return {content(in, name, call.values[0].position), in.position(call), true};
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
