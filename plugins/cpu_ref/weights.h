#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "spnl/modelkit/model_spec.h"
#include "thread_pool.h"

namespace spnl::cpu_ref {

/// A float32 matrix [rows][columns], row after row; a vector has one row. Empty: the layer has no
/// such tensor.
struct Matrix {
  const float* data = nullptr;
  uint64_t rows = 0, columns = 0;

  explicit operator bool() const { return data != nullptr; }
  const float* row(uint64_t index) const { return data + index * columns; }
};

/// Where large memory comes from; allocate answers null when over a limit.
struct Allocator {
  std::function<void*(uint64_t bytes)> allocate;
  std::function<void(void*)> release;
};

/// All weights of a spec, in float32. F32 ones are used where they lie in the mapped file, which
/// must therefore outlive the object; the others are decoded into memory of `allocator`. Const
/// after construction.
class Weights {
 public:
  /// Called between pieces of work with bytes done and in all; may throw to stop.
  using Progress = std::function<void(uint64_t done, uint64_t total)>;

  /// `limit`: most bytes that decoding may take. Throws modelkit::Error(kNoMemory) with the
  /// numbers, before it allocates anything.
  Weights(const modelkit::ModelSpec& spec, uint64_t limit, Allocator allocator, ThreadPool& pool,
          const Progress& progress);
  ~Weights();
  Weights(const Weights&) = delete;
  Weights& operator=(const Weights&) = delete;

  Matrix find(const modelkit::Weight& weight) const;  ///< empty for none
  uint64_t bytes() const { return bytes_; }           ///< decoded plus used in place

 private:
  void release_all();

  Allocator allocator_;
  std::map<modelkit::Weight::Place, Matrix> matrices_;
  std::vector<void*> blocks_;
  uint64_t bytes_ = 0;
};

}  // namespace spnl::cpu_ref
