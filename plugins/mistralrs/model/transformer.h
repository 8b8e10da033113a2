#pragma once
#include <span>
#include <vector>

#include "cache/kv_cache.h"
#include "model/batch.h"
#include "model/weights.h"
#include "model/workspace.h"
#include "ops/ops.h"
#include "spnl/modelkit/model_spec.h"

namespace spnl::mistralrs {

/// The forward of every architecture that a ModelSpec can say, written once over Ops. Not
/// thread-safe: one caller at a time, since it owns the workspace.
class Transformer {
 public:
  /// All four outlive the transformer.
  Transformer(const modelkit::ModelSpec& spec, const Weights& weights, const KvCache& cache,
              Ops& ops, int64_t max_rows, int64_t max_logit_rows);

  int64_t max_rows() const { return workspace_.max_rows(); }
  int64_t max_logit_rows() const { return workspace_.max_logit_rows(); }
  uint64_t workspace_bytes() const { return workspace_.bytes(); }

  /// Runs 1..max_rows() rows: writes their keys and values into the cache, leaves their hidden
  /// states for logits().
  void forward(const Batch& batch);

  /// Logits [rows.size(), vocab] of up to max_logit_rows() rows of the last forward; valid until
  /// the next call of either.
  Rows logits(std::span<const int32_t> rows);

 private:
  void attention(size_t layer, const Batch& batch);
  void feed_forward(size_t layer, int64_t m);
  void norm(const LoadedNorm& norm, Rows x, Rows y);
  void project_into_residual(Rows x, const LoadedLinear& linear);

  const modelkit::ModelSpec& spec_;
  const Weights& weights_;
  const KvCache& cache_;
  Ops& ops_;
  std::vector<cpu::Rope> ropes_;  // by LayerSpec::rope
  Workspace workspace_;
};

}  // namespace spnl::mistralrs
