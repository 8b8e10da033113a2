#include "tokenizer/pre_tokenizers.h"

#include <functional>

#include "tokenizer/byte_alphabet.h"
#include "tokenizer/text_search.h"
#include "unicode_properties.h"

namespace spnl::modelkit {
namespace {

using unicode::Character;
using unicode::character_at;

/// What becomes of the matches of a delimiter.
enum class Behavior { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };

struct Span {
  size_t begin, end;
  bool match;
};

// The library's rules, on spans that cover a piece.
void apply_behavior(std::vector<Span>& spans, Behavior behavior) {
  if (behavior == Behavior::kRemoved) {
    std::erase_if(spans, [](const Span& span) { return span.match; });
    return;
  }
  if (behavior == Behavior::kIsolated) return;
  std::vector<Span> merged;
  bool before = false;
  if (behavior == Behavior::kMergedWithNext) {
    for (size_t i = spans.size(); i-- > 0;) {
      const Span& span = spans[i];
      if (span.match && !before && !merged.empty()) {
        merged.back().begin = span.begin;
      } else {
        merged.push_back(span);
      }
      before = span.match;
    }
    spans.assign(merged.rbegin(), merged.rend());
    return;
  }
  for (const Span& span : spans) {
    const bool joins =
        behavior == Behavior::kMergedWithPrevious ? span.match && !before : span.match == before;
    if (joins && !merged.empty()) {
      merged.back().end = span.end;
    } else {
      merged.push_back(span);
    }
    before = span.match;
  }
  spans = std::move(merged);
}

/// Cuts every piece where `find` says.
class Splitter : public PreTokenizer {
 public:
  explicit Splitter(Behavior behavior, bool invert = false)
      : behavior_(behavior), invert_(invert) {}
  void apply(PreTokenized& words) const final {
    std::vector<TextPiece> pieces;
    std::vector<Span> spans;
    for (const TextPiece& piece : words.pieces) {
      spans.clear();
      find(std::string_view(words.text.text).substr(piece.begin, piece.end - piece.begin), spans);
      if (invert_) {
        for (Span& span : spans) span.match = !span.match;
      }
      apply_behavior(spans, behavior_);
      for (const Span& span : spans) {
        if (span.end > span.begin)
          pieces.push_back({piece.begin + span.begin, piece.begin + span.end});
      }
    }
    words.pieces = std::move(pieces);
  }

 protected:
  /// Spans that cover `text`, ascending.
  virtual void find(std::string_view text, std::vector<Span>& spans) const = 0;

 private:
  Behavior behavior_;
  bool invert_;
};

/// At a text or an expression.
class PatternSplitter final : public Splitter {
 public:
  PatternSplitter(TextPattern pattern, Behavior behavior, bool invert)
      : Splitter(behavior, invert), pattern_(std::move(pattern)) {}

 private:
  void find(std::string_view text, std::vector<Span>& spans) const override {
    size_t done = 0;
    for (const TextPiece& match : pattern_.find_all(text)) {
      if (match.begin > done) spans.push_back({done, match.begin, false});
      spans.push_back({match.begin, match.end, true});
      done = match.end;
    }
    if (done < text.size()) spans.push_back({done, text.size(), false});
  }

  TextPattern pattern_;
};

/// At each character of a kind.
class CharacterSplitter final : public Splitter {
 public:
  using Kind = std::function<bool(char32_t)>;
  CharacterSplitter(Kind kind, Behavior behavior) : Splitter(behavior), kind_(std::move(kind)) {}

 private:
  void find(std::string_view text, std::vector<Span>& spans) const override {
    size_t done = 0;
    for (size_t at = 0; at < text.size();) {
      const Character c = character_at(text, at);
      if (kind_(c.code)) {
        if (at > done) spans.push_back({done, at, false});
        spans.push_back({at, at + c.size, true});
        done = at + c.size;
      }
      at += c.size;
    }
    if (done < text.size()) spans.push_back({done, text.size(), false});
  }

  Kind kind_;
};

/// Runs of word characters, and runs of others; without white space.
class WordsAndOthers final : public Splitter {
 public:
  WordsAndOthers() : Splitter(Behavior::kRemoved) {}

