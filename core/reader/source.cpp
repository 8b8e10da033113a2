#include "reader/source.h"

#include <algorithm>
#include <cstdio>

#include "spnl/error.h"
#include "util/text.h"

namespace spnl::reader {

void Source::fail(SourcePosition position, const std::string& found, const std::string& expected,
                  const std::string& hint) const {
  refuse(position, "found " + found + ", expected " + expected, hint);
}

void Source::refuse(SourcePosition position, const std::string& message,
                    const std::string& hint) const {
  throw Error(ErrorCode::kBadQuery, message,
              name + ":" + std::to_string(position.line) + ":" + std::to_string(position.column),
              hint);
}

void Source::check() const {
  if (text.size() > kLargestFile)
    refuse({1, 1}, "the query has " + std::to_string(text.size()) + " bytes, more than 100 MB");
  const size_t bad = text::first_invalid_utf8(text), zero = text.find('\0');
  const size_t first = std::min(bad, zero);
  if (first == std::string_view::npos) return;
  const SourcePosition position = PositionFinder(text).at(first);
  if (first == zero)
    fail(position, "a zero byte", "text", "inside a string it is written as an escape");
  char byte[8];
  std::snprintf(byte, sizeof byte, "0x%02x", static_cast<unsigned char>(text[bad]));
  fail(position, "byte " + std::string(byte) + ", which is not UTF-8", "UTF-8 text");
}

SourcePosition PositionFinder::at(size_t offset) {
  offset = std::min(offset, text_.size());
  if (offset < offset_) offset_ = 0, position_ = {1, 1};
  if (offset_ == 0 && text_.starts_with(kByteOrderMark))
    offset_ = std::min(offset, kByteOrderMark.size());
  for (; offset_ < offset; ++offset_) {
    const unsigned char c = static_cast<unsigned char>(text_[offset_]);
    if (c == '\n')
      position_ = {position_.line + 1, 1};
    else if ((c & 0xC0) != 0x80)  // not inside a character
      ++position_.column;
  }
  return position_;
}

}  // namespace spnl::reader
