#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace spnl::modelkit::unicode {

/// General category, in the order of the generated tables.
enum Category : uint8_t {
  kCn,
  kCc,
  kCf,
  kCo,
  kCs,
  kLl,
  kLm,
  kLo,
  kLt,
  kLu,
  kMc,
  kMe,
  kMn,
  kNd,
  kNl,
  kNo,
  kPc,
  kPd,
  kPe,
  kPf,
  kPi,
  kPo,
  kPs,
  kSc,
  kSk,
  kSm,
  kSo,
  kZl,
  kZp,
  kZs,
};
Category category(char32_t c);

bool is_white_space(char32_t c);  ///< the property White_Space
bool is_mark(char32_t c);         ///< Mc, Me, Mn
bool is_numeric(char32_t c);      ///< Nd, Nl, No
bool is_punctuation(char32_t c);  ///< P*
/// \w of UTS 18: alphabetic, mark, decimal digit, connector or join control.
bool is_word(char32_t c);
void append_lower(std::string& out, char32_t c);  ///< full lower-casing without context

/// Not a code point: stands for bytes that are no UTF-8.
constexpr char32_t kIllFormed = 0xFFFFFFFF;

struct Character {
  char32_t code;
  uint32_t size;  ///< bytes
};
/// The character at text[at], at < text.size(). What is no UTF-8 is kIllFormed, a maximal part at a
/// time.
Character character_at(std::string_view text, size_t at);
/// The character that ends before text[end], end > 0.
Character character_before(std::string_view text, size_t end);
void append_character(std::string& out, char32_t c);

}  // namespace spnl::modelkit::unicode
