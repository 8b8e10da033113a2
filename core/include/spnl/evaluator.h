#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "spnl/backends.h"
#include "spnl/error.h"
#include "spnl/query.h"

namespace spnl {

/// What happens while a query runs. Called from the evaluator's threads, never two at once. Must not throw.
class Observer {
 public:
  virtual ~Observer() = default;
  /// `node`: path of child indices from the root ("0.2"; the root itself is "root"); inputs of a map count as its
  /// children. `samples`: how many are expected.
  virtual void on_generate_start(const std::string& node, const std::string& model, uint32_t samples) { (void)node, (void)model, (void)samples; }
  virtual void on_text(const std::string& node, uint32_t sample, std::string_view text, size_t new_tokens) { (void)node, (void)sample, (void)text, (void)new_tokens; }
  virtual void on_generate_finish(const std::string& node, const std::string& model, const std::vector<Completion>& done) { (void)node, (void)model, (void)done; }
  virtual void on_print(const std::string& text) { (void)text; }
  virtual void on_note(const std::string& text) { (void)text; }
  /// With keep_going: this node failed, and what depends on it will not run. `node` is "root", "0.2", ...; the error's
  /// where() names it with its position in the source.
  virtual void on_failure(const std::string& node, const Error& error) { (void)node, (void)error; }
};

/// The fragments of an augment's document that matter to its body, as messages, best first. May throw Error.
using FragmentsOf = std::function<QueryList(const Augment& augment)>;

struct EvaluateOptions {
  std::string default_model;                   ///< for generates that name none
  std::optional<uint64_t> default_max_tokens;  ///< for generates that give none
  std::optional<double> default_temperature;   ///< likewise; else 0.6
  Sampling defaults;                           ///< top-k, top-p, ... for generates that give none
  GenerateRequest request;                     ///< where every request begins: penalties, biases, ...
  uint64_t seed = 0;                           ///< mixed with each node's path: a run repeats exactly
  LoadOptions load;
  bool keep_going = false;  ///< a failure stops only what depends on it; see Observer::on_failure
  /// Generations of remote models in flight at once; not given: SPNL_NUM_PARALLEL, else 2. Local models batch.
  std::optional<uint32_t> num_parallel;
  FragmentsOf fragments;  ///< retrieval; without it a query that retrieves is refused
  /// Answers an `ask`; called on the caller's thread once for each wording, before anything runs. Without it, or
  /// without an answer, a query that asks is refused.
  std::function<std::optional<std::string>(const std::string& prompt)> ask;
};

/// Evaluates a query: order follows dependence, everything independent runs at once. Blocks until all is done. The result
/// is a tree of messages; with keep_going it holds what succeeded. Throws Error: kEvaluation with the node's path and position, kInterrupted when `stop` was
/// requested (every generation is cancelled and finished first), and what loading throws.
Query evaluate(const Query& query, Backends& backends, const EvaluateOptions& options, Observer& observer,
               std::stop_token stop = {});

/// The node (as observers see it) whose tokens are the whole result, if there is exactly one such generation.
std::optional<std::string> streaming_node(const Query& query);

/// True when exactly one generation feeds the result, so its tokens may stream as the result itself.
bool streams_as_result(const Query& query);

/// A result as text: its messages joined by newlines.
std::string result_text(const Query& result);

}  // namespace spnl
