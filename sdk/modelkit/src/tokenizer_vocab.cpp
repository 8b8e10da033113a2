#include "tokenizer_vocab.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "spnl/modelkit/error.h"

namespace spnl::modelkit {
namespace {

// Spellings that end an answer in models whose metadata forget to say so.
constexpr std::string_view kEndSpellings[] = {
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|calls|>",
    "<|flush|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<turn|>",
    "<|tool_response>",
    "[e~[",
    "<｜end▁of▁sentence｜>",
};
// These are also ordinary words, or control tokens of other uses: they count only when the file
// says "control".
constexpr std::string_view kEndSpellingsOfControl[] = {"</s>", "<eos>"};

bool one_of(std::string_view text, std::span<const std::string_view> list) {
  return std::find(list.begin(), list.end(), text) != list.end();
}

uint8_t flag_of_type(int64_t type) {
  switch (type) {
    case 1:
      return Vocabulary::kNormal;
    case 2:
      return Vocabulary::kUnknown;
    case 3:
      return Vocabulary::kControl;
    case 4:
      return Vocabulary::kUserDefined;
    case 5:
      return Vocabulary::kUnused;
    case 6:
      return Vocabulary::kByte;
    case kOutsideType:
      return Vocabulary::kUserDefined | Vocabulary::kOutside;
    default:
      return 0;
  }
}

void check_length(const char* key, size_t have, size_t want) {
  if (have == 0 || have == want) return;
  throw Error(ErrorCode::kCorrupt, std::string("tokenizer.ggml.") + key + " has " +
                                       std::to_string(have) + " entries for " +
                                       std::to_string(want) + " tokens");
}

std::optional<int32_t> id_in(std::optional<uint64_t> id, int32_t size) {
  if (!id || *id >= static_cast<uint64_t>(size))
    return std::nullopt;  // files write 2^32-1 for "none"
  return static_cast<int32_t>(*id);
}

}  // namespace

int byte_of_token(std::string_view text) {
  if (text.size() != 6 || text.substr(0, 3) != "<0x" || text[5] != '>') return -1;
  int value = 0;
  for (const char c : text.substr(3, 2)) {
    int digit = 0;
    if (c >= '0' && c <= '9') {
      digit = c - '0';
    } else if (c >= 'A' && c <= 'F') {
      digit = c - 'A' + 10;
    } else if (c >= 'a' && c <= 'f') {
      digit = c - 'a' + 10;
    } else {
      return -1;
    }
    value = value * 16 + digit;
  }
  return value;
}

uint64_t hash_bytes(std::string_view bytes) {
  uint64_t h = bytes.size() * 0xD6E8FEB86659FD93u;
  const char* p = bytes.data();
  size_t n = bytes.size();
  for (; n >= 8; n -= 8, p += 8) {
    uint64_t word;
    std::memcpy(&word, p, 8);
    h = hash_mix(h ^ word);
  }
  uint64_t rest = 0;
  if (n > 0) std::memcpy(&rest, p, n);
  return hash_mix(hash_mix(h ^ rest));
}

Vocabulary::Vocabulary(const TokenizerData& data) {
  check_length("scores", data.scores.size(), data.tokens.size());
  check_length("token_type", data.types.size(), data.tokens.size());
  copy_tokens(data);
  copy_kinds(data);
  finish(data);
}

Vocabulary::Vocabulary(TokenTexts texts, std::vector<uint8_t> types, std::vector<float> scores,
                       const TokenizerData& data)
    : texts_(std::move(texts)), flags_(std::move(types)), scores_(std::move(scores)) {
  for (uint8_t& flags : flags_) flags = flag_of_type(flags);
  finish(data);
}

void Vocabulary::finish(const TokenizerData& data) {
  if (texts_.size() == 0) throw Error(ErrorCode::kCorrupt, "tokenizer.ggml.tokens is empty");
  if (texts_.size() > static_cast<size_t>(std::numeric_limits<int32_t>::max() / 4))
    throw Error(ErrorCode::kCorrupt, "tokenizer.ggml.tokens has too many entries");
  for (size_t id = 0; id < texts_.size(); ++id) longest_ = std::max(longest_, texts_[id].size());
  index();
  bos_ = id_in(data.bos, size());
  eos_ = id_in(data.eos, size());
  unknown_ = id_in(data.unknown, size());
  find_ends(data);
  apply_model_name(data.model_name);
}

void Vocabulary::copy_tokens(const TokenizerData& data) {
  size_t bytes = 0;
  for (const std::string_view token : data.tokens) bytes += token.size();
  texts_.reserve(data.tokens.size(), bytes);
  for (size_t id = 0; id < data.tokens.size(); ++id) texts_.set(id, data.tokens[id]);
}

void Vocabulary::copy_kinds(const TokenizerData& data) {
  flags_.assign(data.tokens.size(), kNormal);
  for (size_t i = 0; i < data.types.size(); ++i) flags_[i] = flag_of_type(data.types[i]);
  scores_.reserve(data.scores.size());
  for (const double score : data.scores) {
    if (std::isnan(score)) {
      throw Error(ErrorCode::kCorrupt, "tokenizer.ggml.scores: entry " +
                                           std::to_string(scores_.size()) + " is not a number");
    }
    scores_.push_back(static_cast<float>(score));
  }
}

void Vocabulary::index() {
  slots_.assign(flags_.size() + flags_.size() / 3 + 16, Slot{0, -1});
  for (int32_t id = 0; id < size(); ++id) {
    const std::string_view word = text(id);
    if (word.empty()) continue;
    const uint64_t hash = hash_bytes(word);
    const auto tag = static_cast<uint32_t>(hash >> 32);
    size_t i = slot_of(hash);
    while (slots_[i].id >= 0 && !(slots_[i].tag == tag && text(slots_[i].id) == word))
      i = i + 1 == slots_.size() ? 0 : i + 1;
    if (slots_[i].id < 0) slots_[i] = {tag, id};
  }
}

int32_t Vocabulary::find(std::string_view word, uint64_t hash) const {
  const auto tag = static_cast<uint32_t>(hash >> 32);
  for (size_t i = slot_of(hash); slots_[i].id >= 0; i = i + 1 == slots_.size() ? 0 : i + 1) {
    if (slots_[i].tag == tag && text(slots_[i].id) == word) return slots_[i].id;
  }
  return -1;
}

int32_t Vocabulary::find_plain(std::string_view word, uint64_t hash) const {
  const int32_t id = find(word, hash);
  return id >= 0 && (flags_[id] & (kControl | kUnknown | kByte | kOutside)) != 0 ? -1 : id;
}

void Vocabulary::find_ends(const TokenizerData& data) {
  std::vector<int32_t>& ends = end_of_generation_;
  for (const auto& id : {data.eos, data.eot, data.eom}) {
    if (const auto valid = id_in(id, size())) ends.push_back(*valid);
  }
  if (data.ends) {
    for (const uint64_t id : *data.ends) {
      if (const auto valid = id_in(id, size())) ends.push_back(*valid);
    }
  } else {
    guess_ends();
  }
  std::sort(ends.begin(), ends.end());
  ends.erase(std::unique(ends.begin(), ends.end()), ends.end());
}

void Vocabulary::guess_ends() {
  std::vector<int32_t>& ends = end_of_generation_;
  for (const std::string_view spelling : kEndSpellings) {
    const int32_t id = find(spelling);
    if (id < 0) continue;
    ends.push_back(id);
    flags_[id] |= kControl;  // converters leave some of them "normal"
  }
  const auto add_control = [&](std::string_view spelling) {
    const int32_t id = find(spelling);
    const bool is_control = id >= 0 && (flags_[id] & kControl) != 0;
    if (is_control) ends.push_back(id);
    return is_control;
  };
  for (const std::string_view spelling : kEndSpellingsOfControl) add_control(spelling);
  // GLM ends its turn by opening the user's; others only begin one so, and observe nothing.
  if (add_control("<|observation|>")) add_control("<|user|>");
  // OpenAI's harmony and Solar close each part of an answer with <|end|> and the answer itself
  // otherwise.
  const auto has = [&](std::string_view spelling) { return find(spelling) >= 0; };
  if ((has("<|return|>") && has("<|call|>")) ||
      (has("<|flush|>") && (has("<|calls|>") || has("<|call|>")))) {
    std::erase(ends, find("<|end|>"));
  }
}

void Vocabulary::apply_model_name(const std::string& name) {
  // Phi-3's tokenizer drops white space after its own tokens; GGUF has no field for that.
  std::string lower = name;
  for (char& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  if (lower.find("phi-3") == std::string::npos && lower.find("phi3") == std::string::npos) return;
  constexpr std::string_view kKeep[] = {"<unk>", "<s>", "<|endoftext|>"};
  for (int32_t id = 0; id < size(); ++id) {
    const bool special = (flags_[id] & (kControl | kUserDefined | kUnknown)) != 0;
    if ((special || text(id) == "</s>") && !one_of(text(id), kKeep)) flags_[id] |= kStripRight;
  }
}

}  // namespace spnl::modelkit
