#pragma once
#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "evaluator/model_provider.h"
#include "spnl/error.h"
#include "spnl/print.h"
#include "spnl/reader.h"

namespace spnl::test {

inline void append(const Prompt& prompt, std::string& out) {
  if (prompt.kind == Prompt::Kind::kMessage) {
    out += prompt.role == Role::kSystem ? "s:" : prompt.role == Role::kAssistant ? "a:" : "u:";
    out += prompt.text;
    if (prompt.lineage != 0) out += "#" + std::to_string(prompt.lineage);
    return;
  }
  out += prompt.kind == Prompt::Kind::kIndependent ? "{" : "[";
  for (size_t i = 0; i < prompt.children.size(); ++i)
    out += (i > 0 ? " " : ""), append(prompt.children[i], out);
  out += prompt.kind == Prompt::Kind::kIndependent ? "}" : "]";
}

/// "[s:be brief {u:a u:b}]": braces hold what is independent.
inline std::string shown(const Prompt& prompt) {
  std::string out;
  append(prompt, out);
  return out;
}

/// A model that answers "<last text>!" on a thread of its own, once `hold` generations are in
/// flight together.
class FakeModel : public Model {
 public:
  FakeModel() : thread_([this](std::stop_token stop) { serve(stop); }) {}
  ~FakeModel() override {
    thread_.request_stop();
    changed_.notify_all();
  }
  const ModelInfo& info() const override { return info_; }
  std::vector<int32_t> tokenize(const Prompt&, const PromptOptions&) override { return {}; }
  std::string detokenize(const std::vector<int32_t>&) override { return ""; }
  std::string render(const Prompt&, const PromptOptions&) override { return ""; }
  Score score(const std::vector<int32_t>&, uint32_t) override { return {}; }
  ModelStats stats() override { return {}; }
  uint64_t generate(GenerateRequest request, GenerateHandlers handlers) override {
    const std::lock_guard lock(mutex_);
    if (!refuse.empty() && shown(request.prompt).find(refuse) != std::string::npos)
      throw std::runtime_error("it refuses");
    requests.push_back(request);
    queue_.push_back({++last_, std::move(request), std::move(handlers), false});
    most_at_once = std::max(most_at_once, queue_.size());
    changed_.notify_all();
    return last_;
  }
  void cancel(uint64_t generation) override {
    const std::lock_guard lock(mutex_);
    for (Work& work : queue_)
      if (work.number == generation) work.cancelled = true, ++cancelled;
    changed_.notify_all();
  }

  void can(const std::string& ability) { info_.capabilities.push_back(ability); }

  std::vector<GenerateRequest> requests;
  size_t most_at_once = 0, hold = 1;
  std::string fail_on;  ///< prompts that hold this text fail
  std::string refuse;   ///< generate() throws for prompts that hold this text
  size_t cancelled = 0;
  FinishReason finish = FinishReason::kEos;

 private:
  struct Work {
    uint64_t number;
    GenerateRequest request;
    GenerateHandlers handlers;
    bool cancelled;
  };

  bool ready(const Work& work) const {
    return work.cancelled || most_at_once >= hold ||
           (!fail_on.empty() && shown(work.request.prompt).find(fail_on) != std::string::npos);
  }

  void serve(std::stop_token stop) {
    std::unique_lock lock(mutex_);
    while (!stop.stop_requested()) {
      size_t i = 0;
      while (i < queue_.size() && !ready(queue_[i])) ++i;
      if (i == queue_.size()) {
        changed_.wait_for(lock, std::chrono::milliseconds(20));
        continue;
      }
      Work work = std::move(queue_[i]);
      queue_.erase(queue_.begin() + static_cast<std::ptrdiff_t>(i));
      lock.unlock();
      answer(work);
      work = {};
      lock.lock();
    }
  }

