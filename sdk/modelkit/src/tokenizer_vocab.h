#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "spnl/modelkit/tokenizer.h"
#include "tokenizer/token_texts.h"

namespace spnl::modelkit {

/// The metadata tokenizer.ggml.* of a file, or of a test. Views must live until the tokenizer is
/// built.
struct TokenizerData {
  std::string model;  ///< "gpt2" or "llama"
  std::optional<std::string> pre;
  std::span<const std::string_view> tokens;
  std::span<const double> scores;  ///< empty: all 0
  std::span<const int64_t> types;  ///< empty: all normal
  std::span<const std::string_view> merges;
  std::optional<uint64_t> bos, eos, eot, eom, unknown;
  std::optional<std::vector<uint64_t>> ends;  ///< what ends an answer besides eos, eot and eom;
                                              ///< absent: guessed from spellings
  std::optional<bool> add_bos, add_eos, add_space_prefix;
  std::string
      model_name;  ///< general.name: some models need the blanks after control tokens dropped
};

/// A type of our own beside GGUF's: a user-defined token that is not the model's own.
constexpr int64_t kOutsideType = 7;

std::unique_ptr<Tokenizer> make_tokenizer(const TokenizerData& data);

/// Mixes well enough for tables that are masked by a power of two.
uint64_t hash_bytes(std::string_view bytes);
inline uint64_t hash_mix(uint64_t x) {
  x ^= x >> 32;
  x *= 0x9E3779B97F4A7C15u;
  return x ^ (x >> 29);
}

/// Tokens with their kinds, found by text. Const after construction.
class Vocabulary {
 public:
  enum Flag : uint8_t {
    kNormal = 1,
    kUnknown = 2,
    kControl = 4,
    kUserDefined = 8,
    kUnused = 16,
    kByte = 32,
    kStripRight = 64,  ///< white space after it is dropped
    kOutside = 128,    ///< not the model's own: never made from plain text
  };

  /// Copies what it needs. Throws Error(kCorrupt) for lists of different lengths or none.
  explicit Vocabulary(const TokenizerData& data);
  /// Takes what it needs: types as in TokenizerData, one for each text, and as many scores or none.
  /// Of `data` only the ids count.
  Vocabulary(TokenTexts texts, std::vector<uint8_t> types, std::vector<float> scores,
             const TokenizerData& data);

  int32_t size() const { return static_cast<int32_t>(flags_.size()); }
  std::string_view text(int32_t id) const { return texts_[static_cast<size_t>(id)]; }
  uint8_t flags(int32_t id) const { return flags_[id]; }
  float score(int32_t id) const { return scores_.empty() ? 0.0f : scores_[id]; }
  size_t longest() const { return longest_; }

  /// The token with this text, whatever its kind; of equal ones the first. -1: none.
  int32_t find(std::string_view text) const { return find(text, hash_bytes(text)); }
  int32_t find(std::string_view text, uint64_t hash) const;
  /// As find, but only what plain text may become: no control, unknown, byte or outside
  /// token.
  int32_t find_plain(std::string_view text) const { return find_plain(text, hash_bytes(text)); }
  int32_t find_plain(std::string_view text, uint64_t hash) const;
  /// Hides the memory's latency when many look-ups follow.
  void prefetch(uint64_t hash) const { __builtin_prefetch(&slots_[slot_of(hash)]); }

  std::optional<int32_t> bos() const { return bos_; }
  std::optional<int32_t> eos() const { return eos_; }
  std::optional<int32_t> unknown() const { return unknown_; }
  const std::vector<int32_t>& end_of_generation() const { return end_of_generation_; }

 private:
  void copy_tokens(const TokenizerData& data);
  void copy_kinds(const TokenizerData& data);
  void finish(const TokenizerData& data);
  void index();
  /// Where to begin looking. The upper half of a hash is the slot's tag.
  size_t slot_of(uint64_t hash) const {
    return static_cast<uint32_t>(hash) * uint64_t{slots_.size()} >> 32;
  }
  void find_ends(const TokenizerData& data);
  void guess_ends();
  void apply_model_name(const std::string& name);

  TokenTexts texts_;
  std::vector<uint8_t> flags_;
  std::vector<float> scores_;
  struct Slot {
    uint32_t tag;
    int32_t id;  // -1: free
  };
  std::vector<Slot> slots_;  // open addressing, a quarter of it free
  size_t longest_ = 0;
  std::optional<int32_t> bos_, eos_, unknown_;
  std::vector<int32_t> end_of_generation_;
};

/// Value of a byte token's text, "<0x41>"; -1 when it is none.
int byte_of_token(std::string_view text);

}  // namespace spnl::modelkit
