#include "tokenizer/normalizers.h"

#include <algorithm>
#include <functional>
#include <optional>

#include "tokenizer/base64.h"
#include "tokenizer/byte_alphabet.h"
#include "tokenizer/charsmap.h"
#include "tokenizer/regex.h"
#include "tokenizer/text_search.h"
#include "unicode_normalize.h"
#include "unicode_properties.h"

namespace spnl::modelkit {
namespace {

using unicode::Character;
using unicode::character_at;
using unicode::Form;
using unicode::kIllFormed;

class Sequence final : public TextNormalizer {
 public:
  explicit Sequence(std::vector<std::unique_ptr<TextNormalizer>> steps)
      : steps_(std::move(steps)) {}
  AlignedText apply(AlignedText text, StretchPlace place) const override {
    for (const auto& step : steps_) text = step->apply(std::move(text), place);
    return text;
  }

 private:
  std::vector<std::unique_ptr<TextNormalizer>> steps_;
};

class UnicodeForm final : public TextNormalizer {
 public:
  explicit UnicodeForm(Form form) : form_(form) {}
  AlignedText apply(AlignedText text, StretchPlace) const override {
    return unicode::normalize(std::move(text), form_);
  }

 private:
  Form form_;
};

/// Rewrites one character at a time: `map` appends what it becomes.
class PerCharacter final : public TextNormalizer {
 public:
  using Map = void (*)(char32_t code, std::string& out);
  explicit PerCharacter(Map map) : map_(map) {}
  AlignedText apply(AlignedText text, StretchPlace) const override {
    AlignedWriter writer(text);
    std::string becomes;
    for (size_t at = 0; at < text.size();) {
      const Character c = character_at(text.text, at);
      const size_t end = at + c.size;
      becomes.clear();
      if (c.code != kIllFormed) map_(c.code, becomes);
      if (c.code == kIllFormed || becomes == std::string_view(text.text).substr(at, c.size)) {
        writer.copy(at, end);
      } else {
        writer.put(becomes, end);
      }
      at = end;
    }
    return writer.finish();
  }

