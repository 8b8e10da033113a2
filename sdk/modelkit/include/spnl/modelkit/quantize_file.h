#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "spnl/modelkit/gguf.h"

namespace spnl::modelkit {

/// A named way to quantise a whole model: "Q8_0", "Q4_K_M". The mixes of K types (_S, _M, _L: small
/// to large) give more bits to the tensors and layers that hurt most.
struct QuantMix {
  std::string_view name;
  uint32_t file_type;  ///< general.file_type of the result
  TensorType type;     ///< of tensors that no rule is about
  char size;           ///< 'S', 'M', 'L', or 0
};

/// Ignores case; "Q3_K", "Q4_K", "Q5_K" mean the _M mix. Nothing for an unknown name.
std::optional<QuantMix> find_quant_mix(std::string_view name);
std::optional<QuantMix> quant_mix_of(uint64_t file_type);  ///< of a file's general.file_type
std::vector<std::string> quant_mix_names();

/// What the rules want to know of a model besides its tensors.
struct MixFacts {
  uint32_t layers = 0, heads = 0, kv_heads = 0, experts = 0;
};

/// The type that each tensor gets, by the usual rules (those of llama.cpp's quantiser): vectors,
/// norms and routers stay as they are, the output gets 6 or 8 bits, some layers' values and down
/// projections get more than the rest, rows that are not whole blocks get a type with smaller
/// blocks. `tensors`: with GGUF names.
std::vector<TensorType> quantized_types(const QuantMix& mix, const MixFacts& facts,
                                        std::span<const Tensor> tensors);

struct QuantizeOptions {
  QuantMix mix;
  unsigned threads = 1;
  std::stop_token stop;
  /// Called after each tensor, from one thread at a time.
  std::function<void(const Tensor& tensor, TensorType type, uint64_t done, uint64_t total)>
      progress;
};

/// Writes `model` quantised to `path`. Memory: some megabytes per thread, whatever the model's
/// size. Returns false when stopped, and then writes nothing. Throws Error as GgufWriter does,
/// kUnsupported for a tensor whose type cannot be decoded, kCorrupt for one that holds values that
/// are no finite numbers.
bool quantize_gguf(const GgufFile& model, const std::filesystem::path& path,
                   const QuantizeOptions& options);

}  // namespace spnl::modelkit
