#include "model/weights.h"

#include <sys/mman.h>
#include <unistd.h>

#include <string>

#include "spnl/modelkit/error.h"

namespace spnl::mistralrs {
namespace {

using modelkit::Error;
using modelkit::ErrorCode;
using modelkit::Weight;

/// Pages wholly inside the weight's rows, which were read once and are not needed again. They come
/// back from the file if they are.
void forget_pages(const Weight& weight) {
  if (weight.data() == nullptr) return;
  const auto page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto begin = (reinterpret_cast<uintptr_t>(weight.data()) + page - 1) / page * page;
  const auto end = (reinterpret_cast<uintptr_t>(weight.data()) + weight.bytes()) / page * page;
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

class Loader {
 public:
  Loader(Ops& ops, uint64_t limit) : ops_(ops), limit_(limit) {}

  LoadedLinear linear(const modelkit::Linear& l) { return {matrix(l.weight), vector(l.bias)}; }

  LoadedNorm norm(const modelkit::Norm& n) {
    return {vector(n.weight), static_cast<float>(n.eps), static_cast<float>(n.weight_offset)};
  }

  uint64_t bytes() const { return bytes_; }
  bool all_float32() const { return all_float32_; }

 private:
  MatrixPtr matrix(const Weight& weight) {
    if (!weight) return nullptr;
    MatrixPtr result = ops_.load_matrix(weight);
    if (result->bytes() > 0) forget_pages(weight);
    all_float32_ = all_float32_ && weight.type() == modelkit::TensorType::kF32;
    count(result->bytes());
    return result;
  }

  Memory vector(const Weight& weight) {
    if (!weight) return {};
    Memory result = allocate(weight.elements() * sizeof(float), "weights");
    weight.read_floats(0, weight.rows(), result.floats());
    count(result.bytes);
    return result;
  }

  void count(uint64_t bytes) {
    bytes_ += bytes;
    if (limit_ != 0 && bytes_ > limit_)
      throw Error(ErrorCode::kNoMemory, "the model's weights need more than the limit of " +
                                            std::to_string(limit_ >> 20) + " MiB");
  }

  Ops& ops_;
  const uint64_t limit_;
  uint64_t bytes_ = 0;
  bool all_float32_ = true;
};

LayerWeights load_layer(Loader& loader, const modelkit::LayerSpec& spec) {
  const modelkit::AttentionSpec& attention = spec.attention;
  LayerWeights w;
  w.pre_attention = loader.norm(spec.pre_attention);
  w.q = loader.linear(attention.q);
  w.k = loader.linear(attention.k);
  w.v = loader.linear(attention.v);
  w.o = loader.linear(attention.o);
  w.q_norm = loader.norm(attention.q_norm);
  w.k_norm = loader.norm(attention.k_norm);
  w.pre_ffn = loader.norm(spec.pre_ffn);
  w.gate = loader.linear(spec.mlp.gate);
  w.up = loader.linear(spec.mlp.up);
  w.down = loader.linear(spec.mlp.down);
  return w;
}

/// What a layer has that the forward does not run; null: nothing. A model is refused rather than
/// run wrongly.
const char* missing_part(const modelkit::ModelSpec& spec, const modelkit::LayerSpec& layer) {
  const modelkit::AttentionSpec& attention = layer.attention;
  const modelkit::RopeSpec& rope = spec.ropes[attention.rope];
  const auto plain = [](const modelkit::Norm& norm) {
    return norm.kind == modelkit::NormKind::kRms && !norm.bias;
  };
  for (const modelkit::Norm* norm : {&layer.pre_attention, &layer.pre_ffn, &attention.q_norm,
                                     &attention.k_norm, &spec.output_norm})
    if (!plain(*norm)) return "layer norms";
  if (layer.parallel) return "parallel blocks";
  if (layer.post_attention || layer.post_ffn) return "norms after a branch";
  if (!layer.pre_attention || !layer.pre_ffn) return "branches without a norm before them";
  for (const modelkit::Norm* norm : {&attention.q_norm, &attention.k_norm})
    if (*norm && norm->weight.elements() != attention.head_dim) return "norms over all heads";
  if (attention.sinks) return "attention sinks";
  if (attention.latent) return "latent attention";
  if (attention.value_dim != attention.head_dim) return "values of another length than keys";
  if (rope.first_dim != 0 || rope.long_from != 0) return "this kind of rotary embedding";
  if (layer.experts) return "mixtures of experts";
  if (!layer.mlp.gate) return "feed-forward parts without gate";
  if (layer.mlp.activation != modelkit::Activation::kSilu &&
      layer.mlp.activation != modelkit::Activation::kGeluTanh)
    return "this activation";
  return nullptr;
}

void require_runnable(const modelkit::ModelSpec& spec) {
  for (const modelkit::LayerSpec& layer : spec.layers)
    if (const char* missing = missing_part(spec, layer))
      throw Error(ErrorCode::kUnsupported, "architecture '" + spec.architecture + "': " + missing +
                                               " are not supported by this backend yet; "
                                               "use cpu_ref/ for this model");
}

}  // namespace

Weights load_weights(Ops& ops, const modelkit::ModelSpec& spec, uint64_t limit,
                     const LoadProgress& progress) {
  require_runnable(spec);
  Loader loader(ops, limit);
  const uint64_t total = spec.layers.size() + 1;
  Weights weights;
  weights.embedding = spec.embedding;
  for (const modelkit::LayerSpec& layer : spec.layers) {
    if (!progress(weights.layers.size(), total)) throw LoadStopped();
    weights.layers.push_back(load_layer(loader, layer));
  }
  if (!progress(total - 1, total)) throw LoadStopped();
  weights.output_norm = loader.norm(spec.output_norm);
  weights.output = loader.linear(spec.output);
  progress(total, total);
  weights.bytes = loader.bytes();
  weights.all_float32 = loader.all_float32();
  return weights;
}

}  // namespace spnl::mistralrs
