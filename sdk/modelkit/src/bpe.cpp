#include "bpe.h"

#include <algorithm>
#include <string>
#include <unordered_map>

#include "spnl/modelkit/error.h"
#include "tokenizer/byte_alphabet.h"
#include "tokenizer/word_cache.h"

namespace spnl::modelkit {

BpeModel::BpeModel(const Vocabulary& vocabulary, Pretokenizer pretokenizer,
                   std::span<const std::string_view> merges)
    : vocabulary_(vocabulary), pretokenizer_(std::move(pretokenizer)), merges_(merges.size()) {
  std::unordered_map<std::string, int32_t> outside;  // symbols that are no tokens
  const auto symbol = [&](std::string_view text, uint64_t hash) {
    const int32_t id = vocabulary_.find_plain(text, hash);
    if (id >= 0) return id;
    return outside.emplace(text, vocabulary_.size() + static_cast<int32_t>(outside.size()))
        .first->second;
  };
  for (int byte = 0; byte < 256; ++byte) {
    std::string text;
    append_alphabet(text, static_cast<unsigned char>(byte));
    byte_symbols_[byte] = symbol(text, hash_bytes(text));
  }
  if (merges.size() > INT32_MAX / 4)
    throw Error(ErrorCode::kCorrupt, "tokenizer.ggml.merges has too many entries");
  // Hundreds of thousands of look-ups that miss every cache: a block's hashes first, then the
  // look-ups.
  struct Texts {
    std::string_view left, right;
    std::string joined;
    uint64_t hashes[3];
  };
  std::array<Texts, 16> block;
  for (size_t rank = 0; rank < merges.size(); rank += block.size()) {
    const size_t n = std::min(block.size(), merges.size() - rank);
    for (size_t i = 0; i < n; ++i) {
      const std::string_view merge = merges[rank + i];
      const size_t blank = merge.find(' ', 1);
      if (blank == std::string_view::npos) {
        throw Error(ErrorCode::kCorrupt,
                    "tokenizer.ggml.merges: entry " + std::to_string(rank + i) + " has no blank");
      }
      Texts& texts = block[i];
      texts.left = merge.substr(0, blank);
      texts.right = merge.substr(blank + 1);
      texts.joined.assign(texts.left);
      texts.joined += texts.right;
      texts.hashes[0] = hash_bytes(texts.left);
      texts.hashes[1] = hash_bytes(texts.right);
      texts.hashes[2] = hash_bytes(texts.joined);
      for (const uint64_t hash : texts.hashes) vocabulary_.prefetch(hash);
    }
    for (size_t i = 0; i < n; ++i) {
      const Texts& texts = block[i];
      merges_.add(symbol(texts.left, texts.hashes[0]), symbol(texts.right, texts.hashes[1]),
                  symbol(texts.joined, texts.hashes[2]));
    }
  }
}

void BpeModel::emit(int32_t symbol, std::string_view bytes, size_t base, EncodedText& out) const {
  if (symbol < vocabulary_.size()) {
    out.ids.push_back(symbol);
    out.ends.push_back(base + bytes.size());
    return;
  }
  for (size_t i = 0; i < bytes.size(); ++i) {
    int32_t id = byte_symbols_[static_cast<unsigned char>(bytes[i])];
    if (id >= vocabulary_.size()) id = vocabulary_.unknown().value_or(-1);
    // Nothing in the vocabulary can stand for it; "unknown" may be the end of text, which plain
    // text must not spell.
    if (id < 0 || (vocabulary_.flags(id) & Vocabulary::kControl) != 0) continue;
    out.ids.push_back(id);
    out.ends.push_back(base + i + 1);
  }
}

void BpeModel::encode_word(std::string_view word, size_t base,
                           std::vector<BpeMerges::Symbol>& symbols, EncodedText& out) const {
  if (pretokenizer_.ignore_merges() && word.size() <= vocabulary_.longest()) {
    std::string text;
    for (const char c : word) append_alphabet(text, static_cast<unsigned char>(c));
    const int32_t id = vocabulary_.find_plain(text);
    if (id >= 0) {
      out.ids.push_back(id);
      out.ends.push_back(base + word.size());
      return;
    }
  }
  if (word.size() > INT32_MAX)
    throw Error(ErrorCode::kNoMemory, "tokenizer: one word of more than 2 GiB");
  symbols.clear();
  for (const char c : word) symbols.push_back({byte_symbols_[static_cast<unsigned char>(c)], 1});
  merges_.merge(symbols);
  size_t at = 0;
  for (const BpeMerges::Symbol& symbol : symbols) {
    emit(symbol.id, word.substr(at, symbol.size), base + at, out);
    at += symbol.size;
  }
}

void BpeModel::encode(std::string_view text, size_t begin, size_t end, EncodedText& out) const {
  const std::string_view stretch = text.substr(begin, end - begin);
  WordCache cache(stretch.size());
  std::vector<BpeMerges::Symbol> symbols;
  size_t from = 0;
  for (const size_t to : pretokenizer_.split(stretch)) {
    cache.encode(stretch.substr(from, to - from), begin + from, out,
                 [&](std::string_view word, size_t base, EncodedText& words) {
                   encode_word(word, base, symbols, words);
                 });
    from = to;
  }
}

}  // namespace spnl::modelkit
