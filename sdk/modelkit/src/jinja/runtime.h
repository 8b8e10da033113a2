#pragma once
// One rendering: scopes, evaluation, calls and the sandbox's view of attributes.

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "jinja/ast.h"
#include "jinja/iterate.h"
#include "jinja/value.h"

namespace spnl::modelkit::jinja {

/// Variables of one frame. Lookups walk to the parent; assignments stay here, which is why a `set`
/// inside a loop does not leak.
struct Scope {
  std::shared_ptr<Scope> parent;
  std::vector<std::pair<NameId, Value>> vars;
  bool captured = false;  ///< a macro was defined under it and may outlive the frame

  Value* find_here(NameId id) {
    for (auto& [k, v] : vars) {
      if (k == id) return &v;
    }
    return nullptr;
  }
  void set(NameId id, Value v) {
    if (Value* at = find_here(id)) {
      *at = std::move(v);
    } else {
      vars.emplace_back(id, std::move(v));
    }
  }
};
using ScopePtr = std::shared_ptr<Scope>;

struct Macro : Object {
  const Stmt* stmt = nullptr;
  ScopePtr closure;
};

struct Loop : Object {
  std::function<bool(Value&)> pull;
  std::deque<Value> buffered;  ///< read ahead for last, nextitem or length
  Value current, before, changed_args;
  bool has_changed = false;
  int64_t index0 = -1, known_length = -1;
  int64_t depth0 = 0;
  const Stmt* stmt = nullptr;
  ScopePtr scope;  ///< around the loop, for recursion
};

enum class Flow : uint8_t { kNext, kBreak, kContinue };

class Runtime {
 public:
  /// `input` are the variables of the rendering. The template must outlive the runtime.
  Runtime(const Template& tmpl, const Dict& input, std::optional<int64_t> now = std::nullopt);
  ~Runtime();
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  std::string render();

  Value getattr(const Value& object, const std::string& name);
  Value getitem(const Value& object, const Value& key);
  /// A native attribute or method, as the sandbox lets it be seen; false when there is none.
  bool attribute(const Value& object, const std::string& name, Value& out);
  Value call(const Value& callee, Args& args);
  Value call_filter(const std::string& name, const Value& input, Args& args);
  bool call_test(const std::string& name, const Value& input, Args& args);

  bool loop_next(const Value& loop, Value& item);
  Value loop_attribute(const Value& loop, const std::string& name, bool& found);
  int64_t loop_length(Loop& loop);

  void keep(std::shared_ptr<Namespace> ns);
  uint32_t line() const { return line_; }
  std::optional<int64_t> now() const { return now_; }

 private:
  struct Depth {
    explicit Depth(Runtime& rt);
    ~Depth() { --runtime.depth_; }
    Depth(const Depth&) = delete;
    Depth& operator=(const Depth&) = delete;
    Runtime& runtime;
  };

  // expressions (eval.cpp)
  Value eval(const Expr& e, const ScopePtr& scope);
  Value eval_name(const Expr& e, const ScopePtr& scope);
  Value eval_items(const Expr& e, const ScopePtr& scope);
  Value eval_dict(const Expr& e, const ScopePtr& scope);
  Value eval_compare(const Expr& e, const ScopePtr& scope);
  Value eval_concat(const Expr& e, const ScopePtr& scope);
  Value eval_slice(const Expr& e, const ScopePtr& scope);
  Value eval_call(const Expr& e, const ScopePtr& scope, const Value* caller);
  Value eval_filter(const Expr& e, const ScopePtr& scope);
  Args eval_args(const CallArgs& call, const ScopePtr& scope);
  Value call_macro(const Value& macro, Args& args);
  Value call_loop(const Value& loop, Args& args);

  // statements (exec.cpp)
  Flow exec(const Body& body, const ScopePtr& scope, std::string& out);
  Flow exec_stmt(const Stmt& s, const ScopePtr& scope, std::string& out);
  Flow exec_if(const Stmt& s, const ScopePtr& scope, std::string& out);
  void exec_for(const Stmt& s, const ScopePtr& scope, std::string& out);
  void run_loop(const Stmt& s, const ScopePtr& scope, const Value& items, int64_t depth0,
                std::string& out);
  Flow exec_set_block(const Stmt& s, const ScopePtr& scope);
  Flow exec_filter_block(const Stmt& s, const ScopePtr& scope, std::string& out);
  Flow exec_with(const Stmt& s, const ScopePtr& scope, std::string& out);
  void exec_call_block(const Stmt& s, const ScopePtr& scope, std::string& out);
  void assign(const Expr& target, const Value& value, const ScopePtr& scope);
  void check_namespaces(const Expr& target, const ScopePtr& scope);
  Value make_macro(const Stmt& s, const ScopePtr& scope);
  void emit(std::string& out, std::string_view text);
  const Value* find(NameId id, const ScopePtr& scope) const;
  ScopePtr child(const ScopePtr& scope) const;

  const Template& tmpl_;
  std::optional<int64_t> now_;
  std::vector<Value> globals_;  ///< by NameId: input variables and built-in functions
  std::vector<bool> known_;
  ScopePtr root_;
  // Namespaces and captured scopes can form cycles: they are emptied when the rendering ends.
  std::vector<std::shared_ptr<Namespace>> namespaces_;
  std::vector<ScopePtr> captured_;
  const Value* block_text_ = nullptr;  ///< what a filter with no input of its own works on
  uint32_t line_ = 1;
  int depth_ = 0;
};

}  // namespace spnl::modelkit::jinja
