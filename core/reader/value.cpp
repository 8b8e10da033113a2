#include "reader/value.h"

#include <charconv>
#include <cmath>

#include "ir/traverse.h"
#include "util/text.h"

namespace spnl::reader {
namespace {

size_t bytes_of(const std::vector<std::string>& strings) {
  size_t bytes = 0;
  for (const std::string& string : strings) bytes += sizeof(std::string) + string.size();
  return bytes;
}

size_t bytes_of(const Document& document) {
  size_t bytes = document.name.size();
  if (const auto* text = std::get_if<std::string>(&document.content)) bytes += text->size();
  if (const auto* raw = std::get_if<std::vector<uint8_t>>(&document.content)) bytes += raw->size();
  return bytes;
}

/// Of a node alone.
size_t text_bytes(const Query& query) {
  return std::visit(
      [](const auto& node) -> size_t {
        using T = std::remove_cvref_t<decltype(node)>;
        if constexpr (ir::is_message<T> || ir::is_any_of<T, Print>) {
          return node.text.size();
        } else if constexpr (ir::is_any_of<T, Map>) {
          return bytes_of(node.inputs) + bytes_of(node.sampling.stop);
        } else if constexpr (ir::is_any_of<T, Generate>) {
          return bytes_of(node.sampling.stop);
        } else if constexpr (ir::is_any_of<T, Repeat>) {
          return bytes_of(node.generate.sampling.stop);
        } else if constexpr (ir::is_any_of<T, Augment>) {
          return bytes_of(node.document);
        } else if constexpr (ir::is_any_of<T, Ask>) {
          return node.prompt.size();
        } else if constexpr (ir::is_any_of<T, Fetch>) {
          return node.location.size();
        } else {
          return 0;
        }
      },
      query.node);
}

size_t tree_bytes(const Query& query) {
  size_t bytes = 0;
  std::vector<const Query*> open{&query};
  while (!open.empty()) {
    const Query& next = *open.back();
    open.pop_back();
    bytes += sizeof(Query) + text_bytes(next);
    ir::for_each_child(next, [&](const Query& child) { open.push_back(&child); });
  }
  return bytes;
}

}  // namespace

std::optional<Number> parse_number(std::string_view digits) {
  const char *begin = digits.data(), *end = begin + digits.size();
  double value = 0;
  const auto parsed = std::from_chars(begin, end, value);
  if (parsed.ec != std::errc() || parsed.ptr != end || !std::isfinite(value)) return std::nullopt;
  uint64_t whole = 0;
  const auto exact = std::from_chars(begin, end, whole);
  if (exact.ec == std::errc() && exact.ptr == end) return Number{value, whole};
  return make_number(value);
}

Number make_number(double value) {
  constexpr double kExact = 9007199254740992.0;  // 2^53
  Number number{value, std::nullopt};
  if (value >= 0 && value <= kExact && value == std::floor(value))
    number.whole = static_cast<uint64_t>(value);
  return number;
}

std::string print_number(const Number& number) {
  if (number.whole) return std::to_string(*number.whole);
  char buffer[32];
  return std::string(buffer, std::to_chars(buffer, buffer + sizeof buffer, number.value).ptr);
}

std::string describe(const Value& value) {
  switch (value.data.index()) {
    case 0:
      return "string " + text::quote(std::get<std::string>(value.data));
    case 1:
      return "number " + print_number(std::get<Number>(value.data));
    case 2:
      return "a query";
    case 3:
      return "a list";
    case 4:
      return "a document";
    case 5:
      return "a function";
    default:
      return "option " + text::quote(std::get<Option>(value.data).name);
  }
}

size_t weight(const Value& value) {
  if (const auto* string = std::get_if<std::string>(&value.data))
    return sizeof(Value) + string->size();
  if (const auto* query = std::get_if<Query>(&value.data))
    return sizeof(Value) + tree_bytes(*query);
  if (const auto* document = std::get_if<Document>(&value.data))
    return sizeof(Value) + bytes_of(*document);
  size_t bytes = sizeof(Value);
  if (const auto* list = std::get_if<List>(&value.data))
    for (const Value& item : list->items) bytes += weight(item);
  return bytes;
}

}  // namespace spnl::reader
