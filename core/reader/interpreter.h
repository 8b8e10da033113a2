#pragma once
#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "reader/form.h"
#include "reader/value.h"
#include "spnl/reader.h"

namespace spnl::reader {

class Interpreter;
struct Call;

/// When the parts of a form are options such as "(model ...)" rather than forms.
enum class Options { kNever, kIfFirstIsOne, kAlways };

/// A form of the language. Its arguments are read first, left to right; `build` makes its value of
/// theirs.
struct FormSpec {
  std::string_view name;
  Value (*build)(Interpreter&, Call&);
  /// If set, nothing is read by itself: called before the first and after every planned step, it
  /// may add steps to the call (bodies of let, foreach, lambda) until it adds none.
  void (*plan)(Interpreter&, Call&) = nullptr;
  std::span<const std::string_view> options = {};
  Options takes_options = Options::kNever;
  bool mixed = false;  ///< forms that are no options may stand beside them
};

/// All forms of the language, by name (forms.cpp).
const FormSpec* find_form(std::string_view name);
std::vector<std::string> form_names();

/// A form to read and the scope to read it in.
struct Step {
  uint32_t form = 0, scope = 0;
};

/// A form being read.
struct Call {
  const FormSpec* spec = nullptr;
  uint32_t form = 0, scope = 0;
  bool named = false;  ///< its list arguments are options
  std::vector<Step> steps;
  size_t next = 0;
  uint32_t phase = 0;        ///< for `plan`
  size_t results_apart = 1;  ///< for `chunk`: forms of its function
  Values values;             ///< of the steps done
};

/// Turns forms into a query. Works with a list of open calls instead of recursion. One use.
class Interpreter {
 public:
  Interpreter(const Source& source, const Forms& forms, const ReadOptions& options);
  Query run();

  // For the forms' builders. Failures throw Error(kBadQuery) at the value's or form's place.
  const Source& source() const { return source_; }
  const Forms& forms() const { return forms_; }
  const ReadOptions& options() const { return options_; }
  SourcePosition position(const Call& call) const { return forms_[call.form].position; }
  std::vector<uint32_t> arguments(const Call& call) const;  ///< without the head
  [[noreturn]] void fail(const Value& found, const std::string& expected,
                         const std::string& hint = "") const;
  /// "found N arguments, expected USAGE" unless the call has from `least` to `most` values.
  void expect_count(const Call& call, size_t least, size_t most, const std::string& usage) const;
  std::string string(Value& value, const std::string& expected = "a string") const;
  double number(const Value& value, double least, double most, const std::string& expected) const;
  uint64_t whole(const Value& value, uint64_t least, uint64_t most,
                 const std::string& expected) const;
  Query query(Value& value) const;  ///< a string becomes a user message, a list a seq
  void append_queries(Value& value, QueryList& to) const;  ///< a list gives its elements
  /// A JSON array of strings becomes a list.
  List& list(Value& value) const;
  bool holds_json_array(const Value& value) const;  ///< false for arrays of other things
  std::string_view symbol(uint32_t form) const;
  /// The same as expect_count() for the arguments as written.
  void expect_arguments(const Call& call, size_t least, size_t most,
                        const std::string& usage) const;

  uint32_t new_scope(uint32_t parent, SourcePosition position);
  void bind(uint32_t scope, std::string_view name, Value value);
  const Value* lookup(uint32_t scope,
                      std::string_view name) const;      ///< scopes, then bindings; else null
  std::vector<std::string> names(uint32_t scope) const;  ///< of all that is bound there
  /// Counts what reading makes; refuses queries that grow beyond all measure (copies of copies).
  void charge(size_t bytes, SourcePosition position);

 private:
  struct Binding {
    std::string name;
    Value value;
    size_t weight = 0;
  };
  struct Scope {
    uint32_t parent = 0;
    std::vector<Binding> bindings;
  };

  void open(uint32_t form, uint32_t scope, const Call* parent);
  void plan_arguments(Call& call) const;
  const FormSpec* spec_of(uint32_t form, const Call* parent) const;
  [[noreturn]] void fail_option(uint32_t form, const Call& parent) const;
  [[noreturn]] void fail_unbound(uint32_t form, uint32_t scope) const;
  Value atom(uint32_t form, uint32_t scope);
  const Binding* find(uint32_t scope, std::string_view name) const;

  const Source& source_;
  const Forms& forms_;
  const ReadOptions& options_;
  std::deque<Scope>
      scopes_;  ///< 0 holds the bindings given from outside; none is freed before the end
  std::vector<Call> calls_;
  size_t charged_ = 0;
};

}  // namespace spnl::reader
