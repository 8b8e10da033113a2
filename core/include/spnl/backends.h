#pragma once
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace spnl {

enum class LogLevel { kDebug, kInfo, kNote, kWarning, kError };

struct BackendsOptions {
  std::vector<std::filesystem::path> explicit_paths;  ///< --backend-path: skips the owner check
  std::map<std::string, std::string> config;          ///< flags by name; looked up before the environment
  std::function<void(LogLevel, std::string_view component, std::string_view text)> log;  ///< any thread
  std::function<void(std::string_view stage, uint64_t done, uint64_t total)> progress;   ///< any thread
};

/// A backend that was found, usable or not.
struct BackendInfo {
  std::string id, version;
  std::vector<std::string> prefixes, capabilities;
  std::filesystem::path manifest, library;
  std::string problem;  ///< empty: usable as far as its manifest tells; else why not, in one line
  bool hidden = false;  ///< nothing is wrong with it, but an earlier folder has one of the same id
};

struct LoadOptions {
  std::string device;  ///< empty: the backend's choice
  uint64_t max_context = 0, memory_limit = 0;
  std::map<std::string, std::string> options;  ///< "threads", "vocab_only", ...
};

enum class Role { kNone, kSystem, kUser, kAssistant, kTool };

/// A prompt as a tree: messages and token runs are leaves; ordered and independent groups have children.
struct Prompt {
  enum class Kind { kMessage, kTokens, kOrdered, kIndependent };
  Kind kind = Kind::kOrdered;
  Role role = Role::kUser;  ///< kNone: raw text
  std::string text;
  bool parse_special = false;  ///< control tokens spelled in the text count
  std::vector<int32_t> tokens;
  uint64_t lineage = 0;         ///< the generation of the same model whose output this message is
  uint64_t next_use = 0;        ///< number of the next generate of the plan that uses it again
  bool sees_prefix = false;     ///< a child of an independent group that attends to what is before the group
  bool pin = false;             ///< keep what was computed of it while memory allows
  bool no_store = false;        ///< do not keep it
  std::vector<Prompt> children;
};

struct PromptOptions {
  bool no_special = false;     ///< add no bos or eos
  bool no_generation = false;  ///< render without the header that invites an answer
  std::string tools_json;
};

enum class FinishReason { kEos, kStop, kLength, kCancelled, kError, kToolCall };
std::string_view finish_reason_name(FinishReason reason);  ///< "eos", "stop", "length", "cancelled", ...

/// "Don't repeat yourself" sampling; see spnl/backend.h.
struct Dry {
  float multiplier = 0.8f, base = 1.75f;
  int32_t allowed_length = 2, window = -1;
  std::vector<std::string> breakers = {"\n", ":", "\"", "*"};
};

struct GenerateRequest {
  Prompt prompt;
  PromptOptions prompt_options;
  uint32_t samples = 1;
  std::optional<float> temperature, top_p, min_p, typical_p, repeat_penalty, presence_penalty, frequency_penalty;
  std::optional<int32_t> top_k, penalty_window;
  std::optional<uint32_t> max_tokens, min_tokens, top_logprobs;
  std::vector<std::pair<int32_t, float>> logit_biases;
  std::optional<Dry> dry;
  std::vector<std::string> stop;
  std::optional<uint64_t> seed;
  bool prefill_only = false;
  // How independent groups are evaluated; empty: the backend's default. See docs/spans.md.
  std::string span_mode;     ///< "exact", "block", "blend", "blend:K"
  std::string span_context;  ///< "none", "bos", "preamble", "prefix", "lineage"
  std::string span_order;    ///< "given", "canonical"
};

/// What was computed of a child of an independent group.
struct FragmentUsage {
  std::string path;    ///< indices of children from the prompt's root, "1.0"
  std::string begins;  ///< its first characters
  uint64_t tokens = 0, cached = 0;
};

struct Usage {
  uint64_t prompt_tokens = 0, cached_tokens = 0, output_tokens = 0;
  uint64_t queue_ns = 0, prefill_ns = 0, first_token_ns = 0, decode_ns = 0;
  std::string span_mode, span_context;   ///< that were used; empty: the backend did not say
  std::vector<FragmentUsage> fragments;  ///< where the backend counts them, in order of the prompt
};

struct Completion {  ///< one finished sample
  uint64_t sequence = 0;
  uint32_t sample = 0;
  std::string text;
  std::vector<int32_t> ids;
  FinishReason finish = FinishReason::kError;
  Usage usage;
  std::string error;  ///< with kError
};

/// Called on the model's strand, one at a time per model; must not block for long and must not throw.
struct GenerateHandlers {
  std::function<void(uint32_t sample, std::string_view text, const std::vector<int32_t>& ids)> on_tokens;  ///< may be empty
  /// Exactly once for every generate() that did not throw, with one entry per sample in order; after the last on_tokens.
  std::function<void(std::vector<Completion>)> on_finish;
};

struct ModelInfo {
  std::string architecture, device, dtype;
  std::vector<int32_t> eos;
  std::vector<std::string> capabilities;
  uint64_t context = 0, vocab = 0, embedding_dim = 0, cache_block_tokens = 0;
};

struct Score {
  std::vector<float> logprobs;  ///< first is NaN
  std::vector<int32_t> top_ids;
  std::vector<float> top_logits;
  double log_sum_exp = 0;
};

struct ModelStats {
  uint32_t running = 0, waiting = 0;
  uint64_t prefill_tokens = 0, decode_tokens = 0, prefill_ns = 0, decode_ns = 0, cache_asked_tokens = 0,
           cache_hit_tokens = 0, bytes_weights = 0, bytes_cache = 0, bytes_cache_limit = 0, bytes_scratch = 0;
};

/// A loaded model. Every method may be called from any thread. The session with the plugin is driven on a strand of
/// its own (the ABI's [session] rule by construction). When the last owner lets go, generations under way end as cancelled.
class Model {
 public:
  virtual ~Model() = default;
  virtual const ModelInfo& info() const = 0;
  virtual std::vector<int32_t> tokenize(const Prompt& prompt, const PromptOptions& options) = 0;
  virtual std::string detokenize(const std::vector<int32_t>& ids) = 0;
  /// Throws Error(kEvaluation) when the chat template refuses.
  virtual std::string render(const Prompt& prompt, const PromptOptions& options) = 0;
  /// Starts a generation; returns at once with its number for cancel(). Failures to submit come through on_finish.
  virtual uint64_t generate(GenerateRequest request, GenerateHandlers handlers) = 0;
  virtual void cancel(uint64_t generation) = 0;  ///< idempotent; on_finish still comes
  virtual Score score(const std::vector<int32_t>& ids, uint32_t top_k) = 0;  ///< Error(kUnsupported) without the extension
  virtual ModelStats stats() = 0;
};

/// The backends that can be found, the ones opened, and the models loaded. Plugins are opened on first use only, from
/// their manifests' prefixes; libraries stay mapped. Destroy it before main() returns.
class Backends {
 public:
  explicit Backends(BackendsOptions options);
  ~Backends();  ///< closes models and plugins

  /// From manifests alone, no library is opened. `verify` opens each library as well and reports what is wrong with it.
  std::vector<BackendInfo> list(bool verify = false) const;
  std::vector<std::filesystem::path> search_path() const;  ///< in order, also folders that do not exist

  /// The model that `name` ("prefix/rest", a short name, org/name) stands for; loaded once and shared. It stays in
  /// memory when nobody holds it, until another model needs the room: the least recently used leaves first (setting
  /// SPNL_MEMORY_LIMIT: bytes for all models, "8G"; else what the system has free). Blocks; `stop` cancels. Throws Error: kNotFound (lists backends and folders looked at), kNotLoadable, kNoRoom,
  /// kInterrupted.
  std::shared_ptr<Model> load(const std::string& name, const LoadOptions& options, std::stop_token stop = {});

  /// What a backend's manifest says it can do ("bulk_map", "bulk_repeat", "spans", ...), without loading anything.
  std::vector<std::string> capabilities(const std::string& model_name) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace spnl
