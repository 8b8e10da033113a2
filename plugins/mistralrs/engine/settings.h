#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "cache/span_store.h"
#include "engine/span_defaults.h"
#include "ops/cpu/attention.h"
#include "spnl/modelkit/tensor_type.h"

namespace spnl::mistralrs {

/// Guesses at the next tokens from the sequence's own text, verified in one step: never, always, or
/// where it pays.
enum class Speculate { kOff, kNgram, kAuto };

/// What a user can set, read once per model.
struct Settings {
  std::string isa;    ///< MISTRALRS_CPU_ISA; empty: the best
  int threads = 1;    ///< "threads"; default: physical cores
  bool paged = true;  ///< MISTRALRS_PAGED_ATTN; false: one block of context length per sequence
  int32_t block_size = 32;             ///< MISTRALRS_PAGED_ATTN_BLOCK_SIZE, tokens, 1..1024
  size_t prefix_entries = 16;          ///< MISTRALRS_PREFIX_CACHE_N, sequences
  std::optional<cpu::KvType> kv_type;  ///< "kv_type": auto, f32, f16, bf16, q8_0
  uint64_t kv_bytes = 0;               ///< "kv_memory", with K, M or G; 0: a share of free memory
  std::optional<modelkit::TensorType> isq;  ///< MISTRALRS_ISQ: what float weights become at load
  Speculate speculate = Speculate::kAuto;   ///< "speculate": off, ngram, auto
  uint64_t max_context = 0;                 ///< tokens; 0: the model's
  uint64_t memory_limit = 0;                ///< bytes of weights and cache; 0: none
  /// "span_cache": a folder for fragments, empty: none; "span_cache_size": bytes, with K, M or G.
  SpanStore::Options disk;
  SpanDefaults spans;  ///< of requests that do not say
};

using Lookup = std::function<std::optional<std::string>(std::string_view key)>;

/// Throws modelkit::Error(kInvalid) naming key, value and what is allowed; kUnsupported for a
/// device that is not here.
Settings read_settings(const Lookup& lookup);

/// Checks `device` ("", auto, cpu, cuda, metal). Throws modelkit::Error(kUnsupported or kInvalid).
void check_device(std::string_view device);

/// Cores of the CPUs that this process may use, counting hyper-threads once; at least 1.
int physical_cores();

/// Bytes the system can give without swapping; 0 when unknown.
uint64_t available_memory();

}  // namespace spnl::mistralrs
