// Finding, listing and opening backends through the public interface, with real libraries, good and
// bad.
#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <fstream>
#include <iterator>
#include <map>

#include "backends/sha256.h"
#include "spnl/backends.h"
#include "spnl/error.h"
#include "temp_folder.h"

using namespace spnl;
namespace fs = std::filesystem;

namespace {

const fs::path kFakes = SPNL_FAKE_BACKENDS_DIR;

BackendsOptions at(std::vector<fs::path> paths) {
  BackendsOptions options;
  options.explicit_paths = std::move(paths);
  return options;
}

std::string read(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// Only what was found below `folder`: the machine may have backends installed.
std::map<std::string, BackendInfo> listed(const Backends& backends, bool verify,
                                          const fs::path& below = {}) {
  std::map<std::string, BackendInfo> out;
  for (BackendInfo& info : backends.list(verify))
    if (below.empty() || info.manifest.string().starts_with(below.string()))
      out[info.id.empty() ? info.manifest.filename().string() : info.id] = std::move(info);
  return out;
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != text.npos;
}

std::string manifest(const std::string& id, const std::string& more) {
  return R"({"id": ")" + id +
         R"(", "version": "1.0", "abi": {"major": 1, "minor_needed": 0}, "prefixes": [")" + id +
         R"("], "capabilities": ["bulk_map"], )" + more + "}";
}

void copy_fake(const fs::path& to, const std::string& name) {
  fs::create_directories(to);
  fs::copy_file(kFakes / name / (name + ".so"), to / (name + ".so"));
  fs::copy_file(kFakes / name / (name + ".spnl.json"), to / (name + ".spnl.json"));
}

std::string problem_of(const std::string& fake) {
  const Backends backends(at({kFakes / fake}));
  const auto all = listed(backends, true, kFakes / fake);
  return all.size() == 1 ? all.begin()->second.problem : "found " + std::to_string(all.size());
}

}  // namespace

// First in the file: once another case has opened a library it stays mapped.
BOOST_AUTO_TEST_CASE(listing_and_routing_map_no_library) {
  const Backends backends(at({kFakes / "fake", kFakes / "fake_default"}));
  const auto all = listed(backends, false);
  BOOST_REQUIRE(all.count("fake") == 1);
  const BackendInfo& fake = all.at("fake");
  BOOST_TEST(fake.problem == "");
  BOOST_TEST(fake.version == "1.0");
  BOOST_TEST(fake.prefixes == std::vector<std::string>{"fake"}, boost::test_tools::per_element());
  BOOST_TEST(fake.library == kFakes / "fake" / "fake.so");
  const auto caps = backends.capabilities("fake/whatever");
  BOOST_TEST(std::count(caps.begin(), caps.end(), "bulk_map") == 1);
  BOOST_TEST(!contains(read("/proc/self/maps"), "fake"));
  BOOST_TEST(listed(backends, true).at("fake").problem == "");
  BOOST_TEST(contains(read("/proc/self/maps"), "fake.so"));
}

