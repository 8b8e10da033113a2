// spnl-host quantize, and inspect of what it and others wrote.
#include <boost/test/unit_test.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "host_process.h"

using namespace spnl::host_test;
namespace fs = std::filesystem;

namespace {

const std::string kModel = SPNL_TEST_FIXTURES_DIR "/gguf/llama-bf16.gguf";

struct Folder {
  Folder() {
    std::string name = (fs::temp_directory_path() / "spnl-quantize-XXXXXX").string();
    path = ::mkdtemp(name.data());
  }
  ~Folder() { fs::remove_all(path); }
  std::string operator/(const char* name) const { return (path / name).string(); }
  fs::path path;
};

std::string content(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(in), {});
}

bool has(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

}  // namespace

BOOST_AUTO_TEST_CASE(a_quantised_model_runs) {
  const Folder folder;
  const std::string out = folder / "q8.gguf";
  const HostResult made = run_host({"quantize", kModel, out, "--type", "q8_0", "--json"});
  BOOST_TEST(made.exit_code == 0, made.errors);
  BOOST_TEST(has(made.output, "\"type\":\"Q8_0\""), made.output);
  BOOST_TEST(fs::file_size(out) < fs::file_size(kModel));
  std::string tokens[2];
  for (int i = 0; i < 2; ++i) {
    const HostResult run =
        run_host({"generate", "-m", "cpu_ref/" + (i == 0 ? kModel : out), "--prompt-ids",
                  "1,5,9,200", "--temperature", "0", "--max-tokens", "2"});
    BOOST_TEST(run.exit_code == 0, run.errors);
    tokens[i] = run.output;
  }
  BOOST_TEST(tokens[0] == tokens[1]);
}

BOOST_AUTO_TEST_CASE(a_folder_becomes_a_gguf) {
  const Folder folder;
  const auto make = [&](const std::string& name) {
    fs::create_directory(folder.path / name);
    for (const char* file : {"config.json", "model.safetensors"})
      fs::copy_file(fs::path(SPNL_TEST_FIXTURES_DIR) / "models" / name / file,
                    folder.path / name / file);
    std::ofstream(folder.path / name / "tokenizer.json")
        << R"({"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false},)"
        << R"("model":{"type":"BPE","vocab":{"a":0,"b":1,"c":2,"ab":3},"merges":["a b"]}})";
    return (folder.path / name).string();
  };
  const std::string out = folder / "out.gguf";
  const HostResult made =
      run_host({"quantize", make("granite"), out, "--type", "F16", "--verbose"});
  BOOST_TEST(made.exit_code == 0, made.errors);
  BOOST_TEST(has(made.errors, "F32 -> F16"), made.errors);
  const HostResult shown = run_host({"inspect", out});
  for (const char* part : {"architecture        granite", "quantisation        F16"})
    BOOST_TEST(has(shown.output, part), shown.output);
  const HostResult run = run_host({"generate", "-m", "cpu_ref/" + out, "--prompt-ids", "0,1,3",
                                   "--temperature", "0", "--max-tokens", "2"});
  BOOST_TEST(run.exit_code == 0, run.errors);

  const HostResult refused =
      run_host({"quantize", make("gemma2"), folder / "no.gguf", "--type", "F16"});
  BOOST_TEST(refused.exit_code == 3, refused.errors);
  BOOST_TEST(has(refused.errors, "'gemma2' that cannot be written"), refused.errors);
  BOOST_TEST(!fs::exists(folder / "no.gguf"));
}

