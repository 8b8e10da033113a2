#include "unicode_properties.h"

#include <algorithm>

#include "jinja/unicode.h"
#include "unicode_data.h"
#include "unicode_utf8.h"

namespace spnl::modelkit::unicode {

Category category(char32_t c) {
  if (c >= 0x110000) return kCn;
  const CategoryRun* const end = kCategoryRuns + kCategoryRunsCount;
  const CategoryRun* const after =
      std::upper_bound(kCategoryRuns, end, c,
                       [](char32_t code, const CategoryRun& run) { return code < run.first; });
  return static_cast<Category>((after - 1)->category);
}

bool is_white_space(char32_t c) {
  if (c < 0x80) return c == ' ' || (c >= '\t' && c <= '\r');
  if (c == 0x85) return true;
  const Category kind = category(c);
  return kind >= kZl && kind <= kZs;
}

bool is_mark(char32_t c) {
  if (c < 0x300) return false;
  const Category kind = category(c);
  return kind >= kMc && kind <= kMn;
}

bool is_numeric(char32_t c) {
  if (c < 0x80) return c >= '0' && c <= '9';
  const Category kind = category(c);
  return kind >= kNd && kind <= kNo;
}

bool is_punctuation(char32_t c) {
  const Category kind = category(c);
  return kind >= kPc && kind <= kPs;
}

bool is_word(char32_t c) {
  const Category kind = category(c);
  if ((kind >= kLl && kind <= kLu) || (kind >= kMc && kind <= kNl) || kind == kPc) return true;
  // Join controls, and the symbols that count as alphabetic.
  return c == 0x200C || c == 0x200D || (c >= 0x24B6 && c <= 0x24E9) ||
         (c >= 0x1F130 && c <= 0x1F149) || (c >= 0x1F150 && c <= 0x1F169) ||
         (c >= 0x1F170 && c <= 0x1F189);
}

void append_lower(std::string& out, char32_t c) {
  if (c < 0x80) {
    out += static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
    return;
  }
  std::string one;
  append_character(one, c);
  out += jinja::to_lower(one);
}

Character character_at(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[at + i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  const Utf8Step step = utf8_step(text.substr(at, 4));
  const auto size = static_cast<uint32_t>(step.size);
  if (step.kind != Utf8Step::kCharacter) return {kIllFormed, size};
  char32_t code = lead & (0xFF >> (size + 1));
  for (uint32_t i = 1; i < size; ++i) code = (code << 6) | (byte(i) & 0x3F);
  return {code, size};
}

Character character_before(std::string_view text, size_t end) {
  for (uint32_t size = 1; size <= 4 && size <= end; ++size) {
    if ((static_cast<unsigned char>(text[end - size]) & 0xC0) == 0x80) continue;
    const Character found = character_at(text, end - size);
    if (found.size == size) return found;
    break;
  }
  return {kIllFormed, 1};
}

void append_character(std::string& out, char32_t c) {
  const auto add = [&](char32_t byte) { out += static_cast<char>(byte); };
  if (c < 0x80) {
    add(c);
  } else if (c < 0x800) {
    add(0xC0 | (c >> 6));
    add(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    add(0xE0 | (c >> 12));
    add(0x80 | ((c >> 6) & 0x3F));
    add(0x80 | (c & 0x3F));
  } else {
    add(0xF0 | (c >> 18));
    add(0x80 | ((c >> 12) & 0x3F));
    add(0x80 | ((c >> 6) & 0x3F));
    add(0x80 | (c & 0x3F));
  }
}

}  // namespace spnl::modelkit::unicode
