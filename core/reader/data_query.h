#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "reader/data.h"
#include "reader/value.h"
#include "spnl/reader.h"

namespace spnl::reader {

/// A key that a map may or must have.
struct FieldName {
  std::string_view name;
  bool required = false;
};

/// Turns the values of a JSON or YAML text into a query (language specification, section 2). One
/// use.
class DataReader {
 public:
  DataReader(const Source& source, const Data& data, const ReadOptions& options)
      : source_(source), data_(data), options_(options) {}
  Query run();

 private:
  using Indices = std::vector<uint32_t>;
  using Build = Query::Node (DataReader::*)(uint32_t value, Indices& children);
  struct NodeName {
    std::string_view name;
    Build build;
  };
  static std::span<const NodeName> node_names();

  // A node without its children; `children` gets the values that they are read from, in order.
  Query::Node node(uint32_t value, Indices& children);
  Query::Node named_node(uint32_t map, Indices& children);
  template <class T>
  Query::Node text_node(uint32_t value, Indices&);
  template <class T>
  Query::Node list_node(uint32_t value, Indices& children);
  Query::Node ask(uint32_t value, Indices&);
  Query::Node file(uint32_t value, Indices&);
  Query::Node fetch(uint32_t value, Indices&);
  Query::Node fetchn(uint32_t value, Indices&);
  Query::Node fetchb(uint32_t value, Indices&);
  Query::Node generate(uint32_t value, Indices& children);
  Query::Node repeat(uint32_t value, Indices& children);
  Query::Node map(uint32_t value, Indices&);
  Query::Node zip(uint32_t value, Indices& children);
  Query::Node monad(uint32_t value, Indices& children);
  Query::Node augment(uint32_t value, Indices& children);

  // Parts of nodes.
  /// `given`: the fields of a generate or of metadata.
  void sampling(const Indices& given, std::string& model, Sampling& to);
  Document document(uint32_t value);
  std::vector<uint8_t> bytes(uint32_t value);
  Fetch fetched(uint32_t value, bool named, bool binary);

  // Values. Failures throw Error(kBadQuery) at the value's place.
  [[noreturn]] void fail(uint32_t found, const std::string& expected, const std::string& hint = "");
  Indices items(uint32_t value, const std::string& expected = "a list");
  /// The values of the keys in the order of `names`, 0 for those that are missing or null.
  Indices fields(uint32_t map, std::span<const FieldName> names, const std::string& what);
  std::string string(uint32_t value, const std::string& expected = "a string");
  std::string filled_string(uint32_t value, const std::string& expected);
  std::vector<std::string> strings(uint32_t value);
  std::string path(uint32_t value);
  std::string file_text(uint32_t value);
  Number number(uint32_t value, const std::string& expected);
  uint64_t whole(uint32_t value, uint64_t least, uint64_t most, const std::string& expected);
  /// The value under `key` when `map` is a map of that key alone; else 0.
  uint32_t only(uint32_t map, std::string_view key) const;
  void charge(size_t bytes, uint32_t value);

  const Source& source_;
  const Data& data_;
  const ReadOptions& options_;
  size_t charged_ = 0;
};

}  // namespace spnl::reader
