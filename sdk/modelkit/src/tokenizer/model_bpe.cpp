#include "tokenizer/model_bpe.h"

#include "spnl/modelkit/error.h"
#include "tokenizer/word_cache.h"
#include "unicode_properties.h"

namespace spnl::modelkit {
namespace {

constexpr std::string_view kBlank = "\xE2\x96\x81";  // U+2581 stands for a blank

bool begins_with_blank(std::string_view text) { return text.substr(0, kBlank.size()) == kBlank; }
bool ends_with_blank(std::string_view text) {
  return text.size() >= kBlank.size() && text.substr(text.size() - kBlank.size()) == kBlank;
}

}  // namespace

CharacterBpe::CharacterBpe(const Vocabulary& vocabulary, BpeOptions options, size_t merges)
    : vocabulary_(vocabulary), options_(std::move(options)), merges_(merges) {
  words_apart_ = !options_.ignore_merges && options_.prefix.empty() && options_.suffix.empty() &&
                 vocabulary_.find_plain(kBlank) >= 0;
  for (char32_t c = 0; c < short_symbols_.size(); ++c) {
    std::string text;
    unicode::append_character(text, c);
    short_symbols_[c] = vocabulary_.find_plain(text);
  }
  constexpr char kDigits[] = "0123456789ABCDEF";
  for (int byte = 0; byte < 256; ++byte) {
    const char text[] = {'<', '0', 'x', kDigits[byte / 16], kDigits[byte % 16], '>'};
    byte_tokens_[byte] = vocabulary_.find(std::string_view(text, sizeof text));
  }
}

void CharacterBpe::add_merge(std::string_view left, std::string_view right) {
  std::string_view rest = right;
  if (rest.size() >= options_.prefix.size()) rest.remove_prefix(options_.prefix.size());
  joined_.assign(left);
  joined_ += rest;
  const std::string_view texts[] = {left, right, joined_};
  uint64_t hashes[3];
  for (int part = 0; part < 3; ++part) {
    hashes[part] = hash_bytes(texts[part]);
    vocabulary_.prefetch(hashes[part]);
  }
  int32_t ids[3];
  for (int part = 0; part < 3; ++part) {
    ids[part] = vocabulary_.find(texts[part], hashes[part]);
    if (ids[part] < 0)
      throw Error(ErrorCode::kCorrupt, "tokenizer: merge " + std::to_string(added_) + " needs \"" +
                                           std::string(texts[part].substr(0, 60)) +
                                           "\", which is no token");
  }
  ++added_;
  // Plain text never spells a control token.
  if ((vocabulary_.flags(ids[2]) & Vocabulary::kControl) != 0) return;
  merges_.add(ids[0], ids[1], ids[2], /*replace=*/true);
  if (begins_with_blank(right) && !ends_with_blank(left)) words_apart_ = false;
}

int32_t CharacterBpe::symbol(std::string_view character, bool first, bool last,
                             std::string& scratch) const {
  const bool prefixed = !first && !options_.prefix.empty();
  const bool suffixed = last && !options_.suffix.empty();
  if (!prefixed && !suffixed) {
    const unicode::Character c = unicode::character_at(character, 0);
    return c.code < short_symbols_.size() ? short_symbols_[c.code]
                                          : vocabulary_.find_plain(character);
  }
  scratch.assign(prefixed ? options_.prefix : std::string());
  scratch += character;
  if (suffixed) scratch += options_.suffix;
  return vocabulary_.find_plain(scratch);
}

// Characters to symbols. Returns how many bytes before the first symbol are left out.
size_t CharacterBpe::split(std::string_view word, std::vector<BpeMerges::Symbol>& symbols) const {
  symbols.clear();
  size_t left_out = 0;
  uint32_t unknown = 0;  // bytes of an unknown token that is not yet a symbol
  std::string scratch;
  const auto flush = [&] {
    if (unknown > 0) symbols.push_back({*options_.unknown, unknown});
    unknown = 0;
  };
  for (size_t at = 0; at < word.size();) {
    const uint32_t size = unicode::character_at(word, at).size;
    const std::string_view character = word.substr(at, size);
    const int32_t id = symbol(character, at == 0, at + size == word.size(), scratch);
    at += size;
    if (id >= 0) {
      flush();
      symbols.push_back({id, size});
      continue;
    }
    bool all_bytes = options_.byte_fallback;
    for (const char c : character)
      all_bytes = all_bytes && byte_tokens_[static_cast<unsigned char>(c)] >= 0;
    if (all_bytes) {  // the library puts them before an unknown token that is still growing
      for (const char c : character)
        symbols.push_back({byte_tokens_[static_cast<unsigned char>(c)], 1});
    } else if (options_.unknown) {
      if (!options_.fuse_unknown) flush();
      unknown += size;
    } else if (symbols.empty()) {
      left_out += size;
    } else {
      symbols.back().size += size;
    }
  }
  flush();
  return left_out;
}

void CharacterBpe::encode_word(std::string_view word, size_t base,
                               std::vector<BpeMerges::Symbol>& symbols, EncodedText& out) const {
  if (options_.ignore_merges) {
    const int32_t id = vocabulary_.find_plain(word);
    if (id >= 0) {
      out.ids.push_back(id);
      out.ends.push_back(base + word.size());
      return;
    }
  }
  if (word.size() > INT32_MAX)
    throw Error(ErrorCode::kNoMemory, "tokenizer: one word of more than 2 GiB");
  base += split(word, symbols);
  merges_.merge(symbols);
  for (const BpeMerges::Symbol& symbol : symbols) {
    base += symbol.size;
    out.ids.push_back(symbol.id);
    out.ends.push_back(base);
  }
}

void CharacterBpe::encode(std::string_view text, std::span<const TextPiece> pieces,
                          EncodedText& out) const {
  WordCache cache(text.size());
  std::vector<BpeMerges::Symbol> symbols;
  const auto add = [&](size_t begin, size_t end) {
    cache.encode(text.substr(begin, end - begin), begin, out,
                 [&](std::string_view word, size_t base, EncodedText& words) {
                   encode_word(word, base, symbols, words);
                 });
  };
  for (const TextPiece& piece : pieces) {
    size_t begin = piece.begin;
    for (size_t at = piece.begin; words_apart_ && at < piece.end;) {
      at = text.find(kBlank, at);
      if (at >= piece.end) break;
      if (at > begin && !ends_with_blank(text.substr(begin, at - begin))) {
        add(begin, at);
        begin = at;
      }
      at += kBlank.size();
    }
    if (begin < piece.end) add(begin, piece.end);
  }
}

}  // namespace spnl::modelkit
