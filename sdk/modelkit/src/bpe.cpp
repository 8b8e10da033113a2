#include "bpe.h"

#include <algorithm>
#include <queue>
#include <string>
#include <unordered_map>

#include "spnl/modelkit/error.h"
#include "unicode_utf8.h"

namespace spnl::modelkit {
namespace {

constexpr uint32_t kNoRank = UINT32_MAX;
constexpr uint64_t kFreeKey = UINT64_MAX;
constexpr size_t kShortWord = 48;  // below it scanning all pairs again beats a heap

uint64_t pair_key(int32_t left, int32_t right) {
  return (static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32) | static_cast<uint32_t>(right);
}

// GPT-2's printable alphabet: bytes that print in Latin-1 stand for themselves, the others for
// U+0100 and up.
struct Alphabet {
  std::array<uint16_t, 256> code_of_byte;
  std::array<int16_t, 0x144> byte_of_code;
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

void append_alphabet(std::string& out, unsigned char byte) {
  const unsigned code = kAlphabet.code_of_byte[byte];
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else {
    out += static_cast<char>(0xC0 | (code >> 6));
    out += static_cast<char>(0x80 | (code & 0x3F));
  }
}

}  // namespace

BpeModel::BpeModel(const Vocabulary& vocabulary, Pretokenizer pretokenizer,
                   std::span<const std::string_view> merges)
    : vocabulary_(vocabulary), pretokenizer_(std::move(pretokenizer)) {
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
  size_t capacity = 16;
  while (capacity < merges.size() / 2 * 3) capacity *= 2;
  merges_.assign(capacity, MergeSlot{kFreeKey, {kNoRank, -1}});
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
      add_merge(symbol(texts.left, texts.hashes[0]), symbol(texts.right, texts.hashes[1]),
                {static_cast<uint32_t>(rank + i), symbol(texts.joined, texts.hashes[2])});
    }
  }
}

void BpeModel::add_merge(int32_t left, int32_t right, Merge merge) {
  const uint64_t key = pair_key(left, right);
  const size_t mask = merges_.size() - 1;
  size_t i = hash_mix(key) & mask;
  while (merges_[i].key != kFreeKey && merges_[i].key != key) i = (i + 1) & mask;
  if (merges_[i].key == kFreeKey) merges_[i] = {key, merge};  // of equal ones the first counts
}

BpeModel::Merge BpeModel::merge_of(int32_t left, int32_t right) const {
  const uint64_t key = pair_key(left, right);
  const size_t mask = merges_.size() - 1;
  for (size_t i = hash_mix(key) & mask; merges_[i].key != kFreeKey; i = (i + 1) & mask) {
    if (merges_[i].key == key) return merges_[i].merge;
  }
  return {kNoRank, -1};
}

void BpeModel::merge_short(std::vector<Symbol>& symbols) const {
  std::array<Merge, kShortWord> ranks;
  size_t n = symbols.size();
  for (size_t i = 0; i + 1 < n; ++i) ranks[i] = merge_of(symbols[i].id, symbols[i + 1].id);
  while (n > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < n; ++i) {
      if (ranks[i].rank < ranks[best].rank) best = i;
    }
    if (ranks[best].rank == kNoRank) break;
    symbols[best].id = ranks[best].result;
    symbols[best].size += symbols[best + 1].size;
    symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(best) + 1);
    --n;
    std::move(ranks.begin() + best + 1, ranks.begin() + n, ranks.begin() + best);
    if (best + 1 < n) ranks[best] = merge_of(symbols[best].id, symbols[best + 1].id);
    if (best > 0) ranks[best - 1] = merge_of(symbols[best - 1].id, symbols[best].id);
  }
}

