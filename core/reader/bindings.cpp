#include "reader/bindings.h"

#include <optional>

#include "reader/value.h"
#include "util/text.h"

namespace spnl::reader {
namespace {

/// "{{name}}" at the start of `text`, blanks around the name allowed.
struct Hole {
  std::string_view name;
  size_t length = 0;  ///< 0: there is no hole
};

Hole hole_at(std::string_view text) {
  if (!text.starts_with("{{")) return {};
  const size_t end = text.find("}}");
  if (end == std::string_view::npos) return {};
  std::string_view name = text.substr(2, end - 2);
  while (name.starts_with(' ')) name.remove_prefix(1);
  while (name.ends_with(' ')) name.remove_suffix(1);
  if (name.empty() || name.find_first_of(" \t\r\n{}\"'") != std::string_view::npos) return {};
  return {name, end + 2};
}

/// As templates show it; no value for documents.
std::optional<std::string> text_of(const BindingValue& value) {
  if (const auto* string = std::get_if<std::string>(&value)) return *string;
  if (const auto* number = std::get_if<double>(&value)) return print_number(make_number(*number));
  return std::nullopt;
}

}  // namespace

std::string unbound_hint(const std::string& name, std::vector<std::string> known) {
  if (name == "model") return "give it with --model";
  if (name == "prompt") return "give it with --prompt";
  if (name == "documents") return "give them with --document";
  if (name == "embedding_model") return "give it with --embedding-model";
  for (const char* usual :
       {"model", "prompt", "n", "temperature", "max_tokens", "chunk_size", "embedding_model"})
    known.emplace_back(usual);
  return text::did_you_mean(name, known);
}

std::string_view hole_name(std::string_view text) {
  const Hole hole = hole_at(text);
  return hole.length == text.size() ? hole.name : std::string_view();
}

std::string fill_holes(const Source& source, const ReadOptions& options, std::string_view text,
                       size_t byte, SourcePosition position) {
  // The braces stand in the source in the same order, whatever escapes stand between them.
  size_t written = byte;
  const auto place = [&] {
    return written == std::string_view::npos ? position : PositionFinder(source.text).at(written);
  };
  std::string out;
  size_t done = 0;
  for (size_t at = 0; (at = text.find("{{", done)) != std::string_view::npos;) {
    const Hole hole = hole_at(text.substr(at));
    written = source.text.find("{{", written);
    if (hole.length == 0)
      source.fail(place(), "'{{' that begins no {{name}}", "{{name}}",
                  "a brace that is meant is written \\u007b in JSON, \\x7b in YAML");
    const std::string name(hole.name);
    const auto bound = options.bindings.find(name);
    if (bound == options.bindings.end()) {
      std::vector<std::string> known;
      for (const auto& [other, value] : options.bindings) known.push_back(other);
      const std::string hint = unbound_hint(name, known);
      source.fail(place(), "undefined name " + text::quote(name), "a bound one",
                  hint.empty() ? "bind it with --set NAME=VALUE" : hint);
    }
    const auto filled = text_of(bound->second);
    if (!filled) source.fail(place(), "a list of documents", "a string or a number");
    (out += text.substr(done, at - done)) += *filled;
    done = at + hole.length;
    if (written != std::string_view::npos) written += hole.length;
  }
  return out += text.substr(done);
}

}  // namespace spnl::reader
