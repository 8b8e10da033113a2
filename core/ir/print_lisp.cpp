#include <algorithm>
#include <charconv>
#include <string_view>
#include <utility>
#include <vector>

#include "ir/numbers.h"
#include "ir/traverse.h"
#include "spnl/print.h"
#include "util/text.h"

namespace spnl {
namespace {

constexpr size_t kColumns = 100;
constexpr size_t kDeepestIndent =
    80;  // deeper lines stay there, or a deep tree would print as spaces

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

std::string options(const std::string& model, const Sampling& sampling) {
  std::string out;
  const auto add = [&](const char* name, const std::string& value) {
    out += std::string(" (") + name + " " + value + ")";
  };
  if (!model.empty()) add("model", quoted(model));
  if (sampling.max_tokens) add("max-tokens", std::to_string(*sampling.max_tokens));
  if (sampling.temperature) add("temperature", ir::number_text(*sampling.temperature));
  if (sampling.seed) add("seed", std::to_string(*sampling.seed));
  if (sampling.top_k) add("top-k", std::to_string(*sampling.top_k));
  if (sampling.top_p) add("top-p", ir::number_text(*sampling.top_p));
  if (sampling.min_p) add("min-p", ir::number_text(*sampling.min_p));
  if (sampling.repeat_penalty) add("repeat-penalty", ir::number_text(*sampling.repeat_penalty));
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
  if (map.inputs.empty()) out += " (list)";  // an option needs a value
  return out + ")";
}

std::string fetch(const Fetch& node) {
  return std::string(node.binary  ? "(fetchb "
                     : node.named ? "(fetchn "
                                  : "(fetch ") +
         quoted(node.location) + ")";
}

std::string hexadecimal(const std::vector<uint8_t>& bytes) {
  constexpr const char* kDigits = "0123456789abcdef";
  std::string out;
  for (uint8_t byte : bytes) (out += kDigits[byte >> 4]) += kDigits[byte & 15];
  return out;
}

std::string document(const Document& node) {
  if (const auto* bytes = std::get_if<std::vector<uint8_t>>(&node.content))
    return "(binary " + quoted(node.name) + " " + quoted(hexadecimal(*bytes)) + ")";
  const auto* text = std::get_if<std::string>(&node.content);
  return "(document " + quoted(node.name) + " " +
         (text != nullptr ? quoted(*text) : fetch(std::get<Fetch>(node.content))) + ")";
}

/// What is written before and after the children of a node.
struct Frame {
  std::string head, tail;
};

Frame frame(const Query& query) {
  return std::visit(
      [](const auto& node) -> Frame {
        using T = std::remove_cvref_t<decltype(node)>;
        const auto leaf = [](const char* name, const std::string& text) -> Frame {
          return {std::string("(") + name + " " + quoted(text) + ")", ""};
        };
        const auto generate = [](const Generate& g) {
          return "(generate" + options(g.model, g.sampling) + " (input";
        };
        if constexpr (ir::is_any_of<T, User>) return leaf("user", node.text);
        if constexpr (ir::is_any_of<T, System>) return leaf("system", node.text);
        if constexpr (ir::is_any_of<T, Assistant>) return leaf("assistant", node.text);
        if constexpr (ir::is_any_of<T, Print>) return leaf("print", node.text);
        if constexpr (ir::is_any_of<T, Ask>) return leaf("ask", node.prompt);
        if constexpr (ir::is_any_of<T, Fetch>) return {fetch(node), ""};
        if constexpr (ir::is_any_of<T, Map>) return {map_head(node) + ")", ""};
        if constexpr (ir::is_any_of<T, Seq>) return {"(seq", ")"};
        if constexpr (ir::is_any_of<T, Cross>) return {"(cross", ")"};
        if constexpr (ir::is_any_of<T, Plus>) return {"(plus", ")"};
        if constexpr (ir::is_any_of<T, Par>) return {"(par", ")"};
        if constexpr (ir::is_any_of<T, Zip>) return {"(zip", ")"};
        if constexpr (ir::is_any_of<T, Monad>) return {"(monad", ")"};
        if constexpr (ir::is_any_of<T, Generate>) return {generate(node), "))"};
        if constexpr (ir::is_any_of<T, Repeat>)
          return {"(repeat " + std::to_string(node.n) + " " + generate(node.generate), ")))"};
        if constexpr (ir::is_any_of<T, Augment>)
          return {"(augment " + quoted(node.embedding_model), " " + document(node.document) + ")"};
      },
      query.node);
}

/// A node in the order of printing: each before its children, which end where `end` says.
struct Piece {
  Frame frame;
  size_t end = 0;
  size_t width = 0;  ///< of all of it on one line, in characters
};

/// The pieces of a tree, without recursion.
std::vector<Piece> pieces_of(const Query& query) {
  std::vector<Piece> pieces;
  std::vector<size_t> parents;
  std::vector<std::pair<const Query*, size_t>> open{{&query, 0}};
  std::vector<const Query*> children;
  while (!open.empty()) {
    const auto [node, parent] = open.back();
    open.pop_back();
    const size_t index = pieces.size();
    parents.push_back(parent);
    pieces.push_back({frame(*node), index + 1, 0});
    pieces.back().width =
        text::count(pieces.back().frame.head) + text::count(pieces.back().frame.tail);
    children.clear();
    ir::for_each_child(*node, [&](const Query& child) { children.push_back(&child); });
    for (size_t i = children.size(); i-- > 0;) open.emplace_back(children[i], index);
  }
  for (size_t i = pieces.size(); i-- > 1;) {
    Piece& parent = pieces[parents[i]];
    parent.end = std::max(parent.end, pieces[i].end);
    parent.width += 1 + pieces[i].width;
  }
  return pieces;
}

}  // namespace

std::string print_lisp(const Query& query) {
  const std::vector<Piece> pieces = pieces_of(query);
  struct Open {
    size_t piece, indent;
    bool flat;
  };
  std::string out;
  std::vector<Open> open;
  for (size_t i = 0; i < pieces.size(); ++i) {
    const bool flat_parent = !open.empty() && open.back().flat;
    const size_t indent = open.empty() ? 0 : open.back().indent + 2;
    if (flat_parent)
      out += ' ';
    else if (i > 0)
      (out += '\n').append(std::min(indent, kDeepestIndent), ' ');
    out += pieces[i].frame.head;
    open.push_back({i, indent, flat_parent || indent + pieces[i].width <= kColumns});
    for (; !open.empty() && pieces[open.back().piece].end == i + 1; open.pop_back())
      out += pieces[open.back().piece].frame.tail;
  }
  return out;
}

}  // namespace spnl
