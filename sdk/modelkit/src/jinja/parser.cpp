// The statement half of the parser.
#include "jinja/parser.h"

#include <algorithm>
#include <utility>

namespace spnl::modelkit::jinja {

std::string describe(const Token& t) {
  switch (t.type) {
    case Tok::kVariableEnd:
      return "'end of print statement'";
    case Tok::kBlockEnd:
      return "'end of statement block'";
    case Tok::kEnd:
      return "'end of template'";
    default:
      return "'" + t.text.substr(0, 60) + "'";
  }
}

Parser::Parser(std::string_view source) : tokens_(tokenize(source)) {
  out_.loop = out_.names.id("loop");
  out_.caller = out_.names.id("caller");
  out_.kwargs = out_.names.id("kwargs");
  out_.varargs = out_.names.id("varargs");
  marks_.resize(tokens_.size());
}

Template Parser::parse() {
  out_.body = subparse(nullptr);
  return std::move(out_);
}

Token Parser::mark() const {
  Token t;
  t.line = cur().line;
  t.column = cur().column;
  return t;
}

bool Parser::skip_op(std::string_view op) {
  if (!is_op(cur(), op)) return false;
  take();
  return true;
}

bool Parser::skip_name(std::string_view name) {
  if (!is_name(cur(), name)) return false;
  take();
  return true;
}

void Parser::expect_op(std::string_view op) {
  if (!skip_op(op)) {
    fail_syntax(cur(), "expected token '" + std::string(op) + "', got " + describe(cur()));
  }
}

void Parser::expect_name(std::string_view name) {
  if (!skip_name(name)) {
    fail_syntax(cur(), "expected token '" + std::string(name) + "', got " + describe(cur()));
  }
}

void Parser::expect(Tok type, const char* what) {
  if (cur().type != type) {
    fail_syntax(cur(), std::string("expected ") + what + ", got " + describe(cur()));
  }
  take();
}

std::string Parser::plain_name() {
  if (cur().type != Tok::kName) fail_syntax(cur(), "expected a name, got " + describe(cur()));
  return take().text;
}

std::unique_ptr<Stmt> Parser::new_stmt(StmtKind kind) {
  auto s = std::make_unique<Stmt>();
  s->kind = kind;
  s->line = cur().line;
  return s;
}

Body Parser::statements(std::initializer_list<std::string_view> ends) {
  skip_op(":");  // accepted for people used to Python
  expect(Tok::kBlockEnd, "end of statement block");
  Body body = subparse(&ends);
  if (cur().type == Tok::kEnd) {
    std::string wanted;
    for (std::string_view e : ends)
      wanted += (wanted.empty() ? "'" : " or '") + std::string(e) + "'";
    fail_syntax(cur(), "Unexpected end of template, looking for " + wanted);
  }
  return body;
}

Body Parser::subparse(const std::initializer_list<std::string_view>* ends) {
  Nesting guard(*this);
  Body body;
  for (;;) {
    switch (cur().type) {
      case Tok::kEnd:
        return body;
      case Tok::kData: {
        auto s = new_stmt(StmtKind::kData);
        s->text = take().text;
        body.push_back(std::move(s));
        break;
      }
      case Tok::kVariableBegin: {
        auto s = new_stmt(StmtKind::kPrint);
        take();
        s->exprs.push_back(tuple({}));
        expect(Tok::kVariableEnd, "end of print statement");
        body.push_back(std::move(s));
        break;
      }
      default:
        expect(Tok::kBlockBegin, "a tag");
        if (ends && cur().type == Tok::kName &&
            std::find(ends->begin(), ends->end(), cur().text) != ends->end()) {
          return body;
        }
        body.push_back(statement());
        expect(Tok::kBlockEnd, "end of statement block");
    }
  }
}

std::unique_ptr<Stmt> Parser::statement() {
  if (cur().type != Tok::kName) fail_syntax(cur(), "tag name expected");
  const std::string tag = cur().text;
  if (tag == "if") return if_stmt();
  if (tag == "for") return for_stmt();
  if (tag == "set") return set_stmt();
  if (tag == "macro") return macro_stmt();
  if (tag == "call") return call_stmt();
  if (tag == "filter") return filter_stmt();
  if (tag == "with") return with_stmt();
  if (tag == "block") return block_stmt();
  if (tag == "generation") return generation_stmt();
  if (tag == "autoescape") return autoescape_stmt();
  if (tag == "print") return print_stmt();
  if (tag == "do") {
    auto s = new_stmt(StmtKind::kDo);
    take();
    s->expr = tuple({});
    return s;
  }
  if (tag == "break" || tag == "continue") {
    auto s = new_stmt(tag == "break" ? StmtKind::kBreak : StmtKind::kContinue);
    if (loops_ == 0) fail_syntax(cur(), "'" + tag + "' outside loop");
    take();
    return s;
  }
  if (tag == "include" || tag == "import" || tag == "from" || tag == "extends") {
    return loader_stmt(tag);
  }
  fail_syntax(cur(), "Encountered unknown tag '" + tag.substr(0, 60) + "'.");
}

std::unique_ptr<Stmt> Parser::if_stmt() {
  auto s = new_stmt(StmtKind::kIf);
  bool outer = soft_;
  soft_ = true;
  do {
    take();
    Branch branch;
    TupleMode mode;
    mode.with_cond = false;
    branch.test = tuple(mode);
    branch.body = statements({"elif", "else", "endif"});
    s->branches.push_back(std::move(branch));
  } while (is_name(cur(), "elif"));
  if (take().text == "else") {
    s->else_body = statements({"endif"});
    take();
  }
  soft_ = outer;
  return s;
}

std::unique_ptr<Stmt> Parser::for_stmt() {
  auto s = new_stmt(StmtKind::kFor);
  Token at = mark();
  take();
  bool outer_store = stores_loop_, outer_soft = soft_;
  stores_loop_ = false;
  s->target = assign_target("in", false);
  expect_name("in");
  TupleMode mode;
  mode.with_cond = false;
  mode.end_name = "recursive";
  s->expr = tuple(mode);
  soft_ = false;  // a loop has its own frame in jinja2, which forgets the surrounding if
  if (skip_name("if")) s->test = expression();
  s->recursive = skip_name("recursive");
  ++loops_;
  s->body = statements({"endfor", "else"});
  --loops_;
  if (take().text == "else") {
    s->else_body = statements({"endfor"});
    take();
  }
  if (stores_loop_) fail_syntax(at, "Can't assign to special loop variable in for-loop target");
  stores_loop_ = outer_store;
  soft_ = outer_soft;
  return s;
}

std::unique_ptr<Stmt> Parser::set_stmt() {
  auto s = new_stmt(StmtKind::kSet);
  take();
  s->target = assign_target({}, true);
  if (skip_op("=")) {
    s->expr = tuple({});
    return s;
  }
  s->kind = StmtKind::kSetBlock;
  bool outer = soft_;
  soft_ = false;
  s->expr = filter(nullptr);
  s->body = statements({"endset"});
  take();
  soft_ = outer;
  return s;
}

void Parser::signature(Stmt& s) {
  expect_op("(");
  while (!is_op(cur(), ")")) {
    if (!s.params.empty()) expect_op(",");
    Token at = mark();
    ExprPtr param = primary();
    if (param->kind != ExprKind::kName) fail_syntax(at, "expected a parameter name");
    if (std::find(s.params.begin(), s.params.end(), param->name) != s.params.end()) {
      fail_syntax(at, "duplicate parameter '" + param->text + "'");
    }
    if (skip_op("=")) {
      s.exprs.push_back(expression());
    } else if (!s.exprs.empty()) {
      fail_syntax(at, "non-default argument follows default argument");
    }
    s.params.push_back(param->name);
  }
  expect_op(")");
}

/// A macro takes extra arguments, or a caller, only when its body mentions the special name.
Body Parser::macro_body(Stmt& s, std::string_view end) {
  int loops = std::exchange(loops_, 0);
  bool soft = std::exchange(soft_, false);
  size_t begin = pos_;
  Body body = statements({end});
  size_t stop = pos_;
  take();
  loops_ = loops;
  soft_ = soft;
  auto declared = [&](NameId id) {
    return std::find(s.params.begin(), s.params.end(), id) != s.params.end();
  };
  for (size_t i = begin; i < stop; ++i) {
    s.uses_caller |= marks_[i] == 1;
    s.uses_kwargs |= marks_[i] == 2 && !declared(out_.kwargs);
    s.uses_varargs |= marks_[i] == 3 && !declared(out_.varargs);
  }
  return body;
}

std::unique_ptr<Stmt> Parser::macro_stmt() {
  auto s = new_stmt(StmtKind::kMacro);
  take();
  s->text = plain_name();
  s->name = out_.names.id(s->text);
  if (s->name == out_.loop) stores_loop_ = true;
  signature(*s);
  s->body = macro_body(*s, "endmacro");
  return s;
}

std::unique_ptr<Stmt> Parser::call_stmt() {
  auto s = new_stmt(StmtKind::kCallBlock);
  Token at = mark();
  take();
  s->text = "caller";
  if (is_op(cur(), "(")) signature(*s);
  s->expr = expression();
  if (s->expr->kind != ExprKind::kCall) fail_syntax(at, "expected call");
  s->body = macro_body(*s, "endcall");
  return s;
}

std::unique_ptr<Stmt> Parser::filter_stmt() {
  auto s = new_stmt(StmtKind::kFilterBlock);
  take();
  bool outer = std::exchange(soft_, false);
  s->expr = filter(nullptr, true);
  s->body = statements({"endfilter"});
  take();
  soft_ = outer;
  return s;
}

std::unique_ptr<Stmt> Parser::with_stmt() {
  auto s = new_stmt(StmtKind::kWith);
  take();
  bool outer = std::exchange(soft_, false);
  while (cur().type != Tok::kBlockEnd) {
    if (!s->targets.empty()) expect_op(",");
    s->targets.push_back(assign_target({}, false));
    expect_op("=");
    s->exprs.push_back(expression());
  }
  s->body = statements({"endwith"});
  take();
  soft_ = outer;
  return s;
}

std::unique_ptr<Stmt> Parser::block_stmt() {
  auto s = new_stmt(StmtKind::kBlock);
  take();
  std::string name = plain_name();
  skip_name("scoped");
  skip_name("required");
  int loops = std::exchange(loops_, 0);
  bool soft = std::exchange(soft_, false);
  s->body = statements({"endblock"});
  take();
  skip_name(name);
  loops_ = loops;
  soft_ = soft;
  return s;
}

std::unique_ptr<Stmt> Parser::generation_stmt() {
  auto s = new_stmt(StmtKind::kScope);
  take();
  int loops = std::exchange(loops_, 0);  // the body is a function of its own in the reference
  bool soft = std::exchange(soft_, false);
  s->body = statements({"endgeneration"});
  take();
  loops_ = loops;
  soft_ = soft;
  return s;
}

std::unique_ptr<Stmt> Parser::autoescape_stmt() {
  auto s = new_stmt(StmtKind::kScope);
  Token at = mark();
  take();
  ExprPtr on = expression();
  if (on->kind != ExprKind::kConst || truthy(on->value)) {
    fail_syntax(at, "autoescape can only be switched off here");
  }
  s->body = statements({"endautoescape"});
  take();
  return s;
}

std::unique_ptr<Stmt> Parser::print_stmt() {
  auto s = new_stmt(StmtKind::kPrint);
  take();
  while (cur().type != Tok::kBlockEnd) {
    if (!s->exprs.empty()) expect_op(",");
    s->exprs.push_back(expression());
  }
  return s;
}

std::unique_ptr<Stmt> Parser::loader_stmt(const std::string& tag) {
  auto s = new_stmt(StmtKind::kRaise);
  s->text = "'" + tag + "' needs other templates, and a chat template stands alone";
  while (cur().type != Tok::kBlockEnd) {
    if (cur().type == Tok::kEnd) fail_syntax(cur(), "unexpected end of template");
    take();
  }
  return s;
}

}  // namespace spnl::modelkit::jinja
