#pragma once
#include <functional>
#include <memory>
#include <vector>

#include "ops/ops.h"
#include "spnl/modelkit/model_spec.h"
#include "spnl/modelkit/tensor_source.h"

namespace spnl::mistralrs {

using MatrixPtr = std::unique_ptr<Matrix>;

/// One layer's weights; names as in modelkit::LayerSpec. Null or empty: the layer has none.
struct LayerWeights {
  MatrixPtr q, k, v, o, gate, up, down;
  Memory attention_norm, ffn_norm, q_norm, k_norm;  // [hidden], [head_dim]
  Memory q_bias, k_bias, v_bias, o_bias, gate_bias, up_bias, down_bias;
};

/// All of a model's weights: matrices as `ops` wants them, vectors as float32, the embedding where
/// the file has it. Immutable after load.
struct Weights {
  std::vector<LayerWeights> layers;
  const modelkit::Tensor* embedding = nullptr;  ///< [hidden, vocab], in the mapped file
  Memory output_norm, output_bias;
  MatrixPtr output;          ///< [vocab, hidden]; made from the embedding where they are tied
  uint64_t bytes = 0;        ///< resident memory
  bool all_float32 = false;  ///< every matrix is F32 in the file
};

/// Called after each layer; false: stop (load_weights then throws LoadStopped).
using LoadProgress = std::function<bool(uint64_t done, uint64_t total)>;
struct LoadStopped {};

/// Throws modelkit::Error naming the tensor. Each tensor's pages of the file are given back once it
/// is repacked, so that loading never holds the model twice. `limit`: most bytes to use, 0: no
/// limit.
Weights load_weights(Ops& ops, const modelkit::TensorSource& file, const modelkit::ModelSpec& spec,
                     uint64_t limit, const LoadProgress& progress);

}  // namespace spnl::mistralrs
