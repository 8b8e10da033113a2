#include "reader/bindings.h"
#include "reader/forms.h"
#include "util/text.h"

namespace spnl::reader {
namespace {

/// A string or number as `format` shows it.
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

}  // namespace

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
                         "a bound one", unbound_hint(hole.name, in.names(call.scope)));
    }
    const std::string text = shown(in, *value, hole.quoted);
    in.charge(text.size(), place);
    out += text;
  }
  if (used < call.values.size()) in.fail(call.values[used], "')'", "the format has no '{}' for it");
  return {std::move(out), in.position(call)};
}

void plan_let(Interpreter& in, Call& call) {
  constexpr const char* kUsage = "(let ((NAME VALUE)...) QUERY)";
  const auto arguments = in.arguments(call);
  if (call.phase == 0) {
    in.expect_arguments(call, 2, 2, kUsage);
    if (in.forms()[arguments[0]].kind != FormKind::kList)
      in.source().fail(in.forms()[arguments[0]].position, in.forms().describe(arguments[0]),
                       "((NAME VALUE)...)");
    for (uint32_t binding : in.forms().parts(arguments[0])) {
      const auto parts = in.forms().parts(binding);
      if (parts.size() != 2)
        in.source().fail(in.forms()[binding].position, in.forms().describe(binding),
                         "(NAME VALUE)");
      in.symbol(parts[0]);
      call.steps.push_back({parts[1], call.scope});
    }
  }
  // Without bindings the values are complete at once, so both phases may pass in one call.
  if (call.phase <= 1 && call.next == call.steps.size()) {
    const uint32_t scope = in.new_scope(call.scope, in.position(call));
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

}  // namespace spnl::reader
