// Random work from several sessions on several threads for some time: submits of plain prompts and
// of prompts with spans in all modes, quotes of earlier outputs, prefills, scores, cancels,
// samples, stops, fragments on disk, full contexts, memory too short for what is asked, sessions
// that fall silent or close in the middle; on models of all kinds of attention, all types of keys
// and values, with and without speculation. Greedy answers are held against those of each prompt
// alone on a cold cache. After each round nothing may be left: no block used, nothing running or
// waiting. Best built with SPNL_SANITIZE=address, or thread. Use: engine_soak SECONDS [MODEL...]
// (default: random models). Exit 1 on the first fault.
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "engine/score.h"
#include "engine/session.h"
#include "random_model.h"
#include "span_prompts.h"
#include "spnl/modelkit/error.h"
#include "temporary_folder.h"

namespace {

using namespace spnl::mistralrs;
using test::Random, test::SpanPrompt, test::some;

constexpr int kThreads = 4, kContext = 200;
constexpr uint32_t kQuotedTokens = 9;
constexpr size_t kPrompts = 30, kTrees = 40, kQuotes = 10, kQuotedBy = 3;
constexpr std::chrono::seconds kRound(2);
constexpr uint64_t kDiskBytes = 4 << 20;  // less than all that is asked

std::atomic<uint64_t> g_requests{0}, g_tokens{0}, g_checked{0}, g_cancelled{0}, g_refused{0},
    g_quotes{0}, g_cached{0}, g_faults{0};

void fault(const std::string& what) {
  ++g_faults;
  std::fprintf(stderr, "fault: %s\n", what.c_str());
}

struct Question {
  std::vector<int32_t> ids;
  SpanRequest spans;
  std::vector<size_t> quotes;   ///< the questions whose answers its spans are, in order
  std::vector<int32_t> answer;  ///< greedy, alone
};

Request request_of(const Question& question) {
  Request r;
  r.prompt = question.ids;
  r.spans = question.spans;
  r.sampling.params.temperature = 0;
  return r;
}

/// The answers, each from a cold cache; those that it quotes come first.
class Alone {
 public:
  explicit Alone(Model& model)
      : model_(model),
        session_(
            model,
            [this](const Event& e) {
              if (!e.finished) tokens_.push_back(e.token);
              return 0;
            },
            [](const std::string&) {}) {}

  std::vector<int32_t> ask(Request request, uint64_t& id) {
    tokens_.clear();
    model_.runtime()->kept->clear();
    session_.submit(std::move(request), id);
    while (session_.step() > 0) {
    }
    return tokens_;
  }

