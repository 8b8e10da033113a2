#pragma once
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/thread_pool.hpp>
#include <exception>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "evaluator/model_provider.h"
#include "evaluator/plan.h"

namespace spnl::evaluator {

/// One evaluation. Everything here happens on the thread that calls run(): models and loaders only
/// post events to its loop, so there is nothing to lock and observers are called one at a time. No
/// thread waits for a generation.
class Run {
 public:
  Run(const Query& query, ModelProvider& provider, const EvaluateOptions& options,
      Observer& observer);
  Query run(std::stop_token stop);  ///< once

 private:
  /// Outlives the run while a model still holds a handler.
  struct Loop {
    boost::asio::io_context context{1};
  };
  struct ModelState {
    std::shared_ptr<Model> model;
    bool bulk_repeat = false;
    std::vector<uint32_t> waiting;  ///< jobs
  };
  /// One generate, repeat, or input of a map.
  struct Job {
    uint32_t task = 0, slot = 0;
    std::string node;
    Prompt prompt;  ///< until submitted
    uint64_t seed = 0;
    uint32_t samples = 1, outstanding = 0;
    std::vector<Completion> completions;
  };
  struct Active {
    std::shared_ptr<Model> model;
    uint64_t generation = 0;
  };

  // Events, each on the loop.
  template <class Body>
  void event(Body&& body);
  void loaded(const std::string& name, std::shared_ptr<Model> model, std::exception_ptr error);
  void finished(uint64_t request, uint32_t job, uint32_t first_sample,
                std::vector<Completion> completions);
  void fail(std::exception_ptr error);

  // Walking the tree.
  void pump();
  void start(uint32_t task);
  void child_done(uint32_t task);
  void complete(uint32_t task);  ///< all children are done
  void finish(uint32_t task, std::optional<Query> result);
  void start_read(uint32_t task);
  std::optional<Query> take_result(uint32_t task, uint32_t child);

  // Models.
  void start_loading();
  void load(const std::string& name);
  boost::asio::thread_pool& pool();
  const std::string& model_name(uint32_t task) const;
  void add_job(uint32_t task, uint32_t slot, std::string node, Prompt prompt);
  void submit(uint32_t job);
  void send(uint32_t job, uint32_t first_sample, uint32_t samples, GenerateRequest request,
            const std::shared_ptr<Model>& model);
  void job_done(uint32_t job);
  void check_completion(const Job& job, const Completion& completion);

  const EvaluateOptions& options_;
  ModelProvider& provider_;
  Observer& observer_;
  Plan plan_;
  std::map<std::string, std::string> answers_;
  std::shared_ptr<Loop> loop_ = std::make_shared<Loop>();
  std::optional<boost::asio::executor_work_guard<boost::asio::io_context::executor_type>> open_;
  std::map<std::string, ModelState> models_;
  std::vector<Job> jobs_;
  std::map<uint32_t, QueryList> map_results_;
  std::map<uint64_t, Active> active_;
  std::vector<uint32_t> to_start_, to_complete_;
  uint64_t next_request_ = 1;
  size_t outside_ = 0;  ///< loads, reads and requests whose event is still to come
  bool root_done_ = false;
  std::exception_ptr failure_;  ///< the first
  std::stop_source stop_loading_;
  std::optional<boost::asio::thread_pool>
      pool_;  ///< last: joined before what its work refers to goes
};

/// Whatever goes wrong in an event, observers included, fails the run; the loop ends when nothing
/// can come any more.
template <class Body>
void Run::event(Body&& body) {
  try {
    body();
    pump();
  } catch (...) {
    fail(std::current_exception());
  }
  if (outside_ == 0 && (root_done_ || failure_)) open_.reset();
}

}  // namespace spnl::evaluator
