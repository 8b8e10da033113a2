#include "spm.h"

#include <algorithm>
#include <string>

#include "spnl/modelkit/error.h"
#include "unicode_utf8.h"

namespace spnl::modelkit {
namespace {

constexpr std::string_view kBlank = "\xE2\x96\x81";  // U+2581 stands for a blank

bool blank_inside(std::string_view token) {
  while (token.substr(0, kBlank.size()) == kBlank) token.remove_prefix(kBlank.size());
  return token.find(kBlank) != std::string_view::npos;
}

}  // namespace

SpmModel::SpmModel(const Vocabulary& vocabulary, const SpmOptions& options)
    : vocabulary_(vocabulary), options_(options), words_apart_(true) {
  byte_tokens_.fill(-1);
  constexpr uint8_t kNeverMerged = Vocabulary::kControl | Vocabulary::kUnknown | Vocabulary::kByte;
  for (int32_t id = 0; id < vocabulary.size(); ++id) {
    if ((vocabulary.flags(id) & kNeverMerged) == 0 && blank_inside(vocabulary.text(id)))
      words_apart_ = false;
    const int byte = byte_of_token(vocabulary.text(id));
    if (byte >= 0 && byte_tokens_[byte] < 0 && (vocabulary.flags(id) & Vocabulary::kControl) == 0) {
      byte_tokens_[byte] = id;
    }
  }
}

void SpmModel::add_candidate(std::string_view word, const std::vector<Symbol>& symbols,
                             int32_t left, std::vector<Candidate>& heap) const {
  const int32_t right = symbols[left].next;
  if (right < 0) return;
  const size_t size = size_t{symbols[left].size} + symbols[right].size;
  if (size > vocabulary_.longest()) return;
  const int32_t id = vocabulary_.find_plain(word.substr(symbols[left].begin, size));
  if (id < 0) return;
  heap.push_back({vocabulary_.score(id), left, static_cast<uint32_t>(size)});
  std::push_heap(heap.begin(), heap.end());
}

void SpmModel::emit(std::string_view piece, size_t source_begin, size_t source_end,
                    EncodedText& out) const {
  const int32_t id = vocabulary_.find_plain(piece);
  if (id >= 0) {
    out.ids.push_back(id);
    out.ends.push_back(source_end);
    return;
  }
  const bool bytes_known =
      options_.byte_fallback && std::all_of(piece.begin(), piece.end(), [&](char c) {
        return byte_tokens_[static_cast<unsigned char>(c)] >= 0;
      });
  if (!bytes_known) {
    if (!options_.unknown) return;
    if (options_.fuse_unknown && !out.ids.empty() && out.ids.back() == *options_.unknown &&
        out.ends.back() == source_begin) {
      out.ends.back() = source_end;
      return;
    }
    out.ids.push_back(*options_.unknown);
    out.ends.push_back(source_end);
    return;
  }
  for (size_t i = 0; i < piece.size(); ++i) {
    out.ids.push_back(byte_tokens_[static_cast<unsigned char>(piece[i])]);
    out.ends.push_back(i + 1 == piece.size() ? source_end
                                             : std::min(source_begin + i + 1, source_end));
  }
}

void SpmModel::encode_word(std::string_view word, std::vector<Symbol>& symbols,
                           std::vector<Candidate>& heap, EncodedText& out) const {
  if (symbols.size() > INT32_MAX)
    throw Error(ErrorCode::kNoMemory, "tokenizer: text of more than 2^31 characters");
  const auto n = static_cast<int32_t>(symbols.size());
  const size_t source_begin =
      symbols.front().source_end;  // refined below for the first symbol only
  heap.clear();
  for (int32_t i = 0; i < n; ++i) {
    symbols[i].previous = i - 1;
    symbols[i].next = i + 1 < n ? i + 1 : -1;
  }
  for (int32_t i = 0; i + 1 < n; ++i) add_candidate(word, symbols, i, heap);
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end());
    const Candidate top = heap.back();
    heap.pop_back();
    Symbol& left = symbols[top.left];
    if (left.size == 0 || left.next < 0) continue;
    Symbol& right = symbols[left.next];
    if (left.size + right.size != top.size) continue;  // one of them has grown since
    left.size = top.size;
    left.source_end = right.source_end;
    right.size = 0;
    left.next = right.next;
    if (left.next >= 0) symbols[left.next].previous = top.left;
    if (left.previous >= 0) add_candidate(word, symbols, left.previous, heap);
    add_candidate(word, symbols, top.left, heap);
  }
  size_t from = source_begin;
  for (int32_t i = 0; i >= 0; i = symbols[i].next) {
    emit(word.substr(symbols[i].begin, symbols[i].size), std::min(from, symbols[i].source_end),
         symbols[i].source_end, out);
    from = symbols[i].source_end;
  }
}

void SpmModel::encode(std::string_view text, size_t begin, size_t end, bool prefix,
                      EncodedText& out) const {
  // Words come again and again: remember where in `out` each of the last ones went.
  struct Seen {
    std::string word;
    size_t base = 0, first = 0, count = 0;
  };
  std::vector<Seen> cache(words_apart_ && end - begin > 64 ? (end - begin > 4096 ? 4096 : 64) : 0);
  std::vector<Symbol> symbols;
  std::vector<Candidate> heap;
  std::string word;
  size_t base = begin;  // where the word begins in the text
  const auto flush = [&](size_t at) {
    if (symbols.empty()) return;
    Seen* const seen = cache.empty() ? nullptr : &cache[hash_bytes(word) & (cache.size() - 1)];
    // The first word may begin with a blank that is not there, so its places say nothing about
    // others.
    const bool shareable = seen != nullptr && base != begin;
    if (shareable && seen->word == word) {
      for (size_t i = 0; i < seen->count; ++i) {
        out.ids.push_back(int32_t{out.ids[seen->first + i]});
        out.ends.push_back(out.ends[seen->first + i] - seen->base + base);
      }
    } else {
      const size_t first = out.ids.size();
      encode_word(word, symbols, heap, out);
      if (shareable) *seen = {word, base, first, out.ids.size() - first};
    }
    symbols.clear();
    word.clear();
    base = at;
  };
  const auto add = [&](std::string_view piece, size_t source_end) {
    symbols.push_back({word.size(), source_end, static_cast<uint32_t>(piece.size()), -1, -1});
    word += piece;
  };
  bool after_blank = true;
  if (prefix) add(kBlank, begin);
  for (size_t at = begin; at < end;) {
    const std::string_view rest = text.substr(at, end - at);
    const size_t size = utf8_step(rest).size;
    const bool is_blank = rest[0] == ' ' || rest.substr(0, size) == kBlank;
    if (words_apart_ && is_blank && !after_blank) flush(at);
    add(is_blank ? kBlank : rest.substr(0, size), at + size);
    after_blank = is_blank;
    at += size;
  }
  flush(end);
}

void SpmModel::encode_bytes(std::string_view word, size_t base, EncodedText& out) const {
  std::vector<Symbol> symbols;
  std::vector<Candidate> heap;
  symbols.reserve(word.size());
  for (size_t i = 0; i < word.size(); ++i) symbols.push_back({i, base + i + 1, 1, -1, -1});
  if (!symbols.empty()) encode_word(word, symbols, heap, out);
}

}  // namespace spnl::modelkit
