#include <limits>
#include <map>

#include "reader/forms.h"

namespace spnl::reader {
namespace {

constexpr double kAnyNumber = std::numeric_limits<float>::max();  // backends take 32-bit floats
constexpr uint64_t kMostTokens = std::numeric_limits<uint32_t>::max();

std::string model_name(const Interpreter& in, Value& value) {
  std::string name = in.string(value, "a model's name");
  if (name.empty()) in.source().fail(value.position, "an empty string", "a model's name");
  return name;
}

double temperature(const Interpreter& in, const Value& value) {
  return in.number(value, 0, kAnyNumber, "a temperature of at least 0");
}

uint64_t max_tokens(const Interpreter& in, const Value& value) {
  return in.whole(value, 0, kMostTokens, "a whole number of tokens, 0 for no limit");
}

std::string spans(const Interpreter& in, Value& value) {
  const std::string expected = "\"exact\", \"block\" or \"blend:K\"";
  std::string mode = in.string(value, expected);
  bool good = mode == "exact" || mode == "block";
  if (mode.starts_with("blend:") && mode.size() > 6 && mode.size() <= 15)
    good = mode.find_first_not_of("0123456789", 6) == std::string::npos;
  if (!good) in.source().fail(value.position, "string '" + mode + "'", expected);
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
  const auto value = [&](const char* name) -> Value* {
    const auto found = given.find(name);
    return found == given.end() ? nullptr : &std::get<Option>(found->second->data).values[0];
  };
  if (const Value* v = value("max-tokens")) to.max_tokens = max_tokens(in, *v);
  if (const Value* v = value("temperature")) to.temperature = temperature(in, *v);
  if (const Value* v = value("seed"))
    to.seed = in.whole(*v, 0, std::numeric_limits<uint64_t>::max(), "a whole number from 0");
  if (const Value* v = value("top-k"))
    to.top_k = static_cast<int64_t>(
        in.whole(*v, 0, std::numeric_limits<int32_t>::max(), "a whole number from 0"));
  if (const Value* v = value("top-p")) to.top_p = in.number(*v, 0, 1, "a number from 0 to 1");
  if (const Value* v = value("min-p")) to.min_p = in.number(*v, 0, 1, "a number from 0 to 1");
  if (const Value* v = value("repeat-penalty")) {
    to.repeat_penalty = in.number(*v, 0, kAnyNumber, "a number above 0");
    if (*to.repeat_penalty == 0) in.fail(*v, "a number above 0");
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
  if (second == nullptr) {
    to.temperature = temperature(in, first);
    return;
  }
  const auto *a = std::get_if<Number>(&first.data), *b = std::get_if<Number>(&second->data);
  if (a != nullptr && b != nullptr && a->whole && *a->whole > 2 && b->value <= 2) {
    to.max_tokens = max_tokens(in, first);
    to.temperature = temperature(in, *second);
    if (in.options().on_note)
      in.options().on_note(in.source().name + ":" + std::to_string(first.position.line) + ":" +
                           std::to_string(first.position.column) + ": read as max-tokens " +
                           print_number(*a) + " and temperature " + print_number(*b) +
                           "; temperature comes first");
    return;
  }
  to.temperature = temperature(in, first);
  to.max_tokens = max_tokens(in, *second);
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

std::vector<std::string> strings_of(const Interpreter& in, Values& values) {
  std::vector<std::string> strings;
  for (Value& value : values) {
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
  constexpr const char* kCount = "a whole number from 1 to 255";
  in.expect_count(call, 2, call.named ? 2 : 5, kRepeatUsage);
  if (call.named) {
    options_of(in, call);
    const Option& option = std::get<Option>(call.values[0].data);
    const uint32_t n = static_cast<uint32_t>(in.whole(option.values[0], 1, 255, kCount));
    return {repeated(in, call, n, in.query(call.values[1])), position};
  }
  const uint32_t n = static_cast<uint32_t>(in.whole(call.values[0], 1, 255, kCount));
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

}  // namespace spnl::reader
