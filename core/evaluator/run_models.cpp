#include <algorithm>
#include <boost/asio/post.hpp>
#include <utility>

#include "evaluator/prompt.h"
#include "evaluator/request.h"
#include "evaluator/results.h"
#include "evaluator/run.h"
#include "optimizer/sampling.h"
#include "optimizer/seeds.h"
#include "optimizer/stages.h"
#include "spnl/error.h"

namespace spnl::evaluator {
namespace {

constexpr size_t kLoaders = 2;  // loading is bound by the disk and the backends' own order

/// An exception as an Error with a place: models may throw anything from generate().
std::exception_ptr placed(std::exception_ptr error, const std::string& where) {
  try {
    std::rethrow_exception(error);
  } catch (const Error& e) {
    return e.where().empty()
               ? std::make_exception_ptr(Error(e.code(), e.message(), where, e.hint()))
               : error;
  } catch (const std::exception& e) {
    return std::make_exception_ptr(Error(ErrorCode::kEvaluation, e.what(), where));
  }
}

}  // namespace

boost::asio::thread_pool& Run::pool() {
  if (!pool_) pool_.emplace(kLoaders);
  return *pool_;
}

const std::string& Run::model_name(uint32_t node) const {
  const std::string& given = *model_use(*table_.nodes[node].query)->model;
  return given.empty() ? options_.default_model : given;
}

Sampling Run::sampling(uint32_t node) const {
  return effective_sampling(*model_use(*table_.nodes[node].query)->sampling, options_);
}

/// All models at once and first of all: each generate of a tree runs sooner or later, and one that
/// cannot be loaded is better known before work was done.
void Run::start_loading() {
  for (uint32_t i = 0; i < table_.nodes.size(); ++i) {
    const auto use = model_use(*table_.nodes[i].query);
    if (!use || use->inputs == 0) continue;
    const std::string& name = model_name(i);
    if (models_.try_emplace(name).second) load(name, i);
  }
}

void Run::load(const std::string& name, uint32_t first_user) {
  ModelState& state = models_[name];
  try {
    for (const std::string& ability : provider_.capabilities(name)) {
      if (ability == "bulk_repeat") state.bulk_repeat = true;
      if (ability == "remote") state.remote = true;
    }
  } catch (const Error&) {
    state.failed = true;
    return node_failed(first_user, table_.path(first_user), std::current_exception());
  }
  start_load(name);
}

void Run::start_load(const std::string& name) {
  ModelState& state = models_[name];
  state.loading = true;
  state.let_go_before = let_go_;
  ++outside_;
  boost::asio::post(pool(), [this, loop = loop_, name, stop = stop_loading_.get_token()] {
    std::shared_ptr<Model> model;
    std::exception_ptr error;
    try {
      model = provider_.load(name, options_.load, stop);
    } catch (...) {
      error = std::current_exception();
    }
    // Moved, so that this thread has no part in the exception's end.
    boost::asio::post(loop->context,
                      [this, name, model = std::move(model), error = std::move(error)]() mutable {
                        event([&] { loaded(name, std::move(model), error); });
                      });
  });
}

void Run::loaded(const std::string& name, std::shared_ptr<Model> model, std::exception_ptr error) {
  --outside_;
  if (failure_) return;
  ModelState& state = models_[name];
  state.loading = false;
  if (error && waits_for_room(error, state)) {
    state.no_room = true;
    return;
  }
  const std::vector<uint32_t> waiting = std::move(state.waiting);
  state.waiting.clear();
  if (error) {
    // Reported once, for the first node that uses the model; all of them end.
    state.failed = true;
    uint32_t user = 0;
    while (!model_use(*table_.nodes[user].query) || model_name(user) != name) ++user;
    node_failed(user, table_.path(user, 0), error);
  }
  state.model = std::move(model);
  for (const uint32_t job : waiting) {
    if (failure_) return;
    submit(job);
  }
}

/// Another model was let go meanwhile, or works here and will be let go sooner or later.
bool Run::waits_for_room(const std::exception_ptr& error, const ModelState& state) const {
  try {
    std::rethrow_exception(error);
  } catch (const Error& e) {
    if (e.code() != ErrorCode::kNoRoom) return false;
  } catch (const std::exception&) {
    return false;
  }
  return let_go_ != state.let_go_before ||
         std::any_of(models_.begin(), models_.end(), [&](const auto& other) {
           return &other.second != &state && (other.second.active > 0 || other.second.loading);
         });
}

/// Where a query names several models, one without work may leave memory for another; the backends
/// keep it as long as there is room.
void Run::let_go_of_idle_models() {
  if (models_.size() < 2) return;
  for (auto& [name, state] : models_)
    if (state.active == 0 && std::exchange(state.model, nullptr)) ++let_go_;
  for (auto& [name, state] : models_) {
    if (failure_ || !state.no_room || (state.let_go_before == let_go_ && outside_ > 0)) continue;
    state.no_room = false;
    if (!state.waiting.empty()) start_load(name);
  }
}

void Run::add_job(GenerateUnit unit, Prompt prompt) {
  const NodeTable::Node& node = table_.nodes[unit.node];
  const ModelUse use = *model_use(*node.query);
  Job job;
  job.unit = unit;
  job.node = table_.path(unit.node, unit.input);
  job.prompt = std::move(prompt);
  job.samples = sharing_.alike.contains(unit.node) ? 1 : use.samples;
  job.seed = node_seed(options_.seed, node.hash, use.map, unit.input);
  jobs_.push_back(std::move(job));
  const uint32_t index = static_cast<uint32_t>(jobs_.size() - 1);
  if (jobs_.back().prompt.children.empty())
    return job_failed(index, std::make_exception_ptr(Error(ErrorCode::kEvaluation,
                                                           "the input of this generate is empty",
                                                           table_.where(unit.node, unit.input))));
  ModelState& state = models_[model_name(unit.node)];
  if (state.model || state.failed) return submit(index);
  state.waiting.push_back(index);
  if (!state.loading && !state.no_room) start_load(model_name(unit.node));
}

void Run::submit(uint32_t index) {
  Job& job = jobs_[index];
  const ModelState& state = models_[model_name(job.unit.node)];
  if (state.failed) return job_failed(index, nullptr);
  job.completions.resize(job.samples);
  job.context = state.model->info().context;
  GenerateRequest request = base_request(options_.request, sampling(job.unit.node), job.seed);
  request.prompt = std::move(job.prompt);
  set_spans(job, models_[model_name(job.unit.node)], request);
  job.prefill_only = request.prefill_only;
  const bool bulk = state.bulk_repeat || job.samples == 1;
  const uint32_t requests = bulk ? 1 : job.samples;
  request.samples = bulk ? job.samples : 1;
  job.outstanding = requests;
  for (uint32_t i = 0; i < requests; ++i) {
    GenerateRequest one = request;
    one.seed = seeds::of_sample(*request.seed, i);
    send({index, i, std::move(one), state.model, state.remote});
  }
}

/// What a request says about the independent groups of its prompt. A model that knows none gets it
/// without, and that is said once.
void Run::set_spans(const Job& job, ModelState& state, GenerateRequest& request) {
  if (!has_independent(request.prompt)) return;
  const std::vector<std::string>& abilities = state.model->info().capabilities;
  if (std::find(abilities.begin(), abilities.end(), "spans") != abilities.end()) {
    uses_.mark(request.prompt, job.unit.node);
    request.prefill_only = only_warms_cache(job, request);
    request.prompt_options.no_generation = request.prefill_only;
    return;
  }
  std::string asked = request.span_mode == "exact" ? "" : request.span_mode;
  if (asked.empty() && request.span_order == "canonical") asked = "canonical order";
  if (!asked.empty() && !std::exchange(state.told_no_spans, true))
    observer_.on_note(model_name(job.unit.node) + " does not cache spans: '" + asked +
                      "' is run as 'exact', in the order given");
  request.span_mode.clear(), request.span_context.clear(), request.span_order.clear();
}

/// One greedy token that nobody reads is asked for its prompt's sake alone. A unit that serves
/// others is read where they are.
bool Run::only_warms_cache(const Job& job, const GenerateRequest& request) const {
  if (request.max_tokens != 1u || request.temperature != 0.0f) return false;
  if (served_.contains(job.unit)) return false;
  for (uint32_t node = job.unit.node; node != 0; node = table_.nodes[node].parent) {
    if (node != job.unit.node && model_use(*table_.nodes[node].query)) return false;
    if (std::holds_alternative<Monad>(table_.nodes[node].query->node)) return true;
  }
  return std::holds_alternative<Monad>(table_.nodes[0].query->node);
}

/// Whether the generate that reads what `node` yields, if any, has its model.
bool Run::reads_same_model(uint32_t node) const {
  return readers_[node] == kNoReader || model_name(readers_[node]) == model_name(node);
}

/// Remote engines are asked for a few generations at once, in the order in which they were ready.
void Run::send(Request request) {
  if (request.remote && remote_active_ >= remote_limit_)
    return remote_waiting_.push_back(std::move(request));
  const uint64_t number = next_request_++;
  const uint32_t index = request.job, first_sample = request.first_sample;
  if (!jobs_[index].announced) {
    jobs_[index].announced = true;
    observer_.on_generate_start(jobs_[index].node, model_name(jobs_[index].unit.node),
                                jobs_[index].samples);
  }
  GenerateHandlers handlers;
  handlers.on_tokens = [this, loop = loop_, index, first_sample](uint32_t sample,
                                                                 std::string_view text,
                                                                 const std::vector<int32_t>& ids) {
    boost::asio::post(loop->context, [this, index, sample = first_sample + sample,
                                      text = std::string(text), count = ids.size()] {
      event([&] {
        if (!failure_) observer_.on_text(jobs_[index].node, sample, text, count);
      });
    });
  };
  handlers.on_finish = [this, loop = loop_, number, index,
                        first_sample](std::vector<Completion> completions) {
    boost::asio::post(loop->context,
                      [this, number, index, first_sample, all = std::move(completions)]() mutable {
                        event([&] { finished(number, index, first_sample, std::move(all)); });
                      });
  };
  const uint32_t samples = request.request.samples;
  try {
    const uint64_t generation =
        request.model->generate(std::move(request.request), std::move(handlers));
    ModelState& state = models_[model_name(jobs_[index].unit.node)];
    ++state.active;
    active_[number] = {std::move(request.model), &state, generation, request.remote};
    remote_active_ += request.remote ? 1 : 0;
    ++outside_;
  } catch (...) {
    refused(index, first_sample, samples,
            placed(std::current_exception(),
                   table_.where(jobs_[index].unit.node, jobs_[index].unit.input)));
  }
}

/// A model that throws instead of generating has failed those samples.
void Run::refused(uint32_t index, uint32_t first_sample, uint32_t samples,
                  std::exception_ptr error) {
  if (!options_.keep_going) std::rethrow_exception(error);
  Job& job = jobs_[index];
  if (!job.refusal) job.refusal = error;
  for (uint32_t i = 0; i < samples; ++i)
    job.completions[first_sample + i].finish = FinishReason::kError;
  if (--job.outstanding == 0) job_done(index);
}

void Run::send_waiting() {
  while (!failure_ && !remote_waiting_.empty() && remote_active_ < remote_limit_) {
    Request next = std::move(remote_waiting_.front());
    remote_waiting_.pop_front();
    send(std::move(next));
  }
}

void Run::finished(uint64_t request, uint32_t index, uint32_t first_sample,
                   std::vector<Completion> completions) {
  --outside_;
  const auto active = active_.find(request);
  remote_active_ -= active->second.remote ? 1 : 0;
  --active->second.state->active;
  active_.erase(active);
  Job& job = jobs_[index];
  --job.outstanding;
  const size_t count = std::min<size_t>(completions.size(), job.samples - first_sample);
  for (size_t i = 0; i < count; ++i) {
    completions[i].sample = first_sample + static_cast<uint32_t>(i);
    job.completions[first_sample + i] = std::move(completions[i]);
  }
  if (failure_) {
    if (job.outstanding == 0)
      observer_.on_generate_finish(job.node, model_name(job.unit.node), job.completions);
    return;
  }
  for (size_t i = 0; i < count && !options_.keep_going; ++i)  // no need to wait for other samples
    if (const auto found = problem(job, job.completions[first_sample + i]))
      std::rethrow_exception(found);
  if (job.outstanding == 0) job_done(index);
  send_waiting();
}

std::exception_ptr Run::problem(const Job& job, const Completion& completion) const {
  const auto error = [&](const std::string& what) {
    return std::make_exception_ptr(
        Error(ErrorCode::kEvaluation, what, table_.where(job.unit.node, job.unit.input)));
  };
  if (completion.finish == FinishReason::kCancelled)
    return error("the model cancelled the generation");
  if (completion.finish != FinishReason::kError) return nullptr;
  if (job.refusal) return job.refusal;
  return error(completion.error.empty() ? "the model failed" : completion.error);
}

void Run::note_full_context(const Job& job, const Completion& completion) {
  if (completion.finish != FinishReason::kLength || job.prefill_only) return;
  const uint64_t limit = sampling(job.unit.node).max_tokens.value_or(0);
  if (limit > 0 && completion.usage.output_tokens >= limit) return;
  observer_.on_note("node " + job.node + " ended early: the model's context of " +
                    std::to_string(job.context) + " tokens is full");
}

/// All samples are there, good or bad.
void Run::job_done(uint32_t index) {
  Job job = std::move(jobs_[index]);
  const GenerateUnit unit = job.unit;
  observer_.on_generate_finish(job.node, model_name(unit.node), job.completions);
  QueryList answers;
  std::exception_ptr first_problem;
  for (Completion& completion : job.completions) {
    note_full_context(job, completion);
    if (const auto found = problem(job, completion)) {
      if (!first_problem) first_problem = found;
      continue;
    }
    answers.push_back({Assistant{std::move(completion.text), completion.sequence}, {}});
  }
  if (first_problem) node_failed(unit.node, job.node, first_problem);
  if (sharing_.alike.contains(unit.node) && answers.size() == 1) {
    const Query one = answers[0];
    answers.resize(model_use(*table_.nodes[unit.node].query)->samples, one);
  }
  unit_done(unit, std::move(answers), first_problem != nullptr);
}

/// A job that does not come to answers. No error: it was reported already.
void Run::job_failed(uint32_t index, std::exception_ptr error) {
  const GenerateUnit unit = jobs_[index].unit;
  if (error) node_failed(unit.node, jobs_[index].node, error);
  unit_done(unit, {}, true);
}

void Run::unit_done(GenerateUnit unit, QueryList answers, bool failed) {
  const auto served = served_.find(unit);
  if (served != served_.end()) {
    served->second.done = true;
    served->second.failed = failed;
    served->second.answers = answers;
    for (const GenerateUnit& other : std::exchange(served->second.waiting, {}))
      deliver(other, served->second.answers, failed);
  }
  deliver(unit, std::move(answers), failed);
}

void Run::deliver(GenerateUnit unit, QueryList answers, bool failed) {
  const Query& query = *table_.nodes[unit.node].query;
  Progress& progress = progress_[unit.node];
  if (failed) progress.partial = true;
  for (Query& answer : answers) {
    answer.position = query.position;
    // A sequence of another model is nothing to the reader.
    if (!reads_same_model(unit.node)) std::get<Assistant>(answer.node).lineage = 0;
  }
  if (!std::holds_alternative<Map>(query.node)) {
    std::erase_if(static_cast<std::vector<Query>&>(answers),
                  [](const Query& one) { return std::get<Assistant>(one.node).text.empty(); });
    return finish(unit.node, join({Par{}, query.position}, std::move(answers)));
  }
  QueryList& all = map_results_[unit.node];
  all[unit.input] = answers.empty() ? Query{Seq{}, query.position} : std::move(answers[0]);
  if (++progress.done_children < all.size()) return;
  QueryList kept;
  for (Query& one : all)
    if (auto answer = message(std::move(one))) kept.push_back(std::move(*answer));
  finish(unit.node, join({Par{}, query.position}, std::move(kept)));
}

}  // namespace spnl::evaluator
