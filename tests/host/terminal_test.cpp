// What a person at a terminal sees and does: the live view of several generations, and chat.
#include <signal.h>

#include <boost/test/unit_test.hpp>

#include "host_process.h"
#include "temporary_file.h"
#include "terminal_process.h"

using namespace spnl::host_test;
using Lines = std::vector<std::string>;

namespace {

constexpr const char* kThree =
    R"((plus (g "fake/slow" "a" 0.0 150) (g "fake/slow" "b" 0.0 150) (g "fake/echo" "c")))";

void check_only_result_is_left(const TerminalProcess& process, size_t columns) {
  const Lines lines = screen(process.written(), columns);
  std::string all;
  for (const std::string& line : lines) all += line;
  BOOST_TEST(!contains(all, "generations"), process.written());
  BOOST_TEST(!contains(all, "writing"), process.written());
  BOOST_TEST(lines.back() == "you said: c", process.written());
  BOOST_TEST(lines.front().substr(0, 10) == "word word ", process.written());
}

}  // namespace

BOOST_AUTO_TEST_CASE(several_generations_are_shown_while_they_run_and_then_not) {
  for (unsigned short columns : {100, 40, 12}) {
    TerminalOptions options;
    options.columns = columns;
    TerminalProcess process({"run", "-c", kThree}, options);
    if (columns == 100) {
      BOOST_TEST(process.wait_for("of 3 generations done"));
      BOOST_TEST(process.wait_for("slow"));
      BOOST_TEST(process.wait_for("writing"));
      BOOST_TEST(process.wait_for("tok/s"));
    }
    BOOST_TEST(process.finish() == 0);
    check_only_result_is_left(process, columns);
  }
}

BOOST_AUTO_TEST_CASE(the_live_view_counts_the_columns_of_wide_characters) {
  TerminalOptions options;
  options.columns = 60;
  TerminalProcess process(
      {"run", "-c", R"((par (g "fake/wide" "a" 0.0 100) (g "fake/wide" "b" 0.0 100)))"}, options);
  BOOST_TEST(process.wait_for("文字"));
  BOOST_TEST(process.wait_for("generations done, 1"));
  BOOST_TEST(process.finish() == 0);
  // No line of the view, up to the next line break, is wider than the terminal.
  const std::string& all = process.written();
  for (size_t begin = all.find("  0 "); begin != std::string::npos;
       begin = all.find("  0 ", begin + 1)) {
    const std::string line = all.substr(begin, all.find_first_of("\r\n\x1b", begin) - begin);
    const size_t wide = count(line, "文") + count(line, "字");
    const size_t characters = line.size() - 2 * wide;  // three bytes each
    BOOST_TEST(characters + wide < 60u, line);
  }
}

BOOST_AUTO_TEST_CASE(a_dumb_terminal_gets_plain_text) {
  TerminalOptions options;
  options.environment = {{"TERM", "dumb"}};
  TerminalProcess process({"run", "-c", kThree}, options);
  BOOST_TEST(process.finish() == 0);
  BOOST_TEST(!contains(process.written(), "\x1b"), process.written());
  BOOST_TEST(!contains(process.written(), "generations"), process.written());
}

BOOST_AUTO_TEST_CASE(no_color_is_respected) {
  TerminalOptions options;
  TerminalProcess green({"run", "-c", R"((g "fake/echo" "hi"))"}, options);
  BOOST_TEST(green.finish() == 0);
  BOOST_TEST(contains(green.written(), "\x1b[32myou "), green.written());
  options.environment = {{"NO_COLOR", "1"}};
  TerminalProcess plain({"run", "-c", R"((g "fake/echo" "hi"))"}, options);
  BOOST_TEST(plain.finish() == 0);
  BOOST_TEST(contains(plain.written(), "you said: hi"), plain.written());
  BOOST_TEST(!contains(plain.written(), "\x1b"), plain.written());
}

BOOST_AUTO_TEST_CASE(ctrl_c_takes_the_live_view_away) {
  TerminalProcess process({"run", "-c", R"((plus (g "fake/slow" "a") (g "fake/slow" "b")))"});
  BOOST_TEST(process.wait_for("writing"));
  process.type("\x03");
  BOOST_TEST(process.finish() == 130);
  const Lines lines = screen(process.written(), 80);
  BOOST_REQUIRE(!lines.empty());
  BOOST_TEST(lines.back() == "spnl-host: note: interrupted", process.written());
  for (const std::string& line : lines) BOOST_TEST(!contains(line, "writing"), line);
}

