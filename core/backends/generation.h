#pragma once
#include <optional>
#include <string>
#include <vector>

#include "backends/prompt_wire.h"
#include "spnl/backend.h"
#include "spnl/backends.h"

namespace spnl::backends {

/// An event of a plugin, copied: handlers run after step() returned, so they may call the model
/// again.
struct EventCopy {
  uint64_t user_id = 0, sequence = 0;
  uint32_t sample = 0;
  bool finish = false;
  FinishReason reason = FinishReason::kError;
  std::string text, error;
  std::vector<int32_t> tokens;
  Usage usage;
  std::vector<uint64_t> fragment_tokens, fragment_cached;  ///< by fragment of the prompt

  /// Empty for what is not an event of a kind that this host knows.
  static std::optional<EventCopy> from(const spnl_event& event);
};

/// A request in the ABI's form; points into what it was made from.
struct RequestWire {
  /// Throws Error(kBadQuery) for a span setting that does not exist. Without `spans` groups and
  /// span settings are left out.
  RequestWire(const GenerateRequest& request, uint64_t user_id, bool spans);
  RequestWire(const RequestWire&) = delete;
  RequestWire& operator=(const RequestWire&) = delete;

  PromptWire prompt;
  std::vector<spnl_str> stops, dry_breakers;
  std::vector<spnl_logit_bias> logit_biases;
  spnl_sampling sampling{};
  spnl_request wire{};
};

/// One generate() from its call to on_finish. Everything but `id` belongs to the model's strand.
class Generation {
 public:
  Generation(uint64_t number, GenerateRequest request, GenerateHandlers handlers);

  const uint64_t id;
  const GenerateRequest& request() const noexcept { return request_; }

  /// Applies an event; false: the handler threw (its text goes to `problem`), stop this generation.
  bool apply(EventCopy&& event, std::string& problem);

  /// Ends the samples that did not finish, and with it the generation.
  void finish_rest(FinishReason reason, const std::string& error);

  bool finished() const noexcept { return unfinished_ == 0; }

  /// Calls on_finish, once however often it is called. False: it threw.
  bool report(std::string& problem);

  /// From now on a sample that the plugin ends as cancelled counts as failed, for this reason.
  void fail_with(std::string error) { failure_ = std::move(error); }

 private:
  GenerateRequest request_;
  GenerateHandlers handlers_;
  std::vector<Completion> samples_;
  std::vector<bool> ended_;
  size_t unfinished_;
  bool reported_ = false;
  std::string failure_;
};

}  // namespace spnl::backends
