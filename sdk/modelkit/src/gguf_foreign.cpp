#include <algorithm>
#include <cctype>

#include "gguf_part.h"

namespace spnl::modelkit {

std::string printable(std::string_view text) {
  constexpr size_t kLimit = 80;
  std::string out;
  for (const char c : text.substr(0, kLimit)) {
    const auto byte = static_cast<unsigned char>(c);
    out += byte < 0x20 || byte == 0x7F ? '?' : c;
  }
  if (text.size() > kLimit) {
    while (!out.empty() && (static_cast<unsigned char>(out.back()) & 0xC0) == 0x80) out.pop_back();
    if (!out.empty() && static_cast<unsigned char>(out.back()) >= 0xC0) out.pop_back();
    out += "...";
  }
  return out;
}

std::string describe_foreign_file(std::span<const std::byte> bytes) {
  const std::string_view head(reinterpret_cast<const char*>(bytes.data()),
                              std::min<size_t>(bytes.size(), 512));
  const auto starts = [&](std::string_view prefix) { return head.starts_with(prefix); };
  if (head.empty()) return "the file is empty; download it again";
  if (starts("PK\x03\x04") || starts("\x80\x02") || starts("\x80\x03") || starts("\x80\x04"))
    return "a PyTorch (pickle) checkpoint, which may run any program when it is read and so is "
           "never "
           "opened; use the model's safetensors files or convert it to GGUF";
  if (starts("version https://git-lfs"))
    return "a Git LFS pointer, not the model itself; fetch the file with 'git lfs pull'";
  if (starts("algg")) return "an old GGML file of an adapter (LoRA), not a model";
  if (starts("FUGG")) return "a byte-swapped GGUF; big-endian files are not supported";
  if (head.size() > 8 && head[8] == '{' && head.substr(6, 2) == std::string_view("\0\0", 2))
    return "a safetensors file, not a GGUF";
  const size_t text = head.find_first_not_of(" \t\r\n\xEF\xBB\xBF");
  if (text != std::string_view::npos && head[text] == '<')
    return "a web page (HTML or XML), not a model: the download was answered with a page; download "
           "it again";
  if (text != std::string_view::npos && head[text] == '{') return "a JSON text, not a GGUF";
  return "not a GGUF (its first bytes are not 'GGUF')";
}

}  // namespace spnl::modelkit