 private:
  void find(std::string_view text, std::vector<Span>& spans) const override {
    enum Kind { kNothing, kSpace, kWord, kOther } before = kNothing;
    for (size_t at = 0; at < text.size();) {
      const Character c = character_at(text, at);
      const Kind kind = unicode::is_word(c.code)          ? kWord
                        : unicode::is_white_space(c.code) ? kSpace
                                                          : kOther;
      if (kind != before) spans.push_back({at, at, kind == kSpace});
      at += c.size;
      spans.back().end = at;
      before = kind;
    }
  }
};

bool is_punctuation(char32_t c) {
  const bool ascii = (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') ||
                     (c >= '{' && c <= '~');
  return ascii || unicode::is_punctuation(c);
}

/// Pieces of a fixed number of characters.
class FixedLength final : public PreTokenizer {
 public:
  explicit FixedLength(size_t length) : length_(length) {}
  void apply(PreTokenized& words) const override {
    std::vector<TextPiece> pieces;
    for (const TextPiece& piece : words.pieces) {
      for (size_t at = piece.begin; at < piece.end;) {
        const size_t begin = at;
        for (size_t n = 0; n < length_ && at < piece.end; ++n)
          at += character_at(words.text.text, at).size;
        pieces.push_back({begin, at});
      }
    }
    words.pieces = std::move(pieces);
  }

 private:
  size_t length_;
};

/// Rewrites every piece; what lies between them stays as it is, and outside.
template <typename Write>
void rewrite(PreTokenized& words, Write&& write) {
  AlignedWriter writer(words.text);
  size_t done = 0;
  for (TextPiece& piece : words.pieces) {
    writer.copy(done, piece.begin);
    const size_t begin = writer.size();
    write(piece, writer);
    done = piece.end;
    piece = {begin, writer.size()};
  }
  writer.copy(done, words.text.size());
  words.text = writer.finish();
}

class Sequence final : public PreTokenizer {
 public:
  explicit Sequence(std::vector<std::unique_ptr<PreTokenizer>> steps) : steps_(std::move(steps)) {}
  void apply(PreTokenized& words) const override {
    for (const auto& step : steps_) step->apply(words);
  }

 private:
  std::vector<std::unique_ptr<PreTokenizer>> steps_;
};

class Recipe final : public PreTokenizer {
 public:
  explicit Recipe(Pretokenizer recipe) : recipe_(std::move(recipe)) {}
  void apply(PreTokenized& words) const override {
    std::vector<TextPiece> pieces;
    for (const TextPiece& piece : words.pieces) {
      size_t begin = piece.begin;
      for (const size_t end : recipe_.split(
               std::string_view(words.text.text).substr(piece.begin, piece.end - piece.begin))) {
        pieces.push_back({begin, piece.begin + end});
        begin = piece.begin + end;
      }
    }
    words.pieces = std::move(pieces);
  }

 private:
  Pretokenizer recipe_;
};

/// Bytes to the letters of byte-level models.
class Letters final : public PreTokenizer {
 public:
  void apply(PreTokenized& words) const override {
    rewrite(words, [&](const TextPiece& piece, AlignedWriter& writer) {
      std::string letter;
      for (size_t i = piece.begin; i < piece.end; ++i) {
        letter.clear();
        append_alphabet(letter, static_cast<unsigned char>(words.text.text[i]));
        writer.put(letter, i + 1);
      }
    });
  }
};

/// A blank before every piece that has none.
class PrefixBlank final : public PreTokenizer {
 public:
  void apply(PreTokenized& words) const override {
    rewrite(words, [&](const TextPiece& piece, AlignedWriter& writer) {
      const bool goes_on = words.continues && piece.begin == 0;
      if (words.text.text[piece.begin] != ' ' && !goes_on) writer.put(" ", piece.begin);
      writer.copy(piece.begin, piece.end);
    });
  }
};

/// Blanks become a visible character, with one before the text; pieces begin with it.
class Metaspace final : public PreTokenizer {
 public:
  enum class Prepend { kAlways, kFirst, kNever };
  Metaspace(std::string_view replacement, Prepend prepend)
      : replacement_(replacement), prepend_(prepend) {}
  void apply(PreTokenized& words) const override {
    const uint64_t source_begin = words.text.source_begin;
    rewrite(words, [&](const TextPiece& piece, AlignedWriter& writer) {
      const std::string_view text = words.text.text;
      const bool has =
          text[piece.begin] == ' ' || text.substr(piece.begin, replacement_.size()) == replacement_;
      const bool first = piece.begin == 0 && source_begin == 0;
      const bool goes_on = words.continues && piece.begin == 0;
      if (!has && !goes_on &&
          (prepend_ == Prepend::kAlways || (prepend_ == Prepend::kFirst && first)))
        writer.put(replacement_, piece.begin);
      size_t done = piece.begin;
      for (size_t at = text.find(' ', done); at < piece.end; at = text.find(' ', done)) {
        writer.copy(done, at);
        writer.put(replacement_, at + 1);
        done = at + 1;
      }
      writer.copy(done, piece.end);
    });
  }

 private:
  std::string replacement_;
  Prepend prepend_;
};

Behavior read_behavior(const JsonFile& file, const JsonValue& value) {
  const std::string name = file.string(value, "behavior", "Isolated");
  constexpr std::pair<std::string_view, Behavior> kNames[] = {
      {"Removed", Behavior::kRemoved},
      {"Isolated", Behavior::kIsolated},
      {"MergedWithPrevious", Behavior::kMergedWithPrevious},
      {"MergedWithNext", Behavior::kMergedWithNext},
      {"Contiguous", Behavior::kContiguous}};
  for (const auto& [known, behavior] : kNames) {
    if (name == known) return behavior;
  }
  file.unsupported("split behavior \"" + name.substr(0, 60) + "\" is unknown");
}

std::unique_ptr<PreTokenizer> in_sequence(std::vector<std::unique_ptr<PreTokenizer>> steps) {
  return std::make_unique<Sequence>(std::move(steps));
}

std::unique_ptr<PreTokenizer> read_byte_level(const JsonFile& file, const JsonValue& value) {
  std::vector<std::unique_ptr<PreTokenizer>> steps;
  if (file.flag(value, "add_prefix_space", true)) steps.push_back(std::make_unique<PrefixBlank>());
  if (file.flag(value, "use_regex", true))
    steps.push_back(std::make_unique<Recipe>(Pretokenizer("gpt-2")));
  steps.push_back(std::make_unique<Letters>());
  return in_sequence(std::move(steps));
}

std::unique_ptr<PreTokenizer> read_metaspace(const JsonFile& file, const JsonValue& value) {
  const std::string replacement = file.string(value, "replacement", "\xE2\x96\x81");
  const bool prefix = file.flag(value, "add_prefix_space", true);  // before there were schemes
  const std::string scheme = file.string(value, "prepend_scheme", prefix ? "always" : "never");
  std::vector<std::unique_ptr<PreTokenizer>> steps;
  if (scheme != "always" && scheme != "first" && scheme != "never")
    file.unsupported("prepend_scheme \"" + scheme.substr(0, 60) + "\" is unknown");
  if (replacement.empty()) file.corrupt("Metaspace has no replacement");
  steps.push_back(
      std::make_unique<Metaspace>(replacement, scheme == "always"  ? Metaspace::Prepend::kAlways
                                               : scheme == "first" ? Metaspace::Prepend::kFirst
                                                                   : Metaspace::Prepend::kNever));
  if (file.flag(value, "split", true)) {
    steps.push_back(std::make_unique<PatternSplitter>(TextPattern(replacement),
                                                      Behavior::kMergedWithNext, false));
  }
  return in_sequence(std::move(steps));
}

std::unique_ptr<PreTokenizer> at_characters(CharacterSplitter::Kind kind, Behavior behavior) {
  return std::make_unique<CharacterSplitter>(std::move(kind), behavior);
}

}  // namespace

std::unique_ptr<PreTokenizer> make_bert_pre_tokenizer() {
  std::vector<std::unique_ptr<PreTokenizer>> steps;
  steps.push_back(at_characters(unicode::is_white_space, Behavior::kRemoved));
  steps.push_back(at_characters(is_punctuation, Behavior::kIsolated));
  return in_sequence(std::move(steps));
}

std::unique_ptr<PreTokenizer> make_splitter(Regex regex) {
  return std::make_unique<PatternSplitter>(TextPattern(std::move(regex)), Behavior::kIsolated,
                                           false);
}

std::unique_ptr<PreTokenizer> make_recipe_pre_tokenizer(Pretokenizer recipe, bool letters) {
  std::vector<std::unique_ptr<PreTokenizer>> steps;
  steps.push_back(std::make_unique<Recipe>(std::move(recipe)));
  if (letters) steps.push_back(std::make_unique<Letters>());
  return in_sequence(std::move(steps));
}

std::unique_ptr<PreTokenizer> read_pre_tokenizer(const JsonFile& file, const JsonValue& value) {
  const std::string type = file.type(value, "a pre-tokenizer");
  if (type == "Sequence") {
    std::vector<std::unique_ptr<PreTokenizer>> steps;
    if (const auto list = file.array(value, "pretokenizers")) {
      for (const JsonValue& step : list->elements())
        steps.push_back(read_pre_tokenizer(file, step));
    }
    return in_sequence(std::move(steps));
  }
  if (type == "ByteLevel") return read_byte_level(file, value);
  if (type == "Metaspace") return read_metaspace(file, value);
  if (type == "BertPreTokenizer") return make_bert_pre_tokenizer();
  if (type == "Split") {
    return std::make_unique<PatternSplitter>(read_text_pattern(file, value),
                                             read_behavior(file, value),
                                             file.flag(value, "invert", false));
  }
  if (type == "Punctuation") return at_characters(is_punctuation, read_behavior(file, value));
  if (type == "WhitespaceSplit") return at_characters(unicode::is_white_space, Behavior::kRemoved);
  if (type == "Whitespace") return std::make_unique<WordsAndOthers>();
  if (type == "Digits") {
    return at_characters(unicode::is_numeric, file.flag(value, "individual_digits", false)
                                                  ? Behavior::kIsolated
                                                  : Behavior::kContiguous);
  }
  if (type == "CharDelimiterSplit") {
    const std::string delimiter = file.string(value, "delimiter", "");
    if (delimiter.empty()) file.corrupt("CharDelimiterSplit has no delimiter");
    return at_characters([code = character_at(delimiter, 0).code](char32_t c) { return c == code; },
                         Behavior::kRemoved);
  }
  if (type == "FixedLength") {
    const uint64_t length = file.number(value, "length").value_or(0);
    if (length == 0) file.corrupt("FixedLength has no length");
    return std::make_unique<FixedLength>(length);
  }
  file.unsupported("pre-tokenizer \"" + type.substr(0, 60) + "\" is unknown");
}

}  // namespace spnl::modelkit