void BpeModel::merge_long(std::vector<Symbol>& symbols) const {
  struct Candidate {
    uint32_t rank;
    int32_t left, left_id, right_id, result;
    bool operator<(const Candidate& other) const {  // a heap keeps the greatest on top
      return rank != other.rank ? rank > other.rank : left > other.left;
    }
  };
  std::vector<Candidate> seeds;
  const auto candidate = [&](int32_t left, int32_t right, auto&& add) {
    const Merge merge = merge_of(symbols[left].id, symbols[right].id);
    if (merge.rank != kNoRank)
      add(Candidate{merge.rank, left, symbols[left].id, symbols[right].id, merge.result});
  };
  const auto n = static_cast<int32_t>(symbols.size());
  for (int32_t i = 0; i < n; ++i) {
    symbols[i].previous = i - 1;
    symbols[i].next = i + 1 < n ? i + 1 : -1;
    if (i + 1 < n) candidate(i, i + 1, [&](const Candidate& c) { seeds.push_back(c); });
  }
  std::priority_queue<Candidate> queue(std::less<Candidate>(), std::move(seeds));
  while (!queue.empty()) {
    const Candidate top = queue.top();
    queue.pop();
    Symbol& left = symbols[top.left];
    if (left.size == 0 || left.id != top.left_id || left.next < 0) continue;
    Symbol& right = symbols[left.next];
    if (right.id != top.right_id) continue;
    left.id = top.result;
    left.size += right.size;
    right.size = 0;
    left.next = right.next;
    if (left.next >= 0) symbols[left.next].previous = top.left;
    const auto push = [&](const Candidate& c) { queue.push(c); };
    if (left.previous >= 0) candidate(left.previous, top.left, push);
    if (left.next >= 0) candidate(top.left, left.next, push);
  }
  std::erase_if(symbols, [](const Symbol& symbol) { return symbol.size == 0; });
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

void BpeModel::encode_word(std::string_view word, size_t base, std::vector<Symbol>& symbols,
                           EncodedText& out) const {
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
  for (const char c : word)
    symbols.push_back({byte_symbols_[static_cast<unsigned char>(c)], 1, -1, -1});
  if (symbols.size() <= kShortWord) {
    merge_short(symbols);
  } else {
    merge_long(symbols);
  }
  size_t at = 0;
  for (const Symbol& symbol : symbols) {
    emit(symbol.id, word.substr(at, symbol.size), base + at, out);
    at += symbol.size;
  }
}

void BpeModel::encode(std::string_view text, size_t begin, size_t end, EncodedText& out) const {
  const std::string_view stretch = text.substr(begin, end - begin);
  // Words come again and again: remember where in `out` each of the last ones went.
  struct Seen {
    std::string_view word;
    size_t base = 0, first = 0, count = 0;
  };
  std::vector<Seen> cache(stretch.size() > 4096 ? 4096 : stretch.size() > 64 ? 64 : 0);
  std::vector<Symbol> symbols;
  size_t from = 0;
  for (const size_t to : pretokenizer_.split(stretch)) {
    const std::string_view word = stretch.substr(from, to - from);
    const size_t base = begin + from;
    from = to;
    Seen* const seen = cache.empty() ? nullptr : &cache[hash_bytes(word) & (cache.size() - 1)];
    if (seen != nullptr && seen->word == word) {
      for (size_t i = 0; i < seen->count; ++i) {
        out.ids.push_back(int32_t{out.ids[seen->first + i]});
        out.ends.push_back(out.ends[seen->first + i] - seen->base + base);
      }
      continue;
    }
    const size_t first = out.ids.size();
    encode_word(word, base, symbols, out);
    if (seen != nullptr) *seen = {word, base, first, out.ids.size() - first};
  }
}

std::string BpeModel::decode(std::string_view text) const {
  std::string out;
  while (!text.empty()) {
    const Utf8Step step = utf8_step(text);
    unsigned code = static_cast<unsigned char>(text[0]);
    if (step.size == 2 && step.kind == Utf8Step::kCharacter) {
      code = ((code & 0x1F) << 6) | (static_cast<unsigned char>(text[1]) & 0x3F);
    }
    const bool known = step.kind == Utf8Step::kCharacter && step.size <= 2 &&
                       code < kAlphabet.byte_of_code.size() && kAlphabet.byte_of_code[code] >= 0;
    if (known) {
      out += static_cast<char>(kAlphabet.byte_of_code[code]);
    } else {
      out += text.substr(0, step.size);  // not of the alphabet: as it is
    }
    text.remove_prefix(step.size);
  }
  return out;
}

}  // namespace spnl::modelkit
