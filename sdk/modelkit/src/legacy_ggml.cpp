// The containers of llama.cpp before August 2023: magic, seven numbers, the vocabulary with its
// texts and (from "ggmf" on) scores, then tensors up to the end of the file.
#include "legacy_ggml.h"

#include <cstdio>
#include <cstring>
#include <fstream>
#include <optional>
#include <unordered_set>

#include "spnl/modelkit/error.h"

namespace spnl::modelkit {
namespace {

enum class Container { kGgml, kGgmf, kGgjt };

/// The first word of the file as it lies on the disk.
std::optional<Container> container_of(std::string_view head) {
  if (head.starts_with("lmgg")) return Container::kGgml;
  if (head.starts_with("fmgg")) return Container::kGgmf;
  if (head.starts_with("tjgg")) return Container::kGgjt;
  return std::nullopt;
}

class Reader {
 public:
  Reader(const std::filesystem::path& path, GgufPart& part)
      : path_(path), part_(part), bytes_(part.file.bytes()) {}

  void read() {
    read_header();
    read_vocabulary();
    while (left() > 0) read_tensor();
    infer_shapes();
  }

 private:
  [[noreturn]] void fail(ErrorCode code, const std::string& why) const {
    throw Error(code, path_.string() + ": " + why + " (at byte " + std::to_string(at_) + ")");
  }
  [[noreturn]] void corrupt(const std::string& why) const { fail(ErrorCode::kCorrupt, why); }
  uint64_t left() const { return bytes_.size() - at_; }

  std::string_view take(uint64_t n) {
    if (n > left())
      corrupt("the file ends here: " + std::to_string(n) +
              " more bytes were announced; it is cut off, download it again");
    const std::string_view text(reinterpret_cast<const char*>(bytes_.data() + at_), n);
    at_ += n;
    return text;
  }
  template <class T>
  T number() {
    T value;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }

  std::string_view keep(std::string text) { return part_.strings.emplace_back(std::move(text)); }
  void set(std::string_view key, GgufFile::Value value) {
    part_.values.emplace(key, std::move(value));
  }

  void read_header();
  void read_vocabulary();
  std::string_view token_text(uint32_t id, std::string_view raw, int64_t& type);
  void read_tensor();
  void check_layout(const std::string& name, TensorType type) const;
  void infer_shapes();

