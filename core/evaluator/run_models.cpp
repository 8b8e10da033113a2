#include <algorithm>
#include <boost/asio/post.hpp>

#include "evaluator/prompt.h"
#include "evaluator/request.h"
#include "evaluator/results.h"
#include "evaluator/run.h"
#include "optimizer/seeds.h"
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

const std::string& Run::model_name(uint32_t task) const {
  const std::string& given = *model_use(*plan_.tasks[task].query)->model;
  return given.empty() ? options_.default_model : given;
}

/// All models at once and first of all: each generate of a tree runs sooner or later, and one that
/// cannot be loaded is better known before work was done.
void Run::start_loading() {
  for (uint32_t i = 0; i < plan_.tasks.size(); ++i) {
    const Query& query = *plan_.tasks[i].query;
    if (!model_use(query)) continue;
    if (const auto* map = std::get_if<Map>(&query.node); map != nullptr && map->inputs.empty())
      continue;
    const std::string& name = model_name(i);
    if (models_.try_emplace(name).second) load(name);
  }
}

void Run::load(const std::string& name) {
  const auto capabilities = provider_.capabilities(name);
  models_[name].bulk_repeat =
      std::find(capabilities.begin(), capabilities.end(), "bulk_repeat") != capabilities.end();
  ++outside_;
  boost::asio::post(pool(), [this, loop = loop_, name, stop = stop_loading_.get_token()] {
    std::shared_ptr<Model> model;
    std::exception_ptr error;
    try {
      model = provider_.load(name, options_.load, stop);
    } catch (...) {
      error = std::current_exception();
    }
    boost::asio::post(loop->context, [this, name, model = std::move(model), error]() mutable {
      event([&] { loaded(name, std::move(model), error); });
    });
  });
}

void Run::loaded(const std::string& name, std::shared_ptr<Model> model, std::exception_ptr error) {
  --outside_;
  if (error) std::rethrow_exception(error);
  ModelState& state = models_[name];
  state.model = std::move(model);
  for (uint32_t job : state.waiting)
    if (!failure_) submit(job);
  state.waiting.clear();
}

void Run::add_job(uint32_t task, uint32_t slot, std::string node, Prompt prompt) {
  const Query& query = *plan_.tasks[task].query;
  const bool map = std::holds_alternative<Map>(query.node);
  Job job;
  job.task = task;
  job.slot = slot;
  job.node = std::move(node);
  job.prompt = std::move(prompt);
  job.samples = model_use(query)->samples;
  const uint64_t hash = plan_.tasks[task].hash;
  job.seed = seeds::mix(options_.seed, map ? seeds::mix(hash, slot) : hash);
  jobs_.push_back(std::move(job));
  const uint32_t index = static_cast<uint32_t>(jobs_.size() - 1);
  ModelState& state = models_[model_name(task)];
  if (state.model)
    submit(index);
  else
    state.waiting.push_back(index);
}

void Run::submit(uint32_t index) {
  Job& job = jobs_[index];
  const std::string& name = model_name(job.task);
  const ModelState& state = models_[name];
  observer_.on_generate_start(job.node, name, job.samples);
  job.completions.resize(job.samples);
  GenerateRequest request = base_request(
      effective_sampling(*model_use(*plan_.tasks[job.task].query)->sampling, options_), job.seed);
  request.prompt = std::move(job.prompt);
  try {
    if (state.bulk_repeat || job.samples == 1)
      return send(index, 0, job.samples, std::move(request), state.model);
    for (uint32_t i = 0; i < job.samples; ++i) {
      GenerateRequest one = request;
      one.seed = seeds::of_sample(*request.seed, i);
      send(index, i, 1, std::move(one), state.model);
    }
  } catch (...) {
    std::rethrow_exception(placed(std::current_exception(), plan_.where(job.task)));
  }
}

void Run::send(uint32_t job, uint32_t first_sample, uint32_t samples, GenerateRequest request,
               const std::shared_ptr<Model>& model) {
  const uint64_t number = next_request_++;
  request.samples = samples;
  GenerateHandlers handlers;
  handlers.on_tokens = [this, loop = loop_, job, first_sample](uint32_t sample,
                                                               std::string_view text,
                                                               const std::vector<int32_t>& ids) {
    boost::asio::post(loop->context, [this, job, sample = first_sample + sample,
                                      text = std::string(text), count = ids.size()] {
      event([&] {
        if (!failure_) observer_.on_text(jobs_[job].node, sample, text, count);
      });
    });
  };
  handlers.on_finish = [this, loop = loop_, number, job,
                        first_sample](std::vector<Completion> completions) {
    boost::asio::post(loop->context,
                      [this, number, job, first_sample, all = std::move(completions)]() mutable {
                        event([&] { finished(number, job, first_sample, std::move(all)); });
                      });
  };
  const uint64_t generation = model->generate(std::move(request), std::move(handlers));
  active_[number] = {model, generation};
  ++jobs_[job].outstanding;
  ++outside_;
}

void Run::finished(uint64_t request, uint32_t index, uint32_t first_sample,
                   std::vector<Completion> completions) {
  --outside_;
  active_.erase(request);
  Job& job = jobs_[index];
  --job.outstanding;
  for (size_t i = 0; i < completions.size() && first_sample + i < job.samples; ++i) {
    completions[i].sample = first_sample + static_cast<uint32_t>(i);
    job.completions[first_sample + i] = std::move(completions[i]);
  }
  if (!failure_)
    for (size_t i = 0; i < completions.size() && first_sample + i < job.samples; ++i)
      check_completion(job, job.completions[first_sample + i]);
  if (job.outstanding == 0) job_done(index);
}

void Run::check_completion(const Job& job, const Completion& completion) {
  const std::string where = plan_.where(job.task);
  if (completion.finish == FinishReason::kError)
    throw Error(ErrorCode::kEvaluation,
                completion.error.empty() ? "the model failed" : completion.error, where);
  if (completion.finish == FinishReason::kCancelled)
    throw Error(ErrorCode::kEvaluation, "the model cancelled the generation", where);
  if (completion.finish != FinishReason::kLength) return;
  const auto limit =
      base_request(effective_sampling(*model_use(*plan_.tasks[job.task].query)->sampling, options_),
                   0)
          .max_tokens;
  if (limit && completion.usage.output_tokens >= *limit) return;
  const uint64_t context = models_[model_name(job.task)].model->info().context;
  observer_.on_note("node " + job.node + " ended early: the model's context of " +
                    std::to_string(context) + " tokens is full");
}

void Run::job_done(uint32_t index) {
  Job& job = jobs_[index];
  const Query& query = *plan_.tasks[job.task].query;
  observer_.on_generate_finish(job.node, model_name(job.task), job.completions);
  if (failure_) return;
  QueryList answers;
  for (Completion& completion : job.completions)
    if (auto answer =
            message({Assistant{std::move(completion.text), completion.sequence}, query.position}))
      answers.push_back(std::move(*answer));
  job.completions.clear();
  if (!std::holds_alternative<Map>(query.node))
    return finish(job.task, join({Par{}, query.position}, std::move(answers)));
  QueryList& all = map_results_[job.task];
  all[job.slot] = answers.empty() ? Query{Assistant{}, query.position} : std::move(answers[0]);
  if (++plan_.tasks[job.task].done < all.size()) return;
  std::erase_if(static_cast<std::vector<Query>&>(all),
                [](const Query& one) { return std::get<Assistant>(one.node).text.empty(); });
  finish(job.task, join({Par{}, query.position}, std::move(all)));
}

}  // namespace spnl::evaluator