 private:
  Model& model_;
  std::vector<int32_t> tokens_;
  Session session_;
};

SpanRequest random_spans(Random& random, const SpanPrompt& prompt) {
  return spans_of(prompt, static_cast<SpanMode>(random() % 3), random() % 20,
                  static_cast<SpanContext>(random() % 4));
}

/// An outer prompt around the answers to some questions; lineages are the caller's.
Question quoting(Random& random, const std::vector<Question>& all, const std::vector<int32_t>& head,
                 const std::vector<int32_t>& header) {
  Question q;
  SpanPrompt outer;
  outer.text(head);
  outer.preamble = head.size();
  for (size_t i = 0; i < 1 + random() % kQuotedBy; ++i) {
    q.quotes.push_back(kPrompts + kTrees + random() % kQuotedBy);
    const std::vector<int32_t>& answer = all[q.quotes.back()].answer;
    const size_t span = outer.begin_span(-1, 0);
    outer.text(header);
    outer.text(answer);
    outer.text({5, 6});
    outer.end_span(span);
    outer.spans[span].text_begin = outer.spans[span].begin + header.size();
    outer.spans[span].text_end = outer.spans[span].text_begin + answer.size();
  }
  outer.text(some(random, 1 + random() % 9));
  q.ids = outer.ids;
  q.spans = spans_of(outer, random() % 3 == 0 ? SpanMode::kBlend : SpanMode::kBlock, random() % 8);
  return q;
}

/// Plain prompts, half of them with a common head; trees of shared fragments; prompts that are
/// quoted; prompts that quote.
std::vector<Question> make_questions(Model& model) {
  Random random(1);
  std::vector<Question> all;
  const auto add = [&](std::vector<int32_t> ids, SpanRequest spans, uint32_t tokens) {
    Question q{std::move(ids), std::move(spans), {}, {}};
    Request r = request_of(q);
    r.sampling.max_tokens = tokens;
    uint64_t id = 0;
    q.answer = Alone(model).ask(std::move(r), id);
    all.push_back(std::move(q));
  };
  const auto joined = [](std::vector<int32_t> a, const std::vector<int32_t>& b) {
    a.insert(a.end(), b.begin(), b.end());
    return a;
  };
  const std::vector<int32_t> head = some(random, 50), header = {7, 8, 9};
  for (size_t i = 0; i < kPrompts; ++i)
    add(i % 2 == 0 ? joined(head, some(random, 1 + random() % 40))
                   : some(random, 1 + random() % 99),
        {}, 0);
  for (size_t i = 0; i < kTrees; ++i) {
    const SpanPrompt prompt =
        i % 2 == 0
            ? test::random_prompt(random, {.prompt_tokens = 120})
            : test::documents({static_cast<int>(random() % 4), static_cast<int>(random() % 4)}, 15,
                              static_cast<int>(i));
    add(prompt.ids, random_spans(random, prompt), 40);
  }
  for (size_t i = 0; i < kQuotedBy; ++i) {
    SpanPrompt prompt;
    prompt.text(joined(joined(head, some(random, 5 + i)), header));
    add(prompt.ids, spans_of(prompt, i == 0 ? SpanMode::kExact : SpanMode::kBlock), kQuotedTokens);
  }
  for (size_t i = 0; i < kQuotes; ++i) {
    Question q = quoting(random, all, head, header);
    Alone alone(model);
    Request outer = request_of(q);
    for (size_t s = 0; s < q.quotes.size(); ++s) {
      Request inner = request_of(all[q.quotes[s]]);
      inner.sampling.max_tokens = kQuotedTokens;
      alone.ask(std::move(inner), outer.spans.spans[s].lineage);
    }
    outer.sampling.max_tokens = 40;
    uint64_t id = 0;
    q.answer = alone.ask(std::move(outer), id);
    all.push_back(std::move(q));
  }
  return all;
}

/// One session with all that it asked for.
class Worker {
 public:
  Worker(Model& model, const std::vector<Question>& questions, uint32_t seed)
      : model_(model),
        questions_(questions),
        random_(seed),
        session_(
            model, [this](const Event& e) { return hear(e); }, [](const std::string&) {}) {}

