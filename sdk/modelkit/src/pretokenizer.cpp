#include "pretokenizer.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>

#include "spnl/modelkit/error.h"
#include "tokenizer/regex.h"
#include "unicode_utf8.h"

namespace spnl::modelkit {
namespace {

// The regular expressions that the models' own tokenizers publish (tokenizer.json, tiktoken), in
// the form that llama.cpp's names for them stand for. Each pass cuts every piece of the pass
// before: matches are words, and so is what lies between them. Two rules keep all of them linear on
// hostile text: nothing is repeated as a group with backtracking, and a search never scans a run
// again from its middle. WS is Unicode White_Space: PCRE2's own \s would add U+180E.
#define WS "\\t-\\r\\x{85}\\p{Z}"
#define SPACES_TAIL "|[" WS "]+(?![^" WS "])|[" WS "]+"
#define CONTRACTION "(?i:'s|'t|'re|'ve|'m|'ll|'d)"

constexpr char kGpt2[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^" WS "\\p{L}\\p{N}]+" SPACES_TAIL;
#define LLAMA3_LIKE(letters, digits, others)                                  \
  CONTRACTION "|[^\\r\\n\\p{L}\\p{N}]?" letters "|" digits "|" others "|[" WS \
              "]*[\\r\\n]+" SPACES_TAIL
#define OTHERS " ?[^" WS "\\p{L}\\p{N}]+[\\r\\n]*"
constexpr char kLlama3[] = LLAMA3_LIKE("\\p{L}+", "\\p{N}{1,3}", OTHERS);
constexpr char kQwen2[] = LLAMA3_LIKE("\\p{L}+", "\\p{N}", OTHERS);
constexpr char kQwen35[] =
    LLAMA3_LIKE("[\\p{L}\\p{M}]+", "\\p{N}", " ?[^" WS "\\p{L}\\p{M}\\p{N}]+[\\r\\n]*");
constexpr char kSeedCoder[] = LLAMA3_LIKE("\\p{L}+", "\\p{N}", " ?[^" WS "\\p{L}\\p{N}\\r\\n]+");
constexpr char kMinicpm5[] = LLAMA3_LIKE("\\p{L}+", "\\p{N}+", OTHERS);
constexpr char kBailing[] =
    CONTRACTION "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}|" OTHERS "|[" WS "]*[\\r\\n]" SPACES_TAIL;
constexpr char kExaoneMoe[] = CONTRACTION
    "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}[\\p{L}\\p{M}]*+(?: \\p{L}[\\p{L}\\p{M}]*+)*+|\\p{N}| ?[^" WS
    "\\p{L}\\p{N}]+[\\r\\n/]?|[" WS "]*[\\r\\n]" SPACES_TAIL;

// Words in two cases: capitals before small letters (GPT-4o, Mistral's tekken).
#define TWO_CASES(upper, lower, contraction, digits, newlines)                             \
  "[^\\r\\n\\p{L}\\p{N}]?" upper "*" lower "+" contraction "|[^\\r\\n\\p{L}\\p{N}]?" upper \
  "+" lower "*" contraction "|" digits "| ?[^" WS "\\p{L}\\p{N}]+" newlines "|[" WS        \
  "]*[\\r\\n]+" SPACES_TAIL
#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
constexpr char kTekken[] = TWO_CASES(UPPER, LOWER, "", "\\p{N}", "[\\r\\n/]*");
constexpr char kGpt4o[] = TWO_CASES(UPPER, LOWER, CONTRACTION "?", "\\p{N}{1,3}", "[\\r\\n/]*");
constexpr char kYoutu[] = TWO_CASES(UPPER, LOWER, CONTRACTION "?", "\\p{N}", "[\\r\\n/]*");
// UPPER and LOWER without Han: PCRE2 has no intersection of classes, so these are complements of
// unions.
#define UPPER_NO_HAN "[^\\p{Ll}\\p{N}\\p{P}\\p{S}\\p{Z}\\p{C}\\p{Han}]"
#define LOWER_NO_HAN "[^\\p{Lu}\\p{Lt}\\p{N}\\p{P}\\p{S}\\p{Z}\\p{C}\\p{Han}]"
constexpr char kKimi[] =
    "\\p{Han}+|" TWO_CASES(UPPER_NO_HAN, LOWER_NO_HAN, CONTRACTION "?", "\\p{N}{1,3}", "[\\r\\n]*");

#define DEEPSEEK_MAIN(newlines)                                                    \
  "[!\"#$%&'()*+,\\-./"                                                            \
  ":;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+" \
  "| ?[\\p{P}\\p{S}]+" newlines SPACES_TAIL
constexpr char kDeepseek3[] = DEEPSEEK_MAIN("[\\r\\n]*|[" WS "]*[\\r\\n]+");
constexpr char kSpark[] = DEEPSEEK_MAIN("|[\\r\\n]");
constexpr char kCjk[] = "[\\x{4e00}-\\x{9fa5}\\x{3040}-\\x{309f}\\x{30a0}-\\x{30ff}]+";
constexpr char kAfmoeScripts[] =
    "[\\x{4e00}-\\x{9fff}\\x{3400}-\\x{4dbf}\\x{f900}-\\x{faff}\\x{3040}-\\x{30ff}\\x{ff65}-\\x{"
    "ff9f}"
    "\\x{2f00}-\\x{2fdf}\\x{e00}-\\x{eff}\\x{1780}-\\x{17ff}\\x{1000}-\\x{109f}\\x{aa60}-\\x{aa7f}"
    "\\x{a9e0}-\\x{a9ff}\\x{ac00}-\\x{d7af}\\x{1100}-\\x{11ff}]+";
constexpr char kYoutuScripts[] =
    "[\\x{ac00}-\\x{d7a3}\\x{3131}-\\x{318e}]+|[\\x{ff01}\\x{2026}\\x{201c}\\x{201d}\\x{2018}\\x{"
    "2019}"
    "\\x{2014}\\x{ff1a}\\x{ff1b}\\x{ff0c}\\x{3001}-\\x{303f}\\x{fe30}-\\x{fe4f}]+|[\\x{3105}-\\x{"
    "312f}]+|"
    "[\\x{4e00}-\\x{9fa5}\\x{3040}-\\x{309f}\\x{30a0}-\\x{30ff}]+";

constexpr char kNewline[] = "[\\r\\n]";
constexpr char kLines[] = "[^\\n]+|\\n+";
constexpr char kDigit[] = "\\p{N}";
constexpr char kDigits[] = "\\p{N}+";
constexpr char kDigits3[] = "\\p{N}{1,3}";
constexpr char kThreeAscii[] = "[0-9][0-9][0-9]";
// DeepSeek LLM lists the cased letters of an older Unicode one by one: today's without the blocks
// it lacks.
constexpr char kDeepseekLetters[] =
    "[" WS
    "]?[^\\P{L&}\\x{2d00}-\\x{2d2d}\\x{a790}-\\x{a7ff}\\x{ab30}-\\x{ab6f}\\x{10570}-\\x{105bf}"
    "\\x{16e40}-\\x{16e7f}\\x{1d400}-\\x{1d7cb}\\x{1df00}-\\x{1df1e}]+";
constexpr char kDeepseekMarks[] =
    "[" WS
    "]?[!-/:-~\\x{ff01}-\\x{ff0f}\\x{ff1a}-\\x{ff5e}\\x{2018}-\\x{201f}\\x{3000}-\\x{3002}]+";
constexpr char kTrailingSpace[] = "(?<![" WS "])[" WS "]+$";
constexpr char kDeepseekCjk[] = "[\\x{4e00}-\\x{9fa5}\\x{800}-\\x{4e00}\\x{ac00}-\\x{d7ff}]+";
constexpr char kCoderLetters[] = "[" WS "]?\\p{L}+";
constexpr char kCoderMarks[] = "[" WS "]?\\p{P}+";
constexpr char kFalconMarks[] = "[\\p{P}$+<=>^~|`]+";
constexpr char kDefaultMarks[] = "[\\p{P}$+<=>^~|]+";
constexpr char kBloom[] =
    " ?[^(" WS "|.,!?\\x{2026}\\x{3002}\\x{ff0c}\\x{3001}\\x{964}\\x{6d4}\\x{60c})]+";
constexpr char kChameleonSentinel[] = "<sentinel:[0-9]+>";
constexpr char kChameleonImage[] = "IMGIMG[A-I]{1,4}Z";
constexpr char kChameleonSpace[] = "[\\t\\n]|    |  ";
constexpr char kChameleonMarks[] = "[\\p{P}!-/:-@\\[-`{-~]";
// No expression: runs of digits in groups of three, counted from the right.
constexpr char kThreesFromRight[] = "";

struct Recipe {
  const char* names;  // between blanks, also at both ends
  bool ignore_merges, add_bos;
  const char* passes[6];
};

// clang-format off
constexpr Recipe kRecipes[] = {
    {" gpt-2 phi-2 mpt olmo jais jina-es jina-de jina-v2-es jina-v2-de jina-v1-en jina-v2-code roberta-bpe gigachat"
     " a.x-4.0 mellum modern-bert exaone4 trillion granite-docling ", false, false, {kGpt2}},
    {" llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral lfm2 midm-2.0 jina-v5-nano ", true, true, {kLlama3}},
    {" dbrx smaug-bpe chatglm-bpe ", false, false, {kLlama3}},
    {" glm4 ", true, false, {kLlama3}},
    {" qwen2 deepseek-r1-qwen stablelm2 hunyuan kormo f2llmv2 megrez solar-open grok-2 ", false, false, {kQwen2}},
    {" qwen35 ", false, false, {kQwen35}},
    {" tekken ", true, true, {kTekken}},
    {" gpt-4o llama4 kanana2 minimax-m2 talkie ", false, false, {kGpt4o}},
    {" starcoder refact command-r smollm codeshell exaone minerva minerva-7b mellum2 ", false, false, {kDigit, kGpt2}},
    {" deepseek-llm ", false, false,
     {kNewline, kDeepseekLetters, kDeepseekMarks, kTrailingSpace, kDeepseekCjk, kDigits}},
    {" deepseek-coder ", false, false, {kNewline, kCoderLetters, kCoderMarks, kDeepseekCjk, kDigit}},
    {" deepseek-v3 hunyuan-dense hy_v4 joyai-llm ", false, false, {kDigits3, kCjk, kDeepseek3}},
    {" falcon ", false, false, {kFalconMarks, kGpt2, kThreeAscii}},
    {" default ", false, false, {kDefaultMarks, kGpt2, kDigits, kThreeAscii}},
    {" kimi-k2 ", false, false, {kKimi}},
    {" seed-coder ", false, false, {kSeedCoder}},
    {" minicpm5 ", true, false, {kDigits3, kMinicpm5}},
    {" bailingmoe bailingmoe2 llada-moe ", false, false, {kBailing}},
    {" exaone-moe ", false, false, {kExaoneMoe}},
    {" laguna ", false, false, {kLines, kQwen2}},
    {" spark2_5 ", false, false, {kDigits3, kCjk, kSpark, kDigit}},
    {" youtu ", true, false, {kYoutuScripts, kYoutu}},
    {" afmoe ", false, false, {kThreesFromRight, kAfmoeScripts, kDeepseek3}},
    {" poro-chat bloom gpt3-finnish ", false, false, {kBloom}},
    {" viking ", false, false, {kBloom, kDigit}},
    {" chameleon ", false, true,
     {kChameleonSentinel, kChameleonImage, kChameleonSpace, kDigit, kChameleonMarks, kGpt2}},
};
// clang-format on

const Recipe& find_recipe(std::string_view name) {
  std::string padded(1, ' ');
  padded.append(name).push_back(' ');
  const bool one_word = !name.empty() && name.find(' ') == std::string_view::npos;
  for (const Recipe& recipe : kRecipes) {
    if (one_word && std::string_view(recipe.names).find(padded) != std::string_view::npos)
      return recipe;
  }
  throw Error(ErrorCode::kUnsupported, "tokenizer.ggml.pre: unknown pre-tokenizer \"" +
                                           std::string(name.substr(0, 60)) + "\"");
}

void push_end(std::vector<size_t>& ends, size_t end) {
  if (end > (ends.empty() ? 0 : ends.back())) ends.push_back(end);
}

// Cuts text[0, size) by matches; ends are given relative to `base`.
void cut(Regex::Matcher& matcher, const Regex& code, std::string_view text, size_t base,
         std::vector<size_t>& ends) {
  size_t at = 0, begin = 0, end = 0;
  while (at < text.size() && matcher.find(code, text, at, begin, end) && end > begin) {
    push_end(ends, base + begin);
    push_end(ends, base + end);
    at = end;
  }
  push_end(ends, base + text.size());
}

void cut_threes(Regex::Matcher& matcher, const Regex& digits, const Regex& digit,
                std::string_view text, size_t base, std::vector<size_t>& ends) {
  std::vector<size_t> runs, singles;
  cut(matcher, digits, text, 0, runs);
  size_t from = 0, begin = 0, end = 0;
  for (const size_t to : runs) {
    const std::string_view run = text.substr(from, to - from);
    if (matcher.find(digits, run, 0, begin, end)) {
      singles.clear();
      cut(matcher, digit, run, 0, singles);
      for (size_t i = 0; i < singles.size(); ++i) {
        if ((singles.size() - 1 - i) % 3 == 0) push_end(ends, base + from + singles[i]);
      }
    } else {
      push_end(ends, base + to);
    }
    from = to;
  }
}

}  // namespace

struct Pretokenizer::Impl {
  const Recipe* recipe;
  std::vector<std::optional<Regex>> passes;  // none: threes from the right
  std::optional<Regex> digits, digit;

