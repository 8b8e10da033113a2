// The expression half of the parser.
#include "jinja/filters.h"
#include "jinja/parser.h"
#include "jinja/tests.h"

namespace spnl::modelkit::jinja {

namespace {

constexpr int kMaxNesting = 120;    // parser recursion; CPython stops at a comparable depth
constexpr int kMaxExprDepth = 400;  // of the finished tree: chains such as a + a + a ... count too

}  // namespace

Parser::Nesting::Nesting(Parser& p) : parser(p) {
  if (++parser.nesting_ > kMaxNesting) {
    --parser.nesting_;
    fail_syntax(parser.cur(), "nested too deeply");
  }
}

ExprPtr Parser::finish(ExprPtr node, const Token& at) {
  int depth = 0;
  auto add = [&](const ExprPtr& e) { depth = e ? std::max<int>(depth, e->depth) : depth; };
  for (const ExprPtr& kid : node->kids) add(kid);
  if (node->call) {
    for (const ExprPtr& e : node->call->pos) add(e);
    for (const auto& [name, e] : node->call->kw) add(e);
    add(node->call->star);
    add(node->call->star_star);
  }
  if (depth >= kMaxExprDepth) fail_syntax(at, "expression is too long or nested too deeply");
  node->depth = static_cast<uint16_t>(depth + 1);
  return node;
}

ExprPtr Parser::make(ExprKind kind, const Token& at, ExprPtr a, ExprPtr b, ExprPtr c) {
  auto node = std::make_unique<Expr>();
  node->kind = kind;
  node->line = at.line;
  if (a || b || c) node->kids.push_back(std::move(a));
  if (b || c) node->kids.push_back(std::move(b));
  if (c) node->kids.push_back(std::move(c));
  return finish(std::move(node), at);
}

ExprPtr Parser::expression(bool with_cond) {
  Nesting guard(*this);
  return with_cond ? cond_expr() : or_expr();
}

ExprPtr Parser::cond_expr() {
  Token at = mark();
  bool outer = soft_;
  ExprPtr node = or_expr();
  if (is_name(cur(), "if")) soft_ = true;
  while (skip_name("if")) {
    ExprPtr condition = or_expr();
    ExprPtr other = skip_name("else") ? expression() : nullptr;
    auto cond = std::make_unique<Expr>();
    cond->kind = ExprKind::kCond;
    cond->line = at.line;
    cond->kids.push_back(std::move(condition));
    cond->kids.push_back(std::move(node));
    cond->kids.push_back(std::move(other));
    node = finish(std::move(cond), at);
  }
  soft_ = outer;
  return node;
}

ExprPtr Parser::or_expr() {
  Token at = mark();
  ExprPtr left = and_expr();
  while (skip_name("or")) left = make(ExprKind::kOr, at, std::move(left), and_expr());
  return left;
}

ExprPtr Parser::and_expr() {
  Token at = mark();
  ExprPtr left = not_expr();
  while (skip_name("and")) left = make(ExprKind::kAnd, at, std::move(left), not_expr());
  return left;
}

ExprPtr Parser::not_expr() {
  Token at = mark();
  if (!skip_name("not")) return compare();
  Nesting guard(*this);
  return make(ExprKind::kNot, at, not_expr());
}

ExprPtr Parser::compare() {
  Token at = mark();
  ExprPtr first = sum();
  std::string ops;
  std::vector<ExprPtr> operands;
  for (;;) {
    char op = 0;
    if (cur().type == Tok::kOperator) {
      const std::string& t = cur().text;
      op = t == "=="   ? '='
           : t == "!=" ? '!'
           : t == "<"  ? '<'
           : t == ">"  ? '>'
           : t == "<=" ? 'l'
           : t == ">=" ? 'g'
                       : 0;
      if (op) take();
    } else if (skip_name("in")) {
      op = 'i';
    } else if (is_name(cur(), "not") && is_name(look(), "in")) {
      take();
      take();
      op = 'n';
    }
    if (!op) break;
    ops += op;
    operands.push_back(sum());
  }
  if (ops.empty()) return first;
  ExprPtr node = make(ExprKind::kCompare, at, std::move(first));
  for (ExprPtr& e : operands) node->kids.push_back(std::move(e));
  node->text = std::move(ops);
  return finish(std::move(node), at);
}

ExprPtr Parser::sum() {
  Token at = mark();
  ExprPtr left = concat();
  while (is_op(cur(), "+") || is_op(cur(), "-")) {
    char op = take().text[0];
    left = make(ExprKind::kBinary, at, std::move(left), concat());
    left->op = op;
  }
  return left;
}

ExprPtr Parser::concat() {
  Token at = mark();
  ExprPtr first = product();
  if (!is_op(cur(), "~")) return first;
  ExprPtr node = make(ExprKind::kConcat, at, std::move(first));
  while (skip_op("~")) node->kids.push_back(product());
  return finish(std::move(node), at);
}

ExprPtr Parser::product() {
  Token at = mark();
  ExprPtr left = power();
  while (is_op(cur(), "*") || is_op(cur(), "/") || is_op(cur(), "//") || is_op(cur(), "%")) {
    std::string op = take().text;
    left = make(ExprKind::kBinary, at, std::move(left), power());
    left->op = op == "//" ? 'f' : op[0];
  }
  return left;
}

ExprPtr Parser::power() {
  Token at = mark();
  ExprPtr left = unary();
  while (skip_op("**")) {
    left = make(ExprKind::kBinary, at, std::move(left), unary());
    left->op = 'p';
  }
  return left;
}

ExprPtr Parser::unary(bool with_filter) {
  Token at = mark();
  ExprPtr node;
  if (is_op(cur(), "-") || is_op(cur(), "+")) {
    Nesting guard(*this);
    bool minus = take().text == "-";
    node = make(minus ? ExprKind::kNeg : ExprKind::kPos, at, unary(false));
  } else {
    node = primary();
  }
  node = postfix(std::move(node));
  return with_filter ? filter_expr(std::move(node)) : std::move(node);
}

ExprPtr Parser::name_or_literal(bool with_namespace) {
  Token at = mark();
  size_t place = pos_;
  std::string name = take().text;
  ExprPtr node = make(ExprKind::kConst, at);
  if (name == "true" || name == "True" || name == "false" || name == "False") {
    node->value = Value(name == "true" || name == "True");
  } else if (name == "none" || name == "None") {
    node->value = Value();
  } else if (with_namespace && skip_op(".")) {
    node->kind = ExprKind::kNsRef;
    node->text = plain_name();
    node->name = out_.names.id(name);
  } else {
    node->kind = ExprKind::kName;
    node->name = out_.names.id(name);
    NameId id = node->name;
    marks_[place] = id == out_.caller ? 1 : id == out_.kwargs ? 2 : id == out_.varargs ? 3 : 0;
    node->text = std::move(name);
  }
  return node;
}

ExprPtr Parser::primary(bool with_namespace) {
  Nesting guard(*this);
  Token at = mark();
  switch (cur().type) {
    case Tok::kName:
      return name_or_literal(with_namespace);
    case Tok::kString: {
      std::string text = take().text;
      while (cur().type == Tok::kString) text += take().text;
      ExprPtr node = make(ExprKind::kConst, at);
      node->value = Value(std::move(text));
      return node;
    }
    case Tok::kInteger:
    case Tok::kFloat: {
      Token t = take();
      ExprPtr node = make(ExprKind::kConst, at);
      node->value = t.type == Tok::kInteger ? Value(t.integer) : Value(t.number);
      return node;
    }
    default:
      break;
  }
  if (skip_op("(")) {
    TupleMode mode;
    mode.parenthesized = true;
    ExprPtr node = tuple(mode);
    expect_op(")");
    return node;
  }
  if (is_op(cur(), "[")) return list_literal();
  if (is_op(cur(), "{")) return dict_literal();
  fail_syntax(cur(), "unexpected " + describe(cur()));
}

ExprPtr Parser::tuple(const TupleMode& mode) {
  Token at = mark();
  std::vector<ExprPtr> items;
  bool is_tuple = false;
  for (;;) {
    if (!items.empty()) expect_op(",");
    Tok type = cur().type;
    if (type == Tok::kVariableEnd || type == Tok::kBlockEnd || is_op(cur(), ")") ||
        (!mode.end_name.empty() && is_name(cur(), mode.end_name))) {
      break;
    }
    items.push_back(mode.simplified ? primary(mode.with_namespace) : expression(mode.with_cond));
    if (!is_op(cur(), ",")) break;
    is_tuple = true;
  }
  if (!is_tuple && !items.empty()) return std::move(items[0]);
  if (!is_tuple && !mode.parenthesized) {
    fail_syntax(cur(), "Expected an expression, got " + describe(cur()));
  }
  ExprPtr node = make(ExprKind::kTuple, at);
  node->kids = std::move(items);
  return finish(std::move(node), at);
}

ExprPtr Parser::list_literal() {
  Token at = mark();
  expect_op("[");
  ExprPtr node = make(ExprKind::kList, at);
  while (!is_op(cur(), "]")) {
    if (!node->kids.empty()) expect_op(",");
    if (is_op(cur(), "]")) break;
    node->kids.push_back(expression());
  }
  expect_op("]");
  return finish(std::move(node), at);
}

ExprPtr Parser::dict_literal() {
  Token at = mark();
  expect_op("{");
  ExprPtr node = make(ExprKind::kDict, at);
  while (!is_op(cur(), "}")) {
    if (!node->kids.empty()) expect_op(",");
    if (is_op(cur(), "}")) break;
    node->kids.push_back(expression());
    expect_op(":");
    node->kids.push_back(expression());
  }
  expect_op("}");
  return finish(std::move(node), at);
}

ExprPtr Parser::postfix(ExprPtr node) {
  for (;;) {
    if (is_op(cur(), ".") || is_op(cur(), "[")) {
      node = subscript(std::move(node));
    } else if (is_op(cur(), "(")) {
      node = call(std::move(node));
    } else {
      return node;
    }
  }
}

ExprPtr Parser::filter_expr(ExprPtr node) {
  for (;;) {
    if (is_op(cur(), "|")) {
      node = filter(std::move(node));
    } else if (is_name(cur(), "is")) {
      node = test(std::move(node));
    } else if (is_op(cur(), "(")) {
      node = call(std::move(node));
    } else {
      return node;
    }
  }
}

ExprPtr Parser::subscript(ExprPtr node) {
  Token at = mark();
  if (skip_op(".")) {
    if (cur().type == Tok::kName) {
      ExprPtr attr = make(ExprKind::kGetattr, at, std::move(node));
      attr->text = take().text;
      return attr;
    }
    if (cur().type != Tok::kInteger) fail_syntax(cur(), "expected name or number");
    ExprPtr index = make(ExprKind::kConst, at);
    index->value = Value(take().integer);
    return make(ExprKind::kGetitem, at, std::move(node), std::move(index));
  }
  expect_op("[");
  bool is_slice = false;
  ExprPtr first = is_op(cur(), "]") ? nullptr : subscribed(nullptr, is_slice);
  if (is_slice && is_op(cur(), "]")) {
    take();
    first->kids[0] = std::move(node);
    return finish(std::move(first), at);
  }
  ExprPtr index = std::move(first);
  if (!index || is_op(cur(), ",")) {
    ExprPtr items = make(ExprKind::kTuple, at);
    if (index) items->kids.push_back(std::move(index));
    while (!is_slice && skip_op(",")) items->kids.push_back(subscribed(nullptr, is_slice));
    if (is_slice) fail_syntax(cur(), "a slice cannot be part of a tuple");
    index = finish(std::move(items), at);
  }
  expect_op("]");
  return make(ExprKind::kGetitem, at, std::move(node), std::move(index));
}

/// One index, or a slice node whose object (kids[0]) is still to be set.
ExprPtr Parser::subscribed(ExprPtr object, bool& is_slice) {
  Token at = mark();
  ExprPtr start;
  if (!is_op(cur(), ":")) {
    start = expression();
    if (!is_op(cur(), ":")) return start;
  }
  is_slice = true;
  expect_op(":");
  auto ended = [&] { return is_op(cur(), "]") || is_op(cur(), ","); };
  ExprPtr stop, step;
  if (!is_op(cur(), ":") && !ended()) stop = expression();
  if (skip_op(":") && !ended()) step = expression();
  ExprPtr node = make(ExprKind::kSlice, at);
  node->kids.push_back(std::move(object));
  node->kids.push_back(std::move(start));
  node->kids.push_back(std::move(stop));
  node->kids.push_back(std::move(step));
  return finish(std::move(node), at);
}

ExprPtr Parser::call(ExprPtr callee) {
  Token at = mark();
  ExprPtr node = make(ExprKind::kCall, at, std::move(callee));
  node->call = call_args();
  return finish(std::move(node), at);
}

std::unique_ptr<CallArgs> Parser::call_args() {
  Token at = mark();
  expect_op("(");
  auto args = std::make_unique<CallArgs>();
  auto ensure = [&](bool ok) {
    if (!ok) fail_syntax(at, "invalid syntax for function call expression");
  };
  bool first = true;
  while (!is_op(cur(), ")")) {
    if (!first) {
      expect_op(",");
      if (is_op(cur(), ")")) break;
    }
    first = false;
    if (skip_op("*")) {
      ensure(!args->star && !args->star_star);
      args->star = expression();
    } else if (skip_op("**")) {
      ensure(!args->star_star);
      args->star_star = expression();
    } else if (cur().type == Tok::kName && is_op(look(), "=")) {
      ensure(!args->star_star);
      std::string key = take().text;
      for (const auto& [name, value] : args->kw) {
        if (name == key) fail_syntax(at, "keyword argument repeated: " + key);
      }
      take();
      args->kw.emplace_back(std::move(key), expression());
    } else {
      ensure(!args->star && !args->star_star && args->kw.empty());
      args->pos.push_back(expression());
    }
  }
  expect_op(")");
  return args;
}

void Parser::check_known(bool is_filter, const std::string& name, const Token& at) {
  bool known = is_filter ? find_filter(name) != nullptr : find_test(name) != nullptr;
  if (known || soft_) return;
  // An `a|unknown if test` is only seen to be conditional later; look ahead within this tag.
  int depth = 0;
  for (size_t i = pos_; i < tokens_.size(); ++i) {
    const Token& t = tokens_[i];
    if (t.type == Tok::kBlockEnd || t.type == Tok::kVariableEnd || t.type == Tok::kEnd) break;
    if (t.type == Tok::kOperator && t.text.find_first_of("([{") != t.text.npos) ++depth;
    if (t.type == Tok::kOperator && t.text.find_first_of(")]}") != t.text.npos) --depth;
    if (depth <= 0 && is_name(t, "if")) return;
  }
  fail_syntax(at, std::string("No ") + (is_filter ? "filter" : "test") + " named '" + name + "'.");
}

ExprPtr Parser::filter(ExprPtr node, bool start_inline) {
  while (is_op(cur(), "|") || start_inline) {
    if (!start_inline) take();
    start_inline = false;
    Token at = mark();
    std::string name = plain_name();
    while (skip_op(".")) name += "." + plain_name();
    auto out = std::make_unique<Expr>();
    out->kind = ExprKind::kFilter;
    out->line = at.line;
    out->kids.push_back(std::move(node));
    out->call = is_op(cur(), "(") ? call_args() : std::make_unique<CallArgs>();
    check_known(true, name, at);
    out->text = std::move(name);
    node = finish(std::move(out), at);
  }
  return node;
}

ExprPtr Parser::test(ExprPtr node) {
  Token at = mark();
  expect_name("is");
  bool negated = skip_name("not");
  std::string name = plain_name();
  while (skip_op(".")) name += "." + plain_name();
  ExprPtr out = make(ExprKind::kTest, at, std::move(node));
  out->call = std::make_unique<CallArgs>();
  Tok type = cur().type;
  if (is_op(cur(), "(")) {
    out->call = call_args();
  } else if ((type == Tok::kName || type == Tok::kString || type == Tok::kInteger ||
              type == Tok::kFloat || is_op(cur(), "[") || is_op(cur(), "{")) &&
             !is_name(cur(), "else") && !is_name(cur(), "or") && !is_name(cur(), "and")) {
    if (is_name(cur(), "is")) fail_syntax(cur(), "You cannot chain multiple tests with is");
    out->call->pos.push_back(postfix(primary()));
  }
  check_known(false, name, at);
  out->text = std::move(name);
  out = finish(std::move(out), at);
  return negated ? make(ExprKind::kNot, at, std::move(out)) : std::move(out);
}

void Parser::check_target(const Expr& target, const Token& at) {
  if (target.kind == ExprKind::kTuple) {
    for (const ExprPtr& item : target.kids) check_target(*item, at);
  } else if (target.kind == ExprKind::kName) {
    if (target.name == out_.loop) stores_loop_ = true;
  } else if (target.kind != ExprKind::kNsRef) {
    fail_syntax(at, "can't assign to this expression");
  }
}

ExprPtr Parser::assign_target(std::string_view end_name, bool with_namespace) {
  Token at = mark();
  TupleMode mode;
  mode.simplified = true;
  mode.with_namespace = with_namespace;
  mode.end_name = end_name;
  ExprPtr target = tuple(mode);
  check_target(*target, at);
  return target;
}

}  // namespace spnl::modelkit::jinja
