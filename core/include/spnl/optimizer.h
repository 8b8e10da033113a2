#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "spnl/evaluator.h"
#include "spnl/query.h"

namespace spnl {

/// What the backend of a model can do ("bulk_map", "bulk_repeat", "spans", "remote", ...), by the
/// model's name. May throw Error for a name that no backend knows.
using CapabilitiesOf = std::function<std::vector<std::string>(const std::string& model)>;

/// The installed backends' capabilities. For a name that none of them knows: none at all, so that a
/// query can be explained without its backends. Borrows `backends`.
CapabilitiesOf capabilities_of(const Backends& backends);

/// What passes know of the world.
struct PassContext {
  CapabilitiesOf capabilities;
  FragmentsOf fragments;  ///< empty: no retrieval backend is installed
};

/// A rewriting of queries: pure and idempotent; keeps positions; takes constant stack. It never
/// changes the messages that a generate's model reads (retrieval aside).
struct Pass {
  std::string_view name;
  std::string_view purpose;  ///< for people
  Query (*rewrite)(Query query, const PassContext& context);
};

/// All of them, in the order in which plan() applies them.
std::span<const Pass> passes();

/// The algebra of queries (language specification, section 4), and bulk forms by what each model's
/// backend can do. A repeat that would grow to more than 100,000 nodes stays as it is.
Query simplify(Query query, const CapabilitiesOf& capabilities);

/// Puts the fragments of its document in the place of each augment (section 5). When the backend of
/// the generate around it reuses spans, prefills that warm its cache stand before them in a monad:
/// each a generate of one token from the enclosing prompt's system messages and one fragment.
/// Without `fragments` the query stays as it is.
Query retrieve(Query query, const PassContext& context);

/// A generate, a repeat or an input of a map, and what happens to it.
struct PlannedGenerate {
  std::string node;  ///< its path in the query as written, as observers see it
  SourcePosition position;
  std::string model;
  Sampling sampling;               ///< with the host's flags and the language's defaults filled in
  uint32_t samples = 1;            ///< that are asked of the model
  std::vector<std::string> needs;  ///< nodes whose outputs its prompt contains
  uint32_t stage = 0;   ///< all of a stage may run at once; each is after the stages of its needs
  uint32_t batch = 0;   ///< index in QueryPlan::batches
  std::string same_as;  ///< not empty: not run, the node whose output serves for it too
  std::string prompt;  ///< the messages that are known before anything runs, in one line, cut short
};

/// Generates of one model that run together.
struct PlannedBatch {
  std::string name;  ///< "batch 1"
  std::string model;
  uint32_t stage = 0;
  uint32_t samples = 0;  ///< sequences side by side
  bool remote = false;   ///< bounded by SPNL_NUM_PARALLEL
  std::vector<std::string> nodes;
};

/// What evaluate() does with a query, before it does anything. Nothing is loaded or run.
struct QueryPlan {
  Query query;                             ///< after all passes
  std::vector<PlannedGenerate> generates;  ///< in reading order
  std::vector<PlannedBatch> batches;       ///< by stage
  std::vector<std::string> notes;          ///< shared generates, retrieval that cannot run, ...
};

/// `options`: defaults that are filled in. Throws Error(kBadQuery) for a generate without a model.
QueryPlan plan(const Query& query, const CapabilitiesOf& capabilities,
               const EvaluateOptions& options);

/// The plan's stages, batches and notes for people (`explain --stage plan`), without the query.
std::vector<std::string> plan_lines(const QueryPlan& plan);

/// What would be asked of which model, a generate a line (`run --dry-run`).
std::vector<std::string> dry_run_lines(const QueryPlan& plan);

}  // namespace spnl
