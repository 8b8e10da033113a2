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

struct QuantizeProgress {
  std::string_view name;  ///< of the tensor that is done
  TensorType from, to;
  uint64_t bytes;                   ///< that it takes now
  uint64_t tensors, tensors_total;  ///< done
  uint64_t elements, elements_total;
};

struct QuantizeOptions {
  QuantMix mix;
  unsigned threads = 1;
  std::stop_token stop;
  /// Called after each tensor, from one thread at a time.
  std::function<void(const QuantizeProgress&)> progress;
};

/// Writes `model` quantised to `path`. Memory: some megabytes per thread, whatever the model's
/// size. Returns false when stopped, and then writes nothing. Throws Error as GgufWriter does,
/// kUnsupported for a tensor whose type cannot be decoded, kCorrupt for one that holds values that
/// are no finite numbers.
bool quantize_gguf(const GgufFile& model, const std::filesystem::path& path,
                   const QuantizeOptions& options);

/// The same for a model in Hugging Face's layout, whatever packs its weights: `path` gets its
/// architecture, tokenizer and chat template in the terms of GGUF files. Throws kUnsupported, and
/// writes nothing, for a model that would not be the same in a GGUF, naming what differs.
bool quantize_folder(const std::filesystem::path& folder, const std::filesystem::path& path,
                     const QuantizeOptions& options);

}  // namespace spnl::modelkit
