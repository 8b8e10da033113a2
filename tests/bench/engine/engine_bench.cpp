// What the engine gains on one machine, each a ratio with its parts, medians of rounds in turn:
//   batch   tokens per second of 8 sequences together against one alone
//   repeat  tokens computed for 8 samples of one prompt of 512 tokens
//   lookup  prompt lookup against none, on text to be quoted and on text that does not repeat
// Use: engine_bench MODEL [batch|repeat|lookup|all] [ROUNDS] [THREADS]
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "engine/session.h"

namespace {

using namespace spnl::mistralrs;

constexpr int kSequences = 8;
constexpr uint32_t kDecoded = 64, kQuoted = 300;
constexpr int kPrompt = 32, kSharedPrompt = 512;
const char kText[] =
    "The lighthouse at Carrow Point was built in 1871 by two brothers who had never seen the sea "
    "before they came north. Their plan was simple: a tower of grey stone, forty metres high, with "
    "a staircase of 212 steps and a lamp that burned whale oil. It took them three summers. In the "
    "first they cut the stone from a quarry behind the village and carried it on sledges; in the "
    "second they lost half of the wall to a storm in June; in the third they finished the lantern "
    "room with glass that a merchant had ordered for a church in Bergen and never paid for. The "
    "keeper's house was added later. Margaret Hale, who kept the light from 1902 until 1938, wrote "
    "down the name of every ship that passed, the direction of the wind, and what she had for "
    "dinner. Her books fill eleven shelves in the county archive. On the night of 14 March 1911 "
    "she rowed out alone to the barque Adelheid and brought back nine men, two dogs and a parrot "
    "that could recite the Lord's Prayer in Danish. The light was electrified in 1954 and made "
    "automatic in 1983. Today the tower belongs to a trust, which opens it on Sundays from May to "
    "September; the climb is free, but the trust asks visitors to carry one bucket of sand up to "
    "the gallery, where it is used to polish the brass.";

struct Run {
  double seconds = 0;
  std::vector<int32_t> tokens;
};

std::unique_ptr<Model> load(const std::string& path, int threads, Speculate speculate) {
  Settings settings;
  settings.threads = threads;
  settings.speculate = speculate;
  settings.prefix_entries = 0;  // each run computes all of it
  settings.max_context = 2048;
  settings.kv_bytes = uint64_t{1} << 30;
  spnl::modelkit::OpenOptions options;
  options.ignore_eos = true;
  return std::make_unique<Model>(
      path, options, settings, [](uint64_t, uint64_t) { return true; }, [](const std::string&) {});
}

std::vector<int32_t> random_ids(const Model& model, int count, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<int32_t> ids;
  const auto vocab = static_cast<uint32_t>(model.bundle().tokenizer->vocab_size());
  while (static_cast<int>(ids.size()) < count)
    ids.push_back(static_cast<int32_t>(random() % vocab));
  return ids;
}

Request request(std::vector<int32_t> ids, uint32_t tokens, float temperature = 0) {
  Request r;
  r.prompt = std::move(ids);
  r.sampling.max_tokens = tokens;
  r.sampling.params.temperature = temperature;
  r.sampling.params.seed = 5;
  return r;
}

/// What the first sample of each says, one after the other, and the seconds of decoding.
Run run(Model& model, std::vector<Request> requests) {
  std::map<uint64_t, std::vector<int32_t>> said;  // by request: they take turns as they please
  Session session(
      model,
      [&](const Event& e) {
        if (!e.finished && e.sequence->sample == 0)
          said[e.sequence->request->id].push_back(e.token);
        return 0;
      },
      [](const std::string&) {});
  uint64_t id = 0;
  for (Request& r : requests) session.submit(std::move(r), id);
  const Counters& c = model.runtime()->counters;
  const uint64_t ns = c.decode_ns;
  while (session.step() > 0) {
  }
  Run out;
  for (const auto& [request, tokens] : said)
    out.tokens.insert(out.tokens.end(), tokens.begin(), tokens.end());
  out.seconds = static_cast<double>(c.decode_ns - ns) * 1e-9;
  return out;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

void batch(const std::string& path, int threads, int rounds) {
  const auto model = load(path, threads, Speculate::kOff);
  std::vector<double> one, many;
  for (int round = 0; round <= rounds; ++round) {
    const auto seed = static_cast<uint32_t>(round * 100);
    const Run alone = run(*model, {request(random_ids(*model, kPrompt, seed), kDecoded)});
    std::vector<Request> requests;
    for (uint32_t i = 0; i < kSequences; ++i)
      requests.push_back(request(random_ids(*model, kPrompt, seed + 1 + i), kDecoded));
    const Run together = run(*model, std::move(requests));
    if (round == 0) continue;  // warms up
    one.push_back((kDecoded - 1) / alone.seconds);
    many.push_back(kSequences * (kDecoded - 1) / together.seconds);
  }
  std::printf("batch   %5.2f x: %d sequences together %.1f tokens/s, one %.1f\n",
              median(many) / median(one), kSequences, median(many), median(one));
}

void repeat(const std::string& path, int threads) {
  const auto model = load(path, threads, Speculate::kOff);
  Request r = request(random_ids(*model, kSharedPrompt, 1), 8, 1);
  r.sampling.samples = kSequences;
  run(*model, {r});
  const uint64_t computed = model->runtime()->counters.prefill_tokens;
  std::printf("repeat  %5.2f x: %llu prompt tokens computed for %d samples of %d, apart %d\n",
              double(kSequences * kSharedPrompt) / static_cast<double>(computed),
              static_cast<unsigned long long>(computed), kSequences, kSharedPrompt,
              kSequences * kSharedPrompt);
}

bool lookup(const std::string& path, int threads, int rounds, int sequences) {
  const auto off = load(path, threads, Speculate::kOff), on = load(path, threads, Speculate::kAuto);
  const std::string text = std::string("Text:\n") + kText + "\n\nThe same text once more:\n";
  bool same = true;
  for (const bool quote : {true, false}) {
    std::vector<double> plain, guessed;
    const Counters& c = on->runtime()->counters;
    const uint64_t guesses = c.guesses, right = c.right_guesses;
    for (int round = 0; round <= rounds; ++round) {
      const auto ids = quote ? off->bundle().tokenizer->encode(text, {})
                             : random_ids(*off, kPrompt, static_cast<uint32_t>(round));
      const std::vector<Request> requests(static_cast<size_t>(sequences),
                                          request(ids, kQuoted, quote ? 0.0f : 1.0f));
      const Run a = run(*off, requests), b = run(*on, requests);
      same = same && a.tokens == b.tokens;
      if (round == 0) continue;
      plain.push_back(sequences * (kQuoted - 1) / a.seconds);
      guessed.push_back(sequences * (kQuoted - 1) / b.seconds);
    }
    std::printf(
        "lookup  %5.2f x: %s, %d at once, with %.1f tokens/s, without %.1f; %llu of %llu "
        "guesses right\n",
        median(guessed) / median(plain), quote ? "quoted text" : "random text", sequences,
        median(guessed), median(plain), static_cast<unsigned long long>(c.right_guesses - right),
        static_cast<unsigned long long>(c.guesses - guesses));
  }
  if (!same) std::printf("lookup changed the text\n");
  return same;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "use: engine_bench MODEL [batch|repeat|lookup|all] [ROUNDS] [THREADS]\n");
    return 2;
  }
  std::setvbuf(stdout, nullptr, _IOLBF, 0);  // each line when it is known
  const std::string path = argv[1], part = argc > 2 ? argv[2] : "all";
  const int rounds = argc > 3 ? std::atoi(argv[3]) : 5;
  const int threads = argc > 4 ? std::atoi(argv[4]) : physical_cores();
  const auto wanted = [&](const char* name) { return part == "all" || part == name; };
  try {
    bool same = true;
    if (wanted("batch")) batch(path, threads, rounds);
    if (wanted("repeat")) repeat(path, threads);
    if (wanted("lookup"))
      for (const int sequences : {1, kSequences})
        same = lookup(path, threads, rounds, sequences) && same;
    return same ? 0 : 1;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "engine_bench: %s\n", e.what());
    return 1;
  }
}