  void split_valid(Regex::Matcher& matcher, std::string_view text, size_t base,
                   std::vector<size_t>& ends) const {
    std::vector<size_t> pieces{text.size()}, next;
    for (const std::optional<Regex>& code : passes) {
      next.clear();
      size_t from = 0;
      for (const size_t to : pieces) {
        const std::string_view piece = text.substr(from, to - from);
        if (code) {
          cut(matcher, *code, piece, from, next);
        } else {
          cut_threes(matcher, *digits, *digit, piece, from, next);
        }
        from = to;
      }
      pieces.swap(next);
    }
    for (const size_t end : pieces) push_end(ends, base + end);
  }
};

Pretokenizer::Pretokenizer(std::string_view name) : impl_(std::make_unique<Impl>()) {
  impl_->recipe = &find_recipe(name);
  for (const char* pass : impl_->recipe->passes) {
    if (pass == nullptr) break;
    if (*pass != '\0') {
      impl_->passes.emplace_back(Regex(pass, /*trusted=*/true));
    } else {
      impl_->passes.emplace_back();
      impl_->digits.emplace(kDigits, /*trusted=*/true);
      impl_->digit.emplace(kDigit, /*trusted=*/true);
    }
  }
}

Pretokenizer::~Pretokenizer() = default;
Pretokenizer::Pretokenizer(Pretokenizer&&) noexcept = default;
bool Pretokenizer::ignore_merges() const { return impl_->recipe->ignore_merges; }
bool Pretokenizer::add_bos() const { return impl_->recipe->add_bos; }

std::vector<size_t> Pretokenizer::split(std::string_view text) const {
  std::vector<size_t> ends;
  Regex::Matcher matcher;
  for_each_stretch(
      text,
      [&](size_t begin, size_t end) {
        impl_->split_valid(matcher, text.substr(begin, end - begin), begin, ends);
        push_end(ends, end);
      },
      [&](size_t, size_t end) { push_end(ends, end); });
  return ends;
}

}  // namespace spnl::modelkit
