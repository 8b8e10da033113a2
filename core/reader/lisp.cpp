#include "reader/interpreter.h"

namespace spnl {

Query read_lisp(std::string_view text, const ReadOptions& options) {
  const reader::Source source{text, options.source_name};
  const reader::Forms forms(source);
  return reader::Interpreter(source, forms, options).run();
}

}  // namespace spnl
