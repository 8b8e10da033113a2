#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "reader/source.h"

namespace spnl::reader {

enum class DataKind : uint8_t { kNull, kBoolean, kNumber, kString, kList, kMap };

/// One value of a JSON or YAML text. Values lie in one array, each before its parts, so that no
/// walk over them needs recursion. The parts of a map are its keys and values in turn.
struct DataNode {
  DataKind kind = DataKind::kNull;
  bool holes = false;  ///< a string in which "{{" was written without an escape
  SourcePosition position;
  uint32_t byte = 0;  ///< where in the source the value begins
  uint32_t end = 0;   ///< index of the first value after this one; 0 while it is built
  uint32_t offset = 0, length = 0;  ///< of scalars: in the texts
};

/// Said where a template stands as if it were a map.
inline constexpr const char* kQuoteHoles = "a template stands between quotes: \"{{name}}\"";

/// What a JSON or YAML text holds; the first value is the whole.
class Data {
 public:
  /// Borrows the source, for messages.
  explicit Data(const Source& source) : source_(source), positions_(source.text) {}

  const DataNode& operator[](uint32_t index) const { return nodes_[index]; }
  uint32_t size() const { return static_cast<uint32_t>(nodes_.size()); }
  std::string_view text(uint32_t index) const {
    return std::string_view(texts_).substr(nodes_[index].offset, nodes_[index].length);
  }
  std::vector<uint32_t> parts(uint32_t index) const;
  std::string describe(uint32_t index) const;  ///< for messages: "string 'abc'", "a list"

  // For the parsers, in the order of the text. `byte`: where in the source.
  void begin(DataKind kind, size_t byte);
  void end();
  void scalar(DataKind kind, std::string_view text, size_t byte, bool holes = false);
  /// Again everything at `index`, which must be complete.
  void repeat(uint32_t index, size_t byte);
  /// Indices of the lists and maps that have begun and not ended, the innermost last.
  const std::vector<uint32_t>& open() const { return open_; }
  SourcePosition position(size_t byte) { return positions_.at(byte); }

 private:
  DataNode& add(DataKind kind, size_t byte);

  const Source& source_;
  PositionFinder positions_;
  std::vector<DataNode> nodes_;
  std::vector<uint32_t> open_;
  std::string texts_;
  size_t repeated_ = 0;
};

Data parse_json(const Source& source);  ///< throws Error(kBadQuery); json_data.cpp
Data parse_yaml(const Source& source);  ///< throws Error(kBadQuery); yaml_data.cpp

}  // namespace spnl::reader