  void run(std::chrono::steady_clock::time_point end) {
    while (std::chrono::steady_clock::now() < end) {
      const auto choice = below(100);
      if (choice < 25 && session_.alive() < 40)
        submit_any();
      else if (choice < 30 && !asked_.empty())
        session_.cancel(std::next(asked_.begin(), static_cast<long>(below(asked_.size())))->first);
      else if (choice == 30)
        std::this_thread::sleep_for(std::chrono::milliseconds(below(30)));  // others go on
      else if (choice == 31)
        score_any();
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
    size_t question;
    uint32_t samples, finished;
    bool greedy;
    std::map<uint32_t, std::vector<int32_t>> tokens;
  };

  size_t below(size_t n) { return random_() % n; }

  void submit_any() {
    const size_t which = below(questions_.size());
    const Question& question = questions_[which];
    Request r = request_of(question);
    for (size_t s = 0; s < question.quotes.size(); ++s) {
      const auto written = written_.find(question.quotes[s]);
      if (written == written_.end()) return submit_quoted(question.quotes[s]);
      r.spans.spans[s].lineage = written->second;
      ++g_quotes;
    }
    vary(r);
    submit(which, std::move(r));
  }

  /// Whole, so that it can be quoted.
  void submit_quoted(size_t which) {
    Request r = request_of(questions_[which]);
    r.sampling.max_tokens = kQuotedTokens;
    submit(which, std::move(r));
  }

  /// What changes no greedy answer, but for where it ends.
  void vary(Request& r) {
    r.prefill_only = below(20) == 0;
    r.sampling.samples = static_cast<uint32_t>(1 + (below(4) == 0 ? below(4) : 0));
    r.sampling.max_tokens = static_cast<uint32_t>(below(3) == 0 ? 0 : below(40) + 1);
    r.sampling.params.temperature = below(3) == 0 ? 1.0f : 0.0f;
    r.sampling.params.seed = random_();
    r.sampling.want_logprobs = below(5) == 0;
    if (below(10) == 0) r.sampling.stops = {"a", "the "};
    if (below(6) == 0) r.spans.storable_tokens = static_cast<int64_t>(below(r.prompt.size() + 1));
    for (auto& span : r.spans.spans) {
      span.no_store = below(8) == 0;
      span.pin = below(8) == 0;
      span.next_use = below(4);
    }
  }

  void submit(size_t question, Request r) {
    Asked asked{question, r.sampling.samples, 0, r.sampling.params.temperature == 0, {}};
    uint64_t id = 0;
    try {
      if (!session_.submit(std::move(r), id)) return;
    } catch (const spnl::modelkit::Error&) {  // its fragments need more blocks than there are
      ++g_refused;
      return;
    }
    asked_[id] = std::move(asked);
    ++g_requests;
  }

  void score_any() {
    const std::vector<int32_t>& ids = questions_[below(questions_.size())].ids;
    std::vector<float> logprobs(ids.size()), top(1);
    std::vector<int32_t> top_ids(1);
    double sum = 0;
    if (score(model_, ids, logprobs, top_ids, top, sum) && !std::isfinite(sum))
      fault("a score is no number");
  }

  int32_t hear(const Event& e) {
    const Sequence& sequence = *e.sequence;
    Asked& asked = asked_.at(sequence.request->id);
    std::vector<int32_t>& tokens = asked.tokens[sequence.sample];
    if (!e.finished) {
      tokens.push_back(e.token);
      ++g_tokens;
      return below(500) == 0 ? 1 : 0;
    }
    ++asked.finished;
    g_cached += static_cast<uint64_t>(sequence.cached_tokens());
    if (sequence.finish == Finish::kError) fault(sequence.error);
    if (sequence.finish == Finish::kCancelled) ++g_cancelled;
    const auto& answer = questions_[asked.question].answer;
    if (asked.greedy) check(tokens, answer, asked.question);
    if (asked.greedy && tokens == answer && sequence.finish != Finish::kCancelled)
      written_[asked.question] = sequence.request->id;
    return 0;
  }

  /// One of the two goes on where the other ends.
  static void check(const std::vector<int32_t>& tokens, const std::vector<int32_t>& answer,
                    size_t question) {
    ++g_checked;
    if (!std::equal(tokens.begin(),
                    tokens.begin() + static_cast<long>(std::min(tokens.size(), answer.size())),
                    answer.begin()))
      fault("the answer to question " + std::to_string(question) +
            " differs from that of the prompt alone");
  }

  Model& model_;
  const std::vector<Question>& questions_;
  Random random_;
  std::map<uint64_t, Asked> asked_;
  std::map<size_t, uint64_t> written_;  // of questions: the sequence that answered last
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
  runtime.kept->clear();
  if (runtime.pool->used_blocks() != 0)
    fault(std::to_string(runtime.pool->used_blocks()) + " blocks are still used");
  if (runtime.counters.running != 0 || runtime.counters.waiting != 0)
    fault("sequences are counted that are not there");
}

void run_round(Model& model, const std::vector<Question>& questions, uint32_t seed) {
  const auto end = std::chrono::steady_clock::now() + kRound;
  std::vector<std::thread> threads;
  for (uint32_t t = 0; t < kThreads; ++t)
    threads.emplace_back([&, t] { Worker(model, questions, seed * kThreads + t).run(end); });
  for (std::thread& thread : threads) thread.join();
  check_nothing_left(model);
}

/// How a round is set up: memory in contexts, or 0 for ample.
struct Variant {
  cpu::KvType type;
  int32_t block_size;
  uint64_t contexts;
  size_t prefix_entries;
  Speculate speculate;
  bool paged;
  bool disk = false;
};
constexpr Variant kVariants[] = {
    {cpu::KvType::kF16, 32, 0, 16, Speculate::kOff, true},
    {cpu::KvType::kF16, 1, 2, 16, Speculate::kNgram, true, true},
    {cpu::KvType::kBF16, 8, 2, 0, Speculate::kAuto, true},
    {cpu::KvType::kQ8_0, 16, 2, 16, Speculate::kNgram, true, true},
    {cpu::KvType::kF32, 32, 4, 16, Speculate::kAuto, true, true},
    {cpu::KvType::kF16, 32, 8, 2, Speculate::kNgram, false},
};

/// A model in all variants, and the answers for each type of keys and values.
class Subject {
 public:
  using Load = std::function<std::unique_ptr<Model>(const Settings&)>;
  explicit Subject(Load load) : load_(std::move(load)) {}

