#pragma once
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/thread_pool.hpp>
#include <deque>
#include <exception>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "evaluator/fragment_uses.h"
#include "evaluator/model_provider.h"
#include "optimizer/node_table.h"
#include "optimizer/share.h"

namespace spnl::evaluator {

/// One evaluation. It walks the query as it is written, so that paths, positions and seeds do not
/// depend on how it is planned; what the plan finds to save or to run together is saved and run
/// together here as well. Everything here happens on the thread that calls run(): models and
/// loaders only post events to its loop, so there is nothing to lock and observers are called one
/// at a time. No thread waits for a generation.
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
  /// How far a node is.
  struct Progress {
    uint32_t started_children = 0, done_children = 0, turned_children = 0;
    bool started = false, done = false;
    bool turn = false;            ///< everything that is shown before it has been shown
    bool partial = false;         ///< something that it depends on failed
    std::optional<Query> result;  ///< empty: not evaluated yet, or yields nothing
  };
  struct ModelState {
    std::shared_ptr<Model> model;  ///< null: loading, or let go until a job needs it
    bool bulk_repeat = false, remote = false;
    bool loading = false;
    bool no_room = false;           ///< waits until another model is let go
    uint64_t let_go_before = 0;     ///< let_go_ when loading began
    bool failed = false;            ///< to load, with keep_going
    bool told_no_spans = false;     ///< a note was given
    std::vector<uint32_t> waiting;  ///< jobs
    size_t active = 0;              ///< requests
  };
  /// What one generate, repeat, or input of a map asks.
  struct Job {
    GenerateUnit unit;
    std::string node;
    Prompt prompt;  ///< until submitted
    uint64_t seed = 0;
    uint32_t samples = 1, outstanding = 0;
    uint64_t context = 0;  ///< of its model, which may be let go before the job is done
    bool prefill_only = false;
    bool announced = false;
    std::exception_ptr refusal;  ///< what the model threw instead of generating
    std::vector<Completion> completions;
  };
  struct Request {
    uint32_t job = 0, first_sample = 0;
    GenerateRequest request;
    std::shared_ptr<Model> model;
    bool remote = false;
  };
  struct Active {
    std::shared_ptr<Model> model;
    ModelState* state = nullptr;
    uint64_t generation = 0;
    bool remote = false;
  };
  /// What a unit that serves others gave.
  struct Served {
    bool done = false, failed = false;
    QueryList answers;
    std::vector<GenerateUnit> waiting;
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
  void start(uint32_t node);
  void start_children(uint32_t node);
  void start_read(uint32_t node);
  void start_units(uint32_t node);
  void give_turn(uint32_t node);
  void child_done(uint32_t node, uint32_t child);
  void complete(uint32_t node);  ///< all children are done
  void finish(uint32_t node, std::optional<Query> result);
  void node_failed(uint32_t node, const std::string& path, std::exception_ptr error);
  std::optional<Query> take_result(uint32_t node, uint32_t child);

  // Models.
  void start_loading();
  void load(const std::string& name, uint32_t first_user);
  void start_load(const std::string& name);
  bool waits_for_room(const std::exception_ptr& error, const ModelState& state) const;
  void let_go_of_idle_models();
  boost::asio::thread_pool& pool();
  const std::string& model_name(uint32_t node) const;
  Sampling sampling(uint32_t node) const;
  void add_job(GenerateUnit unit, Prompt prompt);
  void submit(uint32_t job);
  void set_spans(const Job& job, ModelState& state, GenerateRequest& request);
  bool only_warms_cache(const Job& job, const GenerateRequest& request) const;
  bool reads_same_model(uint32_t node) const;
  void send(Request request);
  void send_waiting();
  void refused(uint32_t job, uint32_t first_sample, uint32_t samples, std::exception_ptr error);
  std::exception_ptr problem(const Job& job, const Completion& completion) const;
  void note_full_context(const Job& job, const Completion& completion);
  void job_done(uint32_t job);
  void job_failed(uint32_t job, std::exception_ptr error);
  void unit_done(GenerateUnit unit, QueryList answers, bool failed);
  void deliver(GenerateUnit unit, QueryList answers, bool failed);

  const EvaluateOptions& options_;
  ModelProvider& provider_;
  Observer& observer_;
  const NodeTable table_;
  const Sharing sharing_;
  const uint32_t remote_limit_;
  std::map<std::string, std::string> answers_;
  const std::vector<bool> has_monad_;
  const std::vector<uint32_t> readers_;
  const FragmentUses uses_;
  std::vector<Progress> progress_;
  std::map<GenerateUnit, Served> served_;  ///< units that serve others
  std::shared_ptr<Loop> loop_ = std::make_shared<Loop>();
  std::optional<boost::asio::executor_work_guard<boost::asio::io_context::executor_type>> open_;
  std::map<std::string, ModelState> models_;
  std::vector<Job> jobs_;
  std::map<uint32_t, QueryList> map_results_;
  std::map<uint64_t, Active> active_;
  std::deque<Request> remote_waiting_;
  uint32_t remote_active_ = 0;
  std::vector<uint32_t> to_start_, to_complete_, to_turn_;
  uint64_t next_request_ = 1;
  uint64_t let_go_ = 0;  ///< models that were let go so far
  size_t outside_ = 0;   ///< loads, reads and requests whose event is still to come
  bool root_done_ = false;
  std::exception_ptr failure_;  ///< the first that ends the run
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
    let_go_of_idle_models();
  } catch (...) {
    fail(std::current_exception());
  }
  if (outside_ == 0 && (root_done_ || failure_)) open_.reset();
}

}  // namespace spnl::evaluator
