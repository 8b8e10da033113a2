#include "backends/manifest.h"

#include <rapidjson/document.h>
#include <rapidjson/error/en.h>

#include <fstream>
#include <system_error>

#include "hub/printable.h"
#include "spnl/backend.h"

namespace spnl::backends {

namespace {

namespace fs = std::filesystem;
using hub::printable;
using rapidjson::Value;

constexpr size_t kMaxManifestBytes = 64 * 1024;
constexpr rapidjson::SizeType kMaxItems = 64;

/// What a field may hold goes no further than this file.
struct Problem {
  std::string text;
};

bool is_word(std::string_view text) {
  if (text.empty() || text.size() > 64 || text.front() == '.') return false;
  for (char c : text) {
    const bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                    c == '-' || c == '_' || c == '.';
    if (!ok) return false;
  }
  return true;
}

/// "mistralrs", or "vllm/lab": words between slashes.
bool is_prefix(std::string_view text) {
  while (true) {
    const size_t slash = text.find('/');
    if (!is_word(text.substr(0, slash))) return false;
    if (slash == text.npos) return true;
    text.remove_prefix(slash + 1);
  }
}

std::string read_file(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in) throw Problem{"cannot be read"};
  std::string text(kMaxManifestBytes + 1, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(in.gcount()));
  if (text.size() > kMaxManifestBytes) throw Problem{"larger than 64 KiB"};
  return text;
}

const Value& field(const Value& object, const char* name) {
  const auto it = object.FindMember(name);
  if (it == object.MemberEnd()) throw Problem{std::string("lacks \"") + name + "\""};
  return it->value;
}

std::string text_of(const Value& value, const char* name) {
  if (!value.IsString()) throw Problem{std::string("\"") + name + "\" is no string"};
  std::string text(value.GetString(), value.GetStringLength());
  if (text.size() > 256 || text.find('\0') != text.npos)
    throw Problem{std::string("\"") + name + "\" is too long or holds a zero byte"};
  return text;
}

std::string optional_text(const Value& object, const char* name) {
  const auto it = object.FindMember(name);
  return it == object.MemberEnd() ? "" : text_of(it->value, name);
}

std::vector<std::string> optional_texts(const Value& object, const char* name) {
  const auto it = object.FindMember(name);
  if (it == object.MemberEnd()) return {};
  if (!it->value.IsArray() || it->value.Size() > kMaxItems)
    throw Problem{std::string("\"") + name + "\" is no list of at most 64 strings"};
  std::vector<std::string> out;
  for (const Value& item : it->value.GetArray()) out.push_back(text_of(item, name));
  return out;
}

uint32_t number_of(const Value& object, const char* name) {
  const Value& value = field(object, name);
  if (!value.IsUint()) throw Problem{std::string("\"abi.") + name + "\" is no number"};
  return value.GetUint();
}

void fill_identity(const Value& root, Manifest& out) {
  const std::string id = text_of(field(root, "id"), "id");
  if (!is_word(id)) throw Problem{"\"id\" is not made of letters, digits, '-', '_' and '.'"};
  out.id = id;
  out.version = text_of(field(root, "version"), "version");
  out.vendor = optional_text(root, "vendor");
  out.license = optional_text(root, "license");
  out.capabilities = optional_texts(root, "capabilities");
}

void fill_prefixes(const Value& root, Manifest& out) {
  std::vector<std::string> prefixes = optional_texts(root, "prefixes");
  if (prefixes.empty()) throw Problem{"\"prefixes\" is missing or empty"};
  for (const std::string& prefix : prefixes)
    if (!is_prefix(prefix))
      throw Problem{"\"" + printable(prefix, 80) + "\" is no prefix of model names"};
  out.prefixes = std::move(prefixes);
}

void fill_library(const Value& root, Manifest& out) {
  const std::string library = text_of(field(root, "library"), "library");
  if (!is_word(library))
    throw Problem{"\"library\" is no plain file name: it must be beside the manifest"};
  out.library = out.file.parent_path() / library;
  out.sha256 = optional_text(root, "sha256");
  if (!out.sha256.empty() &&
      (out.sha256.size() != 64 ||
       out.sha256.find_first_not_of("0123456789abcdef") != std::string::npos))
    throw Problem{"\"sha256\" is not 64 lower-case hexadecimal digits"};
  for (const std::string& item : optional_texts(root, "process_wide")) {
    const size_t equals = item.find('=');
    out.process_wide.push_back(
        {item.substr(0, equals), equals == item.npos ? "" : item.substr(equals + 1)});
  }
}

void fill_abi(const Value& root, Manifest& out) {
  const Value& abi = field(root, "abi");
  if (!abi.IsObject()) throw Problem{"\"abi\" is no object"};
  out.abi_major = number_of(abi, "major");
  out.minor_needed = number_of(abi, "minor_needed");
  if (out.abi_major != SPNL_ABI_MAJOR)
    throw Problem{"needs ABI major " + std::to_string(out.abi_major) + ", this host speaks " +
                  std::to_string(SPNL_ABI_MAJOR)};
  if (out.minor_needed > SPNL_ABI_MINOR)
    throw Problem{"needs ABI 1." + std::to_string(out.minor_needed) + ", this host speaks 1." +
                  std::to_string(SPNL_ABI_MINOR) + "; use a newer host or an older backend"};
}

}  // namespace

Manifest read_manifest(const fs::path& file) {
  Manifest out;
  out.file = file;
  try {
    const std::string text = read_file(file);
    rapidjson::Document root;
    // Iterative: nesting in the file costs heap, not stack.
    root.Parse<rapidjson::kParseIterativeFlag | rapidjson::kParseValidateEncodingFlag>(text.data(),
                                                                                       text.size());
    if (root.HasParseError())
      throw Problem{
          "is no JSON: " + std::string(rapidjson::GetParseError_En(root.GetParseError())) +
          " at byte " + std::to_string(root.GetErrorOffset())};
    if (!root.IsObject()) throw Problem{"is no JSON object"};
    // What names the backend first, so that a problem with the rest is told with its id and
    // prefixes.
    fill_identity(root, out);
    fill_prefixes(root, out);
    fill_library(root, out);
    fill_abi(root, out);
  } catch (const Problem& problem) {
    out.problem = "manifest " + problem.text;
  }
  return out;
}

}  // namespace spnl::backends
