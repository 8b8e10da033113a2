#include "jinja/globals.h"

#include <ctime>

#include "jinja/budget.h"
#include "jinja/iterate.h"
#include "jinja/methods.h"
#include "jinja/repr.h"
#include "jinja/runtime.h"

namespace spnl::modelkit::jinja {

namespace {

Value range(Runtime&, Args& args) {
  if (!args.kw.empty()) fail("range() takes no keyword arguments");
  Bound b("range", args, {"start", "stop", "step"}, 1);
  auto r = std::make_shared<Range>();
  r->start = b.has(1) ? b.integer(0, 0) : 0;
  r->stop = b.has(1) ? b.integer(1, 0) : b.integer(0, 0);
  r->step = b.integer(2, 1);
  if (r->step == 0) fail("range() arg 3 must not be zero");
  if (r->size() > kMaxRange || r->size() < 0) {
    fail("Range too big. The sandbox blocks ranges larger than MAX_RANGE (100000).");
  }
  return Value(Kind::kRange, std::move(r));
}

void fill(Runtime& rt, Dict& dict, const char* function, const Args& args) {
  if (args.pos.size() > 1) fail(std::string(function) + " expected at most 1 argument");
  if (!args.pos.empty() && args.pos[0].is(Kind::kDict)) {
    for (const auto& [k, v] : args.pos[0].dict().items) dict.set(k, v);
  } else if (!args.pos.empty()) {
    Iteration it(args.pos[0]);
    for (Value item; it.next(rt, item);) {
      std::vector<Value> pair = collect(rt, item);
      if (pair.size() != 2)
        fail("dictionary update sequence element has the wrong length; 2 is required");
      dict.set(pair[0], pair[1]);
    }
  }
  for (const auto& [k, v] : args.kw) dict.set(Value(k), v);
  spend_items(static_cast<int64_t>(dict.items.size()));
}

Value dict(Runtime& rt, Args& args) {
  auto d = std::make_shared<Dict>();
  fill(rt, *d, "dict", args);
  return make_dict(std::move(d));
}

Value make_namespace(Runtime& rt, Args& args) {
  auto ns = std::make_shared<Namespace>();
  fill(rt, ns->attrs, "namespace", args);
  rt.keep(ns);
  return Value(Kind::kNamespace, std::move(ns));
}

Value cycler(Runtime&, Args& args) {
  if (args.pos.empty() || !args.kw.empty()) fail("at least one item has to be provided");
  auto c = std::make_shared<Cycler>();
  Value items = Value::tuple(args.pos);
  c->depth = items.object()->depth;
  c->items = items.items();
  return Value(Kind::kCycler, std::move(c));
}

Value joiner(Runtime&, Args& args) {
  Bound b("joiner", args, {"sep"});
  auto j = std::make_shared<Joiner>();
  j->separator = b.get(0, Value(", "));
  j->depth = Value::tuple({j->separator}).object()->depth;
  return Value(Kind::kJoiner, std::move(j));
}

Value raise(Runtime&, Args& args) {
  Bound b("raise_exception", args, {"message"}, 1);
  fail(to_text(b[0]).substr(0, 2000));
}

Value now(Runtime& rt, Args& args) {
  Bound b("strftime_now", args, {"fmt"}, 1);
  const std::string& format = b.text(0);
  if (format.empty()) return Value("");
  std::time_t t = rt.now() ? static_cast<std::time_t>(*rt.now()) : std::time(nullptr);
  std::tm local{};
  if (!(rt.now() ? gmtime_r(&t, &local) : localtime_r(&t, &local)))
    fail("the clock is out of range");
  if (format.size() > 4096) fail("date format is too long");
  std::string out(format.size() * 64 + 64, '\0');
  out.resize(std::strftime(out.data(), out.size(), format.c_str(), &local));
  return Value(std::move(out));
}

}  // namespace

std::vector<std::pair<std::string, Value>> global_functions() {
  std::vector<std::pair<std::string, Value>> out;
  auto add = [&](const char* name, Value (*fn)(Runtime&, Args&)) {
    out.emplace_back(name, make_function(name, fn));
  };
  add("range", range);
  add("dict", dict);
  add("namespace", make_namespace);
  add("cycler", cycler);
  add("joiner", joiner);
  add("raise_exception", raise);
  add("strftime_now", now);
  return out;
}

}  // namespace spnl::modelkit::jinja
