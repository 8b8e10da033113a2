#include "reader/forms.h"
#include "util/text.h"

namespace spnl::reader {
namespace {

void append_item(const Interpreter& in, Value& value, List& to) {
  if (!std::holds_alternative<std::string>(value.data) &&
      !std::holds_alternative<Query>(value.data))
    in.fail(value, "a string or a query");
  to.items.push_back(std::move(value));
}

/// A string, number or list as `format` shows it.
std::string shown(const Interpreter& in, const Value& value, bool quoted) {
  std::string text;
  if (const auto* number = std::get_if<Number>(&value.data))
    text = print_number(*number);
  else if (const auto* string = std::get_if<std::string>(&value.data))
    return quoted ? text::quote_json(*string) : *string;
  else
    in.fail(value, "a string or a number");
  return text;
}

/// The inside of "{...}": "", ":?", "name" or "name:?".
struct Hole {
  std::string name;
  bool quoted = false;
};

Hole parse_hole(const Interpreter& in, SourcePosition position, std::string_view inside) {
  Hole hole;
  if (inside.ends_with(":?")) {
    hole.quoted = true;
    inside.remove_suffix(2);
  }
  hole.name = inside;
  if (inside.find_first_of("{:") != std::string_view::npos)
    in.source().fail(position, "'{" + std::string(inside) + "}' in a format",
                     "{}, {name}, {:?} or {name:?}");
  return hole;
}

std::string_view symbol_argument(const Interpreter& in, uint32_t form) {
  if (in.forms()[form].kind != FormKind::kSymbol)
    in.source().fail(in.forms()[form].position, in.forms().describe(form), "a symbol");
  return in.forms().text(form);
}

}  // namespace

Value build_list(Interpreter& in, Call& call) {
  List list;
  for (Value& value : call.values) append_item(in, value, list);
  return {std::move(list), in.position(call)};
}

Value build_concat(Interpreter& in, Call& call) {
  List all;
  for (Value& value : call.values) {
    if (auto* list = std::get_if<List>(&value.data))
      for (Value& item : list->items) all.items.push_back(std::move(item));
    else
      append_item(in, value, all);
  }
  return {std::move(all), in.position(call)};
}

Value build_length(Interpreter& in, Call& call) {
  in.expect_count(call, 1, 1, "(length LIST)");
  const size_t n = in.list(call.values[0]).items.size();
  return {Number{static_cast<double>(n), n}, in.position(call)};
}

Value build_format(Interpreter& in, Call& call) {
  in.expect_count(call, 1, SIZE_MAX, "(format TEXT VALUE...)");
  const SourcePosition place = call.values[0].position;
  const std::string format = in.string(call.values[0]);
  std::string out;
  size_t used = 1;
  for (size_t i = 0; i < format.size(); ++i) {
    const char c = format[i];
    if ((c == '{' || c == '}') && i + 1 < format.size() && format[i + 1] == c) {
      out += c, ++i;
      continue;
    }
    if (c == '}') in.source().fail(place, "'}' without '{' in a format", "'}}' for a brace");
    if (c != '{') {
      out += c;
      continue;
    }
    const size_t end = format.find('}', i);
    if (end == std::string::npos)
      in.source().fail(place, "'{' without '}' in a format", "'{{' for a brace");
    const Hole hole = parse_hole(in, place, std::string_view(format).substr(i + 1, end - i - 1));
    i = end;
    const Value* value = nullptr;
    if (hole.name.empty()) {
      if (used == call.values.size())
        in.source().fail(place, "more '{}' than values", std::to_string(used) + " or more values");
      value = &call.values[used++];
    } else {
      value = in.lookup(call.scope, hole.name);
      if (value == nullptr)
        in.source().fail(place, "unbound name " + text::quote(hole.name) + " in a format",
                         "a bound one");
    }
    const std::string text = shown(in, *value, hole.quoted);
    in.charge(text.size(), place);
    out += text;
  }
  if (used < call.values.size()) in.fail(call.values[used], "')'", "the format has no '{}' for it");
  return {std::move(out), in.position(call)};
}

Value build_prefix(Interpreter& in, Call& call) {
  in.expect_count(call, 2, 2, "(prefix TEXT LIST)");
  const std::string prefix = in.string(call.values[0]);
  List& list = in.list(call.values[1]);
  size_t i = 0;
  for (Value& item : list.items) {
    std::string text = prefix + std::to_string(++i) + ": " + text::quote_json(in.string(item));
    in.charge(text.size(), item.position);
    item.data = Query{User{std::move(text)}, item.position};
  }
  return {std::move(list), in.position(call)};
}

void plan_let(Interpreter& in, Call& call) {
  constexpr const char* kUsage = "(let ((NAME VALUE)...) QUERY)";
  const auto arguments = in.arguments(call);
  if (call.phase == 0) {
    if (arguments.size() != 2)
      in.source().fail(in.position(call), std::to_string(arguments.size()) + " arguments", kUsage);
    if (in.forms()[arguments[0]].kind != FormKind::kList)
      in.source().fail(in.forms()[arguments[0]].position, in.forms().describe(arguments[0]),
                       "((NAME VALUE)...)");
    for (uint32_t binding : in.forms().parts(arguments[0])) {
      const auto parts = in.forms().parts(binding);
      if (parts.size() != 2)
        in.source().fail(in.forms()[binding].position, in.forms().describe(binding),
                         "(NAME VALUE)");
      symbol_argument(in, parts[0]);
      call.steps.push_back({parts[1], call.scope});
    }
  }
  // Without bindings the values are complete at once, so both phases may pass in one call.
  if (call.phase <= 1 && call.next == call.steps.size()) {
    const uint32_t scope = in.new_scope(call.scope);
    const auto bindings = in.forms().parts(arguments[0]);
    for (size_t i = 0; i < bindings.size(); ++i)
      in.bind(scope, in.forms().text(bindings[i] + 1), std::move(call.values[i]));
    call.steps.push_back({arguments[1], scope});
    call.phase = 2;
  } else if (call.phase == 0) {
    call.phase = 1;
  }
}

Value build_let(Interpreter&, Call& call) { return std::move(call.values.back()); }

void plan_foreach(Interpreter& in, Call& call) {
  constexpr const char* kUsage = "(foreach NAME START COUNT QUERY)";
  const auto arguments = in.arguments(call);
  if (call.phase == 0) {
    if (arguments.size() != 4)
      in.source().fail(in.position(call), std::to_string(arguments.size()) + " arguments", kUsage);
    symbol_argument(in, arguments[0]);
    call.steps = {{arguments[1], call.scope}, {arguments[2], call.scope}};
    call.phase = 1;
  } else if (call.phase == 1) {
    const uint64_t start = in.whole(call.values[0], 0, UINT32_MAX, "a whole number from 0");
    const uint64_t count =
        in.whole(call.values[1], 0, 1'000'000, "a whole number from 0 to 1,000,000");
    call.steps.reserve(call.steps.size() + count);
    for (uint64_t i = start; i < start + count; ++i) {
      const uint32_t scope = in.new_scope(call.scope);
      in.charge(256, in.position(call));
      in.bind(scope, in.forms().text(arguments[0]),
              {Number{static_cast<double>(i), i}, in.position(call)});
      call.steps.push_back({arguments[3], scope});
    }
    call.phase = 2;
  }
}

Value build_foreach(Interpreter& in, Call& call) {
  List list;
  for (size_t i = 2; i < call.values.size(); ++i) append_item(in, call.values[i], list);
  return {std::move(list), in.position(call)};
}

}  // namespace spnl::reader
