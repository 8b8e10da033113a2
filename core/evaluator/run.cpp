#include "evaluator/run.h"

#include <boost/asio/post.hpp>

#include "evaluator/check.h"
#include "evaluator/fetch.h"
#include "evaluator/parallel.h"
#include "evaluator/prompt.h"
#include "evaluator/results.h"
#include "ir/traverse.h"
#include "optimizer/algebra.h"
#include "optimizer/stages.h"
#include "spnl/error.h"
#include "spnl/optimizer.h"

namespace spnl::evaluator {

Query evaluate(const Query& query, ModelProvider& provider, const EvaluateOptions& options,
               Observer& observer, std::stop_token stop) {
  if (!options.fragments) return Run(query, provider, options, observer).run(std::move(stop));
  const PassContext context{
      [&](const std::string& model) {
        return provider.capabilities(model.empty() ? options.default_model : model);
      },
      options.fragments};
  return Run(retrieve(query, context), provider, options, observer).run(std::move(stop));
}

Run::Run(const Query& query, ModelProvider& provider, const EvaluateOptions& options,
         Observer& observer)
    : options_(options),
      provider_(provider),
      observer_(observer),
      table_(query),
      sharing_(find_shared(table_, options)),
      remote_limit_(num_parallel(options)),
      answers_(check(table_, options)),
      has_monad_(find_monads(table_)),
      readers_(readers(table_)),
      uses_(table_, readers_,
            [this](uint32_t node) -> const std::string& { return model_name(node); }),
      progress_(table_.nodes.size()) {
  for (const auto& [unit, by] : sharing_.served_by) served_[by];
}

Query Run::run(std::stop_token stop) {
  open_.emplace(loop_->context.get_executor());
  const std::stop_callback on_stop(stop, [this] {
    boost::asio::post(loop_->context, [this] {
      event([&] { throw Error(ErrorCode::kInterrupted, "interrupted"); });
    });
  });
  boost::asio::post(loop_->context, [this] {
    event([&] {
      if (failure_) return;
      for (const std::string& note : sharing_notes(table_, sharing_)) observer_.on_note(note);
      start_loading();
      to_start_.push_back(0);
      to_turn_.push_back(0);
    });
  });
  loop_->context.run();
  if (pool_) pool_->join();
  if (failure_) std::rethrow_exception(failure_);
  auto& result = progress_[0].result;
  return result ? as_shown(std::move(*result)) : Query{Seq{}, table_.nodes[0].query->position};
}

void Run::fail(std::exception_ptr error) {
  if (failure_ || root_done_) return;  // after the end there is nothing to stop
  failure_ = std::move(error);
  to_start_.clear(), to_complete_.clear(), to_turn_.clear(), remote_waiting_.clear();
  stop_loading_.request_stop();
  for (const auto& [request, active] : active_) active.model->cancel(active.generation);
}

/// Without keep_going a failed node fails the run; with it, only what depends on the node.
void Run::node_failed(uint32_t node, const std::string& path, std::exception_ptr error) {
  if (!options_.keep_going) std::rethrow_exception(error);
  try {
    std::rethrow_exception(error);
  } catch (const Error& e) {
    observer_.on_failure(path, e);
  } catch (const std::exception& e) {
    observer_.on_failure(path, Error(ErrorCode::kEvaluation, e.what(), table_.where(node)));
  }
}

/// Starts and completes nodes until everything waits for something outside. Lists instead of
/// recursion: trees are deep.
void Run::pump() {
  const auto take = [](std::vector<uint32_t>& from) {
    const uint32_t node = from.back();
    from.pop_back();
    return node;
  };
  while (!failure_) {
    // What is to be shown first; then completions: what they free is needed no longer, and what
    // they start should start early.
    if (!to_turn_.empty())
      give_turn(take(to_turn_));
    else if (!to_complete_.empty())
      complete(take(to_complete_));
    else if (!to_start_.empty())
      start(take(to_start_));
    else
      return;
  }
}

void Run::start(uint32_t index) {
  const NodeTable::Node& node = table_.nodes[index];
  Progress& progress = progress_[index];
  progress.started = true;
  std::visit(
      [&](const auto& it) {
        using T = std::remove_cvref_t<decltype(it)>;
        if constexpr (ir::is_message<T>) {
          finish(index, message({it, node.query->position}));
        } else if constexpr (ir::is_any_of<T, Print>) {
          if (progress.turn) observer_.on_print(it.text);
          finish(index, std::nullopt);
        } else if constexpr (ir::is_any_of<T, Ask>) {
          finish(index, message({User{answers_.at(it.prompt)}, node.query->position}));
        } else if constexpr (ir::is_any_of<T, Fetch>) {
          start_read(index);
        } else if constexpr (ir::is_any_of<T, Generate, Repeat, Map>) {
          start_units(index);
        } else if (node.child_count == 0) {
          to_complete_.push_back(index);
        } else {
          start_children(index);
        }
      },
      node.query->node);
}

/// All at once; but in a seq or cross what follows a monad waits for its effect. Nothing else can
/// tell whether the children before it are done, so early is as good as in order.
void Run::start_children(uint32_t index) {
  const NodeTable::Node& node = table_.nodes[index];
  uint32_t& next = progress_[index].started_children;
  const uint32_t first = next;
  const bool ordered = in_order(*node.query);
  while (next < node.child_count) {
    const bool barrier = ordered && has_monad_[node.first_child + next];
    ++next;
    if (barrier) break;
  }
  for (uint32_t i = next; i-- > first;) to_start_.push_back(node.first_child + i);
}

/// What is served by another generate waits for that one, and nothing below it runs.
void Run::start_units(uint32_t index) {
  const ModelUse use = *model_use(*table_.nodes[index].query);
  if (!use.map) {
    if (!sharing_.served_by.contains({index, 0})) return start_children(index);
  } else {
    if (use.inputs == 0) return finish(index, std::nullopt);
    map_results_[index].resize(use.inputs);
  }
  for (uint32_t i = 0; i < use.inputs; ++i) {
    const auto by = sharing_.served_by.find({index, i});
    if (by == sharing_.served_by.end()) {
      add_job({index, i}, user_prompt(std::get<Map>(table_.nodes[index].query->node).inputs[i]));
      continue;
    }
    Served& served = served_.at(by->second);
    if (served.done)
      deliver({index, i}, served.answers, served.failed);
    else
      served.waiting.push_back({index, i});
  }
}

/// Prints appear in reading order of what is in order, however early their neighbours are done.
void Run::give_turn(uint32_t index) {
  const NodeTable::Node& node = table_.nodes[index];
  Progress& progress = progress_[index];
  if (!progress.turn) {
    progress.turn = true;
    const Print* print = std::get_if<Print>(&node.query->node);
    if (print != nullptr && progress.started) observer_.on_print(print->text);
  }
  uint32_t& next = progress.turned_children;
  const uint32_t first = next;
  while (next < node.child_count &&
         (!in_order(*node.query) || next == 0 || progress_[node.first_child + next - 1].done))
    ++next;
  for (uint32_t i = next; i-- > first;) to_turn_.push_back(node.first_child + i);
}

void Run::finish(uint32_t index, std::optional<Query> result) {
  progress_[index].result = std::move(result);
  progress_[index].done = true;
  if (index == 0)
    root_done_ = true;
  else
    child_done(table_.nodes[index].parent, index);
}

void Run::child_done(uint32_t index, uint32_t child) {
  const NodeTable::Node& node = table_.nodes[index];
  Progress& progress = progress_[index];
  ++progress.done_children;
  // A monad's output is ignored, so nothing depends on its success.
  if (progress_[child].partial && !std::holds_alternative<Monad>(node.query->node))
    progress.partial = true;
  if (in_order(*node.query)) {
    if (progress.turn) to_turn_.push_back(index);
    if (has_monad_[child]) start_children(index);
  }
  if (progress.done_children == node.child_count) to_complete_.push_back(index);
}

std::optional<Query> Run::take_result(uint32_t node, uint32_t child) {
  auto& from = progress_[table_.nodes[node].first_child + child].result;
  std::optional<Query> taken = std::move(from);
  from.reset();
  return taken;
}

void Run::complete(uint32_t index) {
  const NodeTable::Node& node = table_.nodes[index];
  const Query& query = *node.query;
  if (ir::list_of(query) != nullptr) {
    QueryList results;
    for (uint32_t i = 0; i < node.child_count; ++i)
      if (auto result = take_result(index, i)) results.push_back(std::move(*result));
    const NodeTable::Node& parent = table_.nodes[node.parent];
    const bool joined =
        index > 0 && algebra::joins(*parent.query, query, node.slot + 1 == parent.child_count);
    return finish(index, join(query, std::move(results), joined));
  }
  auto first = take_result(index, 0);
  if (std::holds_alternative<Monad>(query.node)) return finish(index, std::nullopt);
  if (std::holds_alternative<Zip>(query.node)) {
    auto second = take_result(index, 1);
    if (progress_[index].partial) return finish(index, std::nullopt);
    std::optional<Query> zipped;
    try {
      zipped = zip(std::move(first), std::move(second), query.position, table_.where(index));
    } catch (const Error&) {
      node_failed(index, table_.path(index), std::current_exception());
      progress_[index].partial = true;
    }
    return finish(index, std::move(zipped));
  }
  if (progress_[index].partial) return unit_done({index, 0}, {}, true);
  add_job({index, 0}, first ? build_prompt(*first) : Prompt{});
}

void Run::start_read(uint32_t index) {
  ++outside_;
  boost::asio::post(pool(), [this, loop = loop_, index, where = table_.where(index)] {
    std::optional<Query> result;
    std::exception_ptr error;
    try {
      const Query& query = *table_.nodes[index].query;
      result = fetch(std::get<Fetch>(query.node), query.position, where);
    } catch (...) {
      error = std::current_exception();
    }
    boost::asio::post(loop->context, [this, index, error = std::move(error),
                                      result = std::move(result)]() mutable {
      event([&] {
        --outside_;
        if (failure_) return;
        if (error) {
          node_failed(index, table_.path(index), error);
          progress_[index].partial = true;
        }
        finish(index, result ? message(std::move(*result)) : std::nullopt);
      });
    });
  });
}

}  // namespace spnl::evaluator