  const std::filesystem::path& path_;
  GgufPart& part_;
  std::span<const std::byte> bytes_;
  uint64_t at_ = 0;
  Container container_ = Container::kGgml;
  uint32_t version_ = 0;
  uint32_t n_vocab_ = 0, n_embd_ = 0, n_head_ = 0;
  std::unordered_set<std::string_view> names_;
};

void Reader::read_header() {
  container_ = *container_of(take(4));
  if (container_ != Container::kGgml) version_ = number<uint32_t>();
  const uint32_t newest = container_ == Container::kGgjt ? 3 : 1;
  if (container_ != Container::kGgml && (version_ == 0 || version_ > newest))
    fail(ErrorCode::kUnsupported,
         "an old GGML file of the unknown version " + std::to_string(version_));
  n_vocab_ = number<uint32_t>();
  n_embd_ = number<uint32_t>();
  number<uint32_t>();  // n_mult: rounds the MLP's size, which the tensors tell better
  n_head_ = number<uint32_t>();
  const uint32_t n_layer = number<uint32_t>(), n_rot = number<uint32_t>();
  number<uint32_t>();  // ftype: a label
  if (n_embd_ == 0 || n_head_ == 0 || n_layer == 0 || n_embd_ % n_head_ != 0)
    corrupt("its header gives " + std::to_string(n_embd_) + " dimensions, " +
            std::to_string(n_head_) + " heads and " + std::to_string(n_layer) + " layers");
  set("general.architecture", std::string_view("llama"));
  set("llama.embedding_length", uint64_t{n_embd_});
  set("llama.block_count", uint64_t{n_layer});
  set("llama.attention.head_count", uint64_t{n_head_});
  set("llama.rope.dimension_count", uint64_t{n_rot});
}

/// A token's text as GGUF spells it. The container has plain text: bytes raw, control tokens empty.
std::string_view Reader::token_text(uint32_t id, std::string_view raw, int64_t& type) {
  enum : int64_t { kNormal = 1, kUnknown = 2, kControl = 3, kByte = 6 };
  type = kNormal;
  if (id == 0) {
    type = kUnknown;
    return "<unk>";
  }
  if (id == 1 || id == 2) {
    type = kControl;
    return id == 1 ? "<s>" : "</s>";
  }
  if (raw.empty()) {
    type = kControl;
    return keep("<control_" + std::to_string(id) + ">");
  }
  if (id < 259 && raw.size() == 1 && static_cast<unsigned char>(raw[0]) == id - 3) {
    char text[8];
    std::snprintf(text, sizeof text, "<0x%02X>", id - 3);
    type = kByte;
    return keep(text);
  }
  if (raw.find(' ') == raw.npos) return raw;
  std::string text;
  for (const char c : raw) {
    if (c == ' ')
      text += "\xE2\x96\x81";
    else
      text += c;
  }
  return keep(std::move(text));
}

void Reader::read_vocabulary() {
  const bool has_scores = container_ != Container::kGgml;
  if (n_vocab_ > left() / (has_scores ? 8 : 4))
    corrupt("counts " + std::to_string(n_vocab_) + " tokens, but only " + std::to_string(left()) +
            " bytes follow");
  std::vector<std::string_view> texts(n_vocab_);
  std::vector<double> scores(n_vocab_);
  std::vector<int64_t> types(n_vocab_);
  for (uint32_t id = 0; id < n_vocab_; ++id) {
    const auto length = number<uint32_t>();
    texts[id] = token_text(id, take(length), types[id]);
    // Without scores, ids after the bytes are in the order of the merges, best first.
    scores[id] = has_scores ? number<float>() : id < 259 ? 0 : -static_cast<double>(id - 259);
  }
  set("tokenizer.ggml.model", std::string_view("llama"));
  set("tokenizer.ggml.tokens", std::move(texts));
  set("tokenizer.ggml.scores", std::move(scores));
  set("tokenizer.ggml.token_type", std::move(types));
}

/// "layers.0.attention.wq.weight" as GGUF has it: "blk.0.attn_q.weight". Names it does not know
/// stay.
std::string gguf_name(std::string_view name) {
  static constexpr std::pair<std::string_view, std::string_view> kWhole[] = {
      {"tok_embeddings.weight", "token_embd.weight"},
      {"norm.weight", "output_norm.weight"},
      {"output.weight", "output.weight"}};
  static constexpr std::pair<std::string_view, std::string_view> kOfLayer[] = {
      {"attention.wq.weight", "attn_q.weight"},      {"attention.wk.weight", "attn_k.weight"},
      {"attention.wv.weight", "attn_v.weight"},      {"attention.wo.weight", "attn_output.weight"},
      {"attention_norm.weight", "attn_norm.weight"}, {"feed_forward.w1.weight", "ffn_gate.weight"},
      {"feed_forward.w2.weight", "ffn_down.weight"}, {"feed_forward.w3.weight", "ffn_up.weight"},
      {"ffn_norm.weight", "ffn_norm.weight"}};
  for (const auto& [old_name, new_name] : kWhole)
    if (name == old_name) return std::string(new_name);
  if (name.starts_with("layers.")) {
    const size_t end = name.find('.', 7);
    for (const auto& [old_name, new_name] : kOfLayer)
      if (end != name.npos && name.substr(end + 1) == old_name)
        return "blk." + std::string(name.substr(7, end - 7)) + "." + std::string(new_name);
  }
  return std::string(name);
}

void Reader::check_layout(const std::string& name, TensorType type) const {
  const bool floats = type == TensorType::kF32 || type == TensorType::kF16;
  if (floats || (container_ == Container::kGgjt && version_ == 3)) return;
  fail(ErrorCode::kUnsupported,
       "tensor '" + printable(name) +
           "' is quantised in a layout that was given up in May 2023; only float tensors of files "
           "this old can be read: take a GGUF of the model");
}

void Reader::read_tensor() {
  Tensor tensor{};
  tensor.n_dims = number<uint32_t>();
  const auto name_bytes = number<uint32_t>(), type = number<uint32_t>();
  if (tensor.n_dims == 0 || tensor.n_dims > 4)
    corrupt("a tensor of " + std::to_string(tensor.n_dims) + " dimensions");
  tensor.dims = {1, 1, 1, 1};
  uint64_t elements = 1;
  for (uint32_t i = 0; i < tensor.n_dims; ++i) {
    tensor.dims[i] = number<uint32_t>();
    if (tensor.dims[i] == 0 || __builtin_mul_overflow(elements, tensor.dims[i], &elements))
      corrupt("a tensor with an impossible dimension");
  }
  const std::string name = gguf_name(take(name_bytes));
  tensor.type = static_cast<TensorType>(type);
  const auto info = tensor_type_info(tensor.type);
  if (!info || type >= kFirstOwnType)
    fail(ErrorCode::kUnsupported,
         "tensor '" + printable(name) + "' has the unknown type " + std::to_string(type));
  check_layout(name, tensor.type);
  if (tensor.dims[0] % info->block_elements != 0 ||
      __builtin_mul_overflow(elements / info->block_elements, uint64_t{info->block_bytes},
                             &tensor.bytes))
    corrupt("tensor '" + printable(name) + "' has rows that are not whole blocks");
  if (container_ == Container::kGgjt) take((32 - at_ % 32) % 32);
  tensor.data = reinterpret_cast<const std::byte*>(take(tensor.bytes).data());
  tensor.name = keep(name);
  if (!names_.insert(tensor.name).second) corrupt("tensor '" + printable(name) + "' occurs twice");
  part_.tensors.push_back(tensor);
}

void Reader::infer_shapes() {
  const auto find = [&](std::string_view name) -> const Tensor& {
    for (const Tensor& tensor : part_.tensors)
      if (tensor.name == name) return tensor;
    fail(ErrorCode::kUnsupported, "an old GGML file without tensor '" + std::string(name) +
                                      "'; of these, only the llama family can be read");
  };
  const uint64_t head_dim = n_embd_ / n_head_;
  if (find("token_embd.weight").dims[0] != n_embd_)
    fail(ErrorCode::kUnsupported,
         "a part of a model that lies in several files; such old files cannot be read");
  const uint64_t kv_rows = find("blk.0.attn_k.weight").dims[1];
  if (kv_rows % head_dim != 0)
    corrupt("tensor 'blk.0.attn_k.weight' is not a whole number of heads");
  set("llama.attention.head_count_kv", kv_rows / head_dim);
  set("llama.feed_forward_length", find("blk.0.ffn_gate.weight").dims[1]);
  // Grouped key-value heads came with Llama 2, which has this eps and twice the context.
  const bool second = kv_rows != n_embd_;
  set("llama.attention.layer_norm_rms_epsilon", second ? 1e-5 : 5e-6);
  set("llama.context_length", uint64_t{second ? 4096u : 2048u});
}

}  // namespace

bool is_legacy_ggml(std::span<const std::byte> bytes) {
  return bytes.size() >= 4 &&
         container_of({reinterpret_cast<const char*>(bytes.data()), 4}).has_value();
}

bool is_legacy_ggml_file(const std::filesystem::path& path) {
  char head[4] = {};
  std::ifstream in(path, std::ios::binary);
  return in.read(head, sizeof head) && is_legacy_ggml(std::as_bytes(std::span(head)));
}

void read_legacy_ggml(const std::filesystem::path& path, GgufPart& part) {
  Reader(path, part).read();
}

}  // namespace spnl::modelkit
