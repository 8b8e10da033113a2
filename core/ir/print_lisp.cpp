#include <algorithm>
#include <charconv>
#include <string_view>
#include <utility>
#include <vector>

#include "ir/traverse.h"
#include "spnl/print.h"

namespace spnl {
namespace {

constexpr size_t kDeepestIndent =
    40;  // deeper lines stay at this indent, or a deep tree would print as spaces

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (char c : text) {
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\t':
        out += "\\t";
        break;
      case '\r':
        out += "\\r";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
          char hex[4];
          const auto end = std::to_chars(hex, hex + sizeof hex, static_cast<unsigned char>(c), 16);
          out += "\\u{" + std::string(hex, end.ptr) + "}";
        } else {
          out += c;
        }
    }
  }
  return out + '"';
}

std::string number(double value) {
  char buffer[32];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value);
  std::string text(buffer, end.ptr);
  // The grammar of numbers has no plus sign.
  if (const size_t plus = text.find('+'); plus != std::string::npos) text.erase(plus, 1);
  return text;
}

std::string options(const std::string& model, const Sampling& sampling) {
  std::string out;
  const auto add = [&](const char* name, const std::string& value) {
    out += std::string(" (") + name + " " + value + ")";
  };
  if (!model.empty()) add("model", quoted(model));
  if (sampling.max_tokens) add("max-tokens", std::to_string(*sampling.max_tokens));
  if (sampling.temperature) add("temperature", number(*sampling.temperature));
  if (sampling.seed) add("seed", std::to_string(*sampling.seed));
  if (sampling.top_k) add("top-k", std::to_string(*sampling.top_k));
  if (sampling.top_p) add("top-p", number(*sampling.top_p));
  if (sampling.min_p) add("min-p", number(*sampling.min_p));
  if (sampling.repeat_penalty) add("repeat-penalty", number(*sampling.repeat_penalty));
  if (!sampling.stop.empty()) {
    std::string all;
    for (const std::string& stop : sampling.stop) all += (all.empty() ? "" : " ") + quoted(stop);
    add("stop", all);
  }
  if (!sampling.spans.empty()) add("spans", quoted(sampling.spans));
  return out;
}

std::string map_head(const Map& map) {
  std::string out = "(map" + options(map.model, map.sampling) + " (inputs";
  for (const std::string& input : map.inputs) out += " " + quoted(input);
  return out + ")";
}

/// What is written before the children, and the number of parentheses that close it.
std::pair<std::string, int> opening(const Query& query) {
  return std::visit(
      [](const auto& node) -> std::pair<std::string, int> {
        using T = std::remove_cvref_t<decltype(node)>;
        const auto leaf = [](const char* name, const std::string& text) {
          return std::pair(std::string("(") + name + " " + quoted(text), 1);
        };
        const auto generate = [](const Generate& g) {
          return "(generate" + options(g.model, g.sampling) + " (input";
        };
        if constexpr (ir::is_any_of<T, User>) return leaf("user", node.text);
        if constexpr (ir::is_any_of<T, System>) return leaf("system", node.text);
        if constexpr (ir::is_any_of<T, Assistant>) return leaf("assistant", node.text);
        if constexpr (ir::is_any_of<T, Print>) return leaf("print", node.text);
        if constexpr (ir::is_any_of<T, Ask>) return leaf("ask", node.prompt);
        if constexpr (ir::is_any_of<T, Fetch>)
          return leaf(node.binary ? "fetchb" : node.named ? "fetchn" : "fetch", node.location);
        if constexpr (ir::is_any_of<T, Seq>) return {"(seq", 1};
        if constexpr (ir::is_any_of<T, Cross>) return {"(cross", 1};
        if constexpr (ir::is_any_of<T, Plus>) return {"(plus", 1};
        if constexpr (ir::is_any_of<T, Par>) return {"(par", 1};
        if constexpr (ir::is_any_of<T, Zip>) return {"(zip", 1};
        if constexpr (ir::is_any_of<T, Monad>) return {"(monad", 1};
        if constexpr (ir::is_any_of<T, Generate>) return {generate(node), 2};
        if constexpr (ir::is_any_of<T, Repeat>)
          return {"(repeat " + std::to_string(node.n) + " " + generate(node.generate), 3};
        if constexpr (ir::is_any_of<T, Map>) return {map_head(node), 1};
        if constexpr (ir::is_any_of<T, Augment>)
          return {"(augment " + quoted(node.embedding_model) + " " + quoted(node.document.name), 1};
      },
      query.node);
}

}  // namespace

std::string print_lisp(const Query& query) {
  struct Item {
    const Query* query;
    size_t indent;
    int closing;  ///< parentheses of parents that end after this node
  };
  std::string out;
  std::vector<Item> open{{&query, 0, 0}};
  std::vector<const Query*> children;
  while (!open.empty()) {
    const Item item = open.back();
    open.pop_back();
    if (!out.empty()) out += '\n' + std::string(std::min(item.indent, kDeepestIndent) * 2, ' ');
    const auto [text, parentheses] = opening(*item.query);
    out += text;
    children.clear();
    ir::for_each_child(*item.query, [&](const Query& child) { children.push_back(&child); });
    const int closing = item.closing + parentheses;
    if (children.empty()) out.append(static_cast<size_t>(closing), ')');
    for (size_t i = children.size(); i-- > 0;)
      open.push_back({children[i], item.indent + 1, i + 1 == children.size() ? closing : 0});
  }
  return out;
}

}  // namespace spnl
