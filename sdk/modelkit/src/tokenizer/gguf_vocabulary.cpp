#include "tokenizer/gguf_vocabulary.h"

#include <algorithm>
#include <unordered_map>

#include "json_file.h"
#include "pretokenizer.h"
#include "spnl/modelkit/error.h"
#include "spnl/modelkit/tokenizer.h"
#include "tokenizer/model_bpe.h"
#include "tokenizer/model_score.h"
#include "tokenizer/pipeline.h"
#include "tokenizer/tokenizer_files.h"
#include "tokenizer_vocab.h"

namespace spnl::modelkit {
namespace {

namespace fs = std::filesystem;

constexpr float kNoScore = -1000;  // of what is no merge's result

/// Pre-tokenizers as other programs call them, of each kind one.
constexpr const char* kPres[] = {
    "llama-bpe",      "qwen2",        "gpt-2", "starcoder", "tekken", "gpt-4o",
    "deepseek-v3",    "deepseek-llm", "dbrx",  "glm4",      "qwen35", "kimi-k2",
    "deepseek-coder", "falcon",       "bloom", "viking",    "default"};

/// Two tokenizers that agree on these cut words alike. In NFC, and without special
/// tokens: GGUF files cannot ask for the one, and programs differ in the blanks around the other.
constexpr std::string_view kProbes[] = {
    "Hello world! It's 3.14159, isn't it? They'LL say WE'Ve 12345678 ways; don't \"quote\" (me).",
    "  leading, trailing  \n\n\tand\r\n   mixed \n   blanks\t\t x  \n",
    "snake_case camelCase HTTPServer2 x86_64 a1b2c3 0x1F 1,000,000 ½ ²³ ٣٤٥ १२३",
    "Größe naïve façade déjà-vu ŁÓDŹ Ελληνικά Привет, как дела? שלום العربية हिन्दी ไทย",
    "日本語のテキスト、中文句子。한국어 문장… ２０２４年 ｶﾀｶﾅ ーー々〆",
    "emoji 😀👍🏽 family 👩‍👧 zero\xE2\x80\x8Bwidth \xEF\xBB\xBF mark",
    "if (x == 1) { return y += 2; } // comment\n#include <a.h>\n\tfor i in range(10):\n        "
    "pass\n",
    "[INST] <0x0A> a=b&c;d @e #f $g %h ^i *j ~k `l` {m}",
    "a",
    " ",
    "",
};

int32_t gguf_type(uint8_t flags) {
  if ((flags & Vocabulary::kControl) != 0) return 3;
  if ((flags & Vocabulary::kUnknown) != 0) return 2;
  if ((flags & Vocabulary::kUserDefined) != 0) return 4;
  if ((flags & Vocabulary::kByte) != 0) return 6;
  return (flags & Vocabulary::kUnused) != 0 ? 5 : 1;
}

std::optional<uint32_t> id_of(std::optional<int32_t> id) {
  return id ? std::optional(static_cast<uint32_t>(*id)) : std::nullopt;
}

void copy_tokens(const Pipeline& parts, uint32_t rows, GgufVocabulary& out) {
  const Vocabulary& vocabulary = *parts.vocabulary;
  for (int32_t id = 0; id < vocabulary.size(); ++id) {
    out.tokens.emplace_back(vocabulary.text(id));
    out.types.push_back(gguf_type(vocabulary.flags(id)));
    if (out.tokens.back().empty()) out.types.back() = 5;
  }
  if (out.tokens.size() < rows) {
    out.tokens.resize(rows);
    out.types.resize(rows, 5);
  }
  for (size_t id = 0; id < out.tokens.size(); ++id)
    if (out.tokens[id].empty()) out.tokens[id] = "[PAD" + std::to_string(id) + "]";
  out.bos = id_of(vocabulary.bos());
  out.eos = id_of(vocabulary.eos());
  for (const int32_t end : vocabulary.end_of_generation())
    if (!out.eot && end != vocabulary.eos()) out.eot = static_cast<uint32_t>(end);
  // What stands around a text is what the folder means by bos and eos, whatever else it says.
  out.add_bos = parts.prefix.size() == 1;
  out.add_eos = parts.suffix.size() == 1;
  if (out.add_bos) out.bos = static_cast<uint32_t>(parts.prefix[0]);
  if (out.add_eos) out.eos = static_cast<uint32_t>(parts.suffix[0]);
}

/// "left right" of each merge.
std::vector<std::string> merges_of(const JsonFile& file, const JsonValue& model) {
  std::vector<std::string> merges;
  const auto list = file.array(model, "merges");
  if (!list) return merges;
  merges.reserve(list->size());
  for (const JsonValue& merge : list->elements()) {
    if (merge.is_string()) {
      merges.push_back(merge.text());
      continue;
    }
    std::string& text = merges.emplace_back();
    for (const JsonValue& part : merge.elements()) {
      if (!text.empty()) text += ' ';
      text += part.text();
    }
    if (std::count(text.begin(), text.end(), ' ') != 1)
      file.unsupported("a merge of a token with a blank in it cannot be written to a GGUF");
  }
  return merges;
}

/// The earlier a merge, the higher the score of its result: so SentencePiece merges in their order.
void score_by_merges(const std::vector<std::string>& merges, GgufVocabulary& out) {
  std::unordered_map<std::string, size_t> first;
  for (size_t i = 0; i < merges.size(); ++i) {
    std::string joined = merges[i];
    joined.erase(joined.find(' '), 1);
    first.emplace(std::move(joined), i);
  }
  for (size_t id = 0; id < out.tokens.size(); ++id) {
    const auto merge = first.find(out.tokens[id]);
    out.scores.push_back(merge == first.end() ? kNoScore : -static_cast<float>(merge->second));
    if (out.types[id] == 1 && byte_of_token(out.tokens[id]) >= 0) out.types[id] = 6;
  }
}

/// The tokenizer that a GGUF of this metadata has.
std::unique_ptr<Tokenizer> tokenizer_of(const GgufVocabulary& v) {
  const std::vector<std::string_view> tokens(v.tokens.begin(), v.tokens.end());
  const std::vector<std::string_view> merges(v.merges.begin(), v.merges.end());
  const std::vector<double> scores(v.scores.begin(), v.scores.end());
  const std::vector<int64_t> types(v.types.begin(), v.types.end());
  TokenizerData data;
  data.model = v.model;
  if (!v.pre.empty()) data.pre = v.pre;
  data.tokens = tokens;
  data.merges = merges;
  data.scores = scores;
  data.types = types;
  const auto id = [](std::optional<uint32_t> known) { return std::optional<uint64_t>(known); };
  data.bos = id(v.bos);
  data.eos = id(v.eos);
  data.eot = id(v.eot);
  data.unknown = id(v.unknown);
  data.add_bos = v.add_bos;
  data.add_eos = v.add_eos;
  data.add_space_prefix = v.add_space_prefix;
  return make_tokenizer(data);
}

bool agree(const Tokenizer& a, const Tokenizer& b) {
  return std::all_of(std::begin(kProbes), std::end(kProbes), [&](std::string_view text) {
    return a.encode(text, {}) == b.encode(text, {});
  });
}

/// Where the words of a text end.
std::vector<size_t> word_ends(const PreTokenizer& pre_tokenizer, std::string_view text) {
  PreTokenized words;
  words.text.text = text;
  words.pieces = {{0, text.size()}};
  pre_tokenizer.apply(words);
  std::vector<size_t> ends;
  for (const TextPiece& piece : words.pieces) ends.push_back(words.text.source_of(piece.end));
  return ends;
}

/// Those of kPres that cut words as the folder does; first those that treat words that are tokens
/// alike.
std::vector<std::string> pres_of(const Pipeline& parts, bool ignores_merges) {
  std::vector<std::string> alike, others;
  for (const char* const name : kPres) {
    const Pretokenizer pre(name);
    const bool same = std::all_of(std::begin(kProbes), std::end(kProbes), [&](auto text) {
      return text.empty() || !parts.pre_tokenizer ||
             word_ends(*parts.pre_tokenizer, text) == pre.split(text);
    });
    if (same) (pre.ignore_merges() == ignores_merges ? alike : others).emplace_back(name);
  }
  alike.insert(alike.end(), others.begin(), others.end());
  return alike;
}

/// Fills in what shows in what the folder's tokenizer does.
bool settle(Pipeline parts, bool ignores_merges, GgufVocabulary& out) {
  const bool by_bytes = out.model == "gpt2";
  const auto pres = by_bytes ? pres_of(parts, ignores_merges) : std::vector<std::string>();
  const auto wanted = make_pipeline_tokenizer(std::move(parts));
  for (const std::string& pre : pres) {
    out.pre = pre;
    if (agree(*wanted, *tokenizer_of(out))) return true;
  }
  for (const bool prefix : {true, false}) {
    out.add_space_prefix = prefix;
    if (!by_bytes && agree(*wanted, *tokenizer_of(out))) return true;
  }
  return false;
}

/// Returns whether words that are tokens are taken whole. `parts`: what was made of the file. Only
/// those of BPE have looked at its merges; in other files they may be anything.
bool read_json(const JsonFile& file, const Pipeline& parts, GgufVocabulary& out) {
  const auto model = file.root().find("model");
  if (!model || !model->find("merges") ||
      dynamic_cast<const CharacterBpe*>(parts.model.get()) == nullptr)
    file.unsupported("only BPE tokenizers can be written to a GGUF so far");
  std::vector<std::string> merges = merges_of(file, *model);
  if (file.flag(*model, "byte_fallback", false)) {
    out.model = "llama";
    score_by_merges(merges, out);
  } else {
    out.model = "gpt2";
    out.merges = std::move(merges);
  }
  const std::string unknown = file.string(*model, "unk_token", "");
  const auto found = std::find(out.tokens.begin(), out.tokens.end(), unknown);
  if (!unknown.empty() && found != out.tokens.end())
    out.unknown = static_cast<uint32_t>(found - out.tokens.begin());
  return file.flag(*model, "ignore_merges", false);
}

/// Of tokenizer.model.
void read_pieces(const Pipeline& parts, GgufVocabulary& out) {
  out.model = "llama";
  for (size_t id = 0; id < out.tokens.size(); ++id) {
    const bool known = id < static_cast<size_t>(parts.vocabulary->size());
    out.scores.push_back(known ? parts.vocabulary->score(static_cast<int32_t>(id)) : kNoScore);
    if (out.types[id] == 2) out.unknown = static_cast<uint32_t>(id);
  }
}

}  // namespace

GgufVocabulary gguf_vocabulary_of_folder(const fs::path& folder, uint32_t rows) {
  Pipeline parts = pipeline_of_folder(folder);
  GgufVocabulary out;
  copy_tokens(parts, rows, out);
  const auto refuse = [&](const std::string& why) {
    throw Error(ErrorCode::kUnsupported, folder.string() + ": " + why);
  };
  bool ignores_merges = false;
  if (const auto file = JsonFile::open(folder / "tokenizer.json"))
    ignores_merges = read_json(*file, parts, out);
  else if (dynamic_cast<const SentencePieceBpe*>(parts.model.get()) != nullptr)
    read_pieces(parts, out);
  else
    refuse(
        "only tokenizer.json with BPE and tokenizer.model with BPE can be written to a GGUF so "
        "far");
  if (!settle(std::move(parts), ignores_merges, out))
    refuse("its tokenizer cuts text in a way that GGUF files have no name for");
  return out;
}

}  // namespace spnl::modelkit
