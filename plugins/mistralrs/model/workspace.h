#pragma once
#include "ops/ops.h"
#include "spnl/modelkit/model_spec.h"

namespace spnl::mistralrs {

/// Memory of one forward's activations, made once for the largest batch; float32, [rows, ...].
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
  Rows branch(int64_t rows) const {
    return {branch_, rows, hidden_size_};
  }  ///< what a branch adds, where it is scaled
  Rows q(int64_t rows, int64_t width) const { return {q_, rows, width}; }
  Rows k(int64_t rows, int64_t width) const { return {k_, rows, width}; }
  Rows v(int64_t rows, int64_t width) const { return {v_, rows, width}; }
  Rows attended(int64_t rows, int64_t width) const { return {attended_, rows, width}; }
  Rows gate(int64_t rows, int64_t width) const { return {gate_, rows, width}; }
  Rows up(int64_t rows, int64_t width) const { return {up_, rows, width}; }
  Rows logits(int64_t rows) const { return {logits_.floats(), rows, vocab_}; }

 private:
  int64_t max_rows_, max_logit_rows_, hidden_size_, vocab_;
  Memory memory_, logits_;
  float *hidden_, *normed_, *branch_, *q_, *k_, *v_, *attended_, *gate_, *up_;
};

}  // namespace spnl::mistralrs
