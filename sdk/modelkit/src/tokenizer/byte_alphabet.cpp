#include "tokenizer/byte_alphabet.h"

#include <array>

#include "unicode_properties.h"

namespace spnl::modelkit {
namespace {

struct Alphabet {
  std::array<uint16_t, 256> code_of_byte;
  std::array<int16_t, kAlphabetEnd> byte_of_code;
  constexpr Alphabet() : code_of_byte{}, byte_of_code{} {
    for (auto& byte : byte_of_code) byte = -1;
    int next = 0x100;
    for (int byte = 0; byte < 256; ++byte) {
      const bool self =
          (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
      const int code = self ? byte : next++;
      code_of_byte[byte] = static_cast<uint16_t>(code);
      byte_of_code[code] = static_cast<int16_t>(byte);
    }
  }
};
constexpr Alphabet kAlphabet;

}  // namespace

uint32_t alphabet_code(unsigned char byte) { return kAlphabet.code_of_byte[byte]; }

int alphabet_byte(uint32_t code) { return code < kAlphabetEnd ? kAlphabet.byte_of_code[code] : -1; }

void append_alphabet(std::string& out, unsigned char byte) {
  unicode::append_character(out, alphabet_code(byte));
}

std::string from_alphabet(std::string_view text) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const unicode::Character c = unicode::character_at(text, at);
    const int byte = alphabet_byte(c.code);
    if (byte >= 0) {
      out += static_cast<char>(byte);
    } else {
      out += text.substr(at, c.size);
    }
    at += c.size;
  }
  return out;
}

}  // namespace spnl::modelkit
