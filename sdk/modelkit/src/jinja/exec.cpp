// Execution of statements.
#include "jinja/budget.h"
#include "jinja/globals.h"
#include "jinja/ops.h"
#include "jinja/repr.h"
#include "jinja/runtime.h"

namespace spnl::modelkit::jinja {

Runtime::Runtime(const Template& tmpl, const Dict& input, std::optional<int64_t> now)
    : tmpl_(tmpl),
      now_(now),
      globals_(tmpl.names.size()),
      known_(tmpl.names.size()),
      root_(std::make_shared<Scope>()) {
  auto define = [&](const std::string& name, const Value& v) {
    NameId id;
    if (!tmpl_.names.find(name, id)) return;
    globals_[id] = v;
    known_[id] = true;
  };
  for (auto& [name, value] : global_functions()) define(name, value);
  for (const auto& [key, value] : input.items) define(key.text(), value);
}

Runtime::~Runtime() {
  for (auto& ns : namespaces_) ns->attrs = Dict();
  for (auto& scope : captured_) {
    scope->vars.clear();
    scope->parent.reset();
  }
}

void Runtime::keep(std::shared_ptr<Namespace> ns) {
  spend(20);
  namespaces_.push_back(std::move(ns));
}

std::string Runtime::render() {
  std::string out;
  exec(tmpl_.body, root_, out);
  return out;
}

ScopePtr Runtime::child(const ScopePtr& scope) const {
  auto out = std::make_shared<Scope>();
  out->parent = scope;
  return out;
}

void Runtime::emit(std::string& out, std::string_view text) {
  if (out.size() + text.size() > kMaxText) fail_limit("output grows beyond the limit of 64 MiB");
  out += text;
}

Flow Runtime::exec(const Body& body, const ScopePtr& scope, std::string& out) {
  Depth guard(*this);
  for (const auto& s : body) {
    Flow flow = exec_stmt(*s, scope, out);
    if (flow != Flow::kNext) return flow;
  }
  return Flow::kNext;
}

Flow Runtime::exec_stmt(const Stmt& s, const ScopePtr& scope, std::string& out) {
  spend(1);
  line_ = s.line;
  switch (s.kind) {
    case StmtKind::kData:
      emit(out, s.text);
      break;
    case StmtKind::kPrint:
      for (const ExprPtr& e : s.exprs) {
        Value v = eval(*e, scope);
        if (v.is_string()) {
          emit(out, v.text());
        } else if (!v.is_undefined()) {
          emit(out, to_text(v));
        }
      }
      break;
    case StmtKind::kIf:
      return exec_if(s, scope, out);
    case StmtKind::kFor:
      exec_for(s, scope, out);
      break;
    case StmtKind::kSet: {
      check_namespaces(*s.target, scope);
      Value v = eval(*s.expr, scope);
      line_ = s.line;
      assign(*s.target, v, scope);
      break;
    }
    case StmtKind::kSetBlock:
      return exec_set_block(s, scope);
    case StmtKind::kMacro:
      scope->set(s.name, make_macro(s, scope));
      break;
    case StmtKind::kCallBlock:
      exec_call_block(s, scope, out);
      break;
    case StmtKind::kFilterBlock:
      return exec_filter_block(s, scope, out);
    case StmtKind::kWith:
      return exec_with(s, scope, out);
    case StmtKind::kScope:
      return exec(s.body, child(scope), out);
    case StmtKind::kBlock:
      return exec(s.body, child(root_), out);
    case StmtKind::kDo:
      eval(*s.expr, scope);
      break;
    case StmtKind::kBreak:
      return Flow::kBreak;
    case StmtKind::kContinue:
      return Flow::kContinue;
    case StmtKind::kRaise:
      fail(s.text);
  }
  return Flow::kNext;
}

Flow Runtime::exec_if(const Stmt& s, const ScopePtr& scope, std::string& out) {
  for (const Branch& branch : s.branches) {
    if (truthy(eval(*branch.test, scope))) return exec(branch.body, scope, out);
  }
  return exec(s.else_body, scope, out);
}

void Runtime::exec_for(const Stmt& s, const ScopePtr& scope, std::string& out) {
  Value items = eval(*s.expr, scope);
  line_ = s.line;
  if (!s.recursive) return run_loop(s, scope, items, 0, out);
  std::string text;
  run_loop(s, scope, items, 0, text);
  emit(out, text);
}

void Runtime::run_loop(const Stmt& s, const ScopePtr& scope, const Value& items, int64_t depth0,
                       std::string& out) {
  auto loop = std::make_shared<Loop>();
  loop->depth = (items.object() ? items.object()->depth : 0) + 1;
  if (loop->depth > kMaxValueDepth) fail_limit("values are nested too deeply");
  loop->depth0 = depth0;
  if (s.recursive) {
    loop->stmt = &s;
    loop->scope = scope;
  }
  auto source = std::make_shared<Iteration>(items);
  if (!s.test) {
    if (has_length(items)) loop->known_length = length(items);
    loop->pull = [this, source](Value& v) { return source->next(*this, v); };
  } else {
    ScopePtr test_scope = child(scope);
    loop->pull = [this, source, test_scope, &s](Value& v) {
      while (source->next(*this, v)) {
        test_scope->vars.clear();
        assign(*s.target, v, test_scope);
        if (truthy(eval(*s.test, test_scope))) return true;
      }
      return false;
    };
  }
  // The scope of the loop keeps `loop`; the loop never keeps that scope, so there is no cycle.
  struct Release {
    Loop& loop;
    ~Release() { loop.pull = nullptr, loop.scope = nullptr; }
  } release{*loop};
  Value self(Kind::kLoop, loop);
  ScopePtr inner;
  bool any = false;
  for (Value item; loop_next(self, item);) {
    any = true;
    if (!inner || inner.use_count() > 1) inner = child(scope);
    inner->vars.clear();
    inner->vars.emplace_back(tmpl_.loop, self);
    line_ = s.line;
    assign(*s.target, item, inner);
    if (exec(s.body, inner, out) == Flow::kBreak) {
      return;
    }
  }
  if (!any && !s.else_body.empty()) exec(s.else_body, child(scope), out);
}

Flow Runtime::exec_set_block(const Stmt& s, const ScopePtr& scope) {
  std::string text;
  ScopePtr inner = child(scope);
  Flow flow = exec(s.body, inner, text);
  if (flow != Flow::kNext) return flow;
  Value v(std::move(text));
  if (s.expr) {
    const Value* outer = std::exchange(block_text_, &v);
    Value filtered = eval(*s.expr, inner);
    block_text_ = outer;
    v = std::move(filtered);
  }
  check_namespaces(*s.target, scope);
  assign(*s.target, v, scope);
  return flow;
}

Flow Runtime::exec_filter_block(const Stmt& s, const ScopePtr& scope, std::string& out) {
  std::string text;
  ScopePtr inner = child(scope);
  Flow flow = exec(s.body, inner, text);
  if (flow != Flow::kNext) return flow;
  Value v(std::move(text));
  const Value* outer = std::exchange(block_text_, &v);
  Value filtered = eval(*s.expr, inner);
  block_text_ = outer;
  emit(out, to_text(filtered));
  return flow;
}

Flow Runtime::exec_with(const Stmt& s, const ScopePtr& scope, std::string& out) {
  ScopePtr inner = child(scope);
  for (size_t i = 0; i < s.targets.size(); ++i) {
    assign(*s.targets[i], eval(*s.exprs[i], scope), inner);
  }
  return exec(s.body, inner, out);
}

void Runtime::exec_call_block(const Stmt& s, const ScopePtr& scope, std::string& out) {
  Value caller = make_macro(s, scope);
  Value result = eval_call(*s.expr, scope, &caller);
  emit(out, to_text(result));
}

Value Runtime::make_macro(const Stmt& s, const ScopePtr& scope) {
  auto macro = std::make_shared<Macro>();
  macro->stmt = &s;
  macro->closure = scope;
  for (ScopePtr at = scope; at && !at->captured; at = at->parent) {
    spend(20);
    at->captured = true;
    captured_.push_back(at);
  }
  return Value(Kind::kMacro, std::move(macro));
}

/// Every `name.attr` target must be a namespace before anything is evaluated.
void Runtime::check_namespaces(const Expr& target, const ScopePtr& scope) {
  if (target.kind == ExprKind::kTuple) {
    for (const ExprPtr& item : target.kids) check_namespaces(*item, scope);
  }
  if (target.kind != ExprKind::kNsRef) return;
  const Value* ns = find(target.name, scope);
  if (!ns || !ns->is(Kind::kNamespace)) fail("cannot assign attribute on non-namespace object");
}

void Runtime::assign(const Expr& target, const Value& value, const ScopePtr& scope) {
  if (target.kind == ExprKind::kName) return scope->set(target.name, value);
  if (target.kind == ExprKind::kNsRef) {
    const Value* ns = find(target.name, scope);
    if (!ns || !ns->is(Kind::kNamespace)) fail("cannot assign attribute on non-namespace object");
    ns->as<Namespace>().attrs.set(Value(target.text), value);
    return;
  }
  std::vector<Value> parts = collect(*this, value);
  if (parts.size() != target.kids.size()) {
    bool few = parts.size() < target.kids.size();
    fail(std::string(few ? "not enough values to unpack" : "too many values to unpack") +
         " (expected " + std::to_string(target.kids.size()) + ")");
  }
  for (size_t i = 0; i < parts.size(); ++i) assign(*target.kids[i], parts[i], scope);
}

bool Runtime::loop_next(const Value& value, Value& item) {
  Loop& loop = value.as<Loop>();
  if (!loop.buffered.empty()) {
    item = std::move(loop.buffered.front());
    loop.buffered.pop_front();
  } else if (!loop.pull || !loop.pull(item)) {
    return false;
  }
  ++loop.index0;
  loop.before = std::move(loop.current);
  loop.current = item;
  return true;
}

int64_t Runtime::loop_length(Loop& loop) {
  if (loop.known_length >= 0) return loop.known_length;
  for (Value v; loop.pull && loop.pull(v);) {
    spend_items(1);
    loop.buffered.push_back(std::move(v));
  }
  loop.known_length = loop.index0 + 1 + static_cast<int64_t>(loop.buffered.size());
  return loop.known_length;
}

}  // namespace spnl::modelkit::jinja
