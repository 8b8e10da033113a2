// What attribute and item access find, as jinja2's immutable sandbox shows it.
#include <algorithm>

#include "jinja/methods.h"
#include "jinja/ops.h"
#include "jinja/repr.h"
#include "jinja/runtime.h"

namespace spnl::modelkit::jinja {

namespace {

std::string described(const Value& v) {
  if (v.is_none()) return "None";
  switch (v.kind()) {
    case Kind::kNamespace:
    case Kind::kCycler:
    case Kind::kJoiner:
      return "jinja2.utils." + type_name(v) + " object";
    case Kind::kMacro:
    case Kind::kLoop:
      return "jinja2.runtime." + type_name(v) + " object";
    default:
      return type_name(v) + " object";
  }
}

Value missing_attribute(const Value& object, const std::string& name) {
  return Value::undefined("'" + described(object) + "' has no attribute '" + name + "'");
}

Value unsafe_attribute(const Value& object, const std::string& name) {
  return Value::undefined(
      "access to attribute '" + name + "' of '" + type_name(object) + "' object is unsafe.", true);
}

bool cycler_attribute(const Value& object, const std::string& name, Value& out) {
  Cycler& cycler = object.as<Cycler>();
  if (name == "current") {
    out = cycler.items[cycler.pos];
  } else if (name == "items") {
    out = Value::tuple(cycler.items);
  } else if (name == "pos") {
    out = Value(static_cast<int64_t>(cycler.pos));
  } else if (name == "next" || name == "reset") {
    out = make_function(name, [object, next = name == "next"](Runtime&, Args&) {
      Cycler& c = object.as<Cycler>();
      Value v = c.items[c.pos];
      c.pos = next ? (c.pos + 1) % c.items.size() : 0;
      return next ? v : Value();
    });
  } else {
    return false;
  }
  return true;
}

bool macro_attribute(const Runtime&, const Macro& macro, const std::string& name, Value& out) {
  const Stmt& s = *macro.stmt;
  if (name == "name") {
    out = s.kind == StmtKind::kMacro ? Value(s.text) : Value();
  } else if (name == "catch_kwargs") {
    out = Value(s.uses_kwargs);
  } else if (name == "catch_varargs") {
    out = Value(s.uses_varargs);
  } else if (name == "caller") {
    out = Value(s.uses_caller);
  } else {
    return false;
  }
  return true;
}

Value changed_function(const Value& loop) {
  return make_function("changed", [loop](Runtime&, Args& args) {
    Loop& l = loop.as<Loop>();
    Value now = Value::tuple(args.pos);
    if (l.has_changed && equal(l.changed_args, now)) return Value(false);
    l.has_changed = true;
    l.changed_args = now;
    return Value(true);
  });
}

Value cycle_function(const Value& loop) {
  return make_function("cycle", [loop](Runtime&, Args& args) {
    if (args.pos.empty()) fail("no items for cycling given");
    return args.pos[static_cast<size_t>(loop.as<Loop>().index0) % args.pos.size()];
  });
}

}  // namespace

Value Runtime::loop_attribute(const Value& value, const std::string& name, bool& found) {
  Loop& loop = value.as<Loop>();
  found = true;
  auto peek = [&] {
    Value v;
    if (loop.buffered.empty() && loop.pull && loop.pull(v)) loop.buffered.push_back(std::move(v));
    return !loop.buffered.empty();
  };
  if (name == "index") return Value(loop.index0 + 1);
  if (name == "index0") return Value(loop.index0);
  if (name == "first") return Value(loop.index0 == 0);
  if (name == "last") return Value(!peek());
  if (name == "length") return Value(loop_length(loop));
  if (name == "revindex") return Value(loop_length(loop) - loop.index0);
  if (name == "revindex0") return Value(loop_length(loop) - loop.index0 - 1);
  if (name == "depth") return Value(loop.depth0 + 1);
  if (name == "depth0") return Value(loop.depth0);
  if (name == "previtem") {
    return loop.index0 == 0 ? Value::undefined("there is no previous item") : loop.before;
  }
  if (name == "nextitem") {
    return peek() ? loop.buffered.front() : Value::undefined("there is no next item");
  }
  if (name == "cycle") return cycle_function(value);
  if (name == "changed") return changed_function(value);
  found = false;
  return Value();
}

bool Runtime::attribute(const Value& object, const std::string& name, Value& out) {
  if (name.size() > 4 && name.compare(0, 2, "__") == 0 &&
      name.compare(name.size() - 2, 2, "__") == 0) {
    out = unsafe_attribute(object, name);
    return true;
  }
  if (MethodFn method = find_method(object, name)) {
    out = bind_method(object, name, method);
    return true;
  }
  if (is_mutating_method(object, name)) {
    out = unsafe_attribute(object, name);
    return true;
  }
  bool found = false;
  switch (object.kind()) {
    case Kind::kNamespace: {
      const Value* v = object.as<Namespace>().attrs.find_text(name);
      if (!v) return false;
      out = name[0] == '_' ? unsafe_attribute(object, name) : *v;
      return true;
    }
    case Kind::kLoop:
      out = loop_attribute(object, name, found);
      return found;
    case Kind::kCycler:
      return cycler_attribute(object, name, out);
    case Kind::kMacro:
      return macro_attribute(*this, object.as<Macro>(), name, out);
    case Kind::kJoiner:
      if (name == "sep") return out = object.as<Joiner>().separator, true;
      if (name == "used") return out = Value(object.as<Joiner>().used), true;
      return false;
    case Kind::kRange: {
      const Range& r = object.as<Range>();
      if (name != "start" && name != "stop" && name != "step") return false;
      out = Value(name == "start" ? r.start : name == "stop" ? r.stop : r.step);
      return true;
    }
    case Kind::kTuple:
      if (!object.as<List>().group || (name != "grouper" && name != "list")) return false;
      out = object.items()[name == "list"];
      return true;
    case Kind::kBool:
    case Kind::kInt:
      if (name == "real" || name == "numerator") return out = Value(object.as_int()), true;
      if (name == "imag") return out = Value(0), true;
      if (name == "denominator") return out = Value(1), true;
      return false;
    case Kind::kFloat:
      if (name == "real") return out = object, true;
      if (name == "imag") return out = Value(0.0), true;
      return false;
    default:
      return false;
  }
}

Value Runtime::getattr(const Value& object, const std::string& name) {
  if (object.is_undefined()) fail(object.as<Undef>().message);
  Value out;
  if (object.is(Kind::kDict) && name.compare(0, 2, "__") == 0) {
    if (const Value* v = object.dict().find_text(name)) return *v;
  }
  if (attribute(object, name, out)) return out;
  if (object.is(Kind::kDict)) {
    if (const Value* v = object.dict().find_text(name)) return *v;
  }
  return missing_attribute(object, name);
}

Value Runtime::getitem(const Value& object, const Value& key) {
  if (object.is_undefined()) fail(object.as<Undef>().message);
  if (object.is(Kind::kDict)) {
    if (const Value* v = object.dict().find(key)) return *v;
  } else if (key.is_int() &&
             (object.is_string() || object.is_sequence() || object.is(Kind::kRange))) {
    bool found;
    Value v = index(object, key.as_int(), found);
    if (found) return v;
  }
  if (key.is_string()) {
    Value out;
    if (attribute(object, key.text(), out)) return out;
    return missing_attribute(object, key.text());
  }
  std::string shown = repr(key);
  return Value::undefined(described(object) + " has no element " + shown.substr(0, 100));
}

}  // namespace spnl::modelkit::jinja
