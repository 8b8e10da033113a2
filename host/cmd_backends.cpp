// spnl-host backends: what was found, and what was refused and why.
#include "command.h"
#include "json_text.h"
#include "model_options.h"

namespace spnl::host {
namespace {

std::string joined(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "" : ", ") + word;
  return out.empty() ? "-" : out;
}

std::string as_json(const std::vector<BackendInfo>& found,
                    const std::vector<std::filesystem::path>& folders) {
  JsonText json;
  json.begin_object().key("backends").begin_array();
  for (const BackendInfo& backend : found) {
    json.begin_object().key("id").text(backend.id).key("version").text(backend.version);
    json.key("prefixes").texts(backend.prefixes).key("capabilities").texts(backend.capabilities);
    json.key("manifest")
        .text(backend.manifest.string())
        .key("library")
        .text(backend.library.string());
    json.key("usable");
    json.boolean(backend.problem.empty()).key("problem");
    backend.problem.empty() ? json.null() : json.text(backend.problem);
    json.end_object();
  }
  json.end_array().key("search_path").begin_array();
  for (const std::filesystem::path& folder : folders) json.text(folder.string());
  return json.end_array().end_object().str() + "\n";
}

std::string as_list(const std::vector<BackendInfo>& found,
                    const std::vector<std::filesystem::path>& folders) {
  std::string out;
  for (const BackendInfo& backend : found) {
    std::string name =
        backend.id.empty() ? backend.manifest.string() : backend.id + " " + backend.version;
    if (!backend.problem.empty()) {
      out += name + "\n  rejected      " + backend.problem + "\n  manifest      " +
             backend.manifest.string() + "\n";
      continue;
    }
    out += name + "\n  prefixes      " + joined(backend.prefixes) + "\n  capabilities  " +
           joined(backend.capabilities) + "\n  library       " + backend.library.string() + "\n";
  }
  if (found.empty()) out += "no backends found\n";
  out += "looked in\n";
  for (const std::filesystem::path& folder : folders) {
    std::error_code ignored;
    out += "  " + folder.string() +
           (std::filesystem::is_directory(folder, ignored) ? "" : "  (not there)") + "\n";
  }
  return out;
}

int run(Invocation& invocation) {
  Backends backends(backends_options(invocation.args, invocation.terminal));
  std::vector<BackendInfo> found = backends.list(invocation.args.has("verify"));
  std::vector<std::filesystem::path> folders = backends.search_path();
  std::string text =
      invocation.args.has("json") ? as_json(found, folders) : as_list(found, folders);
  invocation.terminal.listing(text);
  return kExitDone;
}

}  // namespace

Command backends_command() {
  return {"backends",
          "Lists the backends found, and those refused with the reason.",
          "[--verify] [--json]",
          kGeneral | kBackend,
          {{"verify", 0, "", "open each library as well (mistralrs loads libtorch then)"}},
          0,
          "Without --verify only the manifests are read and no library is opened.",
          run};
}

}  // namespace spnl::host
