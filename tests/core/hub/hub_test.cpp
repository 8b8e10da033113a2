// Model names and their files, over folders made for the purpose.
#include "spnl/hub.h"

#include <boost/test/unit_test.hpp>
#include <chrono>
#include <map>
#include <random>

#include "../backends/temp_folder.h"
#include "hub/files.h"
#include "hub/gguf_choice.h"
#include "hub/printable.h"
#include "hub/short_names.h"
#include "spnl/error.h"

using namespace spnl;
using namespace spnl::hub;
namespace fs = std::filesystem;

namespace {

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != text.npos;
}

Environment fixed(std::map<std::string, std::string> values) {
  return [values](const char* name) -> std::optional<std::string> {
    const auto found = values.find(name);
    return found == values.end() ? std::nullopt : std::optional<std::string>(found->second);
  };
}

std::string names(const std::vector<ModelFile>& files) {
  std::string out;
  for (const ModelFile& file : files) out += (out.empty() ? "" : " ") + file.name;
  return out;
}

std::string chosen(const std::vector<std::string>& files, std::string_view selector = "") {
  std::vector<ModelFile> all;
  uint64_t bytes = 1000;
  for (const std::string& name : files)
    all.push_back({name, "/" + name, bytes--});  // later is smaller
  const GgufChoice choice = choose_gguf(all, selector);
  return choice.files.empty() ? "none: " + choice.reason : names(choice.files);
}

/// The text of the error that resolving ends in.
std::string failure(const std::string& name, std::string_view glob,
                    const Environment& environment) {
  try {
    return "found " + names(resolve(parse_model_name(name), glob, environment));
  } catch (const Error& e) {
    BOOST_TEST((e.code() == ErrorCode::kNotFound || e.code() == ErrorCode::kUsage));
    BOOST_TEST(std::string(e.what()).find('\n') == std::string::npos);
    return e.what();
  }
}

struct Cache {
  TempFolder temp;
  Environment environment = fixed({{"HF_HUB_CACHE", temp.path().string()}});

  /// As other tools do it: the bytes in blobs/, the name a relative link.
  void add(const std::string& repository, const std::string& commit, const std::string& name,
           size_t bytes = 4) const {
    const std::string blob = "blob-" + std::to_string(std::hash<std::string>()(commit + name));
    temp.write(repository + "/blobs/" + blob, std::string(bytes, 'x'));
    const fs::path link = temp.path() / repository / "snapshots" / commit / name;
    fs::create_directories(link.parent_path());
    std::string up = "../../";
    for (char c : name)
      if (c == '/') up += "../";
    fs::create_symlink(up + "blobs/" + blob, link);
  }
  std::string files(const std::string& name, std::string_view glob = "*.gguf") const {
    return names(resolve(parse_model_name(name), glob, environment));
  }
};

}  // namespace

BOOST_AUTO_TEST_CASE(names_of_repositories) {
  ModelName name = parse_model_name("unsloth/Qwen3-4B-GGUF:Q4_K_M");
  BOOST_TEST(name.repository == "unsloth/Qwen3-4B-GGUF");
  BOOST_TEST(name.selector == "Q4_K_M");
  BOOST_TEST(name.path.empty());
  name = parse_model_name("smollm2:135m");
  BOOST_TEST(name.repository == "HuggingFaceTB/SmolLM2-135M-Instruct-GGUF");
  BOOST_TEST(name.selector == "");
  BOOST_TEST(parse_model_name("qwen3:0.6b:Q8_0").selector == "Q8_0");
  BOOST_TEST(parse_model_name("gemma3:4b").repository == "unsloth/gemma-3-4b-it-GGUF");
  BOOST_TEST(is_short_name("llama3.3:70b"));
  BOOST_TEST(!is_short_name("org/name"));
}