BOOST_AUTO_TEST_CASE(bad_libraries_are_named_and_the_others_work) {
  BOOST_TEST(contains(problem_of("fake_no_symbol"), "no_symbol"));
  BOOST_TEST(contains(problem_of("fake_no_symbol"), "does not export spnl_backend_v1"));
  BOOST_TEST(contains(problem_of("fake_null"), "holds no step"));
  BOOST_TEST(contains(problem_of("fake_liar"), "version '2.0', its manifest '1.0'"));
  const std::string future = problem_of("fake_future");
  BOOST_TEST(contains(future, "needs ABI 1.9"));
  BOOST_TEST(contains(future, "this host speaks 1."));

  TempFolder temp;
  temp.write("cut.so", read(kFakes / "fake" / "fake.so").substr(0, 2000));
  temp.write("cut.spnl.json", manifest("cut", R"("library": "cut.so")"));
  temp.write("text.so", "this is no library");
  temp.write("text.spnl.json", manifest("text", R"("library": "text.so")"));
  temp.write("empty.so", "");
  temp.write("empty.spnl.json", manifest("empty", R"("library": "empty.so")"));
  temp.write("broken.spnl.json", R"({"id": "broken", )");
  temp.write("gone.spnl.json", manifest("gone", R"("library": "gone.so")"));
  copy_fake(temp.path(), "fake_default");
  const Backends backends(at({temp.path(), kFakes / "fake_null"}));
  const auto all = listed(backends, true, temp.path());
  for (const char* id : {"cut", "text", "empty"}) {
    BOOST_TEST_INFO(all.at(id).problem);
    BOOST_TEST(contains(all.at(id).problem, std::string("backend ") + id + " cannot be loaded"));
    BOOST_TEST(contains(all.at(id).problem, (temp / (std::string(id) + ".so")).string()));
  }
  BOOST_TEST(contains(all.at("cut").problem, "cut off"));
  BOOST_TEST(contains(all.at("text").problem, "is no shared library"));
  BOOST_TEST(contains(all.at("broken.spnl.json").problem, "is no JSON"));
  BOOST_TEST(contains(all.at("gone").problem, "No such file"));
  BOOST_TEST(all.at("fake_default").problem == "");
}

BOOST_AUTO_TEST_CASE(libraries_cut_anywhere_do_no_harm) {
  const std::string whole = read(kFakes / "fake_default" / "fake_default.so");
  TempFolder temp;
  for (size_t i = 0; i < 40; ++i) {
    const std::string name = "cut" + std::to_string(i);
    temp.write(name + ".so", whole.substr(0, i < 8 ? i * 16 : whole.size() * i / 80));
    temp.write(name + ".spnl.json", manifest(name, R"("library": ")" + name + ".so\""));
  }
  const Backends backends(at({temp.path()}));
  const auto all = listed(backends, true, temp.path());
  BOOST_TEST(all.size() == 40u);
  for (const auto& [id, info] : all) BOOST_TEST(info.problem != "");
}

BOOST_AUTO_TEST_CASE(loading_a_bad_one_says_why) {
  Backends backends(at({kFakes / "fake_null", kFakes / "fake"}));
  BOOST_CHECK_EXCEPTION(backends.load("null/x", {}), Error, [](const Error& e) {
    return e.code() == ErrorCode::kNotLoadable && contains(e.what(), "backend null") &&
           contains(e.what(), "no step") && contains(e.what(), "fake_null.so");
  });
  BOOST_TEST(backends.load("fake/echo", {})->info().architecture == "echo");
}

BOOST_AUTO_TEST_CASE(folders_and_files_that_others_can_write_are_refused) {
  TempFolder temp;
  copy_fake(temp / "open", "fake");
  copy_fake(temp / "file", "fake_default");
  copy_fake(temp / "link", "fake_clash");
  BOOST_REQUIRE(chmod((temp / "open").c_str(), 0777) == 0);
  BOOST_REQUIRE(chmod((temp / "file" / "fake_default.so").c_str(), 0666) == 0);
  fs::remove(temp / "link" / "fake_clash.so");
  fs::create_symlink(kFakes / "fake_clash" / "fake_clash.so", temp / "link" / "fake_clash.so");
  Backends backends(at({temp / "open", temp / "file", temp / "link"}));
  const auto all = listed(backends, true, temp.path());
  BOOST_TEST(contains(all.at("fake").problem, "writable by others"));
  BOOST_TEST(contains(all.at("fake_default").problem, "fake_default.so is writable by others"));
  BOOST_TEST(contains(all.at("fake_clash").problem, "symbolic link"));
  BOOST_CHECK_EXCEPTION(backends.load("fake/echo", {}), Error, [](const Error& e) {
    return e.code() == ErrorCode::kNotLoadable && contains(e.what(), "writable by others");
  });
}

BOOST_AUTO_TEST_CASE(hash_is_compared) {
  TempFolder temp;
  copy_fake(temp.path(), "fake_clash");
  // The same library, which no case here opens: its process-wide versions clash with fake's.
  const std::string digest = backends::file_sha256(temp / "fake_clash.so");
  BOOST_TEST(digest.size() == 64u);
  temp.write("fake_clash.spnl.json",
             manifest("fake_clash",
                      R"("library": "fake_clash.so", "sha256": ")" + std::string(64, 'a') + "\""));
  const Backends backends(at({temp.path()}));
  BOOST_TEST(contains(listed(backends, true, temp.path()).at("fake_clash").problem, "SHA-256"));
}

