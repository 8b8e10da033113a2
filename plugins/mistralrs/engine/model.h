#pragma once
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "cache/block_cache.h"
#include "cache/block_pool.h"
#include "cache/kv_cache.h"
#include "cache/span_store.h"
#include "engine/settings.h"
#include "model/transformer.h"
#include "model/weights.h"
#include "spnl/modelkit/model_bundle.h"

namespace spnl::mistralrs {

/// Totals since load, for spnl_stats. Has a mutex of its own so that reading never waits for a
/// step.
struct Counters {
  std::mutex mutex;
  uint32_t running = 0, waiting = 0;
  uint64_t prefill_tokens = 0, decode_tokens = 0, prefill_ns = 0, decode_ns = 0, cache_asked = 0,
           cache_hit = 0, cache_bytes = 0, guesses = 0, right_guesses = 0;
};

/// What a loaded model's weights need to run. One thread at a time: who has the engine's turn.
struct Runtime {
  using Note = std::function<void(const std::string&)>;
  Runtime(const modelkit::ModelBundle& bundle, const Settings& settings,
          const LoadProgress& progress, const Note& note);

  int64_t longest_sequence() const;                ///< tokens that the cache holds of one sequence
  std::string tokens_held(int64_t context) const;  ///< for a person

  std::unique_ptr<Ops> ops;
  Weights weights;
  std::unique_ptr<KvCache> cache;
  std::unique_ptr<BlockPool> pool;
  std::unique_ptr<SpanStore> disk;   ///< of fragments; null: none
  std::unique_ptr<BlockCache> kept;  ///< blocks to be used again
  std::unique_ptr<Transformer> transformer;
  Counters counters;
};

class Engine;

/// A loaded model. Everything but the runtime is const after load or thread-safe.
class Model {
 public:
  using Note = Runtime::Note;

  /// With vocab_only: no runtime. `note` gets one line for a person for each thing that is not as
  /// asked, also later and from other threads, until the model is gone. Throws modelkit::Error, or
  /// LoadStopped when `progress` asks to stop.
  Model(const std::filesystem::path& path, const modelkit::OpenOptions& options,
        const Settings& settings, const LoadProgress& progress, const Note& note);
  /// What is open already. Without layers, vocabulary only.
  Model(modelkit::ModelBundle bundle, const Settings& settings, const LoadProgress& progress,
        const Note& note);
  ~Model();  ///< all sessions are closed
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  const modelkit::ModelBundle& bundle() const { return bundle_; }
  const Settings& settings() const { return settings_; }
  int64_t context() const { return context_; }  ///< tokens a sequence can have
  int32_t vocab() const { return vocab_; }  ///< rows of the output; of a vocab_only model: tokens
  /// Whether an id is a row that only pads the output to a round size. It may win like any other,
  /// and stands for no text.
  bool pads(int32_t id) const { return id >= bundle_.tokenizer->vocab_size() && id < vocab_; }
  std::string piece(int32_t id) const;  ///< the text of a token; specials have none
  bool is_eos(int32_t id) const;
  /// Whether a sequence of so many tokens turns by the long rotary frequencies (longrope): from its
  /// first token on, so one that grows past the border is computed again.
  bool turns_long(int64_t tokens) const { return long_from_ != 0 && tokens > long_from_; }
  Runtime* runtime() { return runtime_.get(); }  ///< null when vocab_only
  Engine* engine() { return engine_.get(); }     ///< null when vocab_only
  std::string summary() const;                   ///< one line: weights, cache, context, kernels

 private:
  modelkit::ModelBundle bundle_;
  Settings settings_;
  int64_t context_ = 0, long_from_ = 0;
  int32_t vocab_ = 0;
  std::unique_ptr<Runtime> runtime_;
  std::unique_ptr<Engine> engine_;
};

/// Rows of one step: prefill chunks and decoding sequences together.
inline constexpr int64_t kTokenBudget = 512;
/// Rows of logits made at once.
inline constexpr int64_t kLogitRows = 32;

}  // namespace spnl::mistralrs
