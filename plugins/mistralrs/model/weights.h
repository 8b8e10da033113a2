#pragma once
#include <functional>
#include <memory>
#include <vector>

#include "ops/ops.h"
#include "spnl/modelkit/model_spec.h"

namespace spnl::mistralrs {

using MatrixPtr = std::unique_ptr<Matrix>;

/// As modelkit::Linear, Norm and Mlp, loaded. Null or empty: not there.
struct LoadedLinear {
  MatrixPtr weight;
  Memory bias;

  explicit operator bool() const { return weight != nullptr; }
};
struct LoadedNorm {
  Memory weight, bias;
  int64_t size = 0;        ///< elements of `weight`
  cpu::NormParams params;  ///< points into the two

  explicit operator bool() const { return size != 0; }
};
struct LoadedMlp {
  LoadedLinear gate, up, down;

  explicit operator bool() const { return static_cast<bool>(down); }
};

struct LoadedAttention {
  LoadedLinear q, k, v, o;
  LoadedNorm q_norm, k_norm;
  Memory sinks;
  // Of latent attention.
  LoadedLinear q_a, kv_a;
  LoadedNorm q_a_norm, kv_a_norm;
  std::vector<MatrixPtr> k_b, v_b;  ///< a head each
};

struct LoadedExperts {
  LoadedLinear router;
  Memory selection_bias;
  cpu::RouterParams params;  ///< points into selection_bias
  std::vector<LoadedMlp> experts;
  LoadedMlp shared;
  MatrixPtr shared_gate;
};

/// One layer's weights; names as in modelkit::LayerSpec.
struct LayerWeights {
  LoadedNorm pre_attention, post_attention, pre_ffn, post_ffn;
  LoadedAttention attention;
  LoadedMlp mlp;
  LoadedExperts experts;
};

/// All of a model's weights: matrices as `ops` wants them, vectors as float32, the embedding where
/// the file has it. Immutable after load.
struct Weights {
  std::vector<LayerWeights> layers;
  modelkit::Weight embedding;  ///< [vocab, hidden], rows read where they are
  LoadedNorm output_norm;
  LoadedLinear output;       ///< [vocab, hidden]; made from the embedding where they are tied
  uint64_t bytes = 0;        ///< resident memory
  bool all_float32 = false;  ///< every matrix is F32 in the file
};

/// Called after each layer; false: stop (load_weights then throws LoadStopped).
using LoadProgress = std::function<bool(uint64_t done, uint64_t total)>;
struct LoadStopped {};

/// Throws modelkit::Error naming the tensor. Each tensor's pages of the file are given back once it
/// is repacked, so that loading never holds the model twice. `limit`: most bytes to use, 0: no
/// limit.
Weights load_weights(Ops& ops, const modelkit::ModelSpec& spec, uint64_t limit,
                     const LoadProgress& progress);

/// Gives back the pages of all of a file's tensors: what was made of them on demand has no place of
/// its own to give back.
void forget_pages(const modelkit::TensorSource& file);

}  // namespace spnl::mistralrs