BOOST_AUTO_TEST_CASE(a_question_is_asked_at_the_terminal) {
  TerminalProcess process({"run", "-c", R"((g "fake/echo" (ask "Who are you?")))"});
  BOOST_TEST(process.wait_for("Who are you?"));
  process.type("me\n");
  BOOST_TEST(process.wait_for("you said: me"));
  BOOST_TEST(process.finish() == 0);
}

BOOST_AUTO_TEST_CASE(chat_edits_lines_and_keeps_them) {
  const TemporaryFolder state;
  TerminalOptions options;
  options.environment = {{"XDG_STATE_HOME", state.path()}};
  TerminalProcess process({"chat", "-m", "fake/echo"}, options);
  BOOST_TEST(process.wait_for("> "));
  process.type("helo\x7flo\r");
  BOOST_TEST(process.wait_for("said: hello"));
  BOOST_TEST(process.wait_for("> "));
  process.type("g\xC3\xB6\xC3\xB6\x7f\r");
  BOOST_TEST(process.wait_for("said: g\xC3\xB6\x1b"));  // the colour ends behind it
  BOOST_TEST(process.wait_for("> "));
  process.type("\x1b[A\x1b[A\r");  // the line before the last
  BOOST_TEST(process.wait_for("said: hello"));
  BOOST_TEST(process.wait_for("> "));
  process.type("\"\"\"\rone\rtwo\r\"\"\"\r");
  BOOST_TEST(process.wait_for("said: one"));
  BOOST_TEST(process.wait_for("> "));
  process.type("\x04");
  BOOST_TEST(process.finish() == 0);
  BOOST_TEST(contains(content(state.path() + "/spnl/chat_history"), "hello"));
  TerminalProcess next({"chat", "-m", "fake/echo"}, options);
  BOOST_TEST(next.wait_for("> "));
  next.type("\x12hell\r\r");  // found by Ctrl-R
  BOOST_TEST(next.wait_for("said: hello"), next.written());
  next.type("/exit\r");
  BOOST_TEST(next.finish() == 0);
}

BOOST_AUTO_TEST_CASE(ctrl_c_stops_an_answer_and_not_the_chat) {
  TerminalProcess process({"chat", "-m", "fake/slow"});
  BOOST_TEST(process.wait_for("> "));
  process.type("half a line\x03");
  BOOST_TEST(process.wait_for("^C"));
  BOOST_TEST(process.wait_for("> "));
  for (int i = 0; i < 2; ++i) {
    process.type("go on\r");
    BOOST_TEST(process.wait_for("word word"));
    process.type("\x03");
    BOOST_TEST(process.wait_for("stopped"));
    BOOST_TEST(process.wait_for("> "));
  }
  process.type("\x04");
  BOOST_TEST(process.finish() == 0);
}

BOOST_AUTO_TEST_CASE(sigterm_ends_the_chat_at_its_prompt_and_in_an_answer) {
  for (const char* typed : {"", "go on\r"}) {
    TerminalProcess process({"chat", "-m", "fake/slow"});
    BOOST_TEST(process.wait_for("> "));
    process.type(typed);
    if (*typed != '\0') BOOST_TEST(process.wait_for("word word"));
    process.send_signal(SIGTERM);
    BOOST_TEST(process.finish() == 130);
  }
}

BOOST_AUTO_TEST_CASE(chat_ends_when_its_terminal_goes) {
  TerminalProcess process({"chat", "-m", "fake/slow"});
  BOOST_TEST(process.wait_for("> "));
  process.type("go on\r");
  BOOST_TEST(process.wait_for("word"));
  process.hang_up();
  const int code = process.finish();
  BOOST_TEST((code == -SIGHUP || code == 1), code);
}

BOOST_AUTO_TEST_CASE(chat_on_a_dumb_terminal_reads_plain_lines) {
  TerminalOptions options;
  options.environment = {{"TERM", "dumb"}};
  TerminalProcess process({"chat", "-m", "fake/echo"}, options);
  BOOST_TEST(process.wait_for("> "));
  process.type("hi\n");
  BOOST_TEST(process.wait_for("said: hi"));
  process.type("\x04");
  BOOST_TEST(process.finish() == 0);
  BOOST_TEST(!contains(process.written(), "\x1b"), process.written());
}
