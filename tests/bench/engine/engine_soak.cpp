// Random work from several sessions on several threads for some time: submits, cancels, samples,
// stops, full contexts, memory too short for what is asked, sessions that fall silent or close in
// the middle. Greedy answers are held against those of each prompt alone. After each round nothing
// may be left: no block used, nothing running or waiting. Best built with SPNL_SANITIZE=address.
// Use: engine_soak SECONDS [MODEL...] (default: a model of the fixtures). Exit 1 on the first
// fault.
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "engine/session.h"

namespace {

using namespace spnl::mistralrs;

constexpr int kThreads = 4, kContext = 160;
constexpr size_t kPrompts = 40;
constexpr std::chrono::seconds kRound(2);

std::atomic<uint64_t> g_requests{0}, g_tokens{0}, g_checked{0}, g_cancelled{0}, g_faults{0};

void fault(const std::string& what) {
  ++g_faults;
  std::fprintf(stderr, "fault: %s\n", what.c_str());
}

std::unique_ptr<Model> load(const std::string& path, Settings settings) {
  settings.threads = 1;
  settings.max_context = kContext;
  return std::make_unique<Model>(
      path, spnl::modelkit::OpenOptions{}, settings, [](uint64_t, uint64_t) { return true; },
      [](const std::string&) {});
}

struct Prompts {
  std::vector<std::vector<int32_t>> ids, answers;  // greedy, alone, until the end
};

Prompts make_prompts(Model& model) {
  Prompts p;
  std::mt19937 random(1);
  const auto draw = [&](size_t count, std::vector<int32_t> ids = {}) {
    for (; count > 0; --count) ids.push_back(static_cast<int32_t>(3 + random() % 200));
    return ids;
  };
  const std::vector<int32_t> head = draw(50);
  for (size_t i = 0; i < kPrompts; ++i)
    p.ids.push_back(i % 2 == 0 ? draw(1 + random() % 40, head) : draw(1 + random() % 100));
  for (const auto& ids : p.ids) {
    auto& answer = p.answers.emplace_back();
    Session session(
        model,
        [&](const Event& e) {
          if (!e.finished) answer.push_back(e.token);
          return 0;
        },
        [](const std::string&) {});
    Request r;
    r.prompt = ids;
    uint64_t id = 0;
    session.submit(std::move(r), id);
    while (session.step() > 0) {
    }
  }
  return p;
}

/// One session with all that it asked for.
class Worker {
 public:
  Worker(Model& model, const Prompts& prompts, uint32_t seed)
      : prompts_(prompts),
        random_(seed),
        session_(
            model, [this](const Event& e) { return hear(e); }, [](const std::string&) {}) {}

  void run(std::chrono::steady_clock::time_point end) {
    while (std::chrono::steady_clock::now() < end) {
      const auto choice = below(100);
      if (choice < 25 && session_.alive() < 40)
        submit();
      else if (choice < 30 && !asked_.empty())
        session_.cancel(std::next(asked_.begin(), static_cast<long>(below(asked_.size())))->first);
      else if (choice == 30)
        std::this_thread::sleep_for(std::chrono::milliseconds(below(30)));  // others go on
      else
        session_.step();
    }
    if (below(2) == 0)
      while (session_.step() > 0) {
      }
    session_.close();
    for (const auto& [id, asked] : asked_)
      if (asked.finished != asked.samples) fault("a sample has no end");
  }

 private:
  struct Asked {
    size_t prompt;
    uint32_t samples, finished = 0;
    bool greedy;
    std::map<uint32_t, std::vector<int32_t>> tokens;
  };

  size_t below(size_t n) { return random_() % n; }

  void submit() {
    Request r;
    const size_t prompt = below(kPrompts);
    r.prompt = prompts_.ids[prompt];
    r.prefill_only = below(20) == 0;
    r.sampling.samples = static_cast<uint32_t>(1 + (below(4) == 0 ? below(4) : 0));
    r.sampling.max_tokens = static_cast<uint32_t>(below(3) == 0 ? 0 : below(40) + 1);
    r.sampling.params.temperature = below(3) == 0 ? 1.0f : 0.0f;
    r.sampling.params.seed = random_();
    r.sampling.want_logprobs = below(5) == 0;
    if (below(10) == 0) r.sampling.stops = {"a", "the "};
    const bool greedy = r.sampling.params.temperature == 0;
    const uint32_t samples = r.sampling.samples;
    uint64_t id = 0;
    if (!session_.submit(std::move(r), id)) return;
    asked_[id] = {prompt, samples, 0, greedy, {}};
    ++g_requests;
  }

