#include "spnl/modelkit/tokenizer.h"

#include <algorithm>

#include "bpe.h"
#include "spm.h"
#include "spnl/modelkit/error.h"
#include "tokenizer/added_tokens.h"
#include "tokenizer/byte_alphabet.h"
#include "tokenizer/gguf_kinds.h"
#include "tokenizer/tokenizer_json.h"
#include "tokenizer/vocabulary_tokenizer.h"
#include "tokenizer_vocab.h"

namespace spnl::modelkit {
namespace {

std::string unescape_blanks(std::string_view text) {
  constexpr std::string_view kBlank = "\xE2\x96\x81";
  std::string out;
  for (size_t at = 0; at < text.size();) {
    if (text.substr(at, kBlank.size()) == kBlank) {
      out += ' ';
      at += kBlank.size();
    } else {
      out += text[at++];
    }
  }
  return out;
}

/// What both kinds share; they differ in how plain text becomes ids and normal tokens become text.
class TokenizerBase : public VocabularyTokenizer {
 public:
  explicit TokenizerBase(const TokenizerData& data)
      : vocabulary_(data),
        added_(added_tokens_of(vocabulary_)),
        add_eos_(data.add_eos.value_or(false)) {}

  std::string piece(int32_t id, bool spell_special) const override {
    check_id(id);
    const uint8_t flags = vocabulary_.flags(id);
    const std::string_view text = vocabulary_.text(id);
    if ((flags & (Vocabulary::kControl | Vocabulary::kUnknown)) != 0) {
      return spell_special ? std::string(text) : std::string();
    }
    if ((flags & Vocabulary::kUserDefined) != 0) return std::string(text);
    if ((flags & Vocabulary::kByte) != 0) {
      const int byte = byte_of_token(text);
      if (byte >= 0) return std::string(1, static_cast<char>(byte));
    }
    // Unused tokens are padding of the table, not text.
    return (flags & Vocabulary::kUnused) != 0 ? std::string() : plain_piece(text);
  }

  std::string decode(const std::vector<int32_t>& ids, bool spell_special) const override {
    std::string out;
    bool first = drops_first_blank();
    for (const int32_t id : ids) {
      std::string text = piece(id, spell_special);
      if (first && !text.empty()) {
        first = false;
        if (text[0] == ' ' && (vocabulary_.flags(id) & Vocabulary::kUserDefined) == 0)
          text.erase(0, 1);
      }
      out += text;
    }
    return out;
  }

  bool adds_bos() const override { return add_bos_ && vocabulary_.bos().has_value(); }

 protected:
  /// `after_special`: nothing, or a token of the special matcher, stands before text[begin].
  virtual void encode_plain(std::string_view text, size_t begin, size_t end, bool after_special,
                            EncodedText& out) const = 0;
  virtual std::string plain_piece(std::string_view text) const = 0;
  virtual bool drops_first_blank() const { return false; }
  void set_add_bos(bool add_bos) { add_bos_ = add_bos; }
  const Vocabulary& vocabulary() const override { return vocabulary_; }

 private:
  EncodedText run(std::string_view text, std::span<const TextRange> literal,
                  const TokenizeOptions& options) const override {
    EncodedText out;
    out.ids.reserve(text.size() / 3 + 8);
    out.ends.reserve(text.size() / 3 + 8);
    const auto add = [&](int32_t id, size_t end) {
      out.ids.push_back(id);
      out.ends.push_back(end);
    };
    if (options.add_special && adds_bos()) add(*bos(), 0);
    bool after_special = !options.continues;
    AlignedText whole;
    whole.text = text;
    for (const AddedTokens::Part& part : added_.split(whole, options.parse_special, literal)) {
      if (part.token != nullptr) {
        add(part.token->id, part.end);
      } else {
        encode_plain(text, part.begin, part.end, after_special, out);
      }
      after_special = part.token != nullptr;
    }
    if (options.add_special && add_eos_ && eos()) add(*eos(), text.size());
    return out;
  }

  Vocabulary vocabulary_;
  AddedTokens added_;
  bool add_bos_ = false, add_eos_;
};

class BpeTokenizer final : public TokenizerBase {
 public:
  BpeTokenizer(const TokenizerData& data, Pretokenizer pretokenizer)
      : TokenizerBase(data), model_(vocabulary(), std::move(pretokenizer), data.merges) {
    set_add_bos(data.add_bos.value_or(model_.pretokenizer().add_bos()));
  }

 private:
  void encode_plain(std::string_view text, size_t begin, size_t end, bool,
                    EncodedText& out) const override {
    model_.encode(text, begin, end, out);
  }
  std::string plain_piece(std::string_view text) const override { return from_alphabet(text); }

  BpeModel model_;
};

class SpmTokenizer final : public TokenizerBase {
 public:
  explicit SpmTokenizer(const TokenizerData& data)
      : TokenizerBase(data),
        model_(vocabulary(), options_of(vocabulary())),
        add_space_prefix_(data.add_space_prefix.value_or(true)) {
    set_add_bos(data.add_bos.value_or(true));
  }