BOOST_AUTO_TEST_CASE(clashing_process_wide_libraries_are_refused) {
  Backends backends(at({kFakes / "fake", kFakes / "fake_clash"}));
  backends.load("fake/echo", {});
  BOOST_CHECK_EXCEPTION(backends.load("clash/echo", {}), Error, [](const Error& e) {
    return e.code() == ErrorCode::kNotLoadable && contains(e.what(), "libtorch 3.0") &&
           contains(e.what(), "brought 2.0") && contains(e.what(), "fake_clash") &&
           contains(e.what(), "backend fake,");
  });
}

BOOST_AUTO_TEST_CASE(unknown_prefix_lists_what_there_is) {
  TempFolder temp;
  temp.write("broken.spnl.json", "[");
  Backends backends(at({kFakes / "fake", temp.path(), "/no/such/folder"}));
  BOOST_CHECK_EXCEPTION(backends.load("nosuch/some/model", {}), Error, [&](const Error& e) {
    return e.code() == ErrorCode::kNotFound && contains(e.what(), "fake (fake/)") &&
           contains(e.what(), "broken.spnl.json") && contains(e.what(), temp.path().string()) &&
           contains(e.what(), "/no/such/folder (missing)");
  });
  BOOST_CHECK_THROW(backends.load("", {}), Error);
  BOOST_CHECK_THROW(backends.load("fake/", {}), Error);
  BOOST_CHECK_THROW(backends.capabilities("nosuch/a/b"), Error);
}

BOOST_AUTO_TEST_CASE(names_without_prefix_go_to_the_default) {
  Backends backends(at({kFakes / "fake_default"}));
  // Missing from the cache: told at once, and that it is no prefix either.
  BOOST_CHECK_EXCEPTION(backends.load("nosuch/model", {}), Error, [](const Error& e) {
    return e.code() == ErrorCode::kNotFound && contains(e.what(), "models--nosuch--model") &&
           contains(e.what(), "'nosuch' is no backend's prefix");
  });
  BOOST_CHECK_EXCEPTION(backends.load("smollm2:13m", {}), Error, [](const Error& e) {
    return e.code() == ErrorCode::kNotFound && contains(e.what(), "smollm2:135m");
  });
  TempFolder cache;
  cache.write(
      "models--HuggingFaceTB--SmolLM2-135M-Instruct-GGUF/snapshots/abc/"
      "smollm2-135m-instruct-q8_0.gguf",
      "GGUF");
  BackendsOptions options = at({kFakes / "fake_default"});
  options.config["HF_HUB_CACHE"] = cache.path().string();
  Backends with_cache(std::move(options));
  for (const char* name :
       {"smollm2:135m", "HuggingFaceTB/SmolLM2-135M-Instruct-GGUF", "mistralrs/smollm2:135m"})
    BOOST_TEST(with_cache.load(name, {})->info().architecture ==
               "files=smollm2-135m-instruct-q8_0.gguf;");
  BOOST_CHECK_EXCEPTION(with_cache.load("mistralrs/smollm2:360m", {}), Error, [](const Error& e) {
    return e.code() == ErrorCode::kNotFound &&
           contains(e.what(), "models--HuggingFaceTB--SmolLM2-360M-Instruct-GGUF");
  });
}

BOOST_AUTO_TEST_CASE(no_backend_at_all_says_where_it_looked) {
  TempFolder temp;
  Backends backends(at({temp.path()}));
  if (!backends.list().empty()) return;  // installed ones
  BOOST_CHECK_EXCEPTION(backends.load("cpu_ref/x", {}), Error, [&](const Error& e) {
    return e.code() == ErrorCode::kNotFound && contains(e.what(), "no usable backend found") &&
           contains(e.what(), temp.path().string());
  });
}
