// Line editing by libedit. Beside Terminal the only code that writes to the terminal: what is being
// typed.
#include <histedit.h>
#include <langinfo.h>
#include <locale.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <cwchar>

#include "line_input.h"
#include "utf8.h"

namespace spnl::host {
namespace {

constexpr int kHistoryLines = 1000;

/// libedit shows characters by the process's locale; without a UTF-8 one it would garble what is
/// typed. Only the kinds of characters change, neither numbers nor messages.
void use_unicode_characters() {
  ::setlocale(LC_CTYPE, "");
  if (std::strcmp(::nl_langinfo(CODESET), "UTF-8") != 0) ::setlocale(LC_CTYPE, "C.UTF-8");
}

std::string to_utf8(const wchar_t* text) {
  std::string out;
  for (; *text != L'\0'; ++text) out += encode_utf8(static_cast<uint32_t>(*text));
  return out;
}

class EditedLines : public LineInput {
 public:
  EditedLines(Interrupt& interrupt, const std::filesystem::path& history_file)
      : interrupt_(interrupt), history_file_(history_file.string()) {
    use_unicode_characters();
    output_ = ::fdopen(::dup(STDERR_FILENO), "w");
    if (output_ == nullptr) return;
    editor_ = ::el_init("spnl-host", stdin, output_, output_);
    if (editor_ == nullptr) return;
    ::el_wset(editor_, EL_CLIENTDATA, this);
    ::el_wset(editor_, EL_PROMPT, &EditedLines::prompt);
    ::el_wset(editor_, EL_GETCFN, &EditedLines::next_character);
    ::el_wset(editor_, EL_EDITOR, L"emacs");
    ::el_wset(editor_, EL_SIGNAL, 1);
    ::el_wset(editor_, EL_BIND, L"^R", L"em-inc-search-prev", nullptr);
    ::el_wset(editor_, EL_BIND, L"\033[3~", L"ed-delete-next-char", nullptr);
    ::el_wset(editor_, EL_BIND, L"\033[1;5C", L"em-next-word", nullptr);
    ::el_wset(editor_, EL_BIND, L"\033[1;5D", L"ed-prev-word", nullptr);
    open_history();
    ::el_source(editor_, nullptr);  // the person's ~/.editrc
  }

  ~EditedLines() override {
    if (editor_ != nullptr) ::el_end(editor_);
    if (history_ != nullptr) ::history_wend(history_);
    if (output_ != nullptr) std::fclose(output_);
  }
  EditedLines(const EditedLines&) = delete;
  EditedLines& operator=(const EditedLines&) = delete;

  bool usable() const { return editor_ != nullptr; }

  Event read(const char* prompt, std::string& line) override {
    prompt_.assign(prompt, prompt + std::strlen(prompt));  // prompts are ASCII
    interrupted_ = false;
    // Keys that come between the prompt and the first read would be edited by the terminal itself.
    ::el_wset(editor_, EL_PREP_TERM, 1);
    int count = 0;
    const wchar_t* typed = ::el_wgets(editor_, &count);
    if (typed == nullptr || count <= 0) {
      std::fputs(interrupted_ ? "^C\n" : "\n", output_);
      std::fflush(output_);
      return interrupted_ ? Event::kInterrupted : Event::kEnd;
    }
    line = to_utf8(typed);
    if (!line.empty() && line.back() == '\n') line.pop_back();
    if (line.find_first_not_of(" \t") != std::string::npos) remember(typed);
    return Event::kLine;
  }

 private:
  static EditedLines* self(EditLine* editor) {
    void* data = nullptr;
    ::el_wget(editor, EL_CLIENTDATA, &data);
    return static_cast<EditedLines*>(data);
  }

  static wchar_t* prompt(EditLine* editor) { return self(editor)->prompt_.data(); }

  /// 1: a character; 0: the end; -1: interrupted.
  static int next_character(EditLine* editor, wchar_t* character) {
    return self(editor)->next(character);
  }

  int next(wchar_t* character) {
    std::string bytes;
    for (;;) {
      pollfd ready[2] = {{STDIN_FILENO, POLLIN, 0}, {interrupt_.descriptor(), POLLIN, 0}};
      if (::poll(ready, 2, -1) < 0) {
        // The window's size changed, or the program went on after a Ctrl-Z.
        if (errno == EINTR) ::el_wset(editor_, EL_REFRESH);
        continue;
      }
      if (ready[1].revents != 0) {
        interrupted_ = true;
        return -1;
      }
      char byte = 0;
      const ssize_t n = ::read(STDIN_FILENO, &byte, 1);
      if (n < 0 && (errno == EINTR || errno == EAGAIN)) continue;
      if (n <= 0) return 0;
      bytes += byte;
      uint32_t code_point = 0;
      if (decode_utf8(bytes, code_point) == 0) {
        if (bytes.size() < 4 && static_cast<unsigned char>(bytes[0]) >= 0xC2) continue;
        code_point = 0xFFFD;
      }
      *character = static_cast<wchar_t>(code_point);
      return 1;
    }
  }

  void open_history() {
    history_ = ::history_winit();
    if (history_ == nullptr) return;
    HistEventW event;
    ::history_w(history_, &event, H_SETSIZE, kHistoryLines);
    ::history_w(history_, &event, H_SETUNIQUE, 1);
    ::el_wset(editor_, EL_HIST, ::history_w, history_);
    if (history_file_.empty()) return;
    std::error_code problem;
    std::filesystem::create_directories(std::filesystem::path(history_file_).parent_path(),
                                        problem);
    ::history_w(history_, &event, H_LOAD, history_file_.c_str());
  }

  /// Saved at once: a session may end by a closed window.
  void remember(const wchar_t* typed) {
    if (history_ == nullptr) return;
    HistEventW event;
    ::history_w(history_, &event, H_ENTER, typed);
    if (!history_file_.empty()) ::history_w(history_, &event, H_SAVE, history_file_.c_str());
  }

  Interrupt& interrupt_;
  const std::string history_file_;
  FILE* output_ = nullptr;
  EditLine* editor_ = nullptr;
  HistoryW* history_ = nullptr;
  std::wstring prompt_;
  bool interrupted_ = false;
};

}  // namespace

std::unique_ptr<LineInput> edited_lines(Interrupt& interrupt,
                                        const std::filesystem::path& history_file) {
  const char* kind = std::getenv("TERM");
  if (kind == nullptr || *kind == '\0' || std::strcmp(kind, "dumb") == 0) return nullptr;
  auto lines = std::make_unique<EditedLines>(interrupt, history_file);
  if (!lines->usable()) return nullptr;
  return lines;
}

}  // namespace spnl::host
