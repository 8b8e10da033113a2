#include "reader/data.h"

#include "util/text.h"

namespace spnl::reader {
namespace {

constexpr size_t kDeepestData = 4 * kDeepestNesting;  // a generate in a list takes four levels
constexpr size_t kMostRepeated = 1'000'000;           // values that aliases stand for

}  // namespace

std::vector<uint32_t> Data::parts(uint32_t index) const {
  std::vector<uint32_t> parts;
  for (uint32_t i = index + 1; i < nodes_[index].end; i = nodes_[i].end) parts.push_back(i);
  return parts;
}

std::string Data::describe(uint32_t index) const {
  switch (nodes_[index].kind) {
    case DataKind::kNull:
      return "null";
    case DataKind::kBoolean:
      return std::string(text(index));
    case DataKind::kNumber:
      return "number " + std::string(text(index).substr(0, 40));
    case DataKind::kString:
      return "string " + text::quote(text(index));
    case DataKind::kList:
      return "a list";
    case DataKind::kMap:
      return "a map";
  }
  return "";
}

DataNode& Data::add(DataKind kind, size_t byte) {
  if (nodes_.size() >= kMostForms)
    source_.refuse(position(byte),
                   "the query has more than " + std::to_string(kMostForms) + " values");
  DataNode node;
  node.kind = kind;
  node.position = position(byte);
  node.byte = static_cast<uint32_t>(byte);
  return nodes_.emplace_back(node);
}

void Data::begin(DataKind kind, size_t byte) {
  if (open_.size() >= kDeepestData)
    source_.refuse(position(byte), "the query is nested deeper than 10,000");
  open_.push_back(size());
  add(kind, byte);
}

void Data::end() {
  nodes_[open_.back()].end = size();
  open_.pop_back();
}

void Data::scalar(DataKind kind, std::string_view text, size_t byte, bool holes) {
  DataNode& node = add(kind, byte);
  node.end = size();
  node.holes = holes;
  node.offset = static_cast<uint32_t>(texts_.size());
  node.length = static_cast<uint32_t>(text.size());
  texts_ += text;
}

void Data::repeat(uint32_t index, size_t byte) {
  const uint32_t count = nodes_[index].end - index, shift = size() - index;
  repeated_ += count;
  if (repeated_ > kMostRepeated || nodes_.size() + count > kMostForms)
    source_.refuse(position(byte), "aliases stand for more than 1,000,000 values");
  nodes_.reserve(nodes_.size() + count);
  for (uint32_t i = 0; i < count; ++i) {
    DataNode copy = nodes_[index + i];
    copy.end += shift;
    nodes_.push_back(copy);
  }
}

}  // namespace spnl::reader
