// What the modes of spans cost in quality: for questions over independent fragments, how far the
// first answer token's distribution is from that of exact, and how often the right candidate is the
// likeliest. Use: quality_bench MODEL.gguf [--questions N] [--fragments F] [--words W] [--task T]
// [--plain] [--order]. Prints a table; exit 1 when the order that the documentation states (exact,
// blend:16, block with preamble, block with none) does not hold in mean divergence on single facts.
// With --order, nothing but that is measured.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "plugin_requests.h"
#include "spnl/backend.hpp"
#include "spnl/modelkit/error.h"
#include "tasks.h"

namespace {

using namespace spnl;
using namespace spnl::mistralrs;
using quality::Question;

struct Mode {
  const char* name;
  int32_t mode, context;
  uint32_t k;
};
constexpr Mode kModes[] = {
    {"exact", SPNL_SPAN_EXACT, SPNL_CONTEXT_DEFAULT, 0},
    {"blend:32 preamble", SPNL_SPAN_BLEND, SPNL_CONTEXT_PREAMBLE, 32},
    {"blend:16 preamble", SPNL_SPAN_BLEND, SPNL_CONTEXT_PREAMBLE, 16},
    {"blend:8 preamble", SPNL_SPAN_BLEND, SPNL_CONTEXT_PREAMBLE, 8},
    {"blend:4 preamble", SPNL_SPAN_BLEND, SPNL_CONTEXT_PREAMBLE, 4},
    {"block prefix", SPNL_SPAN_BLOCK, SPNL_CONTEXT_PREFIX, 0},
    {"block preamble", SPNL_SPAN_BLOCK, SPNL_CONTEXT_PREAMBLE, 0},
    {"block bos", SPNL_SPAN_BLOCK, SPNL_CONTEXT_BOS, 0},
    {"block none", SPNL_SPAN_BLOCK, SPNL_CONTEXT_NONE, 0},
};

struct Options {
  std::string model, task;  ///< task empty: all
  size_t questions = 60, fragments = 6, words = 40;
  bool plain = false, order = false;
};

/// The documented order: the nearest to exact first.
constexpr const char* kOrder[] = {"exact", "blend:16 preamble", "block preamble", "block none"};

bool in_documented_order(const Mode& mode) {
  return std::find(std::begin(kOrder), std::end(kOrder), std::string_view(mode.name)) !=
         std::end(kOrder);
}

/// The prompt of a question: system text, the fragments as an independent group, the question.
class PromptOf {
 public:
  PromptOf(const Question& question, bool plain) {
    const int32_t user = plain ? SPNL_ROLE_NONE : SPNL_ROLE_USER;
    texts_.push_back(plain ? "Notes:\n"
                           : "You answer questions about the notes that you are given.");
    for (const std::string& fragment : question.fragments)
      texts_.push_back(plain ? fragment + "\n" : fragment);
    texts_.push_back(plain ? question.stem : question.text);
    add(SPNL_FRAG_MESSAGE, plain ? SPNL_ROLE_NONE : SPNL_ROLE_SYSTEM, -1, texts_.front());
    add(SPNL_FRAG_INDEPENDENT, 0, -1, "");
    for (size_t i = 1; i + 1 < texts_.size(); ++i) add(SPNL_FRAG_MESSAGE, user, 1, texts_[i]);
    add(SPNL_FRAG_MESSAGE, user, -1, texts_.back());
    for (const spnl_fragment& fragment : fragments_) pointers_.push_back(&fragment);
    prompt_.struct_size = sizeof prompt_;
    prompt_.n_fragments = static_cast<uint32_t>(pointers_.size());
    prompt_.fragments = pointers_.data();
  }
  const spnl_prompt* get() const { return &prompt_; }

