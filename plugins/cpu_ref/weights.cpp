#include "weights.h"

#include <algorithm>

#include "spnl/modelkit/block_formats.h"
#include "spnl/modelkit/error.h"

namespace spnl::cpu_ref {
namespace {

using modelkit::Tensor;
using modelkit::TensorType;

std::vector<std::string> tensor_names(const modelkit::ModelSpec& spec) {
  std::vector<std::string> names = {spec.embedding, spec.output_norm, spec.output,
                                    spec.output_bias};
  for (const modelkit::LayerSpec& layer : spec.layers)
    names.insert(names.end(), {layer.attention_norm, layer.q, layer.q_bias, layer.k, layer.k_bias,
                               layer.v, layer.v_bias, layer.o, layer.o_bias, layer.q_norm,
                               layer.k_norm, layer.ffn_norm, layer.gate, layer.gate_bias, layer.up,
                               layer.up_bias, layer.down, layer.down_bias});
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  std::erase(names, "");
  return names;
}

bool usable_in_place(const Tensor& tensor) {
  return tensor.type == TensorType::kF32 &&
         reinterpret_cast<uintptr_t>(tensor.data) % alignof(float) == 0;
}

std::string megabytes(uint64_t bytes) {
  return std::to_string((bytes + 999'999) / 1'000'000) + " MB";
}

/// Decodes a stretch of whole rows at a time, so that progress is told and a wish to stop is heard
/// soon.
void decode(const Tensor& tensor, float* out, ThreadPool& pool,
            const std::function<void(uint64_t)>& told) {
  const uint64_t columns = tensor.row_elements(),
                 row_bytes = modelkit::tensor_bytes(tensor.type, columns);
  const uint64_t stretch = std::max<uint64_t>(1, (uint64_t{1} << 22) / columns);
  for (uint64_t first = 0; first < tensor.rows(); first += stretch) {
    const uint64_t n = std::min(stretch, tensor.rows() - first);
    pool.run(n, std::max<uint64_t>(1, 65536 / columns), [&](uint64_t begin, uint64_t end) {
      for (uint64_t row = first + begin; row < first + end; ++row)
        modelkit::dequantize_row(tensor.type, tensor.data + row * row_bytes, columns,
                                 out + row * columns);
    });
    told(n * columns * sizeof(float));
  }
}

}  // namespace

Weights::Weights(const modelkit::ModelSpec& spec, const modelkit::TensorSource& source,
                 uint64_t limit, Allocator allocator, ThreadPool& pool, const Progress& progress)
    : allocator_(std::move(allocator)) {
  const std::vector<std::string> names = tensor_names(spec);
  uint64_t needed = 0;
  for (const std::string& name : names) {
    const Tensor& tensor = *source.find(name);
    // No overflow: every element takes at least two bits of a file, and files are far below 2^58
    // bytes.
    if (!usable_in_place(tensor)) needed += tensor.elements() * sizeof(float);
  }
  if (needed > limit)
    throw modelkit::Error(modelkit::ErrorCode::kNoMemory,
                          source.path().string() + ": cpu_ref needs " + megabytes(needed) +
                              " for the weights in float32, but only " + megabytes(limit) +
                              " are allowed or free; use a smaller model or another backend");
  try {
    uint64_t done = 0;
    for (const std::string& name : names) {
      const Tensor& tensor = *source.find(name);
      Matrix matrix{nullptr, tensor.rows(), tensor.row_elements()};
      const uint64_t size = tensor.elements() * sizeof(float);
      if (usable_in_place(tensor)) {
        matrix.data = reinterpret_cast<const float*>(tensor.data);
      } else {
        auto* memory = static_cast<float*>(allocator_.allocate(size));
        if (memory == nullptr)
          throw modelkit::Error(
              modelkit::ErrorCode::kNoMemory,
              "no memory for tensor '" + name + "' in float32 (" + megabytes(size) + ")");
        blocks_.push_back(memory);
        decode(tensor, memory, pool, [&](uint64_t more) { progress(done += more, needed); });
        matrix.data = memory;
      }
      bytes_ += size;
      matrices_.emplace(name, matrix);
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

Matrix Weights::find(const std::string& name) const {
  return name.empty() ? Matrix{} : matrices_.at(name);
}

}  // namespace spnl::cpu_ref
