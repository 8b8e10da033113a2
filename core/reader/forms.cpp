#include "reader/forms.h"

namespace spnl::reader {
namespace {

constexpr std::string_view kGenerateOptions[] = {
    "model", "input", "max-tokens",     "temperature", "seed", "top-p",
    "top-k", "min-p", "repeat-penalty", "stop",        "spans"};
constexpr std::string_view kMapOptions[] = {"model",          "inputs", "max-tokens", "temperature",
                                            "seed",           "top-p",  "top-k",      "min-p",
                                            "repeat-penalty", "stop",   "spans"};
constexpr std::string_view kRepeatOptions[] = {"n"};

/// Adding a form to the language is adding a line here.
constexpr FormSpec kForms[] = {
    {"user", build_user},
    {"system", build_system},
    {"assistant", build_assistant},
    {"print", build_print},
    {"ask", build_ask},
    {"read", build_ask},
    {"seq", build_seq},
    {"cross", build_cross},
    {"plus", build_plus},
    {"par", build_par},
    {"zip", build_zip},
    {"monad", build_monad},
    {"g", build_generate, nullptr, kGenerateOptions, Options::kIfFirstIsOne},
    {"generate", build_generate, nullptr, kGenerateOptions, Options::kAlways},
    {"repeat", build_repeat, nullptr, kRepeatOptions, Options::kIfFirstIsOne, true},
    {"map", build_map, nullptr, kMapOptions, Options::kIfFirstIsOne},
    {"file", build_file},
    {"filen", build_filen},
    {"fetch", build_fetch},
    {"fetchn", build_fetchn},
    {"fetchb", build_fetchb},
    {"list", build_list},
    {"concat", build_concat},
    {"length", build_length},
    {"format", build_format},
    {"prefix", build_prefix},
    {"let", build_let, plan_let},
    {"foreach", build_foreach, plan_foreach},
    {"take", build_take},
    {"chunk", build_chunk, plan_chunk},
    {"lambda", build_lambda, plan_lambda},
    {"document", build_document},
    {"binary", build_binary},
    {"augment", build_augment},
    {"with", build_with},
    {"extract", build_extract},
    {"combine", build_combine},
};

}  // namespace

const FormSpec* find_form(std::string_view name) {
  for (const FormSpec& form : kForms)
    if (form.name == name) return &form;
  return nullptr;
}

std::vector<std::string> form_names() {
  std::vector<std::string> names;
  for (const FormSpec& form : kForms) names.emplace_back(form.name);
  return names;
}

}  // namespace spnl::reader
