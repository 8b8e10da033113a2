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

/// The forward of every architecture that a ModelSpec can say, written once over Ops: one file for
/// each kind of part. Not thread-safe: one caller at a time, since it owns the workspace.
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
  /// Which rows of a batch an expert gets. Entry t * used + j is token t's j-th expert; sorted by
  /// expert, an expert's entries lie together, tokens in order.
  struct ExpertRows {
    std::vector<int32_t> chosen, tokens, places, first;
    std::vector<float> weights;

    void resize(int64_t rows, const cpu::RouterParams& router);
    void sort(const cpu::RouterParams& router);
  };

  // attention.cpp, latent_attention.cpp: what the heads saw, [m, heads * value_dim].
  Rows attention(size_t layer, Rows n, const Batch& batch);
  Rows latent_attention(size_t layer, Rows n, const Batch& batch);
  void project_latents(const LoadedAttention& w, Rows n, Rows q, Rows key);
  void project_heads(const std::vector<MatrixPtr>& matrices, Rows x, Rows y);
  void attend(size_t layer, Rows q, Rows k, Rows v, const Batch& batch, Rows attended);
  void norm_heads(const LoadedNorm& norm, bool whole_width, int64_t head_dim, Rows x);

  // feed_forward.cpp: what is left to go through `down`, [m, size].
  Rows feed_forward(const modelkit::Mlp& spec, const LoadedMlp& w, Rows n);

  // experts.cpp
  Rows experts(const modelkit::Experts& spec, const LoadedExperts& w, Rows n);  ///< [m, h]
  void route(const LoadedExperts& w, Rows n);
  void run_experts(const modelkit::Experts& spec, const LoadedExperts& w, Rows n);
  void add_shared(const modelkit::Experts& spec, const LoadedExperts& w, Rows n, Rows sum);

  // transformer.cpp
  void run_layer(size_t layer, const Batch& batch);
  void linear(Rows x, const LoadedLinear& linear, Rows y, bool accumulate = false);
  void norm(const LoadedNorm& norm, Rows x, Rows y);
  Rows normed(const LoadedNorm& norm, Rows x);
  void add_branch(Rows x, const LoadedLinear& linear, const LoadedNorm& post);
  void add_branch(Rows branch, const LoadedNorm& post);

  const modelkit::ModelSpec& spec_;
  const Weights& weights_;
  const KvCache& cache_;
  Ops& ops_;
  std::vector<cpu::Rope> ropes_;  // a layer each, as its cache holds keys
  Workspace workspace_;
  ExpertRows expert_rows_;
  std::vector<LinearOutput> outputs_;  // reused: no allocation in a step
  std::vector<LinearGroup> groups_;
};

cpu::Activation to_activation(modelkit::Activation activation);

}  // namespace spnl::mistralrs
