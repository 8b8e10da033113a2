#include "prompt_render.h"

#define RAPIDJSON_HAS_STDSTRING 1
#include <rapidjson/document.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "spnl/modelkit/error.h"

namespace spnl::modelkit {
namespace {

constexpr std::string_view kSpaces = " \t\n\v\f\r";

const char* role_name(int32_t role) {
  switch (role) {
    case SPNL_ROLE_SYSTEM:
      return "system";
    case SPNL_ROLE_ASSISTANT:
      return "assistant";
    case SPNL_ROLE_TOOL:
      return "tool";
    default:
      return "user";
  }
}

std::string content_of(const PromptMessage& message) {
  std::string content;
  for (size_t i = 0; i < message.parts.size(); ++i) {
    if (i > 0) content += kPartSeparator;
    content += message.parts[i].text;
  }
  return content;
}

std::string_view trim_left(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(kSpaces), text.size()));
  return text;
}

std::string_view trim_right(std::string_view text) {
  return text.substr(0, text.find_last_not_of(kSpaces) + 1);  // npos + 1 is 0
}

void check_tools(std::string_view json) {
  rapidjson::Document document;
  document.Parse<rapidjson::kParseIterativeFlag>(json.data(), json.size());
  if (document.HasParseError() || !document.IsArray()) {
    throw Error(ErrorCode::kInvalid, "prompt: tools_json must be a JSON array of tools");
  }
}

// Marks: private-use characters around a number, so that no template trims or splits them and no
// text contains them.
constexpr std::string_view kMarkBegin = "\xEE\x80\x80";
constexpr std::string_view kMarkEnd = "\xEE\x80\x81";

// A word that occurs in none of the texts.
std::string mark_prefix(const std::vector<PromptMessage>& messages) {
  for (size_t n = 0;; ++n) {
    std::string prefix(kMarkBegin);
    prefix += 'p' + std::to_string(n) + 'x';
    const bool taken =
        std::any_of(messages.begin(), messages.end(), [&](const PromptMessage& message) {
          return std::any_of(
              message.parts.begin(), message.parts.end(),
              [&](const PromptPart& part) { return part.text.find(prefix) != std::string::npos; });
        });
    if (!taken) return prefix;
  }
}

// nullopt when the template changed a mark.
std::optional<std::vector<MarkedText::Mark>> find_marks(std::string_view text,
                                                        std::string_view prefix, size_t n_parts) {
  std::vector<MarkedText::Mark> marks;
  for (size_t at = 0; (at = text.find(prefix, at)) != std::string_view::npos;) {
    const char* const first = text.data() + at + prefix.size();
    size_t part = 0;
    const auto [last, error] = std::from_chars(first, text.data() + text.size(), part);
    const auto end = static_cast<size_t>(last - text.data());
    if (error != std::errc() || part >= n_parts || text.substr(end, kMarkEnd.size()) != kMarkEnd)
      return std::nullopt;
    marks.push_back({part, at, end + kMarkEnd.size()});
    at = marks.back().end;
  }
  return marks;
}

// What templates make of a text: a copy, a trimmed copy, or what follows the reasoning, trimmed.
std::vector<std::string_view> forms_of(std::string_view text) {
  std::vector<std::string_view> forms{text, trim_left(trim_right(text)), trim_right(text),
                                      trim_left(text)};
  const size_t thought = text.rfind("</think>");
  if (thought != std::string_view::npos) {
    const std::string_view answer = text.substr(thought + 8);
    forms.insert(forms.end(), {answer, trim_left(answer), trim_left(trim_right(answer))});
  }
  return forms;
}

bool starts_at(std::string_view text, size_t at, std::string_view what) {
  return at <= text.size() && text.substr(at, what.size()) == what;
}

bool is_blank(const PromptPart& part) { return trim_left(part.text).empty(); }

bool any_blank(const std::vector<const PromptPart*>& parts) {
  return std::any_of(parts.begin(), parts.end(),
                     [](const PromptPart* part) { return is_blank(*part); });
}

size_t common_prefix(std::string_view a, std::string_view b) {
  return static_cast<size_t>(
      std::mismatch(a.begin(), a.begin() + std::min(a.size(), b.size()), b.begin()).first -
      a.begin());
}

// What closes a message: the text after the last mark when no answer is invited.
std::string closing_text(const ChatTemplate& chat_template,
                         const std::vector<PromptMessage>& messages, RenderOptions options) {
  options.generation = false;
  const auto marked = render_marked(chat_template, messages, options, true);
  return marked && !marked->marks.empty() ? marked->text.substr(marked->marks.back().end)
                                          : std::string();
}

