#include <algorithm>

#include "reader/bindings.h"
#include "reader/data_query.h"
#include "reader/files.h"
#include "util/text.h"

namespace spnl::reader {

void DataReader::fail(uint32_t found, const std::string& expected, const std::string& hint) {
  const bool holes = data_[found].kind == DataKind::kMap &&
                     source_.text.substr(data_[found].byte).starts_with("{{");
  source_.fail(data_[found].position, data_.describe(found), expected, holes ? kQuoteHoles : hint);
}

DataReader::Indices DataReader::items(uint32_t value, const std::string& expected) {
  if (data_[value].kind != DataKind::kList) fail(value, expected);
  return data_.parts(value);
}

DataReader::Indices DataReader::fields(uint32_t map, std::span<const FieldName> names,
                                       const std::string& what) {
  if (data_[map].kind != DataKind::kMap) fail(map, "a map with the keys of " + what);
  Indices given(names.size(), 0), seen(names.size(), 0);
  const Indices parts = data_.parts(map);
  for (size_t i = 0; i < parts.size(); i += 2) {
    if (data_[parts[i]].kind != DataKind::kString) fail(parts[i], "a key of " + what);
    const std::string_view key = data_.text(parts[i]);
    const SourcePosition position = data_[parts[i]].position;
    const auto found = std::find_if(names.begin(), names.end(),
                                    [&](const FieldName& name) { return name.name == key; });
    if (found == names.end()) {
      std::vector<std::string> known;
      std::string all;
      for (const FieldName& name : names) {
        known.emplace_back(name.name);
        all += (all.empty() ? "" : ", ") + known.back();
      }
      const std::string near = text::did_you_mean(key, known);
      source_.fail(position, "unknown key " + text::quote(key), "a key of " + what,
                   near.empty() ? "keys are " + all : near);
    }
    const size_t index = static_cast<size_t>(found - names.begin());
    if (seen[index]++ > 0)
      source_.fail(position, "key " + text::quote(key) + " a second time", "each key once");
    // A field that need not be there may also be null.
    if (found->required || data_[parts[i + 1]].kind != DataKind::kNull) given[index] = parts[i + 1];
  }
  for (size_t i = 0; i < names.size(); ++i)
    if (names[i].required && seen[i] == 0)
      source_.fail(data_[map].position, what + " without " + text::quote(names[i].name),
                   "the key " + text::quote(names[i].name));
  return given;
}

std::string DataReader::string(uint32_t value, const std::string& expected) {
  if (const uint32_t file = only(value, "file")) return file_text(file);
  const DataNode& node = data_[value];
  if (node.kind != DataKind::kString) {
    const bool scalar = node.kind == DataKind::kNumber || node.kind == DataKind::kBoolean;
    fail(value, expected, scalar ? "between quotes it is a string" : "");
  }
  std::string text =
      node.holes ? fill_holes(source_, options_, data_.text(value), node.byte, node.position)
                 : std::string(data_.text(value));
  charge(text.size(), value);
  return text;
}

std::string DataReader::filled_string(uint32_t value, const std::string& expected) {
  std::string text = string(value, expected);
  if (text.empty()) source_.fail(data_[value].position, "an empty string", expected);
  return text;
}

std::vector<std::string> DataReader::strings(uint32_t value) {
  const bool file = only(value, "file") != 0;
  std::vector<std::string> all;
  for (const uint32_t item : file ? Indices{value} : items(value, "a list of strings")) {
    std::string text = string(item), problem;
    // What a file holds may be a list itself.
    const auto list = only(item, "file") != 0 ? json_strings(text, problem) : std::nullopt;
    if (!problem.empty()) source_.fail(data_[item].position, problem, "strings alone");
    if (list)
      all.insert(all.end(), list->begin(), list->end());
    else if (file)
      fail(value, "a list of strings", "the file holds no JSON array");
    else
      all.push_back(std::move(text));
    charge(sizeof(std::string), item);
  }
  return all;
}

std::string DataReader::path(uint32_t value) {
  std::string name = string(value, "a file's path");
  check_path(source_, name, data_[value].position);
  return name;
}

std::string DataReader::file_text(uint32_t value) {
  std::string text = read_file(source_, options_, path(value), data_[value].position);
  charge(text.size(), value);
  return text;
}

Number DataReader::number(uint32_t value, const std::string& expected) {
  const std::string_view text = data_.text(value);
  if (data_[value].kind == DataKind::kNumber) {
    if (const auto number = parse_number(text)) return *number;
    source_.fail(data_[value].position, "number " + text::quote(text) + " out of range", expected);
  }
  if (data_[value].kind != DataKind::kString) fail(value, expected);
  const std::string name(data_[value].holes ? hole_name(text) : "");
  if (name.empty())
    fail(value, expected, parse_number(text) ? "numbers are written without quotes" : "");
  const std::string filled = string(value);  // refuses unbound names
  const BindingValue& bound = options_.bindings.at(name);
  if (const auto* number = std::get_if<double>(&bound)) return make_number(*number);
  source_.fail(data_[value].position, text::quote(name) + " bound to string " + text::quote(filled),
               expected);
}

uint64_t DataReader::whole(uint32_t value, uint64_t least, uint64_t most,
                           const std::string& expected) {
  const Number found = number(value, expected);
  if (!found.whole || *found.whole < least || *found.whole > most) fail(value, expected);
  return *found.whole;
}

uint32_t DataReader::only(uint32_t map, std::string_view key) const {
  if (data_[map].kind != DataKind::kMap) return 0;
  const Indices parts = data_.parts(map);
  return parts.size() == 2 && data_.text(parts[0]) == key ? parts[1] : 0;
}

void DataReader::charge(size_t bytes, uint32_t value) {
  charged_ += bytes;
  if (charged_ > kMostBytes)
    source_.refuse(data_[value].position, "the query grows beyond 512 MiB while it is read");
}

}  // namespace spnl::reader
