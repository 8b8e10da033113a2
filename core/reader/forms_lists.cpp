#include "reader/forms.h"
#include "util/text.h"

namespace spnl::reader {
namespace {

/// Lists never nest: a list in a list gives its items.
void append(const Interpreter& in, Value& value, List& to) {
  if (auto* list = std::get_if<List>(&value.data)) {
    for (Value& item : list->items) to.items.push_back(std::move(item));
    return;
  }
  if (!std::holds_alternative<std::string>(value.data) &&
      !std::holds_alternative<Query>(value.data) && !std::holds_alternative<Document>(value.data))
    in.fail(value, "a string, a query or a document");
  to.items.push_back(std::move(value));
}

Value joined(Interpreter& in, Call& call) {
  List list;
  for (Value& value : call.values) append(in, value, list);
  return {std::move(list), in.position(call)};
}

/// The lines of a text; a break at its end begins no further line.
List lines(const std::string& text, SourcePosition position) {
  List list;
  for (size_t start = 0; start < text.size();) {
    const size_t end = std::min(text.find('\n', start), text.size());
    std::string line = text.substr(start, end - start);
    if (line.ends_with('\r')) line.pop_back();
    list.items.push_back({std::move(line), position});
    start = end + 1;
  }
  return list;
}

}  // namespace

Value build_list(Interpreter& in, Call& call) { return joined(in, call); }
Value build_concat(Interpreter& in, Call& call) { return joined(in, call); }

Value build_length(Interpreter& in, Call& call) {
  in.expect_count(call, 1, 1, "(length LIST)");
  const size_t n = in.list(call.values[0]).items.size();
  return {Number{static_cast<double>(n), n}, in.position(call)};
}

Value build_take(Interpreter& in, Call& call) {
  in.expect_count(call, 2, 2, "(take COUNT LIST)");
  const uint64_t n = in.whole(call.values[0], 0, UINT32_MAX, "a whole number from 0");
  Value& from = call.values[1];
  const auto* text = std::get_if<std::string>(&from.data);
  if (text == nullptr || in.holds_json_array(from)) {
    in.list(from);
  } else {
    List all = lines(*text, from.position);
    in.charge(all.items.size() * sizeof(Value) + text->size(), from.position);
    from.data = std::move(all);
  }
  auto& items = std::get<List>(from.data).items;
  if (n < items.size()) items.erase(items.begin() + static_cast<ptrdiff_t>(n), items.end());
  return {std::move(from.data), in.position(call)};
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

void plan_foreach(Interpreter& in, Call& call) {
  constexpr const char* kUsage = "(foreach NAME START COUNT QUERY)";
  const auto arguments = in.arguments(call);
  if (call.phase == 0) {
    in.expect_arguments(call, 4, 4, kUsage);
    in.symbol(arguments[0]);
    call.steps = {{arguments[1], call.scope}, {arguments[2], call.scope}};
    call.phase = 1;
  } else if (call.phase == 1) {
    const uint64_t start = in.whole(call.values[0], 0, UINT32_MAX, "a whole number from 0");
    const uint64_t count =
        in.whole(call.values[1], 0, 1'000'000, "a whole number from 0 to 1,000,000");
    call.steps.reserve(call.steps.size() + count);
    for (uint64_t i = start; i < start + count; ++i) {
      const uint32_t scope = in.new_scope(call.scope, in.position(call));
      in.bind(scope, in.symbol(arguments[0]),
              {Number{static_cast<double>(i), i}, in.position(call)});
      call.steps.push_back({arguments[3], scope});
    }
    call.phase = 2;
  }
}

Value build_foreach(Interpreter& in, Call& call) {
  List list;
  for (size_t i = 2; i < call.values.size(); ++i) append(in, call.values[i], list);
  return {std::move(list), in.position(call)};
}

void plan_lambda(Interpreter& in, Call& call) {
  in.expect_arguments(call, 2, SIZE_MAX, "(lambda (NAME...) FORM...)");
  const uint32_t names = in.arguments(call)[0];
  if (in.forms()[names].kind != FormKind::kList)
    in.source().fail(in.forms()[names].position, in.forms().describe(names), "(NAME...)");
  for (const uint32_t name : in.forms().parts(names)) in.symbol(name);
}

Value build_lambda(Interpreter& in, Call& call) {
  return {Function{call.form, call.scope}, in.position(call)};
}

void plan_chunk(Interpreter& in, Call& call) {
  if (call.phase == 0) {
    in.expect_arguments(call, 3, 3, "(chunk COUNT LIST FUNCTION)");
    for (const uint32_t argument : in.arguments(call)) call.steps.push_back({argument, call.scope});
    call.phase = 1;
  } else if (call.phase == 1) {
    const uint64_t size = in.whole(call.values[0], 1, UINT32_MAX, "a whole number from 1");
    List& list = in.list(call.values[1]);
    const auto* function = std::get_if<Function>(&call.values[2].data);
    if (function == nullptr) in.fail(call.values[2], "(lambda (NAME) FORM...)");
    const auto parts = in.forms().parts(function->form);
    const auto names = in.forms().parts(parts[1]);
    if (names.size() != 1)
      in.source().fail(in.forms()[parts[1]].position, std::to_string(names.size()) + " names",
                       "one name, for a list of at most " + std::to_string(size));
    for (size_t i = 0; i < list.items.size(); i += size) {
      const auto first = list.items.begin() + static_cast<ptrdiff_t>(i);
      const auto last =
          first + static_cast<ptrdiff_t>(std::min<size_t>(size, list.items.size() - i));
      const uint32_t scope = in.new_scope(function->scope, in.position(call));
      List group;
      group.items.assign(std::make_move_iterator(first), std::make_move_iterator(last));
      in.bind(scope, in.symbol(names[0]), {std::move(group), call.values[1].position});
      for (size_t body = 2; body < parts.size(); ++body) call.steps.push_back({parts[body], scope});
      call.results_apart = parts.size() - 2;
    }
    call.phase = 2;
  }
}

Value build_chunk(Interpreter& in, Call& call) {
  List list;
  // The last form of a function is its value.
  for (size_t i = 3 + call.results_apart; i <= call.values.size(); i += call.results_apart)
    append(in, call.values[i - 1], list);
  return {std::move(list), in.position(call)};
}

}  // namespace spnl::reader
