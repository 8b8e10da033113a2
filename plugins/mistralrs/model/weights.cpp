#include "model/weights.h"

#include <sys/mman.h>
#include <unistd.h>

#include <string>

#include "spnl/modelkit/block_formats.h"
#include "spnl/modelkit/error.h"

namespace spnl::mistralrs {
namespace {

using modelkit::Error;
using modelkit::ErrorCode;
using modelkit::Tensor;

/// Pages wholly inside the tensor, which were read once and are not needed again. They come back
/// from the file if they are.
void forget_pages(const Tensor& tensor) {
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto begin = (reinterpret_cast<uintptr_t>(tensor.data) + page - 1) / page * page;
  const auto end = (reinterpret_cast<uintptr_t>(tensor.data) + tensor.bytes) / page * page;
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

class Loader {
 public:
  Loader(Ops& ops, const modelkit::TensorSource& file, uint64_t limit)
      : ops_(ops), file_(file), limit_(limit) {}

  const Tensor* find(const std::string& name) const {
    const Tensor* tensor = file_.find(name);
    if (tensor == nullptr)
      throw Error(ErrorCode::kNotFound,
                  "tensor " + name + " is missing in " + file_.path().string());
    return tensor;
  }

  MatrixPtr matrix(const std::string& name, int64_t rows, int64_t cols) {
    if (name.empty()) return nullptr;
    const Tensor* tensor = find(name);
    check_shape(*tensor, rows, cols);
    MatrixPtr result = ops_.load_matrix(*tensor);
    if (result->bytes() > 0) forget_pages(*tensor);
    all_float32_ = all_float32_ && tensor->type == modelkit::TensorType::kF32;
    count(result->bytes());
    return result;
  }

  Memory vector(const std::string& name, int64_t size) {
    if (name.empty()) return {};
    const Tensor* tensor = find(name);
    check_shape(*tensor, 1, size);
    Memory result = allocate(static_cast<uint64_t>(size) * sizeof(float), "weights");
    modelkit::dequantize_row(tensor->type, tensor->data, static_cast<uint64_t>(size),
                             result.floats());
    count(result.bytes);
    return result;
  }

  void check_shape(const Tensor& t, int64_t rows, int64_t cols) const {
    if (t.rows() != static_cast<uint64_t>(rows) || t.row_elements() != static_cast<uint64_t>(cols))
      throw Error(ErrorCode::kCorrupt,
                  "tensor " + std::string(t.name) + " in " + file_.path().string() + " has shape " +
                      std::to_string(t.row_elements()) + " x " + std::to_string(t.rows()) +
                      ", expected " + std::to_string(cols) + " x " + std::to_string(rows));
  }

  uint64_t bytes() const { return bytes_; }
  bool all_float32() const { return all_float32_; }

 private:
  void count(uint64_t bytes) {
    bytes_ += bytes;
    if (limit_ != 0 && bytes_ > limit_)
      throw Error(ErrorCode::kNoMemory, "the weights of " + file_.path().string() +
                                            " need more than the limit of " +
                                            std::to_string(limit_ >> 20) + " MiB");
  }

  Ops& ops_;
  const modelkit::TensorSource& file_;
  const uint64_t limit_;
  uint64_t bytes_ = 0;
  bool all_float32_ = true;
};

LayerWeights load_layer(Loader& loader, const modelkit::LayerSpec& spec, int64_t hidden) {
  const int64_t head_dim = spec.head_dim, q_size = spec.heads * head_dim,
                kv_size = spec.kv_heads * head_dim;
  const int64_t ffn = spec.ffn_size;
  LayerWeights w;
  w.attention_norm = loader.vector(spec.attention_norm, hidden);
  w.q = loader.matrix(spec.q, q_size, hidden);
  w.k = loader.matrix(spec.k, kv_size, hidden);
  w.v = loader.matrix(spec.v, kv_size, hidden);
  w.o = loader.matrix(spec.o, hidden, q_size);
  w.q_bias = loader.vector(spec.q_bias, q_size);
  w.k_bias = loader.vector(spec.k_bias, kv_size);
  w.v_bias = loader.vector(spec.v_bias, kv_size);
  w.o_bias = loader.vector(spec.o_bias, hidden);
  w.q_norm = loader.vector(spec.q_norm, head_dim);
  w.k_norm = loader.vector(spec.k_norm, head_dim);
  w.ffn_norm = loader.vector(spec.ffn_norm, hidden);
  w.gate = loader.matrix(spec.gate, ffn, hidden);
  w.up = loader.matrix(spec.up, ffn, hidden);
  w.down = loader.matrix(spec.down, hidden, ffn);
  w.gate_bias = loader.vector(spec.gate_bias, ffn);
  w.up_bias = loader.vector(spec.up_bias, ffn);
  w.down_bias = loader.vector(spec.down_bias, hidden);
  return w;
}

}  // namespace

Weights load_weights(Ops& ops, const modelkit::TensorSource& file, const modelkit::ModelSpec& spec,
                     uint64_t limit, const LoadProgress& progress) {
  Loader loader(ops, file, limit);
  const int64_t hidden = spec.hidden_size, vocab = spec.vocab_size;
  const uint64_t total = spec.layers.size() + 1;
  Weights weights;
  weights.embedding = loader.find(spec.embedding);
  loader.check_shape(*weights.embedding, vocab, hidden);
  const auto info = modelkit::tensor_type_info(weights.embedding->type);
  if (!info || !info->can_dequantize)
    throw Error(ErrorCode::kUnsupported,
                "tensor " + spec.embedding + " has a type that this build cannot read");
  for (const modelkit::LayerSpec& layer : spec.layers) {
    if (!progress(weights.layers.size(), total)) throw LoadStopped();
    weights.layers.push_back(load_layer(loader, layer, hidden));
  }
  if (!progress(total - 1, total)) throw LoadStopped();
  weights.output_norm = loader.vector(spec.output_norm, hidden);
  weights.output = loader.matrix(spec.output, vocab, hidden);
  weights.output_bias = loader.vector(spec.output_bias, vocab);
  progress(total, total);
  weights.bytes = loader.bytes();
  weights.all_float32 = loader.all_float32();
  return weights;
}

}  // namespace spnl::mistralrs