 private:
  Map map_;
};

void lower(char32_t c, std::string& out) { unicode::append_lower(out, c); }

void without_marks(char32_t c, std::string& out) {
  if (!unicode::is_mark(c)) unicode::append_character(out, c);
}

void without_spacing_marks(char32_t c, std::string& out) {
  if (c < 0x300 || unicode::category(c) != unicode::kMn) unicode::append_character(out, c);
}

// The rules of Google's NMT models (SentencePiece's nmt_nfkc).
void nmt(char32_t c, std::string& out) {
  const bool dropped = (c >= 1 && c <= 8) || c == 0x0B || (c >= 0x0E && c <= 0x1F) || c == 0x7F ||
                       c == 0x8F || c == 0x9F;
  if (dropped) return;
  const bool blank = c == 9 || c == 0x0A || c == 0x0C || c == 0x0D || c == 0x1680 ||
                     (c >= 0x200B && c <= 0x200F) || c == 0x2028 || c == 0x2029 || c == 0x2581 ||
                     c == 0xFEFF || c == 0xFFFD;
  unicode::append_character(out, blank ? ' ' : c);
}

void clean(char32_t c, std::string& out) {
  if (c == '\t' || c == '\n' || c == '\r' || unicode::is_white_space(c)) {
    out += ' ';
    return;
  }
  const unicode::Category kind = unicode::category(c);
  const bool other = kind == unicode::kCc || kind == unicode::kCf || kind == unicode::kCo;
  if (c != 0 && c != 0xFFFD && !other) unicode::append_character(out, c);
}

void blanks_around_chinese(char32_t c, std::string& out) {
  const bool chinese = (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) ||
                       (c >= 0x20000 && c <= 0x2A6DF) || (c >= 0x2A700 && c <= 0x2B73F) ||
                       (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) ||
                       (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
  if (chinese) out += ' ';
  unicode::append_character(out, c);
  if (chinese) out += ' ';
}

class Strip final : public TextNormalizer {
 public:
  Strip(bool left, bool right) : left_(left), right_(right) {}
  AlignedText apply(AlignedText text, StretchPlace) const override {
    size_t begin = 0, end = text.size();
    while (left_ && begin < end) {
      const Character c = character_at(text.text, begin);
      if (!unicode::is_white_space(c.code)) break;
      begin += c.size;
    }
    while (right_ && end > begin) {
      const Character c = unicode::character_before(text.text, end);
      if (!unicode::is_white_space(c.code)) break;
      end -= c.size;
    }
    AlignedWriter writer(text);
    writer.copy(begin, end);
    return writer.finish();
  }

 private:
  bool left_, right_;
};

class Prepend final : public TextNormalizer {
 public:
  explicit Prepend(std::string_view text) : prefix_(text) {}
  AlignedText apply(AlignedText text, StretchPlace place) const override {
    if (text.text.empty() || place.continues) return text;
    AlignedWriter writer(text);
    writer.put(prefix_, 0);
    writer.copy(0, text.size());
    return writer.finish();
  }

 private:
  std::string prefix_;
};

class Replace final : public TextNormalizer {
 public:
  Replace(TextPattern pattern, std::string_view content)
      : pattern_(std::move(pattern)), content_(content) {}
  AlignedText apply(AlignedText text, StretchPlace) const override {
    AlignedWriter writer(text);
    size_t done = 0;
    for (const TextPiece& match : pattern_.find_all(text.text)) {
      writer.copy(done, match.begin);
      writer.put(content_, match.end);
      done = match.end;
    }
    if (done == 0 && writer.size() == 0) return text;
    writer.copy(done, text.size());
    return writer.finish();
  }

 private:
  TextPattern pattern_;
  std::string content_;
};

/// As the library applies SentencePiece's map: to whole grapheme clusters when they are short, and
/// of what matches the shortest beginning; it looks wrong, but models were trained with it.
class Precompiled final : public TextNormalizer {
 public:
  explicit Precompiled(std::string_view blob) : map_(blob), grapheme_("\\X", /*trusted=*/true) {}
  AlignedText apply(AlignedText text, StretchPlace) const override {
    AlignedWriter writer(text);
    const std::string_view all = text.text;
    const auto replaced = [&](size_t begin, size_t end) {
      const auto match = map_.shortest(all.substr(begin, end - begin));
      if (match) writer.put(match->replacement, end);
      return match.has_value();
    };
    for_each_match(
        grapheme_, all,
        [&](size_t begin, size_t end) {
          constexpr size_t kShort = 6;
          if (end - begin < kShort && replaced(begin, end)) return;
          for (size_t at = begin; at < end;) {
            const size_t stop = at + character_at(all, at).size;
            if (!replaced(at, stop)) writer.copy(at, stop);
            at = stop;
          }
        },
        [&](size_t begin, size_t end) { writer.copy(begin, end); });
    return writer.finish();
  }

 private:
  Charsmap map_;
  Regex grapheme_;
};

class ByteLetters final : public TextNormalizer {
 public:
  AlignedText apply(AlignedText text, StretchPlace) const override {
    AlignedWriter writer(text);
    std::string letter;
    for (size_t i = 0; i < text.size(); ++i) {
      letter.clear();
      append_alphabet(letter, static_cast<unsigned char>(text.text[i]));
      writer.put(letter, i + 1);
    }
    return writer.finish();
  }
};

std::unique_ptr<TextNormalizer> per_character(PerCharacter::Map map) {
  return std::make_unique<PerCharacter>(map);
}

}  // namespace

std::unique_ptr<TextNormalizer> make_nfc_normalizer() {
  return std::make_unique<UnicodeForm>(Form::kNfc);
}

std::unique_ptr<TextNormalizer> make_bert_normalizer(const BertRules& rules) {
  std::vector<std::unique_ptr<TextNormalizer>> steps;
  if (rules.clean_text) steps.push_back(per_character(clean));
  if (rules.chinese_blanks) steps.push_back(per_character(blanks_around_chinese));
  if (rules.strip_accents) {
    steps.push_back(std::make_unique<UnicodeForm>(Form::kNfd));
    steps.push_back(per_character(without_spacing_marks));
  }
  if (rules.lowercase) steps.push_back(per_character(lower));
  return std::make_unique<Sequence>(std::move(steps));
}

std::unique_ptr<TextNormalizer> read_normalizer(const JsonFile& file, const JsonValue& value) {
  const std::string type = file.type(value, "a normalizer");
  if (type == "Sequence") {
    std::vector<std::unique_ptr<TextNormalizer>> steps;
    if (const auto list = file.array(value, "normalizers")) {
      for (const JsonValue& step : list->elements()) steps.push_back(read_normalizer(file, step));
    }
    return std::make_unique<Sequence>(std::move(steps));
  }
  constexpr std::pair<std::string_view, Form> kForms[] = {
      {"NFC", Form::kNfc}, {"NFD", Form::kNfd}, {"NFKC", Form::kNfkc}, {"NFKD", Form::kNfkd}};
  for (const auto& [name, form] : kForms) {
    if (type == name) return std::make_unique<UnicodeForm>(form);
  }
  if (type == "Lowercase") return per_character(lower);
  if (type == "StripAccents") return per_character(without_marks);
  if (type == "Nmt") return per_character(nmt);
  if (type == "ByteLevel") return std::make_unique<ByteLetters>();
  if (type == "Strip") {
    return std::make_unique<Strip>(file.flag(value, "strip_left", true),
                                   file.flag(value, "strip_right", true));
  }
  if (type == "Prepend") return std::make_unique<Prepend>(file.string(value, "prepend", ""));
  if (type == "Replace") {
    return std::make_unique<Replace>(read_text_pattern(file, value),
                                     file.string(value, "content", ""));
  }
  if (type == "Precompiled") {
    const auto blob = from_base64(file.string(value, "precompiled_charsmap", ""));
    if (!blob) file.corrupt("precompiled_charsmap is no base64");
    return std::make_unique<Precompiled>(*blob);
  }
  if (type == "BertNormalizer") {
    BertRules rules;
    rules.clean_text = file.flag(value, "clean_text", true);
    rules.chinese_blanks = file.flag(value, "handle_chinese_chars", true);
    rules.lowercase = file.flag(value, "lowercase", true);
    rules.strip_accents = file.flag(value, "strip_accents", rules.lowercase);
    return make_bert_normalizer(rules);
  }
  file.unsupported("normalizer \"" + type.substr(0, 60) + "\" is unknown");
}

}  // namespace spnl::modelkit
