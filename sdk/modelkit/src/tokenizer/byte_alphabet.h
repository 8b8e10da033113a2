#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace spnl::modelkit {

/// GPT-2's printable alphabet: bytes that print in Latin-1 stand for themselves, the others for
/// U+0100 and up.
constexpr uint32_t kAlphabetEnd = 0x144;  ///< all letters are below
uint32_t alphabet_code(unsigned char byte);
int alphabet_byte(uint32_t code);  ///< -1: no letter of the alphabet
void append_alphabet(std::string& out, unsigned char byte);

/// The bytes that a text in the alphabet stands for; characters outside it stay as they are.
std::string from_alphabet(std::string_view text);

}  // namespace spnl::modelkit
