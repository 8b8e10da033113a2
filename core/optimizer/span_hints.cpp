#include "optimizer/span_hints.h"

#include <algorithm>

#include "optimizer/sampling.h"

namespace spnl {
namespace {

constexpr uint64_t kBytesPerToken = 4;  ///< roughly, of English text
constexpr uint64_t kWorthwhileTokens = 256;

/// The pluses of one generate's prompt, as far as they are written in the query.
struct Groups {
  bool any = false;
  bool system_before = false;  ///< a system message stands before the first
  bool outputs = false;        ///< of generates are in them
  size_t fragments = 0;
  uint64_t bytes = 0;
  uint64_t tokens() const { return bytes / kBytesPerToken; }
};

class Finder {
 public:
  explicit Finder(const NodeTable& table) : table_(table) {}

  Groups find(uint32_t generate) {
    groups_ = {};
    add_children(generate, false);
    while (!open_.empty()) {
      const auto [node, in_plus] = open_.back();
      open_.pop_back();
      visit(node, in_plus);
    }
    return groups_;
  }

 private:
  void add_children(uint32_t index, bool in_plus) {
    const NodeTable::Node& node = table_.nodes[index];
    for (uint32_t i = node.child_count; i-- > 0;) open_.emplace_back(node.first_child + i, in_plus);
  }

  void visit(uint32_t index, bool in_plus) {
    const NodeTable::Node& node = table_.nodes[index];
    const Query& query = *node.query;
    const bool is_plus = std::holds_alternative<Plus>(query.node);
    if (std::holds_alternative<Plus>(table_.nodes[node.parent].query->node) && !is_plus)
      ++groups_.fragments;
    if (std::holds_alternative<Monad>(query.node)) return;
    if (model_use(query)) {
      groups_.outputs |= in_plus;
      return;
    }
    if (const auto* system = std::get_if<System>(&query.node)) {
      groups_.system_before |= !groups_.any && !system->text.empty();
      add_text(system->text, in_plus);
    } else if (const auto* user = std::get_if<User>(&query.node)) {
      add_text(user->text, in_plus);
    } else if (const auto* assistant = std::get_if<Assistant>(&query.node)) {
      add_text(assistant->text, in_plus);
    }
    groups_.any |= is_plus;
    add_children(index, in_plus || is_plus);
  }

  void add_text(const std::string& text, bool in_plus) {
    if (in_plus) groups_.bytes += text.size();
  }

  const NodeTable& table_;
  Groups groups_;
  std::vector<std::pair<uint32_t, bool>> open_;
};

std::string counted(uint64_t count, const char* thing) {
  return std::to_string(count) + " " + thing + (count == 1 ? "" : "s");
}

}  // namespace

std::vector<std::string> span_hints(const NodeTable& table, const CapabilitiesOf& capabilities,
                                    const EvaluateOptions& options) {
  std::vector<std::string> hints;
  Finder finder(table);
  for (uint32_t i = 0; i < table.nodes.size(); ++i) {
    const auto use = model_use(*table.nodes[i].query);
    if (!use || use->map) continue;
    const Groups groups = finder.find(i);
    if (!groups.any) continue;
    const std::string& model = use->model->empty() ? options.default_model : *use->model;
    const std::string mode = effective_sampling(*use->sampling, options).spans;
    const bool exact = mode.empty() || mode == "exact";
    const std::string node = "node " + table.path(i) + ": ";
    const auto abilities = capabilities(model);
    if (std::find(abilities.begin(), abilities.end(), "spans") == abilities.end()) {
      if (!exact)
        hints.push_back(node + model + " does not cache spans, so '" + mode +
                        "' is run as 'exact'");
      continue;
    }
    if (exact && groups.tokens() < kWorthwhileTokens) continue;
    if (exact)
      hints.push_back(
          node + "its plus holds about " + counted(groups.tokens(), "token") + " in " +
          counted(groups.fragments, "fragment") +
          "; --spans block computes each once in whatever order it comes again, --spans "
          "blend:16 all but its first 16 tokens; both change answers");
    const std::string& context = options.request.span_context;
    if (!groups.system_before && (context.empty() || context == "preamble"))
      hints.push_back(node +
                      "no system message stands before its plus, so with block and blend a "
                      "fragment sees only what the model's template begins with; give one");
    if (!exact && groups.outputs)
      hints.push_back(node + "outputs that are compared do not see each other under '" + mode +
                      "', which may change the choice; (spans \"exact\") is the safe form");
  }
  return hints;
}

}  // namespace spnl