 private:
  // "Unknown" may be a control token that means something, which plain text must not spell.
  static SpmOptions options_of(const Vocabulary& vocabulary) {
    SpmOptions options;
    const auto unknown = vocabulary.unknown();
    if (unknown && (vocabulary.flags(*unknown) & Vocabulary::kControl) == 0)
      options.unknown = unknown;
    return options;
  }
  void encode_plain(std::string_view text, size_t begin, size_t end, bool after_special,
                    EncodedText& out) const override {
    model_.encode(text, begin, end, add_space_prefix_ && after_special, out);
  }
  std::string plain_piece(std::string_view text) const override { return unescape_blanks(text); }
  bool drops_first_blank() const override { return add_space_prefix_; }

  SpmModel model_;
  bool add_space_prefix_;
};

}  // namespace

std::unique_ptr<Tokenizer> make_tokenizer(const TokenizerData& data) {
  if (data.model == "llama") {
    TokenizerData filled = data;  // SentencePiece's own numbers, for files that leave them out
    if (!filled.unknown) filled.unknown = 0;
    if (!filled.bos) filled.bos = 1;
    if (!filled.eos) filled.eos = 2;
    return std::make_unique<SpmTokenizer>(filled);
  }
  if (data.model != "gpt2") {
    throw Error(ErrorCode::kUnsupported,
                "tokenizer.ggml.model \"" + data.model.substr(0, 60) +
                    "\" is not supported; known are gpt2, llama, bert, t5 and gemma4");
  }
  if (!data.pre) {
    throw Error(ErrorCode::kUnsupported,
                "tokenizer.ggml.pre is missing, so where words end is unknown; convert the model "
                "again, or write the "
                "key (\"default\" is what old converters meant)");
  }
  return std::make_unique<BpeTokenizer>(data, Pretokenizer(*data.pre));
}

namespace {

template <typename T>
std::span<const T> or_empty(const std::optional<std::span<const T>>& values) {
  return values.value_or(std::span<const T>());
}

std::unique_ptr<Tokenizer> from_huggingface_json(std::string_view text, const TokenizerData& data) {
  TokenizerConfig config;
  config.bos_id = data.bos;
  config.eos_id = data.eos;
  config.add_bos = data.add_bos;
  config.add_eos = data.add_eos;
  for (const auto& id : {data.eos, data.eot, data.eom}) {
    if (!id) continue;
    if (!config.ends) config.ends.emplace();
    config.ends->push_back(*id);
  }
  const auto file = JsonFile::of_view(text, "tokenizer.huggingface.json");
  return make_pipeline_tokenizer(read_tokenizer_json(*file, config));
}

GgufExtras read_extras(const GgufFile& file, std::string& charsmap) {
  GgufExtras extras;
  extras.separator = file.get_uint("tokenizer.ggml.seperator_token_id");  // sic
  extras.remove_extra_whitespaces =
      file.get_bool("tokenizer.ggml.remove_extra_whitespaces").value_or(false);
  charsmap = file.get_bytes("tokenizer.ggml.precompiled_charsmap").value_or("");
  extras.charsmap = charsmap;
  return extras;
}

}  // namespace

std::unique_ptr<Tokenizer> tokenizer_from_gguf(const GgufFile& file) {
  const std::string ggml = "tokenizer.ggml.";
  const auto model = file.get_string(ggml + "model");
  if (!model)
    throw Error(ErrorCode::kUnsupported,
                "tokenizer.ggml.model is missing: the file has no tokenizer");
  TokenizerData data;
  data.model = *model;
  if (const auto pre = file.get_string(ggml + "pre")) data.pre = std::string(*pre);
  data.tokens = or_empty(file.get_strings(ggml + "tokens"));
  data.scores = or_empty(file.get_floats(ggml + "scores"));
  data.types = or_empty(file.get_ints(ggml + "token_type"));
  data.merges = or_empty(file.get_strings(ggml + "merges"));
  data.bos = file.get_uint(ggml + "bos_token_id");
  data.eos = file.get_uint(ggml + "eos_token_id");
  data.eot = file.get_uint(ggml + "eot_token_id");
  data.eom = file.get_uint(ggml + "eom_token_id");
  data.unknown = file.get_uint(ggml + "unknown_token_id");
  data.add_bos = file.get_bool(ggml + "add_bos_token");
  data.add_eos = file.get_bool(ggml + "add_eos_token");
  data.add_space_prefix = file.get_bool(ggml + "add_space_prefix");
  if (const auto name = file.get_string("general.name")) data.model_name = *name;
  if (const auto json = file.get_string("tokenizer.huggingface.json"))
    return from_huggingface_json(*json, data);
  std::string charsmap;
  const GgufExtras extras = read_extras(file, charsmap);
  if (data.model == "bert") return make_pipeline_tokenizer(read_gguf_bert(data, extras));
  if (data.model == "t5") return make_pipeline_tokenizer(read_gguf_t5(data, extras));
  if (data.model == "gemma4") return make_pipeline_tokenizer(read_gguf_gemma4(data));
  return make_tokenizer(data);
}

}  // namespace spnl::modelkit