  int32_t hear(const Event& e) {
    Asked& asked = asked_.at(e.sequence->request->id);
    std::vector<int32_t>& tokens = asked.tokens[e.sequence->sample];
    if (!e.finished) {
      tokens.push_back(e.token);
      ++g_tokens;
      return below(500) == 0 ? 1 : 0;
    }
    ++asked.finished;
    if (e.sequence->finish == Finish::kError) fault(e.sequence->error);
    if (e.sequence->finish == Finish::kCancelled) ++g_cancelled;
    const auto& answer = prompts_.answers[asked.prompt];
    if (asked.greedy) {
      ++g_checked;
      if (tokens.size() > answer.size() ||
          !std::equal(tokens.begin(), tokens.end(), answer.begin()))
        fault("an answer differs from that of the prompt alone");
    }
    return 0;
  }

  const Prompts& prompts_;
  std::mt19937 random_;
  std::map<uint64_t, Asked> asked_;
  Session session_;
};

long resident_kib() {
  std::ifstream file("/proc/self/statm");
  long size = 0, resident = 0;
  file >> size >> resident;
  return resident * (sysconf(_SC_PAGESIZE) >> 10);
}

void check_nothing_left(Model& model) {
  Runtime& runtime = *model.runtime();
  runtime.prefixes->clear();
  if (runtime.pool->used_blocks() != 0)
    fault(std::to_string(runtime.pool->used_blocks()) + " blocks are still used");
  if (runtime.counters.running != 0 || runtime.counters.waiting != 0)
    fault("sequences are counted that are not there");
}

void round(Model& model, const Prompts& prompts, uint32_t seed) {
  const auto end = std::chrono::steady_clock::now() + kRound;
  std::vector<std::thread> threads;
  for (uint32_t t = 0; t < kThreads; ++t)
    threads.emplace_back([&, t] { Worker(model, prompts, seed * kThreads + t).run(end); });
  for (std::thread& thread : threads) thread.join();
  check_nothing_left(model);
}

/// Roomy; short of memory in several block sizes; contiguous; without a prefix cache.
std::vector<std::unique_ptr<Model>> load_variants(const std::string& path) {
  std::vector<std::unique_ptr<Model>> models;
  Settings settings;
  settings.kv_bytes = 64 << 20;
  settings.speculate = Speculate::kOff;
  models.push_back(load(path, settings));
  const KvCache& cache = *models[0]->runtime()->cache;
  const uint64_t token = cache.block_bytes() / static_cast<uint64_t>(cache.block_size());
  settings.speculate = Speculate::kNgram;
  for (const int block_size : {1, 8, 32}) {
    settings.block_size = block_size;
    settings.kv_bytes = token * 2 * kContext;
    settings.prefix_entries = block_size == 8 ? 0 : 16;
    models.push_back(load(path, settings));
  }
  settings.paged = false;
  models.push_back(load(path, settings));
  return models;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "use: engine_soak SECONDS [MODEL...]\n");
    return 2;
  }
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(std::atoi(argv[1]));
  std::vector<std::string> paths(argv + 2, argv + argc);
  if (paths.empty()) paths.push_back(SPNL_TEST_FIXTURES_DIR "/gguf/llama-bf16.gguf");
  std::vector<std::vector<std::unique_ptr<Model>>> models;
  std::vector<Prompts> prompts;
  for (const std::string& path : paths) {
    models.push_back(load_variants(path));
    prompts.push_back(make_prompts(*models.back()[0]));
  }
  uint32_t rounds = 0;
  long early = 0;
  while (std::chrono::steady_clock::now() < end && g_faults == 0) {
    const size_t which = rounds % paths.size(), variant = rounds / paths.size() % models[0].size();
    round(*models[which][variant], prompts[which], rounds++);
    if (rounds == 20) early = resident_kib();
    if (rounds % 20 == 0)
      std::fprintf(stderr, "round %u: %llu requests, %ld MiB resident\n", rounds,
                   static_cast<unsigned long long>(g_requests.load()), resident_kib() >> 10);
  }
  std::printf(
      "%u rounds, %llu requests, %llu tokens, %llu greedy answers checked, %llu samples "
      "cancelled, %llu faults; resident %ld MiB after 20 rounds, %ld MiB now\n",
      rounds, static_cast<unsigned long long>(g_requests.load()),
      static_cast<unsigned long long>(g_tokens.load()),
      static_cast<unsigned long long>(g_checked.load()),
      static_cast<unsigned long long>(g_cancelled.load()),
      static_cast<unsigned long long>(g_faults.load()), early >> 10, resident_kib() >> 10);
  return g_faults == 0 ? 0 : 1;
}