BOOST_AUTO_TEST_CASE(names_that_are_none) {
  for (const std::string bad : {"",
                                "word",
                                "a/b/c",
                                "a/",
                                "/..x/",
                                "a/..",
                                "..a/b",
                                "a/b..c",
                                "org/na me",
                                "org/name:",
                                "org/name:a/b",
                                "a--b/c",
                                "org/name:Q4:Q5",
                                "org/\xff",
                                "a\nb",
                                "org/.",
                                "org\\name",
                                "~",
                                "-",
                                ":"}) {
    BOOST_TEST_INFO(printable(bad));
    if (bad == "/..x/") continue;
    BOOST_CHECK_EXCEPTION(parse_model_name(bad), Error,
                          [](const Error& e) { return e.code() == ErrorCode::kUsage; });
  }
  BOOST_CHECK_THROW(parse_model_name(std::string("a/b\0c", 5)), Error);
  BOOST_CHECK_THROW(parse_model_name(std::string(100'000, 'a')), Error);
  BOOST_CHECK_EXCEPTION(parse_model_name("smolm2:135m"), Error,
                        [](const Error& e) { return contains(e.hint(), "smollm2:135m"); });
  BOOST_CHECK_EXCEPTION(parse_model_name("qwen3"), Error,
                        [](const Error& e) { return contains(e.hint(), "qwen3:"); });
}

BOOST_AUTO_TEST_CASE(names_of_paths) {
  TempFolder temp;
  temp.write("folder/x.gguf");
  BOOST_TEST(parse_model_name((temp / "folder").string()).path == temp / "folder");
  const ModelName selected = parse_model_name((temp / "folder").string() + ":Q8_0");
  BOOST_TEST(selected.path == temp / "folder");
  BOOST_TEST(selected.selector == "Q8_0");
  BOOST_TEST(parse_model_name("./missing").path == fs::current_path() / "missing");
  BOOST_TEST(contains(failure("/no/such/model.gguf", "*.gguf", {}),
                      "no such file or folder (/no/such/model.gguf)"));
  BOOST_TEST(contains(failure("/dev/null", "*.gguf", {}), "neither a file nor a folder"));
}

BOOST_AUTO_TEST_CASE(cache_folders) {
  BOOST_TEST(cache_folder(fixed({{"HF_HUB_CACHE", "/c"}, {"HF_HOME", "/h"}, {"HOME", "/u"}})) ==
             "/c");
  BOOST_TEST(cache_folder(fixed({{"HF_HUB_CACHE", ""}, {"HF_HOME", "/h"}, {"HOME", "/u"}})) ==
             "/h/hub");
  BOOST_TEST(cache_folder(fixed({{"HOME", "/u"}})) == "/u/.cache/huggingface/hub");
  BOOST_TEST(cache_folder(fixed({{"HF_HOME", "~/x"}, {"HOME", "/u"}})) == "/u/x/hub");
  BOOST_CHECK_THROW(cache_folder(fixed({})), Error);
}

BOOST_AUTO_TEST_CASE(globs) {
  BOOST_TEST(glob_match("*", "a/b.c"));
  BOOST_TEST(glob_match("*.json", "config.json"));
  BOOST_TEST(!glob_match("*.json", "sub/config.json"));
  BOOST_TEST(glob_match("*/*.json", "sub/config.json"));
  BOOST_TEST(glob_match("model-?.bin", "model-1.bin"));
  BOOST_TEST(!glob_match("model-?.bin", "model-/.bin"));
  BOOST_TEST(glob_match("a*b*c", "axxbyybc"));
  BOOST_TEST(!glob_match("a*b*c", "axxbyyb"));
  BOOST_TEST(!glob_match("", "a"));
  BOOST_TEST(glob_match("", ""));
  BOOST_TEST(!glob_match(std::string(2000, '*') + "b", std::string(2000, 'a')));
  std::string hard;
  for (int i = 0; i < 500; ++i) hard += "*a";
  BOOST_TEST(!glob_match(hard + "b", std::string(3000, 'a')));
}

BOOST_AUTO_TEST_CASE(gguf_priorities) {
  BOOST_TEST(chosen({"m-Q8_0.gguf", "m-Q5_K_M.gguf", "m-Q4_K_M.gguf", "m-Q4_K_S.gguf"}) ==
             "m-Q4_K_M.gguf");
  BOOST_TEST(chosen({"m-Q8_0.gguf", "m-Q5_K_M.gguf", "m-Q4_K_S.gguf"}) == "m-Q5_K_M.gguf");
  BOOST_TEST(chosen({"m-Q8_0.gguf", "m-Q4_K_S.gguf"}) == "m-Q8_0.gguf");
  BOOST_TEST(chosen({"m-f16.gguf", "m.q4_k_m.GGUF"}) == "m.q4_k_m.GGUF");
  BOOST_TEST(chosen({"m-Q8_0.gguf", "mQ4_K_M.gguf"}) ==
             "m-Q8_0.gguf");  // neither '-' nor '.' before it
  BOOST_TEST(chosen({"m-BF16.gguf", "m-Q6_K.gguf", "m-Q4_1.gguf", "m-Q2_K.gguf",
                     "m-IQ3_XS.gguf"}) == "m-Q4_1.gguf");
  BOOST_TEST(chosen({"model.gguf"}) == "model.gguf");
  BOOST_TEST(contains(chosen({"m-Q2_K.gguf", "m-IQ1_S.gguf", "m-TQ2_0.gguf"}), "less than 4 bits"));
  BOOST_TEST(chosen({"m-Q8_0.gguf", "mmproj-m-Q4_K_M.gguf", "imatrix-Q4_K_M.gguf"}) ==
             "m-Q8_0.gguf");
  BOOST_TEST(contains(chosen({"mmproj-F16.gguf", "README.md"}), "no GGUF"));
  BOOST_TEST(chosen({"m-UD-Q4_K_M.gguf", "m-Q4_K_M.gguf"}) == "m-Q4_K_M.gguf");
}

BOOST_AUTO_TEST_CASE(gguf_selector) {
  BOOST_TEST(chosen({"m-Q8_0.gguf", "m-Q2_K.gguf"}, "q2_k") == "m-Q2_K.gguf");
  BOOST_TEST(chosen({"m-Q8_0.gguf", "m-UD-Q4_K_XL.gguf"}, "Q4_K_XL") == "m-UD-Q4_K_XL.gguf");
  const std::string missing = chosen({"m-Q8_0.gguf", "m-Q2_K.gguf"}, "Q3_K");
  BOOST_TEST(contains(missing, "Q3_K"));
  BOOST_TEST(contains(missing, "m-Q8_0.gguf, m-Q2_K.gguf"));
  BOOST_TEST(contains(chosen({"mmproj-F16.gguf", "m-Q8_0.gguf"}, "F16"), "none"));
}

BOOST_AUTO_TEST_CASE(gguf_split) {
  BOOST_TEST(chosen({"q/m-Q4_K_M-00001-of-00003.gguf", "q/m-Q4_K_M-00003-of-00003.gguf",
                     "m-Q8_0.gguf", "q/m-Q4_K_M-00002-of-00003.gguf"}) ==
             "q/m-Q4_K_M-00001-of-00003.gguf q/m-Q4_K_M-00002-of-00003.gguf "
             "q/m-Q4_K_M-00003-of-00003.gguf");
  // One part short: not a candidate.
  BOOST_TEST(chosen({"m-Q4_K_M-00001-of-00002.gguf", "m-Q8_0.gguf"}) == "m-Q8_0.gguf");
  BOOST_TEST(contains(chosen({"m-Q4_K_M-00001-of-00002.gguf"}),
                      "m-Q4_K_M-00002-of-00002.gguf of a split file is missing"));
  BOOST_TEST(contains(chosen({"m-Q4_K_M-00002-of-00002.gguf"}), "m-Q4_K_M-00001-of-00002.gguf"));
  BOOST_TEST(
      contains(chosen({"m-Q4_K_M-00001-of-00002.gguf", "m-Q8_0.gguf"}, "Q4_K_M"), "missing"));
  // Numbers that no split has.
  BOOST_TEST(chosen({"m-00001-of-99999.gguf"}) == "m-00001-of-99999.gguf");
  BOOST_TEST(chosen({"m-00000-of-00000.gguf"}) == "m-00000-of-00000.gguf");
  BOOST_TEST(chosen({"m-0000a-of-00002.gguf"}) == "m-0000a-of-00002.gguf");
}

BOOST_AUTO_TEST_CASE(gguf_random_names) {
  std::mt19937 random(11);
  const std::vector<std::string> bits = {
      "m",     "-", ".",  "Q4_K_M", "Q8_0", "-00001-of-00002", "-00002-of-00002",
      ".gguf", "/", "IQ", "f",      ""};
  for (int i = 0; i < 3000; ++i) {
    std::vector<std::string> files;
    for (unsigned n = random() % 5; n > 0; --n) {
      std::string name;
      for (unsigned k = random() % 6; k > 0; --k) name += bits[random() % bits.size()];
      files.push_back(name + (random() % 2 ? ".gguf" : ""));
    }
    BOOST_REQUIRE(!chosen(files, random() % 2 ? "" : "Q8_0").empty());
  }
}

BOOST_AUTO_TEST_CASE(cache_layout) {
  const Cache cache;
  const std::string repo = "models--org--name-GGUF";
  cache.add(repo, "aaa", "name-Q8_0.gguf");
  cache.add(repo, "bbb", "name-Q4_K_M.gguf", 7);
  cache.add(repo, "bbb", "config.json");
  cache.add(repo, "bbb", "mmproj-F16.gguf");
  cache.temp.write(repo + "/refs/main", "bbb\n");
  BOOST_TEST(cache.files("org/name-GGUF") == "name-Q4_K_M.gguf");
  BOOST_TEST(cache.files("org/name-GGUF", "*") == "name-Q4_K_M.gguf");
  BOOST_TEST(cache.files("org/name-GGUF", "*.json") == "config.json");
  const auto files = resolve(parse_model_name("org/name-GGUF"), "*.gguf", cache.environment);
  BOOST_TEST(files[0].bytes == 7u);
  BOOST_TEST(files[0].path.is_absolute());
  BOOST_TEST(fs::exists(files[0].path));
  // An older snapshot has what the current one lacks.
  BOOST_TEST(cache.files("org/name-GGUF:Q8_0") == "name-Q8_0.gguf");
  cache.temp.write(repo + "/refs/main", "aaa");
  BOOST_TEST(cache.files("org/name-GGUF") == "name-Q8_0.gguf");
  for (const char* ref : {"../../../etc", "/etc", "", "..", "zzz", "b b"}) {
    cache.temp.write(repo + "/refs/main", ref);
    BOOST_TEST(!cache.files("org/name-GGUF").empty());
  }
  fs::remove_all(cache.temp.path() / repo / "refs");
  fs::last_write_time(cache.temp.path() / repo / "snapshots" / "aaa",
                      fs::file_time_type::clock::now() + std::chrono::hours(1));
  BOOST_TEST(cache.files("org/name-GGUF") == "name-Q8_0.gguf");  // the newest
}

BOOST_AUTO_TEST_CASE(safetensors_repository_gives_its_files) {
  const Cache cache;
  for (const char* name : {"config.json", "tokenizer.json", "model-00001-of-00002.safetensors",
                           "model-00002-of-00002.safetensors", "onnx/config.json"})
    cache.add("models--org--name", "c", name);
  BOOST_TEST(cache.files("org/name", "*.json") == "config.json tokenizer.json");
  BOOST_TEST(cache.files("org/name", "*.safetensors") ==
             "model-00001-of-00002.safetensors model-00002-of-00002.safetensors");
  BOOST_TEST(resolve(parse_model_name("org/name"), "*", cache.environment).size() == 5u);
  BOOST_TEST(
      contains(failure("org/name", "*.gguf", cache.environment), "no file matches '*.gguf'"));
}

BOOST_AUTO_TEST_CASE(a_selector_names_a_gguf_beside_safetensors) {
  const Cache cache;
  for (const char* name : {"config.json", "model.safetensors", "m-Q8_0.gguf"})
    cache.add("models--org--name", "c", name);
  BOOST_TEST(cache.files("org/name", "*") == "config.json m-Q8_0.gguf model.safetensors");
  BOOST_TEST(cache.files("org/name:Q8_0", "*") == "m-Q8_0.gguf");
  cache.add("models--org--float", "c", "model.safetensors");
  BOOST_TEST(contains(failure("org/float:Q8_0", "*", cache.environment), "no GGUF model file"));
}

BOOST_AUTO_TEST_CASE(a_snapshot_without_weights_does_not_hide_one_with_weights) {
  const Cache cache;
  cache.add("models--org--name", "current", "tokenizer.json");
  cache.add("models--org--name", "older", "config.json");
  cache.add("models--org--name", "older", "model.safetensors");
  cache.temp.write("models--org--name/refs/main", "current");
  BOOST_TEST(cache.files("org/name", "*") == "config.json model.safetensors");
  BOOST_TEST(cache.files("org/name", "*.json") == "tokenizer.json");
  cache.add("models--org--half", "only", "tokenizer.json");
  BOOST_TEST(cache.files("org/half", "*") == "tokenizer.json");
}

BOOST_AUTO_TEST_CASE(missing_models_say_where) {
  const Cache cache;
  const std::string text = failure("org/name", "*", cache.environment);
  BOOST_TEST(contains(text, (cache.temp / "models--org--name").string()));
  BOOST_TEST(contains(text, "HF_HUB_CACHE"));
  fs::create_directories(cache.temp / "models--org--name");
  BOOST_TEST(contains(failure("org/name", "*", cache.environment), "no snapshot"));
  fs::create_directories(cache.temp / "models--org--name" / "snapshots" / "c");
  fs::create_symlink("../../blobs/gone",
                     cache.temp / "models--org--name" / "snapshots" / "c" / "m.gguf");
  BOOST_TEST(contains(failure("org/name", "*.gguf", cache.environment), "1 links lead nowhere"));
  cache.temp.write("models--org--other", "a file");
  BOOST_TEST(contains(failure("org/other", "*", cache.environment), "looked in"));
}

BOOST_AUTO_TEST_CASE(folders_by_path) {
  TempFolder temp;
  temp.write("gguf/a-Q8_0.gguf");
  temp.write("gguf/a-Q4_K_M.gguf");
  temp.write("gguf/notes.txt");
  temp.write("hf/config.json");
  temp.write("hf/model.safetensors");
  const auto at = [&](const std::string& name, std::string_view glob) {
    return names(resolve(parse_model_name(name), glob, {}));
  };
  BOOST_TEST(at((temp / "gguf").string(), "*.gguf") == "a-Q4_K_M.gguf");
  BOOST_TEST(at((temp / "gguf").string() + ":Q8_0", "*") == "a-Q8_0.gguf");
  BOOST_TEST(at((temp / "gguf").string() + "/", "*.txt") == "notes.txt");
  BOOST_TEST(at((temp / "hf").string(), "*") == "config.json model.safetensors");
  BOOST_TEST(at((temp / "gguf/a-Q8_0.gguf").string(), "*.gguf") == "a-Q8_0.gguf");
  BOOST_TEST(at((temp / "gguf/a-Q8_0.gguf").string(), "*") == "a-Q8_0.gguf");
  BOOST_TEST(
      contains(failure((temp / "gguf/a-Q8_0.gguf").string(), "*.json", {}), "does not match"));
  fs::create_directory(temp / "empty");
  BOOST_TEST(contains(failure((temp / "empty").string(), "*.gguf", {}), (temp / "empty").string()));
}

BOOST_AUTO_TEST_CASE(single_files_by_path) {
  TempFolder temp;
  const std::string blob = temp.write("0123abcd", "GGUF....").string();
  BOOST_TEST(names(resolve(parse_model_name(blob), "*.gguf", {})) ==
             "0123abcd");  // known by its first bytes
  temp.write("m-00001-of-00002.gguf");
  BOOST_TEST(contains(failure((temp / "m-00001-of-00002.gguf").string(), "*.gguf", {}),
                      "m-00002-of-00002.gguf of a split"));
  temp.write("m-00002-of-00002.gguf");
  BOOST_TEST(
      resolve(parse_model_name((temp / "m-00001-of-00002.gguf").string()), "*.gguf", {}).size() ==
      2u);
}

BOOST_AUTO_TEST_CASE(hostile_folders) {
  TempFolder temp;
  temp.write("m/a-Q8_0.gguf");
  fs::create_symlink("loop", temp / "m" / "loop");
  fs::create_symlink("loop2.gguf", temp / "m" / "loop2.gguf");
  fs::create_directory_symlink("..", temp / "m" / "up");
  temp.write("m/odd \n\x01\xff name-Q4_K_M.gguf");
  BOOST_REQUIRE(mkfifo((temp / "m" / "pipe-Q4_K_M.gguf").c_str(), 0600) == 0);
  temp.write("m/1/2/3/4/5/6/deep-Q4_K_M.gguf");
  const auto files = resolve(parse_model_name((temp / "m").string()), "*", {});
  BOOST_TEST(names(files) == "odd \n\x01\xff name-Q4_K_M.gguf");
  const std::string text = failure((temp / "m").string() + ":Q9", "*", {});
  BOOST_TEST(contains(text, "odd \\x0A\\x01\\xFF name-Q4_K_M.gguf"));
  const fs::path locked = temp / "locked";
  fs::create_directory(locked);
  chmod(locked.c_str(), 0);
  BOOST_TEST(contains(failure(locked.string(), "*", {}), locked.string()));
  chmod(locked.c_str(), 0700);
  fs::create_symlink("self", temp / "self");
  BOOST_TEST(!failure((temp / "self").string(), "*", {}).empty());
}

BOOST_AUTO_TEST_CASE(printable_text) {
  BOOST_TEST(printable("gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80") ==
             "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80");
  BOOST_TEST(printable("a\x1b[31m\n\x7f") == "a\\x1B[31m\\x0A\\x7F");
  BOOST_TEST(printable("\xc2\x9b") == "\\xC2\\x9B");
  BOOST_TEST(printable("\xe2\x82") == "\\xE2\\x82");
  BOOST_TEST(printable(std::string(1000, 'a'), 10) == "aaaaaaaaaa...");
}
