#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "jinja/ast.h"
#include "jinja/lexer.h"

namespace spnl::modelkit::jinja {

/// Recursive descent over the grammar of jinja2's parser.py (names of the steps follow it).
/// Nesting is bounded, so hostile sources cannot overflow the stack.
class Parser {
 public:
  explicit Parser(std::string_view source);
  Template parse();

 private:
  // parser_expr.cpp
  ExprPtr expression(bool with_cond = true);
  ExprPtr cond_expr();
  ExprPtr or_expr();
  ExprPtr and_expr();
  ExprPtr not_expr();
  ExprPtr compare();
  ExprPtr sum();
  ExprPtr concat();
  ExprPtr product();
  ExprPtr power();
  ExprPtr unary(bool with_filter = true);
  ExprPtr primary(bool with_namespace = false);
  ExprPtr name_or_literal(bool with_namespace);
  ExprPtr list_literal();
  ExprPtr dict_literal();
  ExprPtr postfix(ExprPtr node);
  ExprPtr filter_expr(ExprPtr node);
  ExprPtr subscript(ExprPtr node);
  ExprPtr subscribed(ExprPtr object, bool& is_slice);
  ExprPtr call(ExprPtr callee);
  std::unique_ptr<CallArgs> call_args();
  ExprPtr filter(ExprPtr node, bool start_inline = false);
  ExprPtr test(ExprPtr node);
  struct TupleMode {
    bool simplified = false, with_cond = true, parenthesized = false, with_namespace = false;
    std::string_view end_name = {};
  };
  ExprPtr tuple(const TupleMode& mode);
  ExprPtr assign_target(std::string_view end_name, bool with_namespace);
  void check_target(const Expr& target, const Token& at);
  ExprPtr make(ExprKind kind, const Token& at, ExprPtr a = nullptr, ExprPtr b = nullptr,
               ExprPtr c = nullptr);
  ExprPtr finish(ExprPtr node, const Token& at);
  void check_known(bool is_filter, const std::string& name, const Token& at);

  // parser.cpp
  Body statements(std::initializer_list<std::string_view> ends);
  Body subparse(const std::initializer_list<std::string_view>* ends);
  std::unique_ptr<Stmt> statement();
  std::unique_ptr<Stmt> if_stmt();
  std::unique_ptr<Stmt> for_stmt();
  std::unique_ptr<Stmt> set_stmt();
  std::unique_ptr<Stmt> macro_stmt();
  std::unique_ptr<Stmt> call_stmt();
  std::unique_ptr<Stmt> filter_stmt();
  std::unique_ptr<Stmt> with_stmt();
  std::unique_ptr<Stmt> block_stmt();
  std::unique_ptr<Stmt> generation_stmt();
  std::unique_ptr<Stmt> autoescape_stmt();
  std::unique_ptr<Stmt> print_stmt();
  std::unique_ptr<Stmt> loader_stmt(const std::string& tag);
  std::unique_ptr<Stmt> new_stmt(StmtKind kind);
  void signature(Stmt& stmt);
  Body macro_body(Stmt& stmt, std::string_view end);
  std::string plain_name();

  const Token& cur() const { return tokens_[pos_]; }
  const Token& look() const { return tokens_[std::min(pos_ + 1, tokens_.size() - 1)]; }
  Token take() { return pos_ + 1 < tokens_.size() ? std::move(tokens_[pos_++]) : tokens_[pos_]; }
  static bool is_op(const Token& t, std::string_view op) {
    return t.type == Tok::kOperator && t.text == op;
  }
  static bool is_name(const Token& t, std::string_view name) {
    return t.type == Tok::kName && t.text == name;
  }
  bool skip_op(std::string_view op);
  bool skip_name(std::string_view name);
  void expect_op(std::string_view op);
  void expect_name(std::string_view name);
  void expect(Tok type, const char* what);
  Token mark() const;  ///< position of the current token, for messages

  struct Nesting {
    explicit Nesting(Parser& p);
    ~Nesting() { --parser.nesting_; }
    Nesting(const Nesting&) = delete;
    Nesting& operator=(const Nesting&) = delete;
    Parser& parser;
  };

  std::vector<Token> tokens_;
  size_t pos_ = 0;
  int nesting_ = 0;
  int loops_ = 0;      ///< loops around the current place within the same macro
  bool soft_ = false;  ///< inside an if: unknown filters are refused only when reached
  bool stores_loop_ = false;
  std::vector<uint8_t> marks_;  ///< per token: read of caller (1), kwargs (2), varargs (3)
  Template out_;
};

std::string describe(const Token& t);

}  // namespace spnl::modelkit::jinja
