// What evaluating the parts of a plus apart gains: time to the first token of a prompt of 8
// fragments of 256 tokens and a question of 32, cold, with the fragments in another order, and from
// disk after the model was loaded again; and what a judge of four answers computes of them. Use:
// spans_bench MODEL [BACKEND_PATH]. Exit 1 when a ratio or a count is not as wanted.
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <future>
#include <random>
#include <string>
#include <vector>

#include "spnl/backends.h"
#include "spnl/error.h"

namespace {

using namespace spnl;

constexpr size_t kFragments = 8, kFragmentTokens = 256, kQuestionTokens = 32;
constexpr int kRounds = 3, kOrders = 3;
constexpr double kWantedFromDisk = 8;  // cold over from disk
constexpr size_t kAnswers = 4;
constexpr uint32_t kAnswerTokens = 64;

struct Setting {
  const char *mode, *order;
  double wanted;      // cold over permuted
  uint64_t computed;  // of the permuted fragments, at most
};
constexpr Setting kSettings[] = {{"exact", "canonical", 8, kFragmentTokens},
                                 {"block", "given", 8, 0},
                                 {"blend:16", "given", 5, 16 * kFragments}};

Prompt tokens(std::mt19937& random, size_t count) {
  Prompt prompt;
  prompt.kind = Prompt::Kind::kTokens;
  for (size_t i = 0; i < count; ++i)
    prompt.tokens.push_back(1000 + static_cast<int32_t>(random() % 20000));
  return prompt;
}

Prompt message(Role role, std::string text, uint64_t lineage = 0) {
  Prompt prompt;
  prompt.kind = Prompt::Kind::kMessage;
  prompt.role = role;
  prompt.text = std::move(text);
  prompt.lineage = lineage;
  return prompt;
}

Prompt all_of(Prompt::Kind kind, std::vector<Prompt> children) {
  Prompt prompt;
  prompt.kind = kind;
  prompt.children = std::move(children);
  return prompt;
}

Completion generate(Model& model, GenerateRequest request) {
  std::promise<Completion> done;
  GenerateHandlers handlers;
  handlers.on_finish = [&](std::vector<Completion> all) { done.set_value(std::move(all.front())); };
  request.temperature = 0;
  model.generate(std::move(request), std::move(handlers));
  Completion completion = done.get_future().get();
  if (!completion.error.empty()) throw Error(ErrorCode::kEvaluation, completion.error, "", "");
  return completion;
}

uint64_t computed_in_fragments(const Completion& completion) {
  uint64_t tokens = 0;
  for (const FragmentUsage& f : completion.usage.fragments) tokens += f.tokens - f.cached;
  return tokens;
}

double first_token_ms(const Completion& completion) {
  return static_cast<double>(completion.usage.first_token_ns) / 1e6;
}

Completion first_token(Model& model, const std::vector<Prompt>& fragments, std::mt19937& random,
                       const char* mode, const char* order) {
  GenerateRequest request;
  request.prompt = all_of(Prompt::Kind::kOrdered, {all_of(Prompt::Kind::kIndependent, fragments),
                                                   tokens(random, kQuestionTokens)});
  request.max_tokens = 1;
  request.span_mode = mode;
  request.span_order = order;
  return generate(model, std::move(request));
}

std::vector<Prompt> some_fragments(std::mt19937& random) {
  std::vector<Prompt> fragments;
  for (size_t f = 0; f < kFragments; ++f) fragments.push_back(tokens(random, kFragmentTokens));
  return fragments;
}

/// Best times over rounds of new fragments: other programs only ever add.
bool permuted(Model& model, const Setting& setting, uint32_t seed) {
  std::mt19937 random(seed);
  double cold = 1e300, warm = 1e300;
  uint64_t computed = 0, in_all = 0;
  for (int round = 0; round < kRounds; ++round) {
    std::vector<Prompt> fragments = some_fragments(random);
    for (int order = 0; order <= kOrders; ++order) {
      const Completion completion =
          first_token(model, fragments, random, setting.mode, setting.order);
      if (order == 0) {
        cold = std::min(cold, first_token_ms(completion));
      } else {
        warm = std::min(warm, first_token_ms(completion));
        computed = std::max(computed, computed_in_fragments(completion));
        in_all = completion.usage.prompt_tokens - completion.usage.cached_tokens;
      }
      std::shuffle(fragments.begin(), fragments.end(), random);
    }
  }
  const double ratio = cold / warm;
  std::printf(
      "%-9s %-9s  cold %8.1f ms  permuted %7.1f ms  ratio %6.1f (wanted %.0f)  computed %llu,"
      " of fragments %llu (at most %llu)\n",
      setting.mode, setting.order, cold, warm, ratio, setting.wanted,
      static_cast<unsigned long long>(in_all), static_cast<unsigned long long>(computed),
      static_cast<unsigned long long>(setting.computed));
  return ratio >= setting.wanted && computed <= setting.computed;
}

/// The same fragments when the model is loaded again, each round with a new folder; best times.
bool from_disk(const std::string& name, BackendsOptions options) {
  const std::filesystem::path folder =
      std::filesystem::temp_directory_path() / ("spans_bench_" + std::to_string(::getpid()));
  options.config["span_cache"] = folder.string();
  double cold = 1e300, in_memory = 1e300, on_disk = 1e300;
  uint64_t computed = 0;
  std::mt19937 random(7);
  for (int round = 0; round < kRounds; ++round) {
    const std::vector<Prompt> fragments = some_fragments(random);
    for (const bool again : {false, true}) {
      Backends backends(options);
      const auto model = backends.load(name, {});
      // What is done once after loading does not count.
      first_token(*model, {tokens(random, kQuestionTokens)}, random, "block", "given");
      const auto ask = [&] { return first_token(*model, fragments, random, "block", "given"); };
      const Completion completion = ask();
      double& best = again ? on_disk : cold;
      best = std::min(best, first_token_ms(completion));
      if (again)
        computed = std::max(computed, computed_in_fragments(completion));
      else
        in_memory = std::min(in_memory, first_token_ms(ask()));
    }
    std::filesystem::remove_all(folder);
  }
  std::printf(
      "block, loaded again  cold %8.1f ms  from memory %7.1f ms  from disk %7.1f ms  ratio %6.1f "
      "(wanted %.0f)  fragment tokens computed %llu\n",
      cold, in_memory, on_disk, cold / on_disk, kWantedFromDisk,
      static_cast<unsigned long long>(computed));
  return cold / on_disk >= kWantedFromDisk && computed == 0;
}

/// Four answers, then a judge that sees them: what it computes of their texts.
bool judge(Model& model, const char* mode) {
  std::vector<Prompt> answers;
  for (size_t i = 0; i < kAnswers; ++i) {
    GenerateRequest request;
    request.prompt =
        all_of(Prompt::Kind::kOrdered,
               {message(Role::kSystem, "You write well."),
                message(Role::kUser, "Write about number " + std::to_string(i) + ".")});
    request.min_tokens = request.max_tokens = kAnswerTokens;
    request.span_mode = mode;
    const Completion answer = generate(model, std::move(request));
    answers.push_back(message(Role::kAssistant, answer.text, answer.sequence));
  }
  GenerateRequest request;
  request.prompt =
      all_of(Prompt::Kind::kOrdered, {message(Role::kSystem, "You judge texts."),
                                      all_of(Prompt::Kind::kIndependent, std::move(answers)),
                                      message(Role::kUser, "Which text is best?")});
  request.max_tokens = 1;
  request.span_mode = mode;
  const Completion verdict = generate(model, std::move(request));
  uint64_t texts = 0;
  for (const FragmentUsage& f : verdict.usage.fragments) texts += f.tokens;
  const uint64_t computed = computed_in_fragments(verdict);
  std::printf(
      "judge, %-9s  %llu tokens in answers, computed of them %llu; of all %llu\n", mode,
      static_cast<unsigned long long>(texts), static_cast<unsigned long long>(computed),
      static_cast<unsigned long long>(verdict.usage.prompt_tokens - verdict.usage.cached_tokens));
  // A row for each answer's last token and up to three for what closes the message.
  return std::string(mode) != "block" || computed <= kAnswers * 4;
}

int bench(const std::string& name, const char* backend_path) {
  BackendsOptions options;
  if (backend_path != nullptr) options.explicit_paths.emplace_back(backend_path);
  Backends backends(options);
  const auto model = backends.load(name, {});
  bool good = true;
  uint32_t seed = 1;
  for (const Setting& setting : kSettings) good = permuted(*model, setting, seed++) && good;
  for (const char* mode : {"exact", "block"}) good = judge(*model, mode) && good;
  good = from_disk(name, options) && good;
  return good ? EXIT_SUCCESS : EXIT_FAILURE;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "spans_bench MODEL [BACKEND_PATH]\n");
    return 2;
  }
  try {
    return bench(argv[1], argc > 2 ? argv[2] : nullptr);
  } catch (const Error& error) {
    std::fprintf(stderr, "spans_bench: error: %s\n", error.what());
    return EXIT_FAILURE;
  }
}
