// Manifests, search path, routing, prompts on the wire: without any library.
#include <boost/test/unit_test.hpp>
#include <map>
#include <random>

#include "backends/abi_check.h"
#include "backends/manifest.h"
#include "backends/prompt_wire.h"
#include "backends/router.h"
#include "backends/search_path.h"
#include "backends/sha256.h"
#include "spnl/error.h"
#include "temp_folder.h"

using namespace spnl;
using namespace spnl::backends;
namespace fs = std::filesystem;

namespace {

const std::string kGood =
    R"({"id": "good", "version": "1", "vendor": "", "license": "", "abi": {"major": 1, "minor_needed": 0},
        "library": "good.so", "prefixes": ["good", "best"], "capabilities": ["spans"],
        "process_wide": ["libtorch=2.11", "libgomp"], "field_of_tomorrow": {"x": [1, 2, {}]}})";

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  text.replace(text.find(from), from.size(), to);
  return text;
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != text.npos;
}

Environment fixed(std::map<std::string, std::string> values) {
  return [values](const char* name) -> std::optional<std::string> {
    const auto found = values.find(name);
    return found == values.end() ? std::nullopt : std::optional<std::string>(found->second);
  };
}

Manifest simple(const std::string& id, std::vector<std::string> prefixes, size_t folder = 0) {
  Manifest m;
  m.id = id;
  m.prefixes = std::move(prefixes);
  m.file = "/somewhere/" + id + ".spnl.json";
  m.folder = folder;
  return m;
}

}  // namespace

BOOST_AUTO_TEST_CASE(manifest_good) {
  TempFolder temp;
  const Manifest m = read_manifest(temp.write("good.spnl.json", kGood));
  BOOST_TEST(m.problem == "");
  BOOST_TEST(m.id == "good");
  BOOST_TEST(m.library == temp / "good.so");
  BOOST_TEST(m.prefixes.size() == 2u);
  BOOST_REQUIRE(m.process_wide.size() == 2u);
  BOOST_TEST(m.process_wide[0].version == "2.11");
  BOOST_TEST(m.process_wide[1].version == "");
}

