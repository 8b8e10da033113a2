#include "text_width.h"

#include <locale.h>
#include <wchar.h>

#include <vector>

#include "utf8.h"

namespace spnl::host {
namespace {

/// wcwidth() follows the calling thread's locale, so the calls are made under one that knows
/// Unicode, whatever the person's is.
class UnicodeLocale {
 public:
  UnicodeLocale() {
    static const locale_t unicode = ::newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
    usable_ = unicode != nullptr;
    if (usable_) before_ = ::uselocale(unicode);
  }
  ~UnicodeLocale() {
    if (usable_) ::uselocale(before_);
  }
  UnicodeLocale(const UnicodeLocale&) = delete;
  UnicodeLocale& operator=(const UnicodeLocale&) = delete;

  size_t width(uint32_t code_point) const {
    if (code_point >= 0x20 && code_point < 0x7F) return 1;
    if (!usable_) return 2;
    int columns = ::wcwidth(static_cast<wchar_t>(code_point));
    return columns < 0 ? 1 : static_cast<size_t>(columns);
  }

 private:
  bool usable_ = false;
  locale_t before_ = nullptr;
};

struct Character {
  size_t offset, length, width;
};

template <class Visit>
void each_character(std::string_view text, Visit&& visit) {
  UnicodeLocale locale;
  for (size_t i = 0; i < text.size();) {
    uint32_t code_point = 0;
    size_t length = decode_utf8(text.substr(i), code_point);
    if (length == 0) length = 1, code_point = 0xFFFD;
    if (!visit(Character{i, length, locale.width(code_point)})) return;
    i += length;
  }
}

}  // namespace

size_t display_width(std::string_view text) {
  size_t width = 0;
  each_character(text, [&](const Character& c) { return width += c.width, true; });
  return width;
}

std::string cut_to_width(std::string_view text, size_t columns) {
  if (columns == 0) return "";
  size_t width = 0, kept = 0;  // kept: bytes that leave a column for the ellipsis
  bool fits = true;
  each_character(text, [&](const Character& c) {
    width += c.width;
    if (width < columns) kept = c.offset + c.length;
    return fits = width <= columns;
  });
  return fits ? std::string(text) : std::string(text.substr(0, kept)) + "…";
}

std::string_view tail_of_width(std::string_view text, size_t columns) {
  std::vector<Character> characters;
  size_t width = 0;
  each_character(text, [&](const Character& c) {
    characters.push_back(c);
    width += c.width;
    return true;
  });
  size_t first = 0;
  for (; width > columns; ++first) width -= characters[first].width;
  // A combining character does not stand without the one it was on.
  while (first > 0 && first < characters.size() && characters[first].width == 0) ++first;
  return first < characters.size() ? text.substr(characters[first].offset) : std::string_view();
}

}  // namespace spnl::host
