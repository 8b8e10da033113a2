#pragma once
#include <functional>
#include <memory>
#include <vector>

#include "ops/ops.h"
#include "spnl/modelkit/model_spec.h"

namespace spnl::mistralrs {

using MatrixPtr = std::unique_ptr<Matrix>;

/// As modelkit::Linear and Norm, loaded. Null or empty: not there.
struct LoadedLinear {
  MatrixPtr weight;
  Memory bias;
};
struct LoadedNorm {
  Memory weight;
  float eps = 0, weight_offset = 0;
};

/// One layer's weights; names as in modelkit::LayerSpec.
struct LayerWeights {
  LoadedNorm pre_attention, pre_ffn, q_norm, k_norm;
  LoadedLinear q, k, v, o, gate, up, down;
};

/// All of a model's weights: matrices as `ops` wants them, vectors as float32, the embedding where
/// the file has it. Immutable after load.
struct Weights {
  std::vector<LayerWeights> layers;
  modelkit::Weight embedding;  ///< [vocab, hidden], in the mapped file
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

}  // namespace spnl::mistralrs
