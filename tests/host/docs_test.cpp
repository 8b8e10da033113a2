// Runs what the pages in docs/ show: each fenced block whose info string ends in "run".
//   sh          each line is a shell command and must succeed
//   lisp, json  a query that must evaluate; yaml likewise
// A block "text output" right after one is exactly what it prints. The small model of the fixtures
// stands in for mistralrs/smollm2:135m.
#include <sys/wait.h>

#include <boost/test/unit_test.hpp>
#include <sstream>

#include "host_process.h"
#include "temporary_file.h"

using namespace spnl::host_test;

namespace {

const std::string kModelOfDocs = "mistralrs/smollm2:135m";
const std::string kModel = "cpu_ref/" SPNL_TEST_FIXTURES_DIR "/gguf/llama-bf16.gguf";
const char* const kPages[] = {"language.md", "cli.md", "spans.md"};

struct Block {
  std::string place, language, text;
  bool run = false;
  std::string output;  ///< expected, when `has_output`
  bool has_output = false;
};

std::vector<Block> blocks_of(const std::string& page) {
  std::istringstream lines(content(SPNL_DOCS_DIR "/" + page));
  std::vector<Block> blocks;
  bool inside = false;
  size_t number = 0;
  for (std::string line; std::getline(lines, line);) {
    ++number;
    if (line.compare(0, 3, "```") == 0) {
      inside = !inside;
      if (!inside) continue;
      Block block;
      std::istringstream info(line.substr(3));
      std::string mark;
      info >> block.language >> mark;
      block.place = page + ":" + std::to_string(number);
      block.run = mark == "run";
      if (mark == "output" && !blocks.empty()) blocks.back().has_output = true;
      blocks.push_back(std::move(block));
    } else if (inside) {
      blocks.back().text += line + "\n";
    }
  }
  for (size_t i = 0; i + 1 < blocks.size(); ++i)
    if (blocks[i].has_output) blocks[i].output = blocks[i + 1].text;
  return blocks;
}

std::string with_small_model(std::string text) {
  for (size_t at = 0; (at = text.find(kModelOfDocs, at)) != std::string::npos; at += kModel.size())
    text.replace(at, kModelOfDocs.size(), kModel);
  return text;
}

struct Ran {
  int code;
  std::string output;
};

Ran run_shell(const std::string& command) {
  const std::string folder = std::filesystem::path(SPNL_HOST_BINARY_PATH).parent_path().string();
  const TemporaryFile script(".sh", "export PATH=" + folder + ":/usr/bin:/bin HF_HUB_OFFLINE=1\n" +
                                        with_small_model(command) + "\n");
  FILE* pipe = ::popen(("/bin/sh -e " + script.path() + " 2>&1").c_str(), "r");
  BOOST_REQUIRE(pipe != nullptr);
  std::string output;
  char block[4096];
  for (size_t n; (n = std::fread(block, 1, sizeof block, pipe)) > 0;) output.append(block, n);
  const int status = ::pclose(pipe);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, output};
}

Ran run_query(const Block& block) {
  const std::string ending = block.language == "lisp" ? "spnl" : block.language;
  const TemporaryFile file("." + ending, with_small_model(block.text));
  const HostResult result =
      run_host({"run", "-f", file.path(), "-m", kModel, "-p", "Why?", "-l", "4"});
  return {result.exit_code, result.output + (result.exit_code == 0 ? "" : result.errors)};
}

}  // namespace

BOOST_AUTO_TEST_CASE(what_the_pages_show_runs) {
  for (const char* page : kPages) {
    size_t runs = 0;
    for (const Block& block : blocks_of(page)) {
      if (!block.run) continue;
      ++runs;
      const Ran ran = block.language == "sh" ? run_shell(block.text) : run_query(block);
      BOOST_TEST(ran.code == 0, block.place + ": " + ran.output);
      if (block.has_output) BOOST_TEST(ran.output == block.output, block.place + ": " + ran.output);
    }
    BOOST_TEST(runs > 1u, page);
  }
}

BOOST_AUTO_TEST_CASE(every_option_of_the_help_is_in_cli_md) {
  const std::string page = content(SPNL_DOCS_DIR "/cli.md");
  for (const char* command : {"run", "explain", "chat", "generate"}) {
    BOOST_TEST(contains(page, std::string("\n## ") + command + "\n"), command);
    const std::string help = run_host({command, "--help"}).output;
    for (size_t at = 0; (at = help.find("--", at)) != std::string::npos; at += 2) {
      const size_t end = help.find_first_not_of("abcdefghijklmnopqrstuvwxyz-", at);
      const std::string option = help.substr(at, end - at);
      if (option.size() > 2) BOOST_TEST(contains(page, option), option);
    }
  }
}
