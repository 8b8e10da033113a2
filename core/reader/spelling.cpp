#include "reader/data_query.h"
#include "spnl/reader.h"

namespace spnl {
namespace {

Query read_data(std::string_view text, const ReadOptions& options,
                reader::Data (*parse)(const reader::Source&)) {
  const reader::Source source{text, options.source_name};
  const reader::Data data = parse(source);
  return reader::DataReader(source, data, options).run();
}

}  // namespace

Spelling spelling_of(const std::filesystem::path& path) {
  std::string extension = path.extension().string();
  for (char& c : extension)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + ('a' - 'A'));
  if (extension == ".json") return Spelling::kJson;
  return extension == ".yaml" || extension == ".yml" ? Spelling::kYaml : Spelling::kLisp;
}

Spelling guess_spelling(std::string_view text) {
  if (text.starts_with(reader::kByteOrderMark)) text.remove_prefix(reader::kByteOrderMark.size());
  const size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) return Spelling::kLisp;
  return text[first] == '{' || text[first] == '[' ? Spelling::kJson : Spelling::kLisp;
}

Query read_query(std::string_view text, Spelling spelling, const ReadOptions& options) {
  switch (spelling) {
    case Spelling::kJson:
      return read_json(text, options);
    case Spelling::kYaml:
      return read_yaml(text, options);
    case Spelling::kLisp:
      break;
  }
  return read_lisp(text, options);
}

Query read_json(std::string_view text, const ReadOptions& options) {
  return read_data(text, options, reader::parse_json);
}

Query read_yaml(std::string_view text, const ReadOptions& options) {
  return read_data(text, options, reader::parse_yaml);
}

}  // namespace spnl
