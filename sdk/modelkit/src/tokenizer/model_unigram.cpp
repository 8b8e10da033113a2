#include "tokenizer/model_unigram.h"

#include <algorithm>

#include "spnl/modelkit/error.h"
#include "tokenizer/word_cache.h"
#include "unicode_properties.h"

namespace spnl::modelkit {
namespace {

constexpr double kUnknownPenalty = 10;

std::vector<std::pair<std::string_view, int32_t>> plain_tokens(const Vocabulary& vocabulary,
                                                               const UnigramOptions& options) {
  std::vector<std::pair<std::string_view, int32_t>> tokens;
  const int never = Vocabulary::kControl | Vocabulary::kUnknown | Vocabulary::kUnused |
                    Vocabulary::kByte | Vocabulary::kOutside |
                    (options.user_defined ? 0 : Vocabulary::kUserDefined);
  const size_t count =
      options.exact.empty() ? static_cast<size_t>(vocabulary.size()) : options.exact.size();
  tokens.reserve(count);
  for (int32_t id = 0; id < static_cast<int32_t>(count); ++id) {
    if ((vocabulary.flags(id) & never) == 0 && !vocabulary.text(id).empty())
      tokens.emplace_back(vocabulary.text(id), id);
  }
  return tokens;
}

}  // namespace

UnigramModel::UnigramModel(const Vocabulary& vocabulary, UnigramOptions options)
    : vocabulary_(vocabulary),
      options_(std::move(options)),
      trie_(plain_tokens(vocabulary, options_)) {
  byte_tokens_.fill(-1);
  for (int32_t id = 0; options_.byte_fallback && id < vocabulary.size(); ++id) {
    const int byte = byte_of_token(vocabulary.text(id));
    if (byte >= 0 && byte_tokens_[byte] < 0) byte_tokens_[byte] = id;
  }
}

void UnigramModel::emit(int32_t id, std::string_view bytes, size_t base, EncodedText& out) const {
  const auto add = [&](int32_t token, size_t end) {
    out.ids.push_back(token);
    out.ends.push_back(end);
  };
  if (id >= 0) return add(id, base + bytes.size());
  const bool bytes_known =
      options_.byte_fallback && std::all_of(bytes.begin(), bytes.end(), [&](char c) {
        return byte_tokens_[static_cast<unsigned char>(c)] >= 0;
      });
  if (bytes_known) {
    for (size_t i = 0; i < bytes.size(); ++i)
      add(byte_tokens_[static_cast<unsigned char>(bytes[i])], base + i + 1);
  } else if (options_.unknown) {
    add(*options_.unknown, base + bytes.size());
  }
}

void UnigramModel::encode_piece(std::string_view piece, size_t base, std::vector<Node>& nodes,
                                std::vector<Node>& path, EncodedText& out) const {
  if (piece.size() >= UINT32_MAX)
    throw Error(ErrorCode::kNoMemory, "tokenizer: one word of more than 4 GiB");
  nodes.assign(piece.size() + 1, Node{});
  const double unknown_score = options_.lowest - kUnknownPenalty;
  const bool doubles = !options_.exact.empty();
  const auto reach = [&](size_t from, size_t to, int32_t id, double score) {
    // SentencePiece adds floats, Hugging Face doubles.
    const double sum = doubles ? nodes[from].score + score
                               : static_cast<float>(nodes[from].score + static_cast<float>(score));
    if (nodes[to].id == -2 || sum > nodes[to].score)
      nodes[to] = {sum, static_cast<uint32_t>(from), id};
  };
  for (size_t at = 0; at < piece.size();) {
    const size_t size = unicode::character_at(piece, at).size;
    bool single = false;  // a token of this one character
    uint32_t node = trie_.child(0, static_cast<unsigned char>(piece[at]));
    for (size_t end = at + 1; node != 0; ++end) {
      const int32_t id = trie_.value(node);
      if (id >= 0) {
        reach(at, end, id,
              doubles ? options_.exact[static_cast<size_t>(id)] : vocabulary_.score(id));
        single = single || end == at + size;
      }
      if (end == piece.size()) break;
      node = trie_.child(node, static_cast<unsigned char>(piece[end]));
    }
    if (!single) reach(at, at + size, -1, unknown_score);
    at += size;
  }
  path.clear();
  for (size_t end = piece.size(); end > 0; end = nodes[end].start) {
    if (nodes[end].id == -1 && options_.fuse_unknown && !path.empty() && path.back().id == -1) {
      path.back().start = nodes[end].start;
    } else {
      path.push_back(nodes[end]);
    }
  }
  for (size_t i = path.size(); i-- > 0;) {
    const size_t end = i == 0 ? piece.size() : path[i - 1].start;
    emit(path[i].id, piece.substr(path[i].start, end - path[i].start), base + path[i].start, out);
  }
}

void UnigramModel::encode(std::string_view text, std::span<const TextPiece> pieces,
                          EncodedText& out) const {
  WordCache cache(text.size());
  std::vector<Node> nodes, path;
  for (const TextPiece& piece : pieces) {
    cache.encode(text.substr(piece.begin, piece.end - piece.begin), piece.begin, out,
                 [&](std::string_view word, size_t base, EncodedText& words) {
                   encode_piece(word, base, nodes, path, words);
                 });
  }
}

}  // namespace spnl::modelkit