BOOST_AUTO_TEST_CASE(nothing_is_overwritten_unasked) {
  const Folder folder;
  const std::string copy = folder / "in.gguf", out = folder / "out.gguf";
  fs::copy_file(kModel, copy);
  std::ofstream(out) << "mine";
  const HostResult kept = run_host({"quantize", copy, out, "--type", "Q4_0"});
  BOOST_TEST(kept.exit_code == 2);
  BOOST_TEST(has(kept.errors, "--force"), kept.errors);
  BOOST_TEST(content(out) == "mine");

  fs::create_symlink("in.gguf", folder / "link.gguf");
  const std::string before = content(copy);
  for (const std::string& same : {copy, folder / "link.gguf"}) {
    const HostResult refused = run_host({"quantize", copy, same, "--type", "Q4_0", "--force"});
    BOOST_TEST(refused.exit_code == 2, refused.errors);
  }
  BOOST_TEST((content(copy) == before));

  BOOST_TEST(run_host({"quantize", copy, out, "--type", "Q4_0", "--force", "--quiet"}).errors ==
             "");
  BOOST_TEST(content(out).substr(0, 4) == "GGUF");
}

BOOST_AUTO_TEST_CASE(wrong_words_are_told_with_what_is_right) {
  const Folder folder;
  const HostResult type = run_host({"quantize", kModel, folder / "o.gguf", "--type", "Q9"});
  BOOST_TEST(type.exit_code == 2);
  BOOST_TEST(has(type.errors, "Q4_K_M"), type.errors);
  BOOST_TEST(run_host({"quantize", kModel, "--type", "Q4_0"}).exit_code == 2);
  BOOST_TEST(run_host({"quantize", kModel, folder / "o.gguf"}).exit_code == 2);
  std::ofstream(folder / "text.gguf") << "no model at all";
  const HostResult text =
      run_host({"quantize", folder / "text.gguf", folder / "o.gguf", "--type", "Q4_0"});
  BOOST_TEST(text.exit_code == 3, text.errors);
  const HostResult place = run_host({"quantize", kModel, folder / "none/o.gguf", "--type", "Q4_0"});
  BOOST_TEST(place.exit_code == 1, place.errors);
  BOOST_TEST(std::distance(fs::directory_iterator(folder.path), fs::directory_iterator()) == 1);
}

BOOST_AUTO_TEST_CASE(inspect_tells_what_the_file_says) {
  const HostResult table = run_host({"inspect", kModel});
  BOOST_TEST(table.exit_code == 0, table.errors);
  for (const char* part : {"architecture        llama", "quantisation        BF16", "tensors BF16",
                           "kv heads", "memory"})
    BOOST_TEST(has(table.output, part), table.output);
  const HostResult json = run_host({"inspect", kModel, "--json"});
  for (const char* part :
       {"\"format\":\"GGUF\"", "\"architecture\":\"llama\"", "\"layers\":2", "\"vocab_size\":512",
        "\"kv_bytes_per_1000_tokens\":", "\"problems\":[]"})
    BOOST_TEST(has(json.output, part), json.output);
  BOOST_TEST(run_host({"inspect"}).exit_code == 2);
}

BOOST_AUTO_TEST_CASE(inspect_shows_an_unknown_architecture_as_far_as_it_goes) {
  const Folder folder;
  std::string bytes = content(kModel);
  for (size_t at = 0; (at = bytes.find("llama.", at)) != std::string::npos;)
    bytes.replace(at, 5, "novel");
  const size_t value = bytes.find("llama", bytes.find("general.architecture"));
  BOOST_TEST_REQUIRE(value != std::string::npos);
  bytes.replace(value, 5, "novel");
  std::ofstream(folder / "novel.gguf", std::ios::binary) << bytes;
  const HostResult shown = run_host({"inspect", folder / "novel.gguf", "--json"});
  BOOST_TEST(shown.exit_code == 0, shown.errors);
  for (const char* part :
       {"\"architecture\":\"novel\"", "\"layers\":2", "\"hidden_size\":64", "\"tokenizer\":{"})
    BOOST_TEST(has(shown.output, part), shown.output);
  BOOST_TEST(!has(shown.output, "\"problems\":[]"), shown.output);

  std::ofstream(folder / "cut.gguf", std::ios::binary) << bytes.substr(0, bytes.size() / 2);
  const HostResult cut = run_host({"inspect", folder / "cut.gguf"});
  BOOST_TEST(cut.exit_code == 3, cut.errors);
}
