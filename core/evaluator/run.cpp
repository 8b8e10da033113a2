#include "evaluator/run.h"

#include <boost/asio/post.hpp>

#include "evaluator/prompt.h"
#include "evaluator/results.h"
#include "ir/traverse.h"
#include "spnl/error.h"
#include "util/files.h"
#include "util/text.h"

namespace spnl::evaluator {
namespace {

constexpr size_t kLargestFetch = 100'000'000;

Query read_now(const Fetch& fetch, SourcePosition position, const std::string& where) {
  if (fetch.location.starts_with("http://") || fetch.location.starts_with("https://"))
    throw Error(ErrorCode::kUnsupported, "fetching http addresses is not supported in this build",
                where);
  const std::string name = text::quote(fetch.location, 200);
  if (fetch.binary)
    throw Error(ErrorCode::kEvaluation, "the binary document " + name + " has no text", where);
  std::string content;
  try {
    content = read_whole_file(fetch.location, kLargestFetch);
  } catch (const std::runtime_error& error) {
    throw Error(ErrorCode::kEvaluation, "file " + name + " cannot be read: " + error.what(), where);
  }
  if (text::first_invalid_utf8(content) != std::string_view::npos)
    throw Error(ErrorCode::kEvaluation, "file " + name + " cannot be read: it is not UTF-8 text",
                where);
  return {User{std::move(content)}, position};
}

}  // namespace

Query evaluate(const Query& query, ModelProvider& provider, const EvaluateOptions& options,
               Observer& observer, std::stop_token stop) {
  return Run(query, provider, options, observer).run(std::move(stop));
}

Run::Run(const Query& query, ModelProvider& provider, const EvaluateOptions& options,
         Observer& observer)
    : options_(options),
      provider_(provider),
      observer_(observer),
      plan_(query),
      answers_(check(plan_, options)) {}

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
      start_loading();
      to_start_.push_back(0);
    });
  });
  loop_->context.run();
  if (pool_) pool_->join();
  if (failure_) std::rethrow_exception(failure_);
  auto& result = plan_.tasks[0].result;
  return result ? std::move(*result) : Query{Seq{}, plan_.tasks[0].query->position};
}

void Run::fail(std::exception_ptr error) {
  if (failure_ || root_done_) return;  // after the end there is nothing to stop
  failure_ = std::move(error);
  to_start_.clear(), to_complete_.clear();
  stop_loading_.request_stop();
  for (const auto& [request, active] : active_) active.model->cancel(active.generation);
}

/// Starts and completes nodes until everything waits for something outside. Lists instead of
/// recursion: trees are deep.
void Run::pump() {
  while (!failure_ && !(to_start_.empty() && to_complete_.empty())) {
    // Completions first: what they free is needed no longer, and what they start should start
    // early.
    std::vector<uint32_t>& from = to_complete_.empty() ? to_start_ : to_complete_;
    const bool starting = to_complete_.empty();
    const uint32_t task = from.back();
    from.pop_back();
    if (starting)
      start(task);
    else
      complete(task);
  }
}

void Run::start(uint32_t index) {
  const Task& task = plan_.tasks[index];
  std::visit(
      [&](const auto& node) {
        using T = std::remove_cvref_t<decltype(node)>;
        if constexpr (ir::is_message<T>) {
          finish(index, message({node, task.query->position}));
        } else if constexpr (ir::is_any_of<T, Print>) {
          observer_.on_print(node.text);
          finish(index, std::nullopt);
        } else if constexpr (ir::is_any_of<T, Ask>) {
          finish(index, message({User{answers_.at(node.prompt)}, task.query->position}));
        } else if constexpr (ir::is_any_of<T, Fetch>) {
          start_read(index);
        } else if constexpr (ir::is_any_of<T, Map>) {
          if (node.inputs.empty()) return finish(index, std::nullopt);
          map_results_[index].resize(node.inputs.size());
          const std::string prefix = index == 0 ? "" : plan_.path(index) + ".";
          for (uint32_t i = 0; i < node.inputs.size(); ++i)
            add_job(index, i, prefix + std::to_string(i), user_prompt(node.inputs[i]));
        } else if (task.child_count == 0) {
          to_complete_.push_back(index);
        } else if constexpr (ir::is_any_of<T, Seq, Cross>) {
          to_start_.push_back(task.first_child);
        } else {
          for (uint32_t i = task.child_count; i-- > 0;) to_start_.push_back(task.first_child + i);
        }
      },
      task.query->node);
}

void Run::finish(uint32_t index, std::optional<Query> result) {
  plan_.tasks[index].result = std::move(result);
  if (index == 0)
    root_done_ = true;
  else
    child_done(plan_.tasks[index].parent);
}

void Run::child_done(uint32_t index) {
  Task& task = plan_.tasks[index];
  ++task.done;
  const auto& node = task.query->node;
  if (task.done == task.child_count)
    to_complete_.push_back(index);
  else if (std::holds_alternative<Seq>(node) || std::holds_alternative<Cross>(node))
    to_start_.push_back(task.first_child + task.done);
}

std::optional<Query> Run::take_result(uint32_t task, uint32_t child) {
  std::optional<Query> taken = std::move(plan_.tasks[plan_.tasks[task].first_child + child].result);
  plan_.tasks[plan_.tasks[task].first_child + child].result.reset();
  return taken;
}

void Run::complete(uint32_t index) {
  const Task& task = plan_.tasks[index];
  const Query& query = *task.query;
  if (ir::list_of(query) != nullptr) {
    QueryList results;
    for (uint32_t i = 0; i < task.child_count; ++i)
      if (auto result = take_result(index, i)) results.push_back(std::move(*result));
    return finish(index, join(query, std::move(results)));
  }
  if (std::holds_alternative<Monad>(query.node)) {
    take_result(index, 0);
    return finish(index, std::nullopt);
  }
  if (std::holds_alternative<Zip>(query.node)) {
    auto first = take_result(index, 0), second = take_result(index, 1);
    return finish(index,
                  zip(std::move(first), std::move(second), query.position, plan_.where(index)));
  }
  const auto input = take_result(index, 0);
  Prompt prompt = input ? build_prompt(*input) : Prompt{};
  if (prompt.children.empty())
    throw Error(ErrorCode::kEvaluation, "the input of this generate is empty", plan_.where(index));
  add_job(index, 0, plan_.path(index), std::move(prompt));
}

void Run::start_read(uint32_t index) {
  ++outside_;
  boost::asio::post(pool(), [this, loop = loop_, index, where = plan_.where(index)] {
    std::optional<Query> result;
    std::exception_ptr error;
    try {
      const Query& query = *plan_.tasks[index].query;
      result = read_now(std::get<Fetch>(query.node), query.position, where);
    } catch (...) {
      error = std::current_exception();
    }
    boost::asio::post(loop->context, [this, index, error, result = std::move(result)]() mutable {
      event([&] {
        --outside_;
        if (error) std::rethrow_exception(error);
        if (!failure_) finish(index, message(std::move(*result)));
      });
    });
  });
}

}  // namespace spnl::evaluator
