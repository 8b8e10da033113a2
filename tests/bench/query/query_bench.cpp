// What running independent generates at once gains on one machine: a plus of several generates
// against the same generates one after another. Use: query_bench MODEL [BACKEND_PATH] [COUNT]
// [TOKENS]. Prints wall times and their ratio; exit 1 when the texts differ or the ratio is
// below 2.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <string>
#include <vector>

#include "spnl/backends.h"
#include "spnl/error.h"
#include "spnl/evaluator.h"

namespace {

using namespace spnl;

constexpr double kWanted = 2;
constexpr int kRounds = 3;  // best of these: other programs only ever add

Query generate(const std::string& model, size_t number, uint64_t tokens) {
  static const char* const kSubjects[] = {"the sea",  "a mountain", "bread", "winter",
                                          "the moon", "a library",  "tea",   "an old bridge"};
  Sampling sampling;
  sampling.max_tokens = tokens;
  sampling.temperature = 0;
  std::string text = "Write two sentences about " + std::string(kSubjects[number % 8]) + ".";
  if (number >= 8) text += " This is request " + std::to_string(number) + ".";
  return {Generate{model, sampling, QueryBox({User{std::move(text)}, {}})}, {}};
}

struct Run {
  double seconds = std::numeric_limits<double>::max();
  std::vector<std::string> texts;
};

std::vector<std::string> texts_of(const Query& result) {
  std::vector<std::string> texts;
  if (const auto* plus = std::get_if<Plus>(&result.node))
    for (const Query& child : plus->children) texts.push_back(result_text(child));
  else
    texts.push_back(result_text(result));
  return texts;
}

/// Evaluates the queries one after another.
void run(const std::vector<Query>& queries, Backends& backends, Run& best) {
  Observer observer;
  Run now;
  const auto begin = std::chrono::steady_clock::now();
  for (const Query& query : queries) {
    const Query result = evaluate(query, backends, {}, observer);
    for (std::string& text : texts_of(result)) now.texts.push_back(std::move(text));
  }
  now.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  if (now.seconds < best.seconds) best = std::move(now);
}

int bench(const std::string& model, const char* backend_path, size_t count, uint64_t tokens) {
  BackendsOptions options;
  if (backend_path != nullptr) options.explicit_paths.emplace_back(backend_path);
  Backends backends(std::move(options));
  const auto kept = backends.load(model, {});  // loading is no part of the times
  std::vector<Query> one_by_one;
  Plus plus;
  for (size_t i = 0; i < count; ++i) {
    one_by_one.push_back(generate(model, i, tokens));
    plus.children.push_back(generate(model, i, tokens));
  }
  const std::vector<Query> together{{std::move(plus), {}}};
  Run ignored, sequence, batch;
  run(one_by_one, backends, ignored);  // both find the prompts' keys and values in the cache
  for (int i = 0; i < kRounds; ++i) {
    run(one_by_one, backends, sequence);
    run(together, backends, batch);
  }
  const double ratio = sequence.seconds / batch.seconds;
  const bool same = sequence.texts == batch.texts;
  std::printf("%zu generates of %llu tokens\n", count, static_cast<unsigned long long>(tokens));
  std::printf(
      "one after another %8.3f s\nas one plus       %8.3f s\nratio             %8.2f (wanted "
      "%.1f)\n",
      sequence.seconds, batch.seconds, ratio, kWanted);
  std::printf("texts             %s\n", same ? "identical" : "DIFFERENT");
  return same && ratio >= kWanted ? EXIT_SUCCESS : EXIT_FAILURE;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "query_bench MODEL [BACKEND_PATH] [COUNT] [TOKENS]\n");
    return 2;
  }
  try {
    const size_t count = argc > 3 ? std::max(1L, std::atol(argv[3])) : 8;
    const uint64_t tokens = argc > 4 ? static_cast<uint64_t>(std::max(1L, std::atol(argv[4]))) : 64;
    return bench(argv[1], argc > 2 ? argv[2] : nullptr, count, tokens);
  } catch (const Error& error) {
    std::fprintf(stderr, "query_bench: error: %s\n", error.what());
    return EXIT_FAILURE;
  }
}
