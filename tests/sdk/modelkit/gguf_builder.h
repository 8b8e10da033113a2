#pragma once
/// Writes GGUF files for tests, right ones and wrong ones.
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace spnl::test {

/// A folder that is deleted at the end.
class TempDir {
 public:
  TempDir() {
    std::string name = (std::filesystem::temp_directory_path() / "spnl-test-XXXXXX").string();
    path_ =
        ::mkdtemp(name.data()) == nullptr ? std::filesystem::path() : std::filesystem::path(name);
  }
  ~TempDir() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  const std::filesystem::path& path() const { return path_; }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  std::filesystem::path write(std::string_view name, std::string_view bytes) const {
    const std::filesystem::path path = path_ / name;
    std::filesystem::remove(path);  // some file systems wait for the disk when a file is overwritten
    std::ofstream(path, std::ios::binary | std::ios::trunc)
        .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    return path;
  }

 private:
  std::filesystem::path path_;
};

enum GgufType : uint32_t {
  kU8,
  kI8,
  kU16,
  kI16,
  kU32,
  kI32,
  kF32,
  kBool,
  kString,
  kArray,
  kU64,
  kI64,
  kF64
};

class GgufBuilder {
 public:
  uint32_t version = 3;
  uint64_t alignment = 32;
  int64_t extra_tensors = 0, extra_values = 0;  ///< lies in the header's counts

  template <class T>
  static std::string raw(T value) {
    return std::string(reinterpret_cast<const char*>(&value), sizeof value);
  }
  static std::string text(std::string_view value) {
    return raw<uint64_t>(value.size()) + std::string(value);
  }

  GgufBuilder& value(std::string_view key, uint32_t type, const std::string& bytes) {
    values_ += text(key) + raw(type) + bytes;
    ++n_values_;
    return *this;
  }
  GgufBuilder& u32(std::string_view key, uint32_t v) { return value(key, kU32, raw(v)); }
  GgufBuilder& f32(std::string_view key, float v) { return value(key, kF32, raw(v)); }
  GgufBuilder& flag(std::string_view key, bool v) { return value(key, kBool, raw<uint8_t>(v)); }
  GgufBuilder& string(std::string_view key, std::string_view v) {
    return value(key, kString, text(v));
  }
  GgufBuilder& strings(std::string_view key, const std::vector<std::string>& list) {
    std::string bytes = raw<uint32_t>(kString) + raw<uint64_t>(list.size());
    for (const std::string& item : list) bytes += text(item);
    return value(key, kArray, bytes);
  }
  template <class T>
  GgufBuilder& numbers(std::string_view key, uint32_t type, const std::vector<T>& list) {
    std::string bytes = raw(type) + raw<uint64_t>(list.size());
    for (const T item : list) bytes += raw(item);
    return value(key, kArray, bytes);
  }

  GgufBuilder& tensor(std::string_view name, const std::vector<uint64_t>& dims, uint32_t type,
                      std::string_view data) {
    return tensor_at(name, dims, type, data_.size(), data);
  }
  /// With an offset of one's own.
  GgufBuilder& tensor_at(std::string_view name, const std::vector<uint64_t>& dims, uint32_t type,
                         uint64_t offset, std::string_view data) {
    table_ += text(name) + raw<uint32_t>(static_cast<uint32_t>(dims.size()));
    for (const uint64_t dim : dims) table_ += raw(dim);
    table_ += raw(type) + raw(offset);
    data_ += data;
    data_.resize((data_.size() + alignment - 1) / alignment * alignment);
    ++n_tensors_;
    return *this;
  }
  /// F32 with small values that depend on the name's hash and the position.
  GgufBuilder& floats(std::string_view name, const std::vector<uint64_t>& dims, float offset = 0) {
    uint64_t n = 1, state = 88172645463325252ull;
    for (const uint64_t dim : dims) n *= dim;
    for (const char c : name) state = (state ^ static_cast<unsigned char>(c)) * 1099511628211ull;
    std::string data;
    for (uint64_t i = 0; i < n; ++i) {
      state = state * 6364136223846793005ull + 1442695040888963407ull;
      data += raw(offset + (static_cast<float>(state >> 40) / 16777216.0f - 0.5f));
    }
    return tensor(name, dims, 0, data);
  }

  std::string header() const {
    std::string bytes = "GGUF" + raw(version) + raw<int64_t>(n_tensors_ + extra_tensors) +
                        raw<int64_t>(n_values_ + extra_values) + values_ + table_;
    bytes.resize((bytes.size() + alignment - 1) / alignment * alignment);
    return bytes;
  }
  std::string bytes() const { return header() + data_; }

 private:
  std::string values_, table_, data_;
  int64_t n_values_ = 0, n_tensors_ = 0;
};

/// Metadata of a byte-level vocabulary: <unk> <s> </s>, then all 256 bytes in the printable
/// alphabet.
inline void add_vocabulary(GgufBuilder& gguf) {
  std::vector<std::string> tokens = {"<unk>", "<s>", "</s>"};
  int next = 256;
  for (int byte = 0; byte < 256; ++byte) {
    const bool shown =
        (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
    const int point = shown ? byte : next++;
    std::string utf8;
    if (point < 0x80) {
      utf8 += static_cast<char>(point);
    } else {
      utf8 += static_cast<char>(0xC0 | (point >> 6));
      utf8 += static_cast<char>(0x80 | (point & 0x3F));
    }
    tokens.push_back(utf8);
  }
  std::vector<int32_t> types(tokens.size(), 1);
  types[0] = types[1] = types[2] = 3;
  gguf.string("tokenizer.ggml.model", "gpt2").string("tokenizer.ggml.pre", "llama-bpe");
  gguf.strings("tokenizer.ggml.tokens", tokens).numbers("tokenizer.ggml.token_type", kI32, types);
  gguf.strings("tokenizer.ggml.merges", {"a b"});
  gguf.u32("tokenizer.ggml.bos_token_id", 1).u32("tokenizer.ggml.eos_token_id", 2);
  gguf.flag("tokenizer.ggml.add_bos_token", true);
}

inline constexpr uint64_t kTinyVocabulary = 259;

/// Metadata of a llama with 1 layer, 2 heads of 4 dimensions, 1 key-value head, and its tensors.
inline void add_llama_values(GgufBuilder& gguf, uint32_t context = 64) {
  gguf.string("general.architecture", "llama")
      .u32("llama.block_count", 1)
      .u32("llama.context_length", context);
  gguf.u32("llama.embedding_length", 8)
      .u32("llama.feed_forward_length", 16)
      .u32("llama.attention.head_count", 2);
  gguf.u32("llama.attention.head_count_kv", 1).f32("llama.attention.layer_norm_rms_epsilon", 1e-5f);
  gguf.u32("llama.rope.dimension_count", 4);
}

inline void add_llama_tensors(GgufBuilder& gguf) {
  gguf.floats("token_embd.weight", {8, kTinyVocabulary}).floats("output_norm.weight", {8}, 1);
  gguf.floats("blk.0.attn_norm.weight", {8}, 1)
      .floats("blk.0.attn_q.weight", {8, 8})
      .floats("blk.0.attn_k.weight", {8, 4});
  gguf.floats("blk.0.attn_v.weight", {8, 4})
      .floats("blk.0.attn_output.weight", {8, 8})
      .floats("blk.0.ffn_norm.weight", {8}, 1);
  gguf.floats("blk.0.ffn_gate.weight", {8, 16})
      .floats("blk.0.ffn_up.weight", {8, 16})
      .floats("blk.0.ffn_down.weight", {16, 8});
}

inline GgufBuilder tiny_llama(uint32_t context = 64) {
  GgufBuilder gguf;
  add_llama_values(gguf, context);
  add_vocabulary(gguf);
  add_llama_tensors(gguf);
  return gguf;
}

}  // namespace spnl::test
