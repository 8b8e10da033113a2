// Evaluation of expressions.
#include "jinja/budget.h"
#include "jinja/filters.h"
#include "jinja/methods.h"
#include "jinja/ops.h"
#include "jinja/repr.h"
#include "jinja/runtime.h"
#include "jinja/tests.h"

namespace spnl::modelkit::jinja {

Runtime::Depth::Depth(Runtime& rt) : runtime(rt) {
  if (++rt.depth_ > kMaxCallDepth) {
    --rt.depth_;
    fail_limit("recursion is too deep");
  }
}

const Value* Runtime::find(NameId id, const ScopePtr& scope) const {
  for (Scope* s = scope.get(); s; s = s->parent.get()) {
    if (Value* v = s->find_here(id)) return v;
  }
  return known_[id] ? &globals_[id] : nullptr;
}

Value Runtime::eval(const Expr& e, const ScopePtr& scope) {
  spend(1);
  Depth guard(*this);
  line_ = e.line;
  switch (e.kind) {
    case ExprKind::kConst:
      return e.value;
    case ExprKind::kName:
      return eval_name(e, scope);
    case ExprKind::kTuple:
    case ExprKind::kList:
      return eval_items(e, scope);
    case ExprKind::kDict:
      return eval_dict(e, scope);
    case ExprKind::kNeg:
      return negate(eval(*e.kids[0], scope));
    case ExprKind::kPos:
      return positive(eval(*e.kids[0], scope));
    case ExprKind::kNot:
      return Value(!truthy(eval(*e.kids[0], scope)));
    case ExprKind::kAnd:
    case ExprKind::kOr: {
      Value left = eval(*e.kids[0], scope);
      if (truthy(left) == (e.kind == ExprKind::kOr)) return left;
      return eval(*e.kids[1], scope);
    }
    case ExprKind::kBinary: {
      Value left = eval(*e.kids[0], scope);
      Value right = eval(*e.kids[1], scope);
      line_ = e.line;
      return binary(e.op, left, right);
    }
    case ExprKind::kCompare:
      return eval_compare(e, scope);
    case ExprKind::kConcat:
      return eval_concat(e, scope);
    case ExprKind::kCond:
      if (truthy(eval(*e.kids[0], scope))) return eval(*e.kids[1], scope);
      if (e.kids[2]) return eval(*e.kids[2], scope);
      return Value::undefined(
          "the inline if-expression evaluated to false and no else section was defined.");
    case ExprKind::kGetattr: {
      Value object = eval(*e.kids[0], scope);
      line_ = e.line;
      return getattr(object, e.text);
    }
    case ExprKind::kGetitem: {
      Value object = eval(*e.kids[0], scope);
      Value key = eval(*e.kids[1], scope);
      line_ = e.line;
      return getitem(object, key);
    }
    case ExprKind::kSlice:
      return eval_slice(e, scope);
    case ExprKind::kCall:
      return eval_call(e, scope, nullptr);
    case ExprKind::kFilter:
      return eval_filter(e, scope);
    case ExprKind::kTest: {
      Value input = eval(*e.kids[0], scope);
      Args args = eval_args(*e.call, scope);
      line_ = e.line;
      return Value(call_test(e.text, input, args));
    }
    case ExprKind::kNsRef:
      break;
  }
  fail("not an expression");
}

Value Runtime::eval_name(const Expr& e, const ScopePtr& scope) {
  if (const Value* v = find(e.name, scope)) return *v;
  return Value::undefined("'" + e.text + "' is undefined");
}

Value Runtime::eval_items(const Expr& e, const ScopePtr& scope) {
  std::vector<Value> items;
  items.reserve(e.kids.size());
  for (const ExprPtr& kid : e.kids) items.push_back(eval(*kid, scope));
  return e.kind == ExprKind::kList ? Value::list(std::move(items)) : Value::tuple(std::move(items));
}

Value Runtime::eval_dict(const Expr& e, const ScopePtr& scope) {
  auto dict = std::make_shared<Dict>();
  for (size_t i = 0; i + 1 < e.kids.size(); i += 2) {
    Value key = eval(*e.kids[i], scope);
    dict->set(key, eval(*e.kids[i + 1], scope));
  }
  return make_dict(std::move(dict));
}

Value Runtime::eval_compare(const Expr& e, const ScopePtr& scope) {
  Value left = eval(*e.kids[0], scope);
  for (size_t i = 0; i < e.text.size(); ++i) {
    Value right = eval(*e.kids[i + 1], scope);
    line_ = e.line;
    if (!compare(*this, e.text[i], left, right)) return Value(false);
    left = std::move(right);
  }
  return Value(true);
}

Value Runtime::eval_concat(const Expr& e, const ScopePtr& scope) {
  std::string out;
  for (const ExprPtr& kid : e.kids) {
    Value v = eval(*kid, scope);
    if (v.is_string()) {
      check_text(out.size() + v.text().size());
      out += v.text();
    } else {
      out += to_text(v);
      check_text(out.size());
    }
  }
  spend_text(out.size());
  return Value(std::move(out));
}

Value Runtime::eval_slice(const Expr& e, const ScopePtr& scope) {
  Value object = eval(*e.kids[0], scope);
  Value part[3];
  for (size_t i = 0; i < 3; ++i) {
    if (e.kids[i + 1]) part[i] = eval(*e.kids[i + 1], scope);
  }
  line_ = e.line;
  return slice(object, part[0], part[1], part[2]);
}

Args Runtime::eval_args(const CallArgs& call, const ScopePtr& scope) {
  Args args;
  args.pos.reserve(call.pos.size());
  for (const ExprPtr& e : call.pos) args.pos.push_back(eval(*e, scope));
  for (const auto& [name, e] : call.kw) args.kw.emplace_back(name, eval(*e, scope));
  if (call.star) {
    for (Value& v : collect(*this, eval(*call.star, scope))) args.pos.push_back(std::move(v));
  }
  if (call.star_star) {
    Value extra = eval(*call.star_star, scope);
    if (!extra.is(Kind::kDict))
      fail("argument after ** must be a mapping, not " + type_name(extra));
    for (const auto& [k, v] : extra.dict().items) {
      if (!k.is_string()) fail("keywords must be strings");
      for (const auto& [name, given] : args.kw) {
        if (name == k.text()) fail("got multiple values for keyword argument '" + name + "'");
      }
      spend(1 + args.kw.size());
      args.kw.emplace_back(k.text(), v);
    }
  }
  return args;
}

Value Runtime::eval_call(const Expr& e, const ScopePtr& scope, const Value* caller) {
  const Expr& callee = *e.kids[0];
  Value target;
  MethodFn method = nullptr;
  if (callee.kind == ExprKind::kGetattr) {  // the common case needs no bound method object
    Value object = eval(*callee.kids[0], scope);
    method = find_method(object, callee.text);
    target = method ? object : getattr(object, callee.text);
  } else {
    target = eval(callee, scope);
  }
  Args args = eval_args(*e.call, scope);
  if (caller) args.kw.emplace_back("caller", *caller);
  line_ = e.line;
  if (!method) return call(target, args);
  Value out = method(*this, target, args);
  if (out.is_string()) spend_text(out.text().size());
  return out;
}

Value Runtime::eval_filter(const Expr& e, const ScopePtr& scope) {
  Value input = e.kids[0] ? eval(*e.kids[0], scope) : *block_text_;
  Args args = eval_args(*e.call, scope);
  line_ = e.line;
  return call_filter(e.text, input, args);
}

Value Runtime::call_filter(const std::string& name, const Value& input, Args& args) {
  FilterFn filter = find_filter(name);
  if (!filter) fail("No filter named '" + name + "' found.");
  Value out = filter(*this, input, args);
  if (out.is_string()) spend_text(out.text().size());
  return out;
}

bool Runtime::call_test(const std::string& name, const Value& input, Args& args) {
  TestFn test = find_test(name);
  if (!test) fail("No test named '" + name + "' found.");
  return test(*this, input, args);
}

Value Runtime::call(const Value& callee, Args& args) {
  spend(1);
  Depth guard(*this);
  switch (callee.kind()) {
    case Kind::kFunction: {
      Value out = callee.as<Function>().call(*this, args);
      if (out.is_string()) spend_text(out.text().size());
      return out;
    }
    case Kind::kMacro:
      return call_macro(callee, args);
    case Kind::kLoop:
      return call_loop(callee, args);
    case Kind::kJoiner: {
      Joiner& joiner = callee.as<Joiner>();
      if (!args.pos.empty() || !args.kw.empty()) fail("joiner takes no arguments");
      return std::exchange(joiner.used, true) ? joiner.separator : Value("");
    }
    case Kind::kUndefined:
      fail(callee.as<Undef>().message);
    default:
      fail("'" + type_name(callee) + "' object is not callable");
  }
}

Value Runtime::call_loop(const Value& value, Args& args) {
  Loop& loop = value.as<Loop>();
  if (!loop.stmt) {
    fail("The loop must have the 'recursive' marker to be called recursively.");
  }
  if (args.pos.size() != 1 || !args.kw.empty()) fail("loop() takes exactly one argument");
  std::string out;
  run_loop(*loop.stmt, loop.scope, args.pos[0], loop.depth0 + 1, out);
  return Value(std::move(out));
}

Value Runtime::call_macro(const Value& value, Args& args) {
  const Macro& macro = value.as<Macro>();
  const Stmt& s = *macro.stmt;
  ScopePtr scope = child(macro.closure);
  auto take = [&](const std::string& name, Value& out) {
    for (size_t i = 0; i < args.kw.size(); ++i) {
      if (args.kw[i].first != name) continue;
      out = std::move(args.kw[i].second);
      args.kw.erase(args.kw.begin() + static_cast<std::ptrdiff_t>(i));
      return true;
    }
    return false;
  };
  const size_t count = s.params.size();
  std::vector<bool> given(count);
  bool explicit_caller = false;
  for (size_t i = 0; i < count; ++i) {
    const std::string& name = tmpl_.names.text(s.params[i]);
    if (s.params[i] == tmpl_.caller) explicit_caller = true;
    Value v;
    given[i] = i < args.pos.size();
    if (given[i]) {
      v = args.pos[i];
    } else {
      given[i] = take(name, v);
    }
    if (given[i]) scope->set(s.params[i], std::move(v));
  }
  if (s.uses_caller && !explicit_caller) {
    Value caller;
    if (!take("caller", caller) || caller.is_none()) caller = Value::undefined("No caller defined");
    scope->set(tmpl_.caller, std::move(caller));
  }
  if (s.uses_kwargs) {
    auto rest = std::make_shared<Dict>();
    for (auto& [k, v] : args.kw) rest->set(Value(k), v);
    scope->set(tmpl_.kwargs, make_dict(std::move(rest)));
  } else if (!args.kw.empty()) {
    fail("macro '" + s.text + "' takes no keyword argument '" + args.kw[0].first + "'");
  }
  if (s.uses_varargs) {
    std::vector<Value> rest;
    for (size_t i = count; i < args.pos.size(); ++i) rest.push_back(args.pos[i]);
    scope->set(tmpl_.varargs, Value::tuple(std::move(rest)));
  } else if (args.pos.size() > count) {
    fail("macro '" + s.text + "' takes not more than " + std::to_string(count) + " argument(s)");
  }
  // A parameter without a value hides outer variables of its name while defaults are evaluated.
  for (size_t i = 0; i < count; ++i) {
    if (given[i]) continue;
    const std::string& name = tmpl_.names.text(s.params[i]);
    scope->set(s.params[i], Value::undefined("parameter '" + name + "' was not provided"));
  }
  for (size_t i = 0; i < count; ++i) {
    size_t first_default = count - s.exprs.size();
    if (given[i] || i < first_default) continue;
    scope->set(s.params[i], eval(*s.exprs[i - first_default], scope));
  }
  std::string out;
  exec(s.body, scope, out);
  return Value(std::move(out));
}

}  // namespace spnl::modelkit::jinja
