#include <algorithm>
#include <map>

#include "reader/forms.h"
#include "reader/sampling.h"
#include "util/text.h"

namespace spnl::reader {
namespace {

std::string model_name(const Interpreter& in, Value& value) {
  std::string name = in.string(value, "a model's name");
  if (name.empty()) in.source().fail(value.position, "an empty string", "a model's name");
  return name;
}

void set(const Interpreter& in, const SamplingNumber& field, const Value& value, Sampling& to) {
  const auto* number = std::get_if<Number>(&value.data);
  if (number == nullptr || !field.accepts(*number)) in.fail(value, field.expected);
  field.set(to, *number);
}

std::string spans(const Interpreter& in, Value& value) {
  std::string mode = in.string(value, kSpansExpected);
  if (!is_span_mode(mode))
    in.source().fail(value.position, "string " + text::quote(mode), kSpansExpected);
  return mode;
}

std::vector<std::string> stops(const Interpreter& in, Option& option) {
  std::vector<std::string> all;
  const auto add = [&](Value& value) {
    all.push_back(in.string(value));
    if (all.back().empty()) in.source().fail(value.position, "an empty string", "text to stop at");
  };
  for (Value& value : option.values) {
    if (auto* list = std::get_if<List>(&value.data))
      for (Value& item : list->items) add(item);
    else
      add(value);
  }
  return all;
}

/// The options given to a call, each at most once and each with a value.
std::map<std::string, Value*> options_of(const Interpreter& in, Call& call) {
  std::map<std::string, Value*> given;
  for (Value& value : call.values) {
    auto* option = std::get_if<Option>(&value.data);
    if (option == nullptr) continue;
    if (!given.emplace(option->name, &value).second)
      in.source().fail(value.position, "option '" + option->name + "' a second time",
                       "each option once");
    const bool many = option->name == "input" || option->name == "inputs" || option->name == "stop";
    if (option->values.empty())
      in.source().fail(value.position, "option '" + option->name + "' without a value", "a value");
    if (!many && option->values.size() > 1) in.fail(option->values[1], "')'");
  }
  return given;
}

void read_sampling(const Interpreter& in, std::map<std::string, Value*>& given, Sampling& to) {
  const auto value = [&](const std::string& name) -> Value* {
    const auto found = given.find(name);
    return found == given.end() ? nullptr : &std::get<Option>(found->second->data).values[0];
  };
  for (const SamplingNumber& field : kSamplingNumbers) {
    std::string name(field.name);
    std::replace(name.begin(), name.end(), '_', '-');
    if (const Value* v = value(name)) set(in, field, *v, to);
  }
  if (given.contains("stop")) to.stop = stops(in, std::get<Option>(given["stop"]->data));
  if (Value* v = value("spans")) to.spans = spans(in, *v);
}

/// "[temperature [max-tokens]]" from values[at] on. Written the other way round in upstream's
/// documentation, so an integer above 2 before a number up to 2 is taken as meant that way.
void read_positional(const Interpreter& in, Call& call, size_t at, Sampling& to) {
  to.temperature = 0.0;
  if (call.values.size() <= at) return;
  Value &first = call.values[at],
        *second = call.values.size() > at + 1 ? &call.values[at + 1] : nullptr;
  if (second == nullptr) return set(in, kTemperature, first, to);
  const auto *a = std::get_if<Number>(&first.data), *b = std::get_if<Number>(&second->data);
  if (a != nullptr && b != nullptr && a->whole && *a->whole > 2 && b->value <= 2) {
    set(in, kMaxTokens, first, to);
    set(in, kTemperature, *second, to);
    if (in.options().on_note)
      in.options().on_note(in.source().name + ":" + std::to_string(first.position.line) + ":" +
                           std::to_string(first.position.column) + ": read as max-tokens " +
                           print_number(*a) + " and temperature " + print_number(*b) +
                           "; temperature comes first");
    return;
  }
  set(in, kTemperature, first, to);
  set(in, kMaxTokens, *second, to);
}

/// "model input [temperature [max-tokens]]" from values[at] on.
Generate positional(const Interpreter& in, Call& call, size_t at) {
  Generate generate{model_name(in, call.values[at]), {}, QueryBox(in.query(call.values[at + 1]))};
  read_positional(in, call, at + 2, generate.sampling);
  return generate;
}

Query joined(const Interpreter& in, Option& option, SourcePosition position) {
  if (option.values.size() == 1) return in.query(option.values[0]);
  Seq seq;
  for (Value& value : option.values) in.append_queries(value, seq.children);
  return {std::move(seq), position};
}

/// Strings, lists of strings, and JSON arrays of strings out of files and bindings.
std::vector<std::string> strings_of(const Interpreter& in, Values& values) {
  std::vector<std::string> strings;
  for (Value& value : values) {
    if (value.from_outside && in.holds_json_array(value)) in.list(value);
    if (auto* list = std::get_if<List>(&value.data))
      for (Value& item : list->items) strings.push_back(in.string(item));
    else
      strings.push_back(in.string(value, "a string or a list of strings"));
  }
  return strings;
}

constexpr const char* kRepeatUsage =
    "(repeat N QUERY) or (repeat N MODEL INPUT [TEMPERATURE [MAX-TOKENS]])";

/// n samples of a generate, or n copies of anything else.
Query repeated(Interpreter& in, Call& call, uint32_t n, Query body) {
  const SourcePosition position = in.position(call);
  if (auto* generate = std::get_if<Generate>(&body.node))
    return {Repeat{n, std::move(*generate)}, position};
  Value sized{std::move(body), position};
  in.charge(weight(sized) * n, position);
  Plus plus;
  for (uint32_t i = 0; i < n; ++i) plus.children.push_back(std::get<Query>(sized.data));
  return {std::move(plus), position};
}

/// A generate of `model` at temperature 0 over what other models answered.
Value over_answers(Interpreter& in, Call& call, Query body, std::string task) {
  const SourcePosition position = in.position(call);
  std::string model = model_name(in, call.values[0]);
  Cross cross;
  cross.children.push_back(
      {System{"You put together what other models answered. Reply with the answers alone, without "
              "introduction, explanation or markup."},
       position});
  cross.children.push_back(std::move(body));
  cross.children.push_back({User{std::move(task)}, position});
  Generate generate{std::move(model), {}, QueryBox(Query{std::move(cross), position})};
  generate.sampling.temperature = 0.0;
  return {Query{std::move(generate), position}, position};
}

}  // namespace

Value build_generate(Interpreter& in, Call& call) {
  const SourcePosition position = in.position(call);
  if (!call.named) {
    in.expect_count(call, 2, 4, "(g MODEL INPUT [TEMPERATURE [MAX-TOKENS]])");
    return {Query{positional(in, call, 0), position}, position};
  }
  auto given = options_of(in, call);
  if (!given.contains("input"))
    in.source().fail(position, "a generate without input", "(input ...)");
  Value& input = *given["input"];
  Generate generate{"", {}, QueryBox(joined(in, std::get<Option>(input.data), input.position))};
  if (given.contains("model"))
    generate.model = model_name(in, std::get<Option>(given["model"]->data).values[0]);
  read_sampling(in, given, generate.sampling);
  return {Query{std::move(generate), position}, position};
}

Value build_repeat(Interpreter& in, Call& call) {
  const SourcePosition position = in.position(call);
  in.expect_count(call, 2, call.named ? 2 : 5, kRepeatUsage);
  if (call.named) {
    options_of(in, call);
    const Option& option = std::get<Option>(call.values[0].data);
    const uint32_t n =
        static_cast<uint32_t>(in.whole(option.values[0], 1, kMostSamples, kSamplesExpected));
    return {repeated(in, call, n, in.query(call.values[1])), position};
  }
  const uint32_t n =
      static_cast<uint32_t>(in.whole(call.values[0], 1, kMostSamples, kSamplesExpected));
  if (call.values.size() == 2) return {repeated(in, call, n, in.query(call.values[1])), position};
  return {Query{Repeat{n, positional(in, call, 1)}, position}, position};
}

Value build_map(Interpreter& in, Call& call) {
  const SourcePosition position = in.position(call);
  Map map;
  if (!call.named) {
    in.expect_count(call, 2, 4, "(map MODEL INPUTS [TEMPERATURE [MAX-TOKENS]])");
    map.model = model_name(in, call.values[0]);
    Values inputs;
    inputs.push_back(std::move(call.values[1]));
    in.list(inputs[0]);
    map.inputs = strings_of(in, inputs);
    read_positional(in, call, 2, map.sampling);
    return {Query{std::move(map), position}, position};
  }
  auto given = options_of(in, call);
  if (!given.contains("inputs")) in.source().fail(position, "a map without inputs", "(inputs ...)");
  map.inputs = strings_of(in, std::get<Option>(given["inputs"]->data).values);
  if (given.contains("model"))
    map.model = model_name(in, std::get<Option>(given["model"]->data).values[0]);
  read_sampling(in, given, map.sampling);
  return {Query{std::move(map), position}, position};
}

Value build_extract(Interpreter& in, Call& call) {
  in.expect_count(call, 3, 3, "(extract MODEL COUNT BODY)");
  const uint64_t n = in.whole(call.values[1], 1, UINT32_MAX, "a whole number from 1");
  const std::string answers =
      n == 1 ? "the final answer" : "the " + std::to_string(n) + " final answers";
  return over_answers(in, call, in.query(call.values[2]),
                      "Extract " + answers + " from the text above, each in its simplest form.");
}

Value build_combine(Interpreter& in, Call& call) {
  in.expect_count(call, 2, 2, "(combine MODEL BODY)");
  return over_answers(in, call, in.query(call.values[1]),
                      "Merge the answers above into one JSON array. Keep their order.");
}

}  // namespace spnl::reader
