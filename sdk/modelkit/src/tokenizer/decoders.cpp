#include "tokenizer/decoders.h"

#include "tokenizer/byte_alphabet.h"
#include "tokenizer/text_search.h"
#include "tokenizer_vocab.h"
#include "unicode_properties.h"

namespace spnl::modelkit {
namespace {

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  if (from.empty() || text.find(from) == std::string::npos) return;
  std::string out;
  size_t done = 0;
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, done)) {
    out.append(text, done, at - done);
    out += to;
    done = at + from.size();
  }
  text = out.append(text, done);
}

/// A blank before every token but the first.
class Blanks final : public TokenDecoder {
 public:
  std::string apply(std::string_view token, TokenPlace place) const override {
    return (place.first ? "" : " ") + std::string(token);
  }
};

class ByteLevel final : public TokenDecoder {
 public:
  std::string apply(std::string_view token, TokenPlace place) const override {
    for (size_t at = 0; at < token.size() && !place.added;) {
      const unicode::Character c = unicode::character_at(token, at);
      if (alphabet_byte(c.code) < 0) return std::string(token);  // as a whole, like the library
      at += c.size;
    }
    return place.added ? std::string(token) : from_alphabet(token);
  }
};

class ByteFallback final : public TokenDecoder {
 public:
  std::string apply(std::string_view token, TokenPlace) const override {
    const int byte = byte_of_token(token);
    return byte < 0 ? std::string(token) : std::string(1, static_cast<char>(byte));
  }
};

class Fuse final : public TokenDecoder {
 public:
  std::string apply(std::string_view token, TokenPlace) const override {
    return std::string(token);
  }
  bool fuses() const override { return true; }
};

class Replace final : public TokenDecoder {
 public:
  Replace(TextPattern pattern, std::string_view content)
      : pattern_(std::move(pattern)), content_(content) {}
  std::string apply(std::string_view token, TokenPlace) const override {
    std::string out;
    size_t done = 0;
    for (const TextPiece& match : pattern_.find_all(token)) {
      out += token.substr(done, match.begin - done);
      out += content_;
      done = match.end;
    }
    return out += token.substr(done);
  }

 private:
  TextPattern pattern_;
  std::string content_;
};

class Strip final : public TokenDecoder {
 public:
  Strip(std::string_view content, uint64_t start, uint64_t stop)
      : content_(content), start_(start), stop_(stop) {}
  std::string apply(std::string_view token, TokenPlace) const override {
    for (uint64_t i = 0; i < start_ && token.starts_with(content_); ++i)
      token.remove_prefix(content_.size());
    for (uint64_t i = 0; i < stop_ && token.ends_with(content_); ++i)
      token.remove_suffix(content_.size());
    return std::string(token);
  }

 private:
  std::string content_;  // not empty
  uint64_t start_, stop_;
};

class Metaspace final : public TokenDecoder {
 public:
  Metaspace(std::string_view replacement, bool prepends)
      : replacement_(replacement), prepends_(prepends) {}
  std::string apply(std::string_view token, TokenPlace place) const override {
    std::string out(token);
    replace_all(out, replacement_, place.first && prepends_ ? "" : " ");
    return out;
  }

 private:
  std::string replacement_;
  bool prepends_;
};

class WordPiece final : public TokenDecoder {
 public:
  WordPiece(std::string_view prefix, bool cleanup) : prefix_(prefix), cleanup_(cleanup) {}
  std::string apply(std::string_view token, TokenPlace place) const override {
    std::string out(token);
    if (!place.first) {
      if (!prefix_.empty() && token.starts_with(prefix_)) {
        out.erase(0, prefix_.size());
      } else {
        out.insert(0, " ");
      }
    }
    if (cleanup_) clean_up(out);
    return out;
  }