BOOST_AUTO_TEST_CASE(manifest_bad) {
  TempFolder temp;
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "is no JSON"},
      {"[]", "no JSON object"},
      {kGood.substr(0, 100), "is no JSON"},
      {kGood + "x", "is no JSON"},
      {std::string(70'000, ' '), "larger than"},
      {std::string(60'000, '['), "is no JSON"},
      {replaced(kGood, "\"good\"", "\"../x\""), "\"id\""},
      {replaced(kGood, "\"good\"", "7"), "\"id\" is no string"},
      {replaced(kGood, "\"version\"", "\"Version\""), "lacks \"version\""},
      {replaced(kGood, "good.so", "../good.so"), "no plain file name"},
      {replaced(kGood, "good.so", "/bin/good.so"), "no plain file name"},
      {replaced(kGood, "good.so", ""), "no plain file name"},
      {replaced(kGood, "good.so", ".hidden.so"), "no plain file name"},
      {replaced(kGood, "\"major\": 1", "\"major\": 2"), "ABI major 2, this host speaks 1"},
      {replaced(kGood, "\"major\": 1", "\"major\": -1"), "no number"},
      {replaced(kGood, "\"minor_needed\": 0", "\"minor_needed\": 3"), "needs ABI 1.3"},
      {replaced(kGood, "[\"good\", \"best\"]", "[]"), "missing or empty"},
      {replaced(kGood, "\"best\"", "\"a b\""), "no prefix"},
      {replaced(kGood, "\"best\"", "\"a//b\""), "no prefix"},
      {replaced(kGood, "\"best\"", "5"), "is no string"},
      {replaced(kGood, "\"spans\"", "null"), "is no string"},
      {replaced(kGood, "\"vendor\": \"\"", "\"vendor\": \"\\u0000\""), "zero byte"},
      {replaced(kGood, "\"vendor\"", "\"sha256\": \"abc\", \"vendor\""), "64 lower-case"},
      {replaced(kGood, "good", "\xff\xfe"), "is no JSON"}};
  for (const auto& [text, expected] : cases) {
    const Manifest m = read_manifest(temp.write("x.spnl.json", text));
    BOOST_TEST_INFO(m.problem + " <- " + text.substr(0, 200));
    BOOST_TEST(contains(m.problem, expected));
  }
  BOOST_TEST(contains(read_manifest(temp / "missing").problem, "cannot be read"));
  // The id and prefixes survive a problem with the rest.
  const Manifest m =
      read_manifest(temp.write("x.spnl.json", replaced(kGood, "\"major\": 1", "\"major\": 2")));
  BOOST_TEST(m.id == "good");
  BOOST_TEST(m.prefixes.size() == 2u);
}

BOOST_AUTO_TEST_CASE(manifest_mutated_never_throws) {
  TempFolder temp;
  std::mt19937 random(7);
  size_t good = 0;
  for (int i = 0; i < 500; ++i) {
    std::string text = kGood;
    for (unsigned n = random() % 4 + 1; n > 0; --n)
      text[random() % text.size()] = static_cast<char>(random());
    if (random() % 4 == 0) text.resize(random() % text.size());
    good += read_manifest(temp.write("x.spnl.json", text)).problem.empty() ? 1u : 0u;
  }
  BOOST_TEST(good < 500u);
}

BOOST_AUTO_TEST_CASE(search_order) {
  const auto folders = search_folders(
      {"relative", "/explicit"},
      fixed({{"SPNL_BACKEND_PATH", "/one::./two:three:/four/"}, {"HOME", "/home/me"}}));
  std::vector<std::string> paths;
  for (const auto& folder : folders) paths.push_back(folder.path.string());
  const std::vector<std::string> expected = {(fs::current_path() / "relative").string(),
                                             "/explicit",
                                             "/one",
                                             "/four",
                                             "/home/me/.local/share/spnl/backends",
                                             installation_folder().string()};
  BOOST_TEST(paths == expected, boost::test_tools::per_element());
  BOOST_TEST(!folders[0].check_owner);
  BOOST_TEST(folders[2].check_owner);
  BOOST_TEST(
      search_folders({}, fixed({{"XDG_DATA_HOME", "/data"}, {"HOME", "/home/me"}}))[0].path ==
      "/data/spnl/backends");
  BOOST_TEST(search_folders({}, fixed({{"XDG_DATA_HOME", "data"}})).size() == 1u);
  BOOST_TEST(search_folders({"/a", "/a/", "/a/../a"}, fixed({})).size() == 2u);
  BOOST_TEST(installation_folder().is_absolute());
  BOOST_TEST(installation_folder().string().ends_with("lib/spnl/backends"));
}

BOOST_AUTO_TEST_CASE(found_manifests) {
  TempFolder temp;
  temp.write("a/good.spnl.json", kGood);
  temp.write("a/good.so");
  temp.write("a/sub/other.spnl.json", replaced(kGood, "\"good\"", "\"other\""));  // never recursive
  temp.write("a/.spnl.json", kGood);
  temp.write("a/readme.json", kGood);
  temp.write("b/good.spnl.json", kGood);
  temp.write("b/good.so");
  fs::create_symlink(temp / "a" / "good.spnl.json", temp / "b" / "link.spnl.json");
  fs::create_directory(temp / "b" / "dir.spnl.json");
  BOOST_REQUIRE(mkfifo((temp / "b" / "pipe.spnl.json").c_str(), 0600) == 0);
  temp.write("file", "");
  const auto all = find_manifests(
      {{temp / "a", true}, {temp / "b", true}, {temp / "none", true}, {temp / "file", true}});
  BOOST_REQUIRE_EQUAL(all.size(), 6u);
  BOOST_TEST(all[0].problem == "");
  BOOST_TEST(contains(all[1].problem, "no regular file"));
  BOOST_TEST(contains(all[2].problem, "hidden by"));
  BOOST_TEST(contains(all[3].problem, "symbolic link"));
  BOOST_TEST(contains(all[4].problem, "no regular file"));
  BOOST_TEST(contains(all[5].problem, "folder cannot be read"));
}

BOOST_AUTO_TEST_CASE(trust) {
  TempFolder temp;
  const fs::path file = temp.write("file");
  BOOST_TEST(trust_problem(file, true, true) == "");
  BOOST_TEST(trust_problem(temp.path(), true, false) == "");
  chmod(file.c_str(), 0646);
  BOOST_TEST(contains(trust_problem(file, true, true), "writable by others"));
  chmod(file.c_str(), 0644);
  if (geteuid() == 0) {
    BOOST_REQUIRE(chown(file.c_str(), 12345, 0) == 0);
    BOOST_TEST(contains(trust_problem(file, true, true), "another user"));
    BOOST_TEST(trust_problem(file, false, true) == "");
    BOOST_REQUIRE(chown(file.c_str(), 0, 12345) == 0);
    chmod(file.c_str(), 0664);
    BOOST_TEST(contains(trust_problem(file, true, true), "another group"));
  }
  BOOST_TEST(contains(trust_problem(temp / "none", true, true), "No such file"));
}

BOOST_AUTO_TEST_CASE(routing) {
  const std::vector<Manifest> all = {simple("m", {"mistralrs", "local"}), simple("v", {"vllm"}),
                                     simple("lab", {"vllm/lab"}), simple("late", {"vllm"}, 1)};
  const auto to = [&](const std::string& name) {
    const Route r = route(all, {}, name);
    return r.manifest->id + " " + r.model;
  };
  BOOST_TEST(to("mistralrs/org/name:Q4_0") == "m org/name:Q4_0");
  BOOST_TEST(to("mistralrs//abs/path.gguf") == "m /abs/path.gguf");
  BOOST_TEST(to("mistralrs/./rel") == "m ./rel");
  BOOST_TEST(to("local/smollm2:135m") == "m smollm2:135m");
  BOOST_TEST(to("vllm/x") == "v x");
  BOOST_TEST(to("vllm/lab/x") == "lab x");
  BOOST_TEST(to("vllm/labx") == "v labx");
  BOOST_TEST(to("smollm2:135m") == "m smollm2:135m");
  BOOST_TEST(to("org/name") == "m org/name");
  BOOST_CHECK_THROW(to("nothing"), Error);
  BOOST_CHECK_THROW(to("a/b/c"), Error);
  BOOST_CHECK_THROW(to(""), Error);
  BOOST_CHECK_EXCEPTION(
      route({simple("a", {"p"}), simple("b", {"p"})}, {}, "p/x"), Error, [](const Error& e) {
        return e.code() == ErrorCode::kNotLoadable && contains(e.what(), "a and b");
      });
  BOOST_CHECK_EXCEPTION(
      route({}, {{"/looked/here", true}}, "smollm2:135m"), Error, [](const Error& e) {
        return e.code() == ErrorCode::kNotFound && contains(e.what(), "/looked/here (missing)");
      });
}

BOOST_AUTO_TEST_CASE(unusable_default_names_the_others) {
  Manifest broken = simple("m", {"mistralrs"});
  broken.problem = "its library is gone";
  BOOST_CHECK_EXCEPTION(
      route({broken, simple("c", {"cpu_ref"})}, {}, "nosuch/model"), Error, [](const Error& e) {
        return e.code() == ErrorCode::kNotLoadable && contains(e.what(), "is gone") &&
               contains(e.what(), "c (cpu_ref/)");
      });
}

BOOST_AUTO_TEST_CASE(prompt_on_the_wire) {
  Prompt leaf;
  leaf.kind = Prompt::Kind::kMessage;
  leaf.role = Role::kAssistant;
  leaf.text = "text";
  leaf.parse_special = true;
  leaf.lineage = 42;
  Prompt independent;
  independent.kind = Prompt::Kind::kIndependent;
  independent.children = {leaf, leaf};
  Prompt root;
  root.children = {leaf, independent};
  PromptOptions options;
  options.no_special = true;
  options.tools_json = "[]";

  const PromptWire wire(root, options, true);
  BOOST_REQUIRE(wire.get()->n_fragments == 4u);
  const auto& f = wire.fragments();
  BOOST_TEST(f[0].parent == -1);
  BOOST_TEST(f[1].kind == SPNL_FRAG_INDEPENDENT);
  BOOST_TEST(f[2].parent == 1);
  BOOST_TEST(f[3].parent == 1);
  BOOST_TEST(f[3].role == SPNL_ROLE_ASSISTANT);
  BOOST_TEST(f[3].flags == SPNL_FRAG_PARSE_SPECIAL);
  BOOST_TEST(f[3].lineage == 42u);
  BOOST_TEST(wire.get()->flags == SPNL_PROMPT_NO_SPECIAL);
  BOOST_TEST(wire.get()->tools_json.len == 2u);
  BOOST_TEST(wire.get()->fragments[3] == &f[3]);

  const PromptWire flat(root, options, false);
  BOOST_REQUIRE(flat.get()->n_fragments == 3u);
  for (const auto& fragment : flat.fragments()) BOOST_TEST(fragment.parent == -1);
  BOOST_TEST(PromptWire(Prompt{}, {}, true).get()->n_fragments == 0u);
}

BOOST_AUTO_TEST_CASE(capabilities_and_statuses) {
  const uint64_t known = (1u << 10) - 1;
  BOOST_TEST(capability_words(known | 1ull << 63).size() == 10u);
  BOOST_TEST(capability_bits(capability_words(known)) == known);
  BOOST_TEST(capability_bits({"word_of_tomorrow"}) == 0u);
  BOOST_TEST(status_text(12345) == "internal error");
  spnl_error error = empty_error();
  BOOST_TEST(failure_text(SPNL_IO, error) == "reading or writing failed");
  std::fill(std::begin(error.message), std::end(error.message), 'x');  // no end
  BOOST_TEST(failure_text(SPNL_IO, error).size() == sizeof error.message);
  BOOST_TEST(table_problem(nullptr) != "");
}

BOOST_AUTO_TEST_CASE(frozen_sizes_are_those_of_minor_0) {
  // A struct may only grow beyond its smallest legal size.
  BOOST_TEST(sizeof(spnl_backend) >= kMinBackend);
  BOOST_TEST(sizeof(spnl_descriptor) >= kMinDescriptor);
  BOOST_TEST(sizeof(spnl_event) >= kMinEvent);
  BOOST_TEST(sizeof(spnl_usage) >= kMinUsage);
  BOOST_TEST(sizeof(spnl_error) >= kMinError);
}

BOOST_AUTO_TEST_CASE(sha256_vectors) {
  // FIPS 180-4 examples.
  BOOST_TEST(sha256("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  BOOST_TEST(sha256("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  BOOST_TEST(sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq") ==
             "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  BOOST_TEST(sha256(std::string(1'000'000, 'a')) ==
             "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}
