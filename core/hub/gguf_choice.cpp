#include "hub/gguf_choice.h"

#include <algorithm>
#include <cstdio>
#include <optional>

#include "hub/printable.h"

namespace spnl::hub {

namespace {

constexpr std::string_view kSuffix = ".gguf";
constexpr uint32_t kMaxParts = 4096;  // a name that claims more is no part of a split file
constexpr std::string_view kPreferred[] = {"q4_k_m", "q5_k_m", "q8_0", "q4_k_s"};

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

struct Split {
  std::string stem;  ///< the name before "-00001-of-00003.gguf"
  uint32_t part = 1, parts = 1;
};

std::optional<uint32_t> five_digits(std::string_view text) {
  uint32_t value = 0;
  for (char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + static_cast<uint32_t>(c - '0');
  }
  return value;
}

/// Takes a GGUF file's name apart. What is not well numbered is a file of its own.
Split split_name(std::string_view name) {
  const std::string_view stem = name.substr(0, name.size() - kSuffix.size());
  constexpr size_t kTail = sizeof("-00001-of-00003") - 1;
  if (stem.size() > kTail) {
    const std::string_view tail = stem.substr(stem.size() - kTail);
    const auto part = five_digits(tail.substr(1, 5)), parts = five_digits(tail.substr(10, 5));
    if (tail[0] == '-' && tail.substr(6, 4) == "-of-" && part && parts && *part >= 1 &&
        *part <= *parts && *parts <= kMaxParts)
      return {std::string(stem.substr(0, stem.size() - kTail)), *part, *parts};
  }
  return {std::string(stem), 1, 1};
}

/// Bits a weight that the name promises, from its last quant-like word ("Q4_K_M", "IQ2_XS",
/// "BF16"); 0: none found.
int named_bits(const std::string& stem) {
  const size_t start = stem.find_last_of("-.");
  std::string_view word = std::string_view(stem).substr(start == stem.npos ? 0 : start + 1);
  for (std::string_view head : {"iq", "tq", "mxfp", "nvfp", "bf", "fp", "q", "f"}) {
    if (!word.starts_with(head) || word.size() == head.size()) continue;
    word.remove_prefix(head.size());
    const char c = word[0];
    if (c < '0' || c > '9') return 0;
    return c == '1' && word.starts_with("16")   ? 16
           : c == '3' && word.starts_with("32") ? 32
                                                : c - '0';
  }
  return 0;
}

struct Candidate {
  std::string stem;  ///< lower case, without folder
  std::vector<ModelFile> files;
  uint64_t bytes = 0;
};

std::string base_name(const std::string& name) { return name.substr(name.rfind('/') + 1); }

bool ends_in_quant(const std::string& stem, const std::string& quant) {
  if (stem == quant) return true;
  return stem.size() > quant.size() && stem.ends_with(quant) &&
         (stem[stem.size() - quant.size() - 1] == '-' ||
          stem[stem.size() - quant.size() - 1] == '.');
}

/// Smaller first; then by the shorter name, so that plain names win over decorated ones; then by
/// name.
bool better(const Candidate& a, const Candidate& b, bool by_size) {
  if (by_size && a.bytes != b.bytes) return a.bytes < b.bytes;
  if (a.stem.size() != b.stem.size()) return a.stem.size() < b.stem.size();
  return a.files.front().name < b.files.front().name;
}

template <class Accept>
const Candidate* best(const std::vector<Candidate>& candidates, bool by_size, Accept accept) {
  const Candidate* found = nullptr;
  for (const Candidate& c : candidates)
    if (accept(c) && (found == nullptr || better(c, *found, by_size))) found = &c;
  return found;
}

std::string names_of(const std::vector<Candidate>& candidates) {
  std::string out;
  for (size_t i = 0; i < candidates.size() && i < 12; ++i)
    out += (i == 0 ? "" : ", ") + printable(candidates[i].files.front().name, 120);
  return candidates.size() > 12 ? out + ", ..." : out;
}

std::vector<Candidate> candidates_of(const std::vector<ModelFile>& files, std::string& missing) {
  std::vector<Candidate> out;
  for (const ModelFile& file : files) {
    if (!is_gguf_name(file.name)) continue;
    const std::string base = lower(base_name(file.name));
    if (base.find("mmproj") != base.npos || base.find("imatrix") != base.npos) continue;
    const Split split = split_name(file.name);
    if (split.part != 1) {
      // Counts with its first part; without that one, say so.
      char name[32];
      std::snprintf(name, sizeof name, "-00001-of-%05u.gguf", split.parts);
      const auto first = std::any_of(files.begin(), files.end(), [&](const ModelFile& f) {
        return f.name.starts_with(split.stem) && lower(f.name).ends_with(name);
      });
      if (!first && missing.empty()) missing = split.stem + name;
      continue;
    }
    Candidate candidate{lower(base_name(split.stem)), parts_of(file, files, missing), 0};
    if (candidate.files.empty()) continue;
    for (const ModelFile& part : candidate.files) candidate.bytes += part.bytes;
    out.push_back(std::move(candidate));
  }
  return out;
}

}  // namespace

bool is_gguf_name(std::string_view name) {
  return name.size() > kSuffix.size() &&
         lower(name.substr(name.size() - kSuffix.size())) == kSuffix;
}

std::vector<ModelFile> parts_of(const ModelFile& file, const std::vector<ModelFile>& siblings,
                                std::string& missing) {
  if (!is_gguf_name(file.name)) return {file};
  const Split split = split_name(file.name);
  if (split.parts == 1) return {file};
  std::vector<ModelFile> parts;
  // Grows with the files that are there, not with the number that a name claims.
  for (uint32_t part = 1; part <= split.parts; ++part) {
    char tail[48];
    std::snprintf(tail, sizeof tail, "-%05u-of-%05u", part, split.parts);
    const std::string wanted =
        split.stem + tail + file.name.substr(file.name.size() - kSuffix.size());
    const auto found = std::find_if(siblings.begin(), siblings.end(),
                                    [&](const ModelFile& f) { return f.name == wanted; });
    if (found == siblings.end()) {
      if (missing.empty()) missing = wanted;
      return {};
    }
    parts.push_back(*found);
  }
  return parts;
}

GgufChoice choose_gguf(const std::vector<ModelFile>& files, std::string_view selector) {
  std::string missing;
  const std::vector<Candidate> candidates = candidates_of(files, missing);
  const std::string incomplete =
      missing.empty() ? "" : "part " + printable(missing, 160) + " of a split file is missing";
  if (candidates.empty())
    return {{}, incomplete.empty() ? "there is no GGUF model file" : incomplete};

  if (!selector.empty()) {
    const std::string quant = lower(selector);
    if (const auto* c = best(candidates, false,
                             [&](const Candidate& x) { return ends_in_quant(x.stem, quant); }))
      return {c->files, ""};
    return {{},
            "no file's name ends in " + printable(selector) + "; there is " + names_of(candidates) +
                (incomplete.empty() ? "" : "; " + incomplete)};
  }
  for (std::string_view quant : kPreferred)
    if (const auto* c = best(candidates, false, [&](const Candidate& x) {
          return ends_in_quant(x.stem, std::string(quant));
        }))
      return {c->files, ""};
  const auto enough = [](const Candidate& x) {
    const int bits = named_bits(x.stem);
    return bits == 0 || bits >= 4;
  };
  if (const auto* c = best(candidates, true, enough)) return {c->files, ""};
  return {
      {},
      "only files of less than 4 bits a weight: " + names_of(candidates) + "; name one as :QUANT"};
}

}  // namespace spnl::hub