 private:
  static void clean_up(std::string& text) {
    constexpr std::pair<std::string_view, std::string_view> kRules[] = {
        {" .", "."},   {" ?", "?"},     {" !", "!"},    {" ,", ","},
        {" ' ", "'"},  {" n't", "n't"}, {" 'm", "'m"},  {" do not", " don't"},
        {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
    for (const auto& [from, to] : kRules) replace_all(text, from, to);
  }

  std::string prefix_;
  bool cleanup_;
};

/// The end of a word becomes a blank.
class WordSuffix final : public TokenDecoder {
 public:
  explicit WordSuffix(std::string_view suffix) : suffix_(suffix) {}
  std::string apply(std::string_view token, TokenPlace place) const override {
    std::string out(token);
    replace_all(out, suffix_, place.last ? "" : " ");
    return out;
  }

 private:
  std::string suffix_;
};

using Steps = std::vector<std::unique_ptr<TokenDecoder>>;

void add_decoder(const JsonFile& file, const JsonValue& value, Steps& steps) {
  const std::string type = file.type(value, "a decoder");
  if (type == "Sequence") {
    if (const auto list = file.array(value, "decoders")) {
      for (const JsonValue& step : list->elements()) add_decoder(file, step, steps);
    }
  } else if (type == "ByteLevel") {
    steps.push_back(std::make_unique<ByteLevel>());
  } else if (type == "ByteFallback") {
    steps.push_back(std::make_unique<ByteFallback>());
  } else if (type == "Fuse") {
    steps.push_back(std::make_unique<Fuse>());
  } else if (type == "Replace") {
    steps.push_back(std::make_unique<Replace>(read_text_pattern(file, value),
                                              file.string(value, "content", "")));
  } else if (type == "Strip") {
    const std::string content = file.string(value, "content", "");
    if (content.empty()) file.corrupt("a decoder strips nothing");
    steps.push_back(std::make_unique<Strip>(content, file.number(value, "start").value_or(0),
                                            file.number(value, "stop").value_or(0)));
  } else if (type == "Metaspace") {
    const bool prefix = file.flag(value, "add_prefix_space", true);
    const std::string scheme = file.string(value, "prepend_scheme", prefix ? "always" : "never");
    steps.push_back(std::make_unique<Metaspace>(file.string(value, "replacement", "\xE2\x96\x81"),
                                                scheme != "never"));
  } else if (type == "WordPiece") {
    steps.push_back(std::make_unique<WordPiece>(file.string(value, "prefix", "##"),
                                                file.flag(value, "cleanup", true)));
  } else if (type == "BPEDecoder") {
    steps.push_back(std::make_unique<WordSuffix>(file.string(value, "suffix", "</w>")));
  } else {
    file.unsupported("decoder \"" + type.substr(0, 60) + "\" is unknown");
  }
}

DecoderChain chain_of(std::unique_ptr<TokenDecoder> step) {
  Steps steps;
  steps.push_back(std::move(step));
  return DecoderChain(std::move(steps));
}

}  // namespace

DecoderChain::DecoderChain() { steps_.push_back(std::make_unique<Blanks>()); }

std::string DecoderChain::text(std::vector<Token> tokens) const {
  for (const auto& step : steps_) {
    if (step->fuses() && tokens.size() > 1) {
      Token all;
      for (const Token& token : tokens) all.text += token.text;
      tokens.assign(1, std::move(all));
      continue;
    }
    for (size_t i = 0; i < tokens.size(); ++i) {
      const TokenPlace place{
          .first = i == 0, .last = i + 1 == tokens.size(), .added = tokens[i].added};
      tokens[i].text = step->apply(tokens[i].text, place);
    }
  }
  std::string out;
  for (const Token& token : tokens) out += token.text;
  return out;
}

std::string DecoderChain::piece(Token token) const {
  for (const auto& step : steps_) {
    if (step->fuses()) break;  // what follows concerns the whole text
    token.text = step->apply(token.text, {.added = token.added});
  }
  return std::move(token.text);
}

DecoderChain read_decoder(const JsonFile& file, const JsonValue& value) {
  Steps steps;
  add_decoder(file, value, steps);
  return DecoderChain(std::move(steps));
}

DecoderChain make_sentencepiece_decoder(bool drops_first) {
  Steps steps;
  steps.push_back(std::make_unique<Replace>(TextPattern("\xE2\x96\x81"), " "));
  steps.push_back(std::make_unique<ByteFallback>());
  steps.push_back(std::make_unique<Fuse>());
  if (drops_first) steps.push_back(std::make_unique<Strip>(" ", 1, 0));
  return DecoderChain(std::move(steps));
}

DecoderChain make_plain_decoder() { return DecoderChain(Steps()); }
DecoderChain make_byte_level_decoder() { return chain_of(std::make_unique<ByteLevel>()); }
DecoderChain make_word_piece_decoder(std::string_view continuing) {
  return chain_of(std::make_unique<WordPiece>(continuing, true));
}

}  // namespace spnl::modelkit
