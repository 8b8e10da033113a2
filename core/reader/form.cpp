#include "reader/form.h"

#include "reader/lexer.h"
#include "util/text.h"

namespace spnl::reader {
namespace {

FormKind kind_of(TokenKind kind) {
  switch (kind) {
    case TokenKind::kString:
      return FormKind::kString;
    case TokenKind::kRawString:
      return FormKind::kRawString;
    case TokenKind::kNumber:
      return FormKind::kNumber;
    default:
      return FormKind::kSymbol;
  }
}

}  // namespace

Forms::Forms(const Source& source) : source_(source) {
  Lexer lexer(source);
  std::vector<uint32_t> open;
  while (true) {
    const Token token = lexer.next();
    const bool complete = open.empty() && !forms_.empty();
    if (token.kind == TokenKind::kEnd) {
      if (complete) return;
      if (forms_.empty()) source.fail({1, 1}, "end of text", "a query");
      source.fail(forms_[open.back()].position, "'(' without its end", "')'");
    }
    if (complete) {
      const std::string found = token.kind == TokenKind::kOpen ? "a second form"
                                : token.kind == TokenKind::kClose
                                    ? "')'"
                                    : text::quote(source.text.substr(token.offset, token.length));
      source.fail(token.position, found, "end of text",
                  "a file holds one form; (seq ...) puts several in order");
    }
    if (token.kind == TokenKind::kClose) {
      if (open.empty()) source.fail(token.position, "')'", "a query");
      forms_[open.back()].end = static_cast<uint32_t>(forms_.size());
      open.pop_back();
      continue;
    }
    if (forms_.size() >= kMostForms)
      source.refuse(token.position,
                    "the query has more than " + std::to_string(kMostForms) + " forms");
    const uint32_t index = static_cast<uint32_t>(forms_.size());
    Form form{FormKind::kList, token.position, index + 1, static_cast<uint32_t>(token.offset),
              static_cast<uint32_t>(token.length)};
    if (token.kind == TokenKind::kOpen) {
      if (open.size() >= kDeepestNesting)
        source.refuse(token.position, "forms are nested deeper than 10,000");
      open.push_back(index);
    } else {
      form.kind = kind_of(token.kind);
    }
    forms_.push_back(form);
  }
}

std::vector<uint32_t> Forms::parts(uint32_t index) const {
  std::vector<uint32_t> parts;
  if (forms_[index].kind != FormKind::kList) return parts;
  for (uint32_t i = index + 1; i < forms_[index].end; i = forms_[i].end) parts.push_back(i);
  return parts;
}

std::string_view Forms::head(uint32_t index) const {
  const Form& form = forms_[index];
  if (form.kind != FormKind::kList || form.end == index + 1) return {};
  return forms_[index + 1].kind == FormKind::kSymbol ? text(index + 1) : std::string_view();
}

std::string Forms::describe(uint32_t index) const {
  switch (forms_[index].kind) {
    case FormKind::kString:
    case FormKind::kRawString:
      return "string " + text::quote(text(index));
    case FormKind::kNumber:
      return "number " + text::quote(text(index));
    case FormKind::kSymbol:
      return text::quote(text(index));
    case FormKind::kList:
      break;
  }
  if (forms_[index].end == index + 1) return "'()'";
  const std::string_view name = head(index);
  return name.empty() ? "a list" : text::quote("(" + std::string(name) + " ...)", 64);
}

}  // namespace spnl::reader
