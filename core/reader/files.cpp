#include "reader/files.h"

#include <filesystem>
#include <stdexcept>

#include "util/files.h"
#include "util/text.h"

namespace spnl::reader {

void check_path(const Source& source, const std::string& name, SourcePosition position) {
  if (name.empty()) source.fail(position, "an empty string", "a file's path");
  if (name.find('\0') != std::string::npos)
    source.fail(position, "a string with a zero byte", "a file's path");
}

std::string located(const ReadOptions& options, const std::string& name) {
  if (name.starts_with("http://") || name.starts_with("https://")) return name;
  const std::filesystem::path path(name), folder(options.folder);
  if (path.is_absolute() || folder.empty() || folder == ".") return name;
  return (folder / path).lexically_normal().string();
}

std::string read_file(const Source& source, const ReadOptions& options, const std::string& name,
                      SourcePosition position) {
  const std::string file = "file " + text::quote(name, 200) + " cannot be read: ";
  if (name.starts_with("http://") || name.starts_with("https://"))
    source.refuse(position, file + "it is an address", "fetch reads addresses");
  std::string text;
  try {
    text = read_whole_file(located(options, name), kLargestFile);
  } catch (const std::runtime_error& error) {
    source.refuse(position, file + error.what());
  }
  const size_t bad = text::first_invalid_utf8(text);
  if (bad != std::string_view::npos) {
    const SourcePosition place = PositionFinder(text).at(bad);
    source.refuse(position, file + "it is not UTF-8 at line " + std::to_string(place.line) +
                                ", column " + std::to_string(place.column));
  }
  return text;
}

}  // namespace spnl::reader