  void answer(Work& work) {
    const Prompt& prompt = work.request.prompt;
    std::string text = shown(prompt);
    const bool fails = !fail_on.empty() && text.find(fail_on) != std::string::npos;
    const Prompt* last = &prompt;
    while (!last->children.empty()) last = &last->children.back();
    std::vector<Completion> all(work.request.samples);
    for (uint32_t i = 0; i < all.size(); ++i) {
      all[i].sample = i;
      all[i].sequence = work.number * 100 + i;
      all[i].finish = work.cancelled ? FinishReason::kCancelled
                      : fails        ? FinishReason::kError
                                     : finish;
      if (fails) all[i].error = "it broke";
      all[i].text = last->text + "!";
      all[i].usage.output_tokens = 1;
      if (!work.cancelled && !fails && work.handlers.on_tokens)
        work.handlers.on_tokens(i, all[i].text, {1});
    }
    work.handlers.on_finish(std::move(all));
  }

  ModelInfo info_{.architecture = "fake",
                  .device = "",
                  .dtype = "",
                  .eos = {},
                  .capabilities = {},
                  .context = 2048};
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Work> queue_;
  uint64_t last_ = 0;
  std::jthread thread_;
};

struct Provider : evaluator::ModelProvider {
  std::shared_ptr<FakeModel> fake = std::make_shared<FakeModel>();
  std::atomic<int> loads{0};
  bool fails = false, waits = false;
  std::string missing;  ///< a model that cannot be loaded
  std::set<std::string> abilities{"bulk_repeat"};
  std::map<std::string, std::shared_ptr<FakeModel>> others;  ///< by name; else `fake`
  std::shared_ptr<Model> load(const std::string& name, const LoadOptions&,
                              std::stop_token stop) override {
    ++loads;
    if (const auto other = others.find(name); other != others.end()) return other->second;
    if (name == missing) throw Error(ErrorCode::kNotFound, "no such model", name);
    while (waits && !stop.stop_requested())
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    if (stop.stop_requested()) throw Error(ErrorCode::kInterrupted, "loading stopped");
    if (fails) throw Error(ErrorCode::kNotLoadable, "bad file", name);
    return fake;
  }
  std::vector<std::string> capabilities(const std::string&) const override {
    return {abilities.begin(), abilities.end()};
  }
};

struct Events : Observer {
  std::vector<std::string> log;
  bool throws = false;
  void on_generate_start(const std::string& node, const std::string&, uint32_t samples) override {
    log.push_back("start " + node + " " + std::to_string(samples));
  }
  void on_text(const std::string& node, uint32_t sample, std::string_view text, size_t) override {
    log.push_back("text " + node + " " + std::to_string(sample) + " " + std::string(text));
  }
  void on_generate_finish(const std::string& node, const std::string&,
                          const std::vector<Completion>& done) override {
    log.push_back("finish " + node + " " + std::to_string(done.size()));
  }
  void on_print(const std::string& text) override {
    log.push_back("print " + text);
    if (throws) throw std::runtime_error("observer");
  }
  void on_note(const std::string& text) override { log.push_back(text); }
  void on_failure(const std::string& node, const Error& error) override {
    log.push_back("failed " + node + " " + error.what());
  }
  /// Where the first such event stands.
  size_t at(const std::string& event) const {
    return static_cast<size_t>(std::find(log.begin(), log.end(), event) - log.begin());
  }
  bool has(const std::string& event) const { return at(event) < log.size(); }
};

struct Bench {
  Provider provider;
  Events events;
  EvaluateOptions options;
  Query result;
  std::string run(const Query& query, std::stop_token stop = {}) {
    result = evaluator::evaluate(query, provider, options, events, stop);
    std::string out;
    for (char c : print_lisp(result))
      if (c != '\n' && (c != ' ' || out.empty() || out.back() != ' ')) out += c;
    return out;
  }
  std::string run(const std::string& text, std::stop_token stop = {}) {
    ReadOptions read;
    read.bindings = {{"m", std::string("f/m")}};
    return run(read_lisp(text, read), stop);
  }
  std::string error(const std::string& text) {
    try {
      run(text);
      return "no error";
    } catch (const Error& e) {
      return e.what();
    }
  }
};

}  // namespace spnl::test
