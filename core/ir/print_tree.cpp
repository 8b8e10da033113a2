#include <iterator>
#include <string_view>
#include <utility>
#include <vector>

#include "ir/numbers.h"
#include "ir/traverse.h"
#include "spnl/print.h"
#include "util/text.h"

namespace spnl {
namespace {

constexpr size_t kDeepest = 100;   // levels that anybody may want to see
constexpr size_t kTextShown = 60;  // characters

std::string shown(std::string_view text) { return text::quote(text, kTextShown); }

std::string shown(const std::string& model, const Sampling& sampling) {
  std::string out = " " + (model.empty() ? "(no model)" : model);
  const auto add = [&](const char* name, const std::string& value) {
    ((out += "  ") += name) += " " + value;
  };
  if (sampling.temperature) add("temperature", ir::number_text(*sampling.temperature));
  if (sampling.max_tokens) add("max-tokens", std::to_string(*sampling.max_tokens));
  if (!sampling.spans.empty()) add("spans", sampling.spans);
  if (sampling.seed) add("seed", std::to_string(*sampling.seed));
  if (sampling.top_k) add("top-k", std::to_string(*sampling.top_k));
  if (sampling.top_p) add("top-p", ir::number_text(*sampling.top_p));
  if (sampling.min_p) add("min-p", ir::number_text(*sampling.min_p));
  for (const std::string& stop : sampling.stop) add("stop", shown(stop));
  if (sampling.repeat_penalty) add("repeat-penalty", ir::number_text(*sampling.repeat_penalty));
  return out;
}

std::string shown(const Document& document) {
  std::string out = "document " + shown(document.name);
  if (const auto* text = std::get_if<std::string>(&document.content))
    out += ", " + std::to_string(text->size()) + " bytes of text";
  else if (const auto* bytes = std::get_if<std::vector<uint8_t>>(&document.content))
    out += ", " + std::to_string(bytes->size()) + " bytes";
  else
    out += ", fetched";
  return out;
}

std::string label(const Query& query) {
  return std::visit(
      [](const auto& node) -> std::string {
        using T = std::remove_cvref_t<decltype(node)>;
        if constexpr (ir::is_any_of<T, User>) return "user " + shown(node.text);
        if constexpr (ir::is_any_of<T, System>) return "system " + shown(node.text);
        if constexpr (ir::is_any_of<T, Assistant>) return "assistant " + shown(node.text);
        if constexpr (ir::is_any_of<T, Print>) return "print " + shown(node.text);
        if constexpr (ir::is_any_of<T, Ask>) return "ask " + shown(node.prompt);
        if constexpr (ir::is_any_of<T, Fetch>) return "fetch " + shown(node.location);
        if constexpr (ir::is_any_of<T, Seq>) return "seq";
        if constexpr (ir::is_any_of<T, Cross>) return "cross";
        if constexpr (ir::is_any_of<T, Plus>) return "plus";
        if constexpr (ir::is_any_of<T, Par>) return "par";
        if constexpr (ir::is_any_of<T, Zip>) return "zip";
        if constexpr (ir::is_any_of<T, Monad>) return "monad";
        if constexpr (ir::is_any_of<T, Generate>)
          return "generate" + shown(node.model, node.sampling);
        if constexpr (ir::is_any_of<T, Repeat>)
          return "repeat " + std::to_string(node.n) + " \xC3\x97 generate" +
                 shown(node.generate.model, node.generate.sampling);
        if constexpr (ir::is_any_of<T, Map>) return "map" + shown(node.model, node.sampling);
        if constexpr (ir::is_any_of<T, Augment>)
          return "augment " + node.embedding_model + "  " + shown(node.document);
      },
      query.node);
}

/// Draws lines from the top; each line knows the bars that run beside it.
class Tree {
 public:
  std::string draw(const Query& query) {
    std::string out = label(query);
    push_below(query, "", 1);
    while (!open_.empty()) {
      const Line line = std::move(open_.back());
      open_.pop_back();
      out += '\n' + line.bars + (line.last ? kCorner : kBranch);
      out += line.query == nullptr ? line.text : label(*line.query);
      if (line.query != nullptr)
        push_below(*line.query, line.bars + (line.last ? kNoBar : kBar), line.level + 1);
    }
    return out;
  }

 private:
  static constexpr const char* kBranch = "\xE2\x94\x9C\xE2\x94\x80 ";
  static constexpr const char* kCorner = "\xE2\x94\x94\xE2\x94\x80 ";
  static constexpr const char* kBar = "\xE2\x94\x82  ";
  static constexpr const char* kNoBar = "   ";

  struct Line {
    const Query* query = nullptr;  ///< null: the text alone
    std::string text, bars;
    size_t level = 0;
    bool last = true;
  };

  /// Puts the lines below a node on the list, in reverse.
  void push_below(const Query& query, const std::string& bars, size_t level) {
    std::vector<Line> lines;
    if (const auto* map = std::get_if<Map>(&query.node))
      for (const std::string& input : map->inputs)
        lines.push_back({.text = shown(input), .bars = bars, .level = level, .last = false});
    ir::for_each_child(query, [&](const Query& child) {
      lines.push_back({.query = &child, .text = "", .bars = bars, .level = level, .last = false});
    });
    if (lines.empty()) return;
    if (level > kDeepest) lines = {{.text = "deeper levels are left out", .bars = bars}};
    lines.back().last = true;
    open_.insert(open_.end(), std::make_move_iterator(lines.rbegin()),
                 std::make_move_iterator(lines.rend()));
  }

  std::vector<Line> open_;
};

}  // namespace

std::string print_tree(const Query& query) { return Tree().draw(query); }

}  // namespace spnl
