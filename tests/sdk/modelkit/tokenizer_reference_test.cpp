// Published ids of real vocabularies: texts in X.gguf.inp, ids in X.gguf.out, one line for each.
#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "spnl/modelkit/tokenizer.h"

using namespace spnl::modelkit;
namespace fs = std::filesystem;

namespace {

std::string read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::vector<std::string> texts_of(const std::string& all) {
  const std::string separator = "\n__ggml_vocab_test__\n";
  std::vector<std::string> texts;
  size_t at = 0;
  for (size_t end; (end = all.find(separator, at)) != std::string::npos;
       at = end + separator.size()) {
    texts.push_back(all.substr(at, end - at));
  }
  return texts;
}

std::vector<int32_t> ids_of(const std::string& line) {
  std::istringstream words(line);
  std::vector<int32_t> ids;
  for (int32_t id; words >> id;) ids.push_back(id);
  return ids;
}

}  // namespace

BOOST_AUTO_TEST_CASE(published_ids) {
  const fs::path folder = fs::path(SPNL_SHARED_DIR) / "data" / "vocab";
  if (!fs::is_directory(folder)) {
    BOOST_TEST_MESSAGE("skipped: " << folder << " is absent");
    return;
  }
  int files = 0;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() != ".inp") continue;
    const fs::path gguf = entry.path().parent_path() / entry.path().stem();
    const auto file = GgufFile::open(gguf);
    const auto tokenizer = tokenizer_from_gguf(*file);
    std::istringstream lines(read(gguf.string() + ".out"));
    int cases = 0;
    for (const std::string& text : texts_of(read(entry.path()))) {
      std::string line;
      BOOST_REQUIRE(std::getline(lines, line));
      const auto ids = tokenizer->encode(text, {.add_special = false, .parse_special = false});
      BOOST_TEST_CONTEXT(gguf.filename() << ": " << text) {
        BOOST_TEST(ids == ids_of(line), boost::test_tools::per_element());
        BOOST_TEST(tokenizer->decode(ids, false) == text);
      }
      ++cases;
    }
    BOOST_TEST(cases > 40);
    ++files;
  }
  BOOST_TEST(files >= 6);
}
