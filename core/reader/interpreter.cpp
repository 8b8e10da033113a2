#include "reader/interpreter.h"

#include <algorithm>
#include <utility>

#include "reader/bindings.h"
#include "reader/lexer.h"
#include "util/text.h"

namespace spnl::reader {
namespace {

constexpr size_t kStepBytes = 128;  // what one step costs, so that loops over nothing end too

Value build_option(Interpreter& interpreter, Call& call) {
  return {Option{std::string(interpreter.forms().head(call.form)), std::move(call.values)},
          interpreter.position(call)};
}

constexpr FormSpec kOption{"option", build_option};

Value value_of(const BindingValue& binding) {
  if (const auto* string = std::get_if<std::string>(&binding)) return {*string, {}, true};
  if (const auto* number = std::get_if<double>(&binding)) return {make_number(*number), {}};
  List list;
  for (const Document& document : std::get<std::vector<Document>>(binding))
    list.items.push_back({document, {}});
  return {std::move(list), {}};
}

}  // namespace

Interpreter::Interpreter(const Source& source, const Forms& forms, const ReadOptions& options)
    : source_(source), forms_(forms), options_(options) {
  scopes_.emplace_back();
  for (const auto& [name, value] : options.bindings) bind(0, name, value_of(value));
}

Query Interpreter::run() {
  if (forms_[0].kind != FormKind::kList) {
    Value value = atom(0, 0);
    return query(value);
  }
  open(0, 0, nullptr);
  while (true) {
    Call& call = calls_.back();
    if (call.next == call.steps.size() && call.spec->plan != nullptr) call.spec->plan(*this, call);
    if (call.next < call.steps.size()) {
      const Step step = call.steps[call.next++];
      charge(kStepBytes, forms_[step.form].position);
      if (forms_[step.form].kind == FormKind::kList)
        open(step.form, step.scope, &call);
      else if (call.named && !call.spec->mixed)
        fail_option(step.form, call);
      else
        call.values.push_back(atom(step.form, step.scope));
      continue;
    }
    Value value = call.spec->build(*this, call);
    calls_.pop_back();
    if (calls_.empty()) return query(value);
    calls_.back().values.push_back(std::move(value));
  }
}

void Interpreter::open(uint32_t form, uint32_t scope, const Call* parent) {
  if (calls_.size() > kDeepestNesting)
    source_.refuse(forms_[form].position, "forms are nested deeper than 10,000");
  Call call;
  call.spec = spec_of(form, parent);
  call.form = form;
  call.scope = scope;
  if (call.spec->plan == nullptr) plan_arguments(call);
  if (call.spec->takes_options == Options::kAlways) call.named = true;
  if (call.spec->takes_options == Options::kIfFirstIsOne && !call.steps.empty()) {
    const auto known = call.spec->options;
    call.named =
        std::find(known.begin(), known.end(), forms_.head(call.steps[0].form)) != known.end();
  }
  calls_.push_back(std::move(call));
}

void Interpreter::plan_arguments(Call& call) const {
  for (uint32_t argument : arguments(call)) call.steps.push_back({argument, call.scope});
}

const FormSpec* Interpreter::spec_of(uint32_t form, const Call* parent) const {
  const std::string_view head = forms_.head(form);
  const std::vector<uint32_t> parts = forms_.parts(form);
  if (parts.empty()) source_.fail(forms_[form].position, "'()'", "a form with a name");
  if (head.empty())
    source_.fail(forms_[parts[0]].position, forms_.describe(parts[0]), "the name of a form");
  if (parent != nullptr && parent->named) {
    const auto known = parent->spec->options;
    if (std::find(known.begin(), known.end(), head) != known.end()) return &kOption;
    if (!parent->spec->mixed) fail_option(form, *parent);
  }
  if (const FormSpec* spec = find_form(head)) return spec;
  std::vector<std::string> names = form_names();
  // "(g (modle m) ...)": the misspelt option made the call look positional.
  if (parent != nullptr)
    names.insert(names.end(), parent->spec->options.begin(), parent->spec->options.end());
  source_.fail(forms_[parts[0]].position, "unknown form " + text::quote(head),
               "a form of the language", text::did_you_mean(head, names));
}

void Interpreter::fail_option(uint32_t form, const Call& parent) const {
  const auto known = parent.spec->options;
  const std::string expected = "an option of '" + std::string(parent.spec->name) + "'";
  std::string all;
  for (std::string_view name : known) all += (all.empty() ? "" : ", ") + std::string(name);
  const std::string_view head = forms_.head(form);
  if (head.empty())
    source_.fail(forms_[form].position, forms_.describe(form), expected + " in parentheses",
                 "options are " + all);
  const std::string near = text::did_you_mean(head, {known.begin(), known.end()});
  source_.fail(forms_[form + 1].position, "unknown option " + text::quote(head), expected,
               near.empty() ? "options are " + all : near);
}

Value Interpreter::atom(uint32_t index, uint32_t scope) {
  const Form& form = forms_[index];
  const std::string_view inside = forms_.text(index);
  charge(inside.size(), form.position);
  switch (form.kind) {
    case FormKind::kString:
      return {unescape(inside), form.position};
    case FormKind::kRawString:
      return {std::string(inside), form.position};
    case FormKind::kNumber: {
      const std::optional<Number> number = parse_number(inside);
      if (!number)
        source_.fail(form.position, "number " + text::quote(inside) + " out of range",
                     "a number that a double can hold");
      return {*number, form.position};
    }
    default:
      break;
  }
  const Binding* binding = find(scope, inside);
  if (binding == nullptr) fail_unbound(index, scope);
  charge(binding->weight, form.position);
  Value value = binding->value;
  value.position = form.position;
  return value;
}

void Interpreter::fail_unbound(uint32_t index, uint32_t scope) const {
  const std::string name(forms_.text(index));
  std::string hint = unbound_hint(name, names(scope));
  if (find_form(name) != nullptr)
    hint = "forms are written in parentheses: (" + name + " ...)";
  else if (name.starts_with('\''))
    hint = "strings stand between double quotes";
  else if (hint.empty())
    hint = "bind it with --set NAME=VALUE, or quote it to make it a string";
  source_.fail(forms_[index].position, "unbound symbol " + text::quote(name), "a bound one", hint);
}

uint32_t Interpreter::new_scope(uint32_t parent, SourcePosition position) {
  charge(sizeof(Scope) + sizeof(Binding), position);
  scopes_.push_back({parent, {}});
  return static_cast<uint32_t>(scopes_.size() - 1);
}

std::vector<std::string> Interpreter::names(uint32_t scope) const {
  std::vector<std::string> names;
  while (true) {
    for (const Binding& binding : scopes_[scope].bindings) names.push_back(binding.name);
    if (scope == 0) return names;
    scope = scopes_[scope].parent;
  }
}

void Interpreter::bind(uint32_t scope, std::string_view name, Value value) {
  const size_t bytes = weight(value);
  scopes_[scope].bindings.push_back({std::string(name), std::move(value), bytes});
}

const Interpreter::Binding* Interpreter::find(uint32_t scope, std::string_view name) const {
  while (true) {
    const auto& bindings = scopes_[scope].bindings;
    for (auto binding = bindings.rbegin(); binding != bindings.rend(); ++binding)
      if (binding->name == name) return &*binding;
    if (scope == 0) return nullptr;
    scope = scopes_[scope].parent;
  }
}

const Value* Interpreter::lookup(uint32_t scope, std::string_view name) const {
  const Binding* binding = find(scope, name);
  return binding == nullptr ? nullptr : &binding->value;
}

void Interpreter::charge(size_t bytes, SourcePosition position) {
  charged_ += bytes;
  if (charged_ > kMostBytes)
    source_.refuse(position, "the query grows beyond 512 MiB while it is read");
}

std::vector<uint32_t> Interpreter::arguments(const Call& call) const {
  std::vector<uint32_t> parts = forms_.parts(call.form);
  parts.erase(parts.begin());
  return parts;
}

}  // namespace spnl::reader
