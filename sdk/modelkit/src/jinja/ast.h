#pragma once
// Syntax trees. Built once by the parser, never changed afterwards: shared by concurrent
// renderings.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "jinja/value.h"

namespace spnl::modelkit::jinja {

using NameId = uint32_t;

enum class ExprKind : uint8_t {
  kConst,
  kName,
  kTuple,
  kList,
  kDict,  ///< kids: key, value, key, value, ...
  kNeg,
  kPos,
  kNot,
  kAnd,
  kOr,
  kBinary,   ///< op: + - * / % p (power) f (floor division)
  kCompare,  ///< kids: the operands; ops: one char each of = ! < > l (<=) g (>=) i (in) n (not in)
  kConcat,
  kCond,     ///< kids: test, then, else (may be null)
  kGetattr,  ///< kids: object; text: name
  kGetitem,  ///< kids: object, index
  kSlice,    ///< kids: object, start, stop, step (the last three may be null)
  kCall,     ///< kids: callee; call
  kFilter,   ///< kids: input, null for the body of a filter or set block; text: name; call
  kTest,     ///< kids: input; text: name; call
  kNsRef,    ///< only as target: name.text
};

struct Expr;
using ExprPtr = std::unique_ptr<Expr>;

struct CallArgs {
  std::vector<ExprPtr> pos;
  std::vector<std::pair<std::string, ExprPtr>> kw;
  ExprPtr star, star_star;
};

struct Expr {
  ExprKind kind;
  char op = 0;
  uint16_t depth = 1;
  uint32_t line = 0;
  NameId name = 0;
  Value value;
  std::string text;  ///< also the operators of a comparison
  std::vector<ExprPtr> kids;
  std::unique_ptr<CallArgs> call;
};

enum class StmtKind : uint8_t {
  kData,
  kPrint,
  kIf,
  kFor,
  kSet,
  kSetBlock,
  kMacro,
  kCallBlock,
  kFilterBlock,
  kWith,
  kScope,  ///< generation, and blocks
  kBlock,
  kDo,
  kBreak,
  kContinue,
  kRaise,  ///< a statement this environment always refuses when it is reached (include, import,
           ///< ...)
};

struct Stmt;
using Body = std::vector<std::unique_ptr<Stmt>>;

struct Branch {
  ExprPtr test;
  Body body;
};

struct Stmt {
  StmtKind kind;
  uint32_t line = 0;
  NameId name = 0;
  std::string text;              ///< data, macro name or message
  ExprPtr target, expr, test;    ///< test: of `for ... if`
  std::vector<ExprPtr> exprs;    ///< defaults of a macro (the last ones), values of with, prints
  std::vector<ExprPtr> targets;  ///< of with
  std::vector<NameId> params;
  std::vector<Branch> branches;
  Body body, else_body;
  bool recursive = false;
  bool uses_caller = false, uses_kwargs = false, uses_varargs = false;
};

/// Variable names as small numbers.
class Names {
 public:
  NameId id(std::string_view name) {
    auto [it, added] = ids_.try_emplace(std::string(name), static_cast<NameId>(names_.size()));
    if (added) names_.push_back(it->first);
    return it->second;
  }
  bool find(const std::string& name, NameId& id) const {
    auto it = ids_.find(name);
    if (it == ids_.end()) return false;
    id = it->second;
    return true;
  }
  const std::string& text(NameId id) const { return names_[id]; }
  size_t size() const { return names_.size(); }

 private:
  std::unordered_map<std::string, NameId> ids_;
  std::vector<std::string> names_;
};

struct Template {
  Names names;
  Body body;
  NameId loop = 0, caller = 0, kwargs = 0, varargs = 0;
};

}  // namespace spnl::modelkit::jinja
