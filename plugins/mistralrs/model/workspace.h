#pragma once
#include "ops/ops.h"
#include "spnl/modelkit/model_spec.h"

namespace spnl::mistralrs {

/// Memory of one forward's activations, made once for the largest batch; float32, [rows, width],
/// any width up to the widest layer's.
class Workspace {
 public:
  /// max_rows: rows of one batch; max_logit_rows: rows of one call of logits().
  Workspace(const modelkit::ModelSpec& spec, int64_t max_rows, int64_t max_logit_rows);

  int64_t max_rows() const { return max_rows_; }
  int64_t max_logit_rows() const { return max_logit_rows_; }
  uint64_t bytes() const { return memory_.bytes + logits_.bytes; }

  Rows hidden(int64_t rows) const {
    return {hidden_, rows, hidden_size_};
  }  ///< the residual stream
  Rows normed(int64_t rows) const { return {normed_, rows, hidden_size_}; }
  Rows branch(int64_t rows) const { return {branch_, rows, hidden_size_}; }  ///< what a branch adds
  Rows q(int64_t rows, int64_t width) const { return {q_, rows, width}; }
  Rows k(int64_t rows, int64_t width) const { return {k_, rows, width}; }
  Rows v(int64_t rows, int64_t width) const { return {v_, rows, width}; }
  Rows attended(int64_t rows, int64_t width) const { return {attended_, rows, width}; }
  Rows gate(int64_t rows, int64_t width) const { return {gate_, rows, width}; }
  Rows up(int64_t rows, int64_t width) const { return {up_, rows, width}; }
  Rows logits(int64_t rows) const { return {logits_.floats(), rows, vocab_}; }
  // Of latent attention.
  Rows q_latent(int64_t rows, int64_t width) const { return {q_latent_, rows, width}; }
  Rows absorbed(int64_t rows, int64_t width) const { return {absorbed_, rows, width}; }
  Rows attended_latent(int64_t rows, int64_t width) const {
    return {attended_latent_, rows, width};
  }
  // Of experts; a row for each token and expert that it uses, but for the router's.
  Rows router(int64_t rows, int64_t width) const { return {router_, rows, width}; }
  Rows expert_gate(int64_t rows, int64_t width) const { return {expert_gate_, rows, width}; }
  Rows expert_up(int64_t rows, int64_t width) const { return {expert_up_, rows, width}; }
  Rows expert_out(int64_t rows) const { return {expert_out_, rows, hidden_size_}; }

 private:
  int64_t max_rows_, max_logit_rows_, hidden_size_, vocab_;
  Memory memory_, logits_;
  float *hidden_, *normed_, *branch_, *q_, *k_, *v_, *attended_, *gate_, *up_, *q_latent_,
      *absorbed_, *attended_latent_, *router_, *expert_gate_, *expert_up_, *expert_out_;
};

}  // namespace spnl::mistralrs