  void round(const Variant& variant, uint32_t seed) {
    try {
      const std::vector<Question>& asked = questions(variant.type);
      const std::unique_ptr<Model> model = load_(settings(variant));
      run_round(*model, asked, seed);
    } catch (const spnl::modelkit::Error& e) {  // heads that do not fit the type
      if (e.code() != spnl::modelkit::ErrorCode::kUnsupported) fault(e.what());
    }
  }

 private:
  const std::vector<Question>& questions(cpu::KvType type) {
    auto found = questions_.find(type);
    if (found == questions_.end()) {
      const auto model = load_(settings({type, 32, 0, 16, Speculate::kOff, true}));
      token_bytes_[type] = model->runtime()->cache->block_bytes().both() / 32;
      found = questions_.emplace(type, make_questions(*model)).first;
    }
    return found->second;
  }

  Settings settings(const Variant& variant) {
    Settings s;
    s.threads = 1;
    s.max_context = kContext;
    s.kv_type = variant.type;
    s.block_size = variant.block_size;
    s.kv_bytes =
        variant.contexts == 0 ? 32 << 20 : variant.contexts * kContext * token_bytes_[variant.type];
    s.prefix_entries = variant.prefix_entries;
    s.speculate = variant.speculate;
    s.paged = variant.paged;
    if (variant.disk) s.disk = {folder_->path, kDiskBytes, 0};
    return s;
  }

  const Load load_;
  std::unique_ptr<test::TemporaryFolder> folder_ = std::make_unique<test::TemporaryFolder>();
  std::map<cpu::KvType, std::vector<Question>> questions_;
  std::map<cpu::KvType, uint64_t> token_bytes_;
};

std::vector<Subject> make_subjects(int paths, char** path) {
  std::vector<Subject> subjects;
  for (int i = 0; i < paths; ++i)
    subjects.emplace_back([file = std::string(path[i])](const Settings& settings) {
      return std::make_unique<Model>(
          file, spnl::modelkit::OpenOptions{}, settings, [](uint64_t, uint64_t) { return true; },
          [](const std::string&) {});
    });
  if (paths == 0)
    for (const auto& [name, spec] : test::random_models(spnl::modelkit::TensorType::kF32))
      subjects.emplace_back(
          [made = spec](const Settings& settings) { return test::load(made, settings); });
  return subjects;
}

void report(uint32_t rounds, long early) {
  const auto of = [](const std::atomic<uint64_t>& count) {
    return static_cast<unsigned long long>(count.load());
  };
  std::printf(
      "%u rounds, %llu requests (%llu refused), %llu tokens, %llu of prompts cached, %llu quotes, "
      "%llu greedy answers checked, %llu samples cancelled, %llu faults; resident %ld MiB after "
      "100 rounds, %ld MiB now\n",
      rounds, of(g_requests), of(g_refused), of(g_tokens), of(g_cached), of(g_quotes),
      of(g_checked), of(g_cancelled), of(g_faults), early >> 10, resident_kib() >> 10);
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "use: engine_soak SECONDS [MODEL...]\n");
    return 2;
  }
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(std::atoi(argv[1]));
  std::vector<Subject> subjects = make_subjects(argc - 2, argv + 2);
  uint32_t rounds = 0;
  long early = 0;
  while (std::chrono::steady_clock::now() < end && g_faults == 0) {
    const size_t variant = rounds / subjects.size() % std::size(kVariants);
    subjects[rounds % subjects.size()].round(kVariants[variant], rounds);
    ++rounds;
    if (rounds == 100) early = resident_kib();
    if (rounds % 50 == 0) report(rounds, early);
  }
  report(rounds, early);
  return g_faults == 0 ? 0 : 1;
}
