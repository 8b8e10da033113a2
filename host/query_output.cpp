#include "query_output.h"

#include "spnl/error.h"
#include "spnl/print.h"

namespace spnl::host {

QueryForm query_form(const Arguments& args) {
  const bool json = args.has("json");
  const std::string name = args.get("to").value_or(json ? "json" : "lisp");
  if (json && name != "json")
    throw Error(ErrorCode::kUsage, "--json and --to " + name + " contradict each other",
                "command line", "give one of them");
  static constexpr std::pair<const char*, QueryForm> kForms[] = {{"lisp", QueryForm::kLisp},
                                                                 {"json", QueryForm::kJson},
                                                                 {"yaml", QueryForm::kYaml},
                                                                 {"tree", QueryForm::kTree}};
  for (const auto& [known, form] : kForms)
    if (name == known) return form;
  throw Error(ErrorCode::kUsage, "'" + name + "' is no way to write a query", "--to",
              "give lisp, json, yaml or tree");
}

std::string query_text(const Query& query, QueryForm form) {
  switch (form) {
    case QueryForm::kJson:
      return print_json(query, 2) + "\n";
    case QueryForm::kYaml:
      return print_yaml(query) + "\n";
    case QueryForm::kTree:
      return print_tree(query) + "\n";
    case QueryForm::kLisp:
      break;
  }
  return print_lisp(query) + "\n";
}

}  // namespace spnl::host