 private:
  void add(int32_t kind, int32_t role, int32_t parent, const std::string& text) {
    spnl_fragment fragment{};
    fragment.struct_size = sizeof fragment;
    fragment.kind = kind;
    fragment.role = role;
    fragment.parent = parent;
    fragment.text = abi::str(text);
    fragments_.push_back(fragment);
  }
  std::vector<std::string> texts_;
  std::vector<spnl_fragment> fragments_;
  std::vector<const spnl_fragment*> pointers_;
  spnl_prompt prompt_{};
};

/// Log-probabilities [vocab] of the first answer token.
std::vector<double> first_token(Model& model, const PromptOf& prompt, const Mode& mode) {
  spnl_sampling sampling{};
  sampling.struct_size = sizeof sampling;
  sampling.set = SPNL_SET_TEMPERATURE | SPNL_SET_MAX_TOKENS | SPNL_SET_MIN_TOKENS;
  sampling.max_tokens = sampling.min_tokens = 1;  // an end token would bring no log-probabilities
  spnl_request wire{};
  wire.struct_size = sizeof wire;
  wire.prompt = prompt.get();
  wire.sampling = &sampling;
  wire.span_mode = mode.mode;
  wire.span_context = mode.context;
  wire.span_k = mode.k;
  std::vector<double> logprobs(static_cast<size_t>(model.vocab()), -INFINITY);
  Session session(
      model,
      [&](const Event& event) {
        for (size_t i = 0; i < event.top_ids.size(); ++i)
          logprobs[static_cast<size_t>(event.top_ids[i])] = event.top_logprobs[i];
        return 0;
      },
      [](const std::string& note) { std::fprintf(stderr, "note: %s\n", note.c_str()); });
  Request request = to_request(model, wire);
  request.sampling.want_logprobs = true;
  request.sampling.top_logprobs = static_cast<uint32_t>(model.vocab());
  uint64_t id = 0;
  session.submit(std::move(request), id);
  while (session.step() > 0) {
  }
  return logprobs;
}

double divergence(const std::vector<double>& p, const std::vector<double>& q) {
  double sum = 0;
  for (size_t i = 0; i < p.size(); ++i)
    if (p[i] > -40) sum += std::exp(p[i]) * (p[i] - q[i]);
  return sum;
}

size_t best(const std::vector<double>& values) {
  return static_cast<size_t>(std::max_element(values.begin(), values.end()) - values.begin());
}

struct Scores {
  double choice = 0, same_top = 0, right = 0, kl = 0, kl_squares = 0;
  size_t count = 0;
  double mean_kl() const { return kl / static_cast<double>(count); }
};

/// The first ids of the answers; empty when two begin alike.
std::vector<int32_t> first_ids(const Model& model, const Question& question, bool plain) {
  std::vector<int32_t> ids;
  for (const std::string& answer : question.answers) {
    const std::vector<int32_t> all = model.bundle().tokenizer->encode(
        plain ? " " + answer : answer, {.add_special = false, .parse_special = false});
    if (all.empty() || std::find(ids.begin(), ids.end(), all[0]) != ids.end()) return {};
    ids.push_back(all[0]);
  }
  return ids;
}

void add(Scores& scores, const std::vector<double>& exact, const std::vector<double>& now,
         const std::vector<int32_t>& answers, size_t right) {
  std::vector<double> candidates;
  for (const int32_t id : answers) candidates.push_back(now[static_cast<size_t>(id)]);
  const double kl = divergence(exact, now);
  scores.choice += best(candidates) == right ? 1 : 0;
  scores.same_top += best(exact) == best(now) ? 1 : 0;
  scores.right += candidates[right];
  scores.kl += kl;
  scores.kl_squares += kl * kl;
  ++scores.count;
}

std::map<std::string, Scores> run(Model& model, const Options& options, std::string_view task) {
  std::map<std::string, Scores> all;
  size_t asked = 0;
  for (const Question& question : quality::make_questions(
           task, 4 * options.questions, options.fragments, options.words, 20260101)) {
    const std::vector<int32_t> answers = first_ids(model, question, options.plain);
    if (answers.empty()) continue;
    const PromptOf prompt(question, options.plain);
    std::vector<double> exact;
    for (const Mode& mode : kModes) {
      if (options.order && !in_documented_order(mode)) continue;
      const std::vector<double> now = first_token(model, prompt, mode);
      if (exact.empty()) exact = now;
      add(all[mode.name], exact, now, answers, question.right);
    }
    if (++asked == options.questions) break;
  }
  return all;
}

void print(const std::map<std::string, Scores>& all, std::string_view task) {
  std::printf("\n%.*s, %zu questions\n%-18s %7s %9s %13s %18s\n", static_cast<int>(task.size()),
              task.data(), all.begin()->second.count, "mode", "choice", "same top", "right log-p",
              "KL(exact || mode)");
  for (const Mode& mode : kModes) {
    if (!all.contains(mode.name)) continue;
    const Scores& s = all.at(mode.name);
    const auto n = static_cast<double>(s.count);
    const double error = std::sqrt(std::max(0.0, s.kl_squares / n - s.mean_kl() * s.mean_kl()) / n);
    std::printf("%-18s %7.2f %9.2f %13.2f %11.3f +-%5.3f\n", mode.name, s.choice / n,
                s.same_top / n, s.right / n, s.mean_kl(), error);
  }
}

bool in_order(const std::map<std::string, Scores>& all) {
  for (size_t i = 1; i < std::size(kOrder); ++i)
    if (all.at(kOrder[i - 1]).mean_kl() >= all.at(kOrder[i]).mean_kl()) return false;
  return true;
}

Options read_options(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    const char* value = i + 1 < argc ? argv[i + 1] : "";
    if (word == "--plain" || word == "--order") {
      (word == "--plain" ? options.plain : options.order) = true;
      continue;
    }
    if (word == "--questions") options.questions = std::strtoul(value, nullptr, 10);
    if (word == "--fragments") options.fragments = std::strtoul(value, nullptr, 10);
    if (word == "--words") options.words = std::strtoul(value, nullptr, 10);
    if (word == "--task") options.task = value;
    if (word.starts_with("--"))
      ++i;
    else
      options.model = word;
  }
  if (options.order) options.task = "single";
  return options;
}

int run_all(const Options& options) {
  Settings settings;
  settings.threads = physical_cores();
  Model model(
      options.model, {}, settings, [](uint64_t, uint64_t) { return true; },
      [](const std::string& note) { std::fprintf(stderr, "note: %s\n", note.c_str()); });
  bool ordered = true;
  for (const std::string_view task : quality::kTasks) {
    if (!options.task.empty() && task != options.task) continue;
    const auto scores = run(model, options, task);
    if (scores.empty()) continue;
    print(scores, task);
    if (task == "single") ordered = in_order(scores);
  }
  std::printf("\norder exact < blend:16 < block preamble < block none in KL on single facts: %s\n",
              ordered ? "holds" : "does not hold");
  return ordered ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  const Options options = read_options(argc, argv);
  if (options.model.empty() || options.fragments < 2 || options.questions == 0) {
    std::fprintf(stderr,
                 "usage: quality_bench MODEL [--questions N] [--fragments F] [--words W] [--task "
                 "T] [--plain] [--order]\n");
    return 2;
  }
  try {
    return run_all(options);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "quality_bench: %s\n", e.what());
    return 1;
  }
}
