// Where messages begin and end in a rendered prompt. A template says so only by what it writes, so
// shorter lists of messages are rendered too: what stands after the last text when no answer is
// invited closes a message of that role; what stands between that and a second message of a role
// is that role's header.
#include <map>
#include <optional>

#include "prompt_render.h"

namespace spnl::modelkit {
namespace {

class FrameFinder {
 public:
  FrameFinder(const ChatTemplate& chat_template, const std::vector<PromptMessage>& messages,
              RenderOptions options)
      : template_(chat_template), messages_(messages), options_(std::move(options)) {
    options_.generation = false;
  }

  /// How many bytes of `glue` close message `m`, which it follows.
  std::optional<size_t> closing_in(std::string_view glue, size_t m) {
    const auto [at, fresh] = closings_.try_emplace(messages_[m].role);
    if (fresh) at->second = closing_of(first(m + 1));
    return at->second ? closing_size(*at->second, glue) : std::nullopt;
  }

  /// What opens messages of the role of message `m`.
  const std::optional<std::string>& header(size_t m) {
    const auto [at, fresh] = headers_.try_emplace(messages_[m].role);
    if (fresh) at->second = find_header(m);
    return at->second;
  }

 private:
  using Messages = std::vector<PromptMessage>;

  Messages first(size_t n) const {
    return {messages_.begin(), messages_.begin() + static_cast<std::ptrdiff_t>(n)};
  }

  // Some templates end a conversation, but no message, with eos.
  std::optional<size_t> closing_size(std::string_view closing, std::string_view glue) const {
    const auto opens_glue = [&](std::string_view what) {
      return glue.substr(0, what.size()) == what;
    };
    if (opens_glue(closing)) return closing.size();
    if (options_.eos.empty() || closing.size() < options_.eos.size()) return std::nullopt;
    const std::string_view rest = closing.substr(0, closing.size() - options_.eos.size());
    if (closing.substr(rest.size()) != options_.eos || !opens_glue(rest)) return std::nullopt;
    return rest.size();
  }

  std::optional<std::string> closing_of(const Messages& list) const {
    const auto marked = render_marked(template_, list, options_, true);
    if (!marked || marked->marks.empty()) return std::nullopt;
    return marked->text.substr(marked->marks.back().end);
  }

  std::optional<std::string> header_after(Messages list, const PromptMessage& next) const {
    const auto before = closing_of(list);
    list.push_back(next);
    const auto marked = render_marked(template_, list, options_, true);
    if (!before || !marked || marked->marks.size() < next.parts.size() + 1) return std::nullopt;
    const MarkedText::Mark* const mark =
        &*(marked->marks.end() - static_cast<std::ptrdiff_t>(next.parts.size()));
    const std::string between = marked->text.substr(mark[-1].end, mark->begin - mark[-1].end);
    const auto size = closing_size(*before, between);
    return size ? std::optional(between.substr(*size)) : std::nullopt;
  }

  std::optional<std::string> find_header(size_t m) const {
    Messages list = first(m + 1);
    if (auto header = header_after(list, messages_[m])) return header;
    PromptMessage other = messages_[m];  // roles that must alternate
    other.role = other.role == SPNL_ROLE_USER ? SPNL_ROLE_ASSISTANT : SPNL_ROLE_USER;
    list.push_back(std::move(other));
    return header_after(std::move(list), messages_[m]);
  }

  const ChatTemplate& template_;
  const Messages& messages_;
  RenderOptions options_;
  std::map<int32_t, std::optional<std::string>> closings_, headers_;
};

bool number_places(const std::vector<PromptMessage>& messages, RenderedPrompt& rendered) {
  size_t at = 0;
  for (const PromptMessage& message : messages) {
    const size_t first = at;
    for (const PromptPart& part : message.parts) {
      if (at == rendered.places.size() || rendered.places[at].fragment != part.fragment)
        return false;
      ++at;
    }
    rendered.frames.push_back({std::nullopt, std::nullopt, first, at - 1, message.role});
  }
  return at == rendered.places.size();
}

/// Bytes of `glue`, which stands before message `m`, that belong to what is before it.
std::optional<uint64_t> split_glue(FrameFinder& finder, std::string_view glue, size_t m) {
  if (m > 0) {
    if (const auto size = finder.closing_in(glue, m - 1)) return size;
  }
  const auto& header = finder.header(m);
  if (header && header->size() <= glue.size() &&
      glue.substr(glue.size() - header->size()) == *header)
    return glue.size() - header->size();
  return std::nullopt;
}

}  // namespace

void find_frames(const ChatTemplate& chat_template, const std::vector<PromptMessage>& messages,
                 const RenderOptions& options, RenderedPrompt& rendered) {
  rendered.frames.clear();
  if (!number_places(messages, rendered)) {
    rendered.frames.clear();
    return;
  }
  FrameFinder finder(chat_template, messages, options);
  const std::string_view text = rendered.text;
  uint64_t before = 0;  // end of the texts of the message before
  for (size_t m = 0; m < messages.size(); ++m) {
    RenderedPrompt::Frame& frame = rendered.frames[m];
    const uint64_t begin = rendered.places[frame.first].begin;
    const auto split = split_glue(finder, text.substr(before, begin - before), m);
    if (split) frame.begin = before + *split;
    if (m > 0) rendered.frames[m - 1].end = frame.begin;
    before = rendered.places[frame.last].end;
  }
  if (const auto size = finder.closing_in(text.substr(before), messages.size() - 1))
    rendered.frames.back().end = before + *size;
}

}  // namespace spnl::modelkit
