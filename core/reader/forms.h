#pragma once
#include "reader/interpreter.h"

/// The forms of the language, grouped by what they make. Each is a builder for FormSpec::build.
namespace spnl::reader {

// forms_tree.cpp
Value build_user(Interpreter&, Call&);
Value build_system(Interpreter&, Call&);
Value build_assistant(Interpreter&, Call&);
Value build_print(Interpreter&, Call&);
Value build_ask(Interpreter&, Call&);
Value build_seq(Interpreter&, Call&);
Value build_cross(Interpreter&, Call&);
Value build_plus(Interpreter&, Call&);
Value build_par(Interpreter&, Call&);
Value build_zip(Interpreter&, Call&);
Value build_monad(Interpreter&, Call&);

// forms_generate.cpp
Value build_generate(Interpreter&, Call&);
Value build_repeat(Interpreter&, Call&);
Value build_map(Interpreter&, Call&);
Value build_extract(Interpreter&, Call&);
Value build_combine(Interpreter&, Call&);

// forms_files.cpp
Value build_file(Interpreter&, Call&);
Value build_filen(Interpreter&, Call&);
Value build_fetch(Interpreter&, Call&);
Value build_fetchn(Interpreter&, Call&);
Value build_fetchb(Interpreter&, Call&);

// forms_values.cpp
Value build_format(Interpreter&, Call&);
Value build_let(Interpreter&, Call&);
void plan_let(Interpreter&, Call&);

// forms_lists.cpp
Value build_list(Interpreter&, Call&);
Value build_concat(Interpreter&, Call&);
Value build_length(Interpreter&, Call&);
Value build_take(Interpreter&, Call&);
Value build_prefix(Interpreter&, Call&);
Value build_foreach(Interpreter&, Call&);
void plan_foreach(Interpreter&, Call&);
Value build_lambda(Interpreter&, Call&);
void plan_lambda(Interpreter&, Call&);
Value build_chunk(Interpreter&, Call&);
void plan_chunk(Interpreter&, Call&);

// forms_retrieval.cpp
Value build_document(Interpreter&, Call&);
Value build_binary(Interpreter&, Call&);
Value build_augment(Interpreter&, Call&);
Value build_with(Interpreter&, Call&);

}  // namespace spnl::reader
