// SentencePiece's ModelProto (sentencepiece_model.proto), read field by field with every length
// checked.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "spnl/modelkit/error.h"
#include "tokenizer/model_score.h"
#include "tokenizer/model_unigram.h"
#include "tokenizer/sentencepiece_normalizer.h"
#include "tokenizer/tokenizer_files.h"
#include "tokenizer/vocabulary_builder.h"

namespace spnl::modelkit {
namespace {

/// The fields of a protocol buffer message, one after the other.
class Fields {
 public:
  Fields(std::string_view bytes, const std::string& name) : bytes_(bytes), name_(name) {}

  /// Moves to the next field; false at the end.
  bool next() {
    if (at_ == bytes_.size()) return false;
    const uint64_t key = varint();
    number_ = key >> 3;
    switch (key & 7) {
      case 0:
        value_ = varint();
        return true;
      case 1:
        take(8);
        return true;
      case 2:
        text_ = take(varint());
        return true;
      case 5: {
        uint32_t bits = 0;
        std::memcpy(&bits, take(4).data(), sizeof bits);
        value_ = bits;
        return true;
      }
      default:
        corrupt();
    }
  }
  uint64_t number() const { return number_; }
  uint64_t value() const { return value_; }  ///< of a varint, or the bits of a float
  float real() const { return std::bit_cast<float>(static_cast<uint32_t>(value_)); }
  std::string_view text() const { return text_; }

 private:
  [[noreturn]] void corrupt() const {
    throw Error(ErrorCode::kCorrupt, name_ + ": no SentencePiece model (at byte " +
                                         std::to_string(at_) + " of a message of " +
                                         std::to_string(bytes_.size()) + ")");
  }
  uint64_t varint() {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      if (at_ == bytes_.size()) corrupt();
      const auto byte = static_cast<unsigned char>(bytes_[at_++]);
      value |= uint64_t{byte & 0x7Fu} << shift;
      if (byte < 0x80) return value;
    }
    corrupt();
  }
  std::string_view take(uint64_t size) {
    if (size > bytes_.size() - at_) corrupt();
    const std::string_view taken = bytes_.substr(at_, size);
    at_ += size;
    return taken;
  }

  std::string_view bytes_;
  const std::string& name_;
  size_t at_ = 0;
  uint64_t number_ = 0, value_ = 0;
  std::string_view text_;
};

struct Settings {
  enum Kind { kUnigram = 1, kBpe = 2 };
  uint64_t kind = kUnigram;
  bool byte_fallback = false;
  int32_t bos = 1, eos = 2;  // -1: none
  SentencePieceRules rules{.charsmap = std::nullopt, .remove_extra_whitespaces = true};
};

struct Piece {
  std::string_view text;
  float score = 0;
  uint64_t type = VocabularyBuilder::kNormal;
};

Piece read_piece(std::string_view bytes, const std::string& name) {
  Piece piece;
  for (Fields fields(bytes, name); fields.next();) {
    if (fields.number() == 1) piece.text = fields.text();
    if (fields.number() == 2) piece.score = fields.real();
    if (fields.number() == 3) piece.type = fields.value();
  }
  if (piece.type < 1 || piece.type > 6 || !std::isfinite(piece.score))
    throw Error(ErrorCode::kCorrupt, name + ": a piece has an unknown type or no score");
  return piece;
}

void read_trainer(std::string_view bytes, const std::string& name, Settings& settings) {
  for (Fields fields(bytes, name); fields.next();) {
    const auto id = static_cast<int32_t>(fields.value());
    if (fields.number() == 3) settings.kind = fields.value();
    if (fields.number() == 24) settings.rules.blank_after = fields.value() != 0;
    if (fields.number() == 35) settings.byte_fallback = fields.value() != 0;
    if (fields.number() == 41) settings.bos = id;
    if (fields.number() == 42) settings.eos = id;
  }
}

void read_normalizer_spec(std::string_view bytes, const std::string& name, Settings& settings) {
  for (Fields fields(bytes, name); fields.next();) {
    if (fields.number() == 2 && !fields.text().empty())
      settings.rules.charsmap.emplace(fields.text());
    if (fields.number() == 3) settings.rules.dummy_prefix = fields.value() != 0;
    if (fields.number() == 4) settings.rules.remove_extra_whitespaces = fields.value() != 0;
    if (fields.number() == 5) settings.rules.escape_whitespaces = fields.value() != 0;
  }
}

}  // namespace

Pipeline read_sentencepiece(std::string_view model, const std::string& name,
                            const TokenizerConfig& config) {
  Settings settings;
  VocabularyBuilder builder(name, model.size());
  std::optional<int32_t> unknown;
  double lowest = 0;
  for (Fields fields(model, name); fields.next();) {
    if (fields.number() == 1) {
      const Piece piece = read_piece(fields.text(), name);
      const size_t id = builder.size();
      const auto type = static_cast<VocabularyBuilder::Type>(piece.type);
      if (type == VocabularyBuilder::kUnknown) unknown = static_cast<int32_t>(id);
      if (type == VocabularyBuilder::kNormal) lowest = std::min<double>(lowest, piece.score);
      builder.set(id, piece.text, type, piece.score);
      if (type == VocabularyBuilder::kUnknown || type == VocabularyBuilder::kControl ||
          type == VocabularyBuilder::kUserDefined) {
        AddedSpec spec;
        spec.token.text = piece.text;
        spec.token.control = type != VocabularyBuilder::kUserDefined;
        builder.add(std::move(spec));
      }
    } else if (fields.number() == 2) {
      read_trainer(fields.text(), name, settings);
    } else if (fields.number() == 3) {
      read_normalizer_spec(fields.text(), name, settings);
    }
  }
  if (settings.kind != Settings::kUnigram && settings.kind != Settings::kBpe) {
    throw Error(ErrorCode::kUnsupported, name + ": SentencePiece models of type " +
                                             std::to_string(settings.kind) +
                                             " are not supported; known are unigram and BPE");
  }
  TokenizerConfig filled = config;  // the file's own numbers, where the configuration is silent
  const bool silent = !config.bos && !config.eos && !config.bos_id && !config.eos_id;
  if (silent && settings.bos >= 0) filled.bos_id = static_cast<uint64_t>(settings.bos);
  if (silent && settings.eos >= 0) filled.eos_id = static_cast<uint64_t>(settings.eos);
  // As transformers does with such models.
  if (!filled.add_bos) filled.add_bos = true;
  if (!filled.add_eos && config.tokenizer_class.find("T5") != std::string::npos)
    filled.add_eos = true;
  if (builder.size() == 0) throw Error(ErrorCode::kCorrupt, name + ": has no pieces");

  Pipeline parts;
  parts.added_normalized = builder.finish(filled, parts);
  apply_bos_settings(filled, parts);
  if (settings.kind == Settings::kBpe) {
    parts.model = std::make_unique<SentencePieceBpe>(
        *parts.vocabulary,
        SpmOptions{
            .unknown = unknown, .fuse_unknown = true, .byte_fallback = settings.byte_fallback});
  } else {
    UnigramOptions options;
    options.unknown = unknown;
    options.byte_fallback = settings.byte_fallback;
    options.user_defined = false;
    options.lowest = lowest;
    parts.model = std::make_unique<UnigramModel>(*parts.vocabulary, std::move(options));
  }
  parts.decoder = make_sentencepiece_decoder(settings.rules.dummy_prefix);
  parts.normalizer = std::make_unique<SentencePieceNormalizer>(std::move(settings.rules));
  return parts;
}

}  // namespace spnl::modelkit
