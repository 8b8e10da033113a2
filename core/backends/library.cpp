// The only place that opens libraries.
#include "backends/library.h"

// Before the first Boost.DLL header: with the standard's filesystem it needs no Boost library to
// link.
#define BOOST_DLL_USE_STD_FS
#include <algorithm>
#include <boost/dll/shared_library.hpp>
#include <deque>
#include <mutex>
#include <system_error>

#include "backends/abi_check.h"
#include "backends/elf_check.h"
#include "backends/sha256.h"
#include "hub/printable.h"
#include "spnl/error.h"

namespace spnl::backends {

namespace {

using hub::printable;
using Entry = const spnl_backend*();

struct Opened {
  std::string id;
  std::filesystem::path path;
  std::vector<ProcessWide> process_wide;
  boost::dll::shared_library library;
};

/// Never destroyed: unmapping a library that left threads, thread-local data or exit handlers
/// behind ends in a crash, often after the results were printed.
struct Registry {
  std::mutex mutex;
  std::deque<Opened> opened;
};

Registry& registry() {
  static Registry& instance = *new Registry;
  return instance;
}

[[noreturn]] void fail(const Manifest& manifest, const std::string& reason,
                       const std::string& hint = "") {
  throw Error(ErrorCode::kNotLoadable, "backend " + manifest.id + " cannot be loaded: " + reason,
              printable(manifest.library.string()), hint);
}

/// The loader's own words out of Boost.DLL's message, which wraps them.
std::string loader_text(std::string text) {
  constexpr std::string_view kMark = "dlerror system message: ";
  if (const size_t start = text.find(kMark); start != text.npos) {
    text.erase(0, start + kMark.size());
    if (const size_t end = text.rfind("): "); end != text.npos) text.erase(end);
  }
  return printable(text, 600);
}

std::string loader_hint(const std::string& text) {
  if (text.find("static TLS block") != text.npos)
    return "start the program with GLIBC_TUNABLES=glibc.rtld.optional_static_tls=0x100000";
  if (text.find("cannot open shared object file") != text.npos)
    return "a library that the backend needs is missing; spnl-host doctor lists them";
  if (text.find("undefined symbol") != text.npos)
    return "the backend was built against other versions of its libraries";
  return "";
}

void check_clashes(const Registry& all, const Manifest& manifest) {
  for (const Opened& other : all.opened)
    for (const ProcessWide& theirs : other.process_wide)
      for (const ProcessWide& ours : manifest.process_wide)
        if (ours.name == theirs.name && ours.version != theirs.version)
          fail(manifest,
               "it needs " + printable(ours.name, 80) + " " + printable(ours.version, 80) +
                   ", but backend " + other.id + ", which is in use, brought " +
                   printable(theirs.version, 80),
               "use the two in separate runs");
}

/// The descriptor must say what the manifest said, or listing and routing would have lied.
std::string manifest_difference(const Manifest& manifest, const spnl_descriptor& descriptor) {
  const auto differs = [](const char* what, std::string_view theirs, std::string_view stated) {
    return std::string("its library says ") + what + " '" + printable(theirs, 120) +
           "', its manifest '" + printable(stated, 120) + "'";
  };
  if (text_of(descriptor.id) != manifest.id)
    return differs("id", text_of(descriptor.id), manifest.id);
  if (text_of(descriptor.version) != manifest.version)
    return differs("version", text_of(descriptor.version), manifest.version);
  if (!manifest.vendor.empty() && text_of(descriptor.vendor) != manifest.vendor)
    return differs("vendor", text_of(descriptor.vendor), manifest.vendor);
  if (!manifest.license.empty() && text_of(descriptor.license) != manifest.license)
    return differs("license", text_of(descriptor.license), manifest.license);
  if (descriptor.minor_needed != manifest.minor_needed)
    return differs("minor_needed", std::to_string(descriptor.minor_needed),
                   std::to_string(manifest.minor_needed));

  std::vector<std::string> prefixes, stated = manifest.prefixes;
  const uint32_t n =
      descriptor.prefixes == nullptr ? 0 : std::min<uint32_t>(descriptor.n_prefixes, 1024);
  for (uint32_t i = 0; i < n; ++i) prefixes.emplace_back(text_of(descriptor.prefixes[i]));
  std::sort(prefixes.begin(), prefixes.end());
  std::sort(stated.begin(), stated.end());
  const auto join = [](const std::vector<std::string>& words) {
    std::string out;
    for (const std::string& word : words) out += (out.empty() ? "" : " ") + word;
    return out;
  };
  if (prefixes != stated) return differs("prefixes", join(prefixes), join(stated));
  if (capability_words(descriptor.caps) != capability_words(capability_bits(manifest.capabilities)))
    return differs("capabilities", join(capability_words(descriptor.caps)),
                   join(capability_words(capability_bits(manifest.capabilities))));
  return "";
}

boost::dll::shared_library map_library(const Manifest& manifest) {
  try {
    // Now, so that a missing symbol is told here and not in the middle of a run; local, so that
    // plugins do not see each other's symbols.
    return boost::dll::shared_library(
        manifest.library, boost::dll::load_mode::rtld_now | boost::dll::load_mode::rtld_local);
  } catch (const std::exception& e) {
    const std::string text = loader_text(e.what());
    fail(manifest, text, loader_hint(text));
  }
}

}  // namespace

const spnl_backend* open_library(const Manifest& manifest) {
  Registry& all = registry();
  const std::lock_guard lock(all.mutex);
  const auto known = std::find_if(all.opened.begin(), all.opened.end(),
                                  [&](const Opened& o) { return o.path == manifest.library; });
  boost::dll::shared_library* library = nullptr;
  if (known != all.opened.end()) {
    library = &known->library;
  } else {
    check_clashes(all, manifest);
    if (!manifest.sha256.empty()) {
      const std::string digest = file_sha256(manifest.library);
      if (digest != manifest.sha256)
        fail(manifest,
             digest.empty() ? "it cannot be read" : "its SHA-256 is not the one in its manifest",
             "install the backend again");
    }
    if (std::string problem = elf_problem(manifest.library); !problem.empty())
      fail(manifest, problem, "install the backend again");
    all.opened.push_back(
        {manifest.id, manifest.library, manifest.process_wide, map_library(manifest)});
    library = &all.opened.back().library;
  }
  if (!library->has(SPNL_ENTRY_SYMBOL))
    fail(manifest, "it does not export " SPNL_ENTRY_SYMBOL,
         "it is no spnl backend, or one of another ABI major");
  const spnl_backend* table = library->get<Entry>(SPNL_ENTRY_SYMBOL)();
  if (std::string problem = table_problem(table); !problem.empty()) fail(manifest, problem);
  if (std::string problem = manifest_difference(manifest, *table->descriptor); !problem.empty())
    fail(manifest, problem, "install library and manifest of the same build");
  return table;
}

}  // namespace spnl::backends
