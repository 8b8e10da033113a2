#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer_vocab.h"

/// A vocabulary made in a test; owns what TokenizerData points to.
struct TinyVocabulary {
  std::vector<std::string> tokens, merges;
  std::vector<int64_t> types;
  std::vector<double> scores;
  spnl::modelkit::TokenizerData data;

  int32_t add(const std::string& text, int64_t type = 1, double score = 0) {
    tokens.push_back(text);
    types.push_back(type);
    scores.push_back(score);
    return static_cast<int32_t>(tokens.size()) - 1;
  }
  std::unique_ptr<spnl::modelkit::Tokenizer> build() {
    const std::vector<std::string_view> token_views(tokens.begin(), tokens.end());
    const std::vector<std::string_view> merge_views(merges.begin(), merges.end());
    data.tokens = token_views;
    data.merges = merge_views;
    data.types = types;
    data.scores = scores;
    return spnl::modelkit::make_tokenizer(data);
  }
  int32_t id(std::string_view text) const {
    for (size_t i = 0; i < tokens.size(); ++i) {
      if (tokens[i] == text) return static_cast<int32_t>(i);
    }
    return -1;
  }
};

/// GPT-2's letter for a byte.
inline std::string byte_letter(int wanted) {
  int code = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    const bool self = (byte > 0x20 && byte < 0x7F) || (byte > 0xA0 && byte != 0xAD);
    const int value = self ? byte : code++;
    if (byte != wanted) continue;
    if (value < 0x80) return std::string(1, static_cast<char>(value));
    return {static_cast<char>(0xC0 | (value >> 6)), static_cast<char>(0x80 | (value & 0x3F))};
  }
  return {};
}

/// All bytes, some merges and ChatML's control tokens. Ġ stands for a blank.
inline TinyVocabulary tiny_bpe() {
  TinyVocabulary v;
  v.data.model = "gpt2";
  v.data.pre = "gpt-2";
  for (int byte = 0; byte < 256; ++byte) v.add(byte_letter(byte));
  const auto merge = [&](const std::string& left, const std::string& right) {
    v.merges.push_back(left + " " + right);
    if (v.id(left + right) < 0) v.add(left + right);
  };
  merge("a", "b");
  merge("b", "c");
  merge("ab", "c");
  merge("l", "l");
  merge("ll", "o");
  merge("h", "e");
  merge("he", "llo");
  merge("Ġ", "hello");
  merge("a", "a");
  merge("aa", "aa");
  v.data.bos = static_cast<uint64_t>(v.add("<s>", 3));
  v.data.eos = static_cast<uint64_t>(v.add("</s>", 3));
  v.add("<|im_start|>", 3);
  v.add("<|im_end|>", 3);
  v.add("<user>", 4);
  return v;
}
