#pragma once
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "spnl/query.h"

namespace spnl {

/// What a symbol stands for: a text, a number, or a list of documents, which may be read when the
/// query is evaluated: `Document{path, Fetch{path, true, true}}`.
using BindingValue = std::variant<std::string, double, std::vector<Document>>;

struct ReadOptions {
  std::string source_name = "query";             ///< for messages: "file.spnl", "-c"
  std::string folder = ".";                      ///< `file` forms are relative to it
  std::map<std::string, BindingValue> bindings;  ///< symbols: model, prompt, n, temperature, ...
  std::function<void(const std::string&)>
      on_note;  ///< one line about a reading that may surprise; may be empty
};

/// The ways to write a query. All of them can say every query.
enum class Spelling { kLisp, kJson, kYaml };

/// By the extension: .json is JSON, .yaml and .yml are YAML (in any case), all else is Lisp.
Spelling spelling_of(const std::filesystem::path& path);

/// For text without a file name: JSON when its first character that is not blank is '{' or '[',
/// else Lisp.
Spelling guess_spelling(std::string_view text);

/// Reads one query of at most 100 MB that nests at most 10,000 deep. `text` must be UTF-8 without
/// zero bytes. Throws Error(kBadQuery) whose where() is `source_name:line:column` of the smallest
/// wrong thing: found X, expected Y, with near names where one is unknown. Uses constant stack.
Query read_query(std::string_view text, Spelling spelling, const ReadOptions& options);

/// One Lisp form (language specification, section 3).
Query read_lisp(std::string_view text, const ReadOptions& options);

/// One JSON value (section 2). `{{name}}` inside strings is filled from the bindings; a string that
/// is only that is a number where a number is wanted. A string in which every pair of braces is
/// written with an escape (`{\u007b`) is taken as it is.
Query read_json(std::string_view text, const ReadOptions& options);

/// One YAML document; means what the same tree means in JSON. The escape of a brace is `\x7b`
/// between double quotes. At most 500 levels deep, which is the parser's own limit.
Query read_yaml(std::string_view text, const ReadOptions& options);

}  // namespace spnl