// Puts the texts for the marks; false when that does not give out.text.
bool place_parts(const std::vector<const PromptPart*>& parts, const MarkedText& marked_text,
                 RenderedPrompt& out) {
  const std::string_view text = out.text, marked = marked_text.text;
  const auto& marks = marked_text.marks;
  size_t at = 0, from = 0;
  for (size_t i = 0; i < marks.size(); ++i) {
    const std::string_view before = marked.substr(from, marks[i].begin - from);
    if (!starts_at(text, at, before)) return false;
    at += before.size();
    from = marks[i].end;
    const size_t next = i + 1 < marks.size() ? marks[i + 1].begin : marked.size();
    const std::string_view after = marked.substr(from, next - from);
    const PromptPart& part = *parts[marks[i].part];
    const auto forms = forms_of(part.text);
    const auto form = std::find_if(forms.begin(), forms.end(), [&](std::string_view candidate) {
      return starts_at(text, at, candidate) && starts_at(text, at + candidate.size(), after);
    });
    if (form == forms.end()) return false;
    out.places.push_back(
        {part.fragment, part.parse_special, at, at + form->size(), at + form->size()});
    at += form->size();
  }
  return text.substr(at) == marked.substr(from);
}

void close_blocks(RenderedPrompt& out, std::string_view closing) {
  for (size_t i = 0; i < out.places.size(); ++i) {
    RenderedPrompt::Place& place = out.places[i];
    const size_t next = i + 1 < out.places.size() ? out.places[i + 1].begin : out.text.size();
    place.block_end = place.end + common_prefix(closing, std::string_view(out.text).substr(
                                                             place.end, next - place.end));
  }
}

}  // namespace

std::string render_template(const ChatTemplate& chat_template,
                            const std::vector<PromptMessage>& messages,
                            const RenderOptions& options) {
  rapidjson::StringBuffer buffer;
  rapidjson::Writer<rapidjson::StringBuffer> writer(buffer);
  writer.StartObject();
  writer.Key("messages");
  writer.StartArray();
  for (const PromptMessage& message : messages) {
    writer.StartObject();
    writer.Key("role");
    writer.String(role_name(message.role));
    writer.Key("content");
    writer.String(content_of(message));
    writer.EndObject();
  }
  writer.EndArray();
  writer.Key("add_generation_prompt");
  writer.Bool(options.generation);
  writer.Key("bos_token");
  writer.String(options.bos);
  writer.Key("eos_token");
  writer.String(options.eos);
  if (!options.tools_json.empty()) {
    check_tools(options.tools_json);
    writer.Key("tools");
    writer.RawValue(options.tools_json.data(), options.tools_json.size(), rapidjson::kArrayType);
  }
  writer.EndObject();
  return chat_template.render(std::string_view(buffer.GetString(), buffer.GetSize()));
}

std::optional<MarkedText> render_marked(const ChatTemplate& chat_template,
                                        std::vector<PromptMessage> messages,
                                        const RenderOptions& options, bool mark_blank) {
  const std::string prefix = mark_prefix(messages);
  size_t n = 0;
  for (PromptMessage& message : messages) {
    for (PromptPart& part : message.parts) {
      const size_t number = n++;
      if (!mark_blank && is_blank(part)) continue;
      part.text = prefix + std::to_string(number);
      part.text += kMarkEnd;
    }
  }
  MarkedText out;
  try {
    out.text = render_template(chat_template, messages, options);
  } catch (const Error&) {
    return std::nullopt;
  }
  auto marks = find_marks(out.text, prefix, n);
  if (!marks) return std::nullopt;
  out.marks = std::move(*marks);
  return out;
}

RenderedPrompt locate_parts(const ChatTemplate& chat_template,
                            const std::vector<PromptMessage>& messages,
                            const RenderOptions& options, std::string text) {
  RenderedPrompt out;
  out.text = std::move(text);
  std::vector<const PromptPart*> parts;
  for (const PromptMessage& message : messages) {
    for (const PromptPart& part : message.parts) parts.push_back(&part);
  }
  // Templates ask whether there is any text: a mark in place of none may change the rest.
  for (const bool mark_blank : {true, false}) {
    if (!mark_blank && !any_blank(parts)) break;
    const auto marked = render_marked(chat_template, messages, options, mark_blank);
    if (!marked) continue;
    out.located = place_parts(parts, *marked, out);
    if (out.located) break;
    out.places.clear();
  }
  if (!out.places.empty()) close_blocks(out, closing_text(chat_template, messages, options));
  return out;
}

RenderedPrompt render_plain(const std::vector<PromptMessage>& messages,
                            const RenderOptions& options, bool chatml) {
  RenderedPrompt out;
  out.located = true;
  for (const PromptMessage& message : messages) {
    const uint64_t frame_begin = out.text.size();
    out.text += chatml ? "<|im_start|>" : "";
    out.text += role_name(message.role);
    out.text += chatml ? "\n" : ": ";
    const size_t first = out.places.size();
    for (size_t i = 0; i < message.parts.size(); ++i) {
      if (i > 0) out.text += kPartSeparator;
      const PromptPart& part = message.parts[i];
      const size_t begin = out.text.size();
      out.text += part.text;
      out.places.push_back(
          {part.fragment, part.parse_special, begin, out.text.size(), out.text.size()});
    }
    out.text += chatml ? "<|im_end|>\n" : "\n";
    out.places.back().block_end = out.text.size();
    out.frames.push_back(
        {frame_begin, out.text.size(), first, out.places.size() - 1, message.role});
  }
  if (options.generation) out.text += chatml ? "<|im_start|>assistant\n" : "assistant:";
  return out;
}

}  // namespace spnl::modelkit
