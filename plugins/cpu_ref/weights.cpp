#include "weights.h"

#include <algorithm>

#include "spnl/modelkit/error.h"

namespace spnl::cpu_ref {
namespace {

using modelkit::TensorType;
using modelkit::Weight;

/// Every weight once, in an order of their places.
std::map<Weight::Place, Weight> distinct_weights(const modelkit::ModelSpec& spec) {
  std::map<Weight::Place, Weight> weights;
  modelkit::for_each_weight(spec,
                            [&](const Weight& weight) { weights.emplace(weight.place(), weight); });
  return weights;
}

bool usable_in_place(const Weight& weight) {
  return weight.type() == TensorType::kF32 && weight.data() != nullptr &&
         weight.input_order() == nullptr &&
         reinterpret_cast<uintptr_t>(weight.data()) % alignof(float) == 0;
}

std::string megabytes(uint64_t bytes) {
  return std::to_string((bytes + 999'999) / 1'000'000) + " MB";
}

/// Rows [first, first + count), their columns in the model's order.
void read_rows(const Weight& weight, uint64_t first, uint64_t count, float* out) {
  weight.read_floats(first, count, out);
  const std::vector<uint32_t>* order = weight.input_order();
  if (order == nullptr) return;
  const uint64_t columns = weight.columns();
  std::vector<float> stored(columns);
  for (float* row = out; row < out + count * columns; row += columns) {
    std::copy_n(row, columns, stored.data());
    for (uint64_t i = 0; i < columns; ++i) row[(*order)[i]] = stored[i];
  }
}

/// Decodes a stretch of whole rows at a time, so that progress is told and a wish to stop is heard
/// soon.
void decode(const Weight& weight, float* out, ThreadPool& pool,
            const std::function<void(uint64_t)>& told) {
  const uint64_t columns = weight.columns();
  const uint64_t stretch = std::max<uint64_t>(1, (uint64_t{1} << 22) / columns);
  for (uint64_t first = 0; first < weight.rows(); first += stretch) {
    const uint64_t n = std::min(stretch, weight.rows() - first);
    pool.run(n, std::max<uint64_t>(1, 65536 / columns), [&](uint64_t begin, uint64_t end) {
      read_rows(weight, first + begin, end - begin, out + (first + begin) * columns);
    });
    told(n * columns * sizeof(float));
  }
}

}  // namespace

Weights::Weights(const modelkit::ModelSpec& spec, uint64_t limit, Allocator allocator,
                 ThreadPool& pool, const Progress& progress)
    : allocator_(std::move(allocator)) {
  const std::map<Weight::Place, Weight> weights = distinct_weights(spec);
  uint64_t needed = 0;
  // No overflow: every element takes at least a bit of a file, and files are far below 2^58 bytes.
  for (const auto& [place, weight] : weights)
    if (!usable_in_place(weight)) needed += weight.elements() * sizeof(float);
  if (needed > limit)
    throw modelkit::Error(modelkit::ErrorCode::kNoMemory,
                          "cpu_ref needs " + megabytes(needed) +
                              " for the weights in float32, but only " + megabytes(limit) +
                              " are allowed or free; use a smaller model or another backend");
  try {
    uint64_t done = 0;
    for (const auto& [place, weight] : weights) {
      Matrix matrix{nullptr, weight.rows(), weight.columns()};
      const uint64_t size = weight.elements() * sizeof(float);
      if (usable_in_place(weight)) {
        matrix.data = reinterpret_cast<const float*>(weight.data());
      } else {
        auto* memory = static_cast<float*>(allocator_.allocate(size));
        if (memory == nullptr)
          throw modelkit::Error(
              modelkit::ErrorCode::kNoMemory,
              "no memory for tensor '" + weight.name() + "' in float32 (" + megabytes(size) + ")");
        blocks_.push_back(memory);
        decode(weight, memory, pool, [&](uint64_t more) { progress(done += more, needed); });
        matrix.data = memory;
      }
      bytes_ += size;
      matrices_.emplace(place, matrix);
    }
  } catch (...) {
    release_all();
    throw;
  }
}

Weights::~Weights() { release_all(); }

void Weights::release_all() {
  for (void* block : blocks_) allocator_.release(block);
  blocks_.clear();
}

Matrix Weights::find(const Weight& weight) const {
  return weight ? matrices_.at(weight.place()) : Matrix{};
}

}  // namespace spnl::cpu_ref
