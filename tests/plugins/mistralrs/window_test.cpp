// Layers that see a window keep no more than that of a sequence, and nobody can tell.
#include <array>
#include <set>

#include "span_client.h"
#include "temporary_folder.h"

using namespace spnl::mistralrs;
using namespace spnl::mistralrs::test;
namespace fs = std::filesystem;

namespace {

constexpr int32_t kBlockSize = 8;

/// Models of which some or all layers see windows of 24 or 32 tokens.
std::vector<fs::path> window_models() {
  std::vector<fs::path> found;
  for (const char* name : {"gemma3", "gemma2", "gpt_oss", "mistral"})
    if (const fs::path path = fs::path(SPNL_SHARED_DIR) / "fixtures/hf" / name; fs::exists(path))
      found.push_back(path);
  if (found.empty()) BOOST_TEST_MESSAGE("skipped: shared/fixtures/hf is not here");
  return found;
}

Settings blocks_of(int32_t size) {
  Settings s = base();
  s.threads = 1;
  s.block_size = size;
  return s;
}

/// One block for the whole context: nothing is ever given up.
std::unique_ptr<Model> keeps_all(const fs::path& path) {
  Settings s = blocks_of(kBlockSize);
  s.paged = false;
  s.kv_bytes = 256 << 20;
  auto model = load(path, s);
  BOOST_TEST(model->runtime()->pool->window() == 0);
  return model;
}

/// What a sample says, to the bit.
struct Said {
  std::vector<int32_t> tokens;
  std::vector<float> logprobs;
  int64_t cached = 0;
  bool cancelled = false;
  bool operator==(const Said& other) const {
    return tokens == other.tokens && logprobs == other.logprobs;
  }
};

/// A session that asks for random text, whose draws show every change of a logit.
struct Talker {
  explicit Talker(Model& model)
      : session(
            model, [this](const Event& e) { return hear(e); }, [](const std::string&) {}) {}

  uint64_t submit(size_t user_id, const std::vector<int32_t>& prompt, uint32_t tokens,
                  uint32_t samples = 1, float temperature = 1) {
    Request r;
    r.user_id = user_id;
    r.prompt = prompt;
    r.sampling.max_tokens = tokens;
    r.sampling.samples = samples;
    r.sampling.want_logprobs = true;
    r.sampling.params.temperature = temperature;
    r.sampling.params.seed = 11;
    uint64_t id = 0;
    BOOST_TEST_REQUIRE(session.submit(std::move(r), id));
    return id;
  }
  int32_t hear(const Event& e) {
    Said& said = all[{e.sequence->request->user_id, e.sequence->sample}];
    said.cached = e.sequence->cached_tokens();
    said.cancelled = e.sequence->finish == Finish::kCancelled;
    if (e.finished) return 0;
    said.tokens.push_back(e.token);
    said.logprobs.push_back(e.logprob);
    return 0;
  }
  void run() {
    for (int steps = 0; session.step() > 0; ++steps) BOOST_TEST_REQUIRE(steps < 20000);
  }

  std::map<std::pair<size_t, uint32_t>, Said> all;
  Session session;
};

Said say(Model& model, const std::vector<int32_t>& prompt, uint32_t tokens, float temperature = 1) {
  Talker talker(model);
  talker.submit(0, prompt, tokens, 1, temperature);
  talker.run();
  return talker.all.at({0, 0});
}

int32_t windowed(Model& model) { return model.runtime()->pool->used(BlockKind::kWindowed); }

/// Blocks that a window touches at most, and the one that is written.
int32_t blocks_of_window(Model& model, int32_t block_size) {
  return model.runtime()->pool->window() / block_size + 2;
}

std::vector<int32_t> joined(std::vector<int32_t> head, const std::vector<int32_t>& tail) {
  head.insert(head.end(), tail.begin(), tail.end());
  return head;
}

}  // namespace

BOOST_AUTO_TEST_CASE(long_texts_keep_a_window_of_windowed_layers) {
  for (const fs::path& path : window_models()) {
    const Said want = say(*keeps_all(path), prompt(1, 70), 430);
    for (const size_t kept : {size_t{0}, size_t{16}}) {
      Settings s = blocks_of(kBlockSize);
      s.prefix_entries = kept;
      const auto model = load(path, s);
      Talker talker(*model);
      talker.submit(0, prompt(1, 70), 430);
      int32_t most = 0;
      for (int steps = 0; talker.session.step() > 0; ++steps)
        if (steps > 0) most = std::max(most, windowed(*model));
      BOOST_TEST((talker.all.at({0, 0}) == want), path << ", " << kept);
      if (kept == 0) {
        BOOST_TEST(most > 0);
        BOOST_TEST(most <= blocks_of_window(*model, kBlockSize), path << ": " << most);
      }
      BOOST_TEST(used_by_sequences(*model) == 0);
    }
  }
}

// Prompts that come in many pieces, since eight sessions share each step.
BOOST_AUTO_TEST_CASE(pieces_of_prompts_leave_their_windows_behind) {
  for (const fs::path& path : window_models()) {
    const auto all = keeps_all(path);
    for (const int32_t size : {1, kBlockSize, 32}) {
      const auto model = load(path, blocks_of(size));
      std::array<std::unique_ptr<Talker>, 8> talkers;
      for (size_t i = 0; i < talkers.size(); ++i) {
        talkers[i] = std::make_unique<Talker>(*model);
        talkers[i]->submit(0, prompt(static_cast<int>(i), 480), 10);
      }
      for (size_t i = 0; i < talkers.size(); ++i) {
        talkers[i]->run();
        BOOST_TEST((talkers[i]->all.at({0, 0}) == say(*all, prompt(static_cast<int>(i), 480), 10)),
                   path << ", block size " << size << ", " << i);
      }
      BOOST_TEST(used_by_sequences(*model) == 0);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_scored_text_needs_no_more_than_a_sequence) {
  for (const fs::path& path : window_models()) {
    const auto all = keeps_all(path), model = load(path, blocks_of(kBlockSize));
    BOOST_TEST((last_logits(*model, prompt(3, 500)) == last_logits(*all, prompt(3, 500))));
    BOOST_TEST(used_by_sequences(*model) == 0);
  }
}

// A prompt that goes on differently after any number of tokens finds them all while memory is
// ample.
BOOST_AUTO_TEST_CASE(prefixes_are_found_up_to_any_cut) {
  for (const fs::path& path : window_models()) {
    Settings s = blocks_of(kBlockSize);
    s.prefix_entries = 1000;
    const auto all = keeps_all(path), model = load(path, s);
    const auto first = prompt(1, 150);
    const auto whole = joined(first, say(*model, first, 90).tokens);  // long left behind
    for (int32_t cut = 1; cut < std::ssize(whole) - 1; cut += 9) {
      const auto other = joined({whole.begin(), whole.begin() + cut}, prompt(100 + cut, 40));
      const Said got = say(*model, other, 12);
      BOOST_TEST(got.cached == cut, path << ", cut " << cut << ": " << got.cached);
      BOOST_TEST((got == say(*all, other, 12)), path << ", cut " << cut);
    }
    BOOST_TEST(used_by_sequences(*model) == 0);
  }
}

namespace {

/// Makes the cache give up some blocks: windowed ones first.
void evict_some(Runtime& runtime, int32_t blocks) {
  const BlockPool& pool = *runtime.pool;
  const uint64_t full_bytes = pool.sizes().full_bytes;
  if (full_bytes == 0)
    return runtime.kept->make_room(
        {0, pool.sizes().blocks.windowed - pool.used(BlockKind::kWindowed) + blocks});
  const uint64_t free = pool.budget() - pool.used_bytes();
  runtime.kept->make_room({static_cast<int32_t>(free / full_bytes) + blocks, 0});
}

}  // namespace

// When any part of it is gone, less is found, and the same is said.
BOOST_AUTO_TEST_CASE(half_evicted_prefixes_change_no_bit) {
  for (const fs::path& path : window_models()) {
    const auto all = keeps_all(path);
    Settings s = blocks_of(kBlockSize);
    s.kv_bytes = 44 * load(path, s)->runtime()->cache->block_bytes().both();
    const auto model = load(path, s);
    const auto first = prompt(1, 150);
    std::mt19937 random(4);
    std::set<int64_t> hits;
    for (int round = 0; round < 60; ++round) {
      say(*model, first, 90);
      for (uint32_t times = random() % 6; times > 0; --times)
        evict_some(*model->runtime(), 1 + static_cast<int32_t>(random() % 60));
      const auto cut = static_cast<int32_t>(1 + random() % 149);
      const auto other = joined({first.begin(), first.begin() + cut}, prompt(100 + cut, 40));
      const Said got = say(*model, other, 12);
      hits.insert(got.cached);
      BOOST_TEST(got.cached <= cut);
      BOOST_TEST((got == say(*all, other, 12)), path << ", cut " << cut);
    }
    BOOST_TEST(hits.size() > 5u);
    BOOST_TEST(used_by_sequences(*model) == 0);
  }
}

// Whoever runs beside it, forks, guesses, waits for memory or is put back: the same text.
BOOST_AUTO_TEST_CASE(mates_and_memory_change_no_bit) {
  for (const fs::path& path : window_models()) {
    const auto all = keeps_all(path);
    const KvCache::BlockBytes one = load(path, blocks_of(1))->runtime()->cache->block_bytes();
    const auto short_of_memory = [&](int32_t size, Speculate speculate) {
      Settings s = blocks_of(size);
      s.speculate = speculate;
      s.kv_bytes = 260 * one.both();
      return load(path, s);
    };
    Settings guessing = blocks_of(4);
    guessing.speculate = Speculate::kNgram;
    const std::unique_ptr<Model> models[] = {load(path, guessing),
                                             short_of_memory(8, Speculate::kNgram),
                                             short_of_memory(1, Speculate::kOff)};
    std::vector<std::vector<int32_t>> prompts;
    std::vector<std::array<Said, 2>> want;
    const auto common = prompt(77, 60);
    for (int i = 0; i < 9; ++i) {
      const auto own = prompt(i, 5 + 13 * i);
      prompts.push_back(i % 3 == 0 ? joined(common, own) : i % 3 == 1 ? joined(own, own) : own);
      Talker talker(*all);
      talker.submit(0, prompts.back(), 60, 2, i % 2 == 0 ? 0 : 1);
      talker.run();
      want.push_back({talker.all.at({0, 0}), talker.all.at({0, 1})});
    }
    std::mt19937 random(9);
    for (int mix = 0; mix < 12; ++mix) {
      Model& model = *models[mix % 3];
      Talker a(model), b(model);
      for (size_t r = 0; r < 8; ++r) {
        const size_t which = random() % prompts.size();
        Talker& talker = random() % 2 == 0 ? a : b;
        const uint64_t id = talker.submit(r * 100 + which, prompts[which], 60, 1 + random() % 2,
                                          which % 2 == 0 ? 0 : 1);
        if (random() % 6 == 0) talker.session.cancel(id);
        for (size_t steps = random() % 30; steps > 0; --steps)
          (random() % 2 == 0 ? a : b).session.step();
      }
      a.run();
      b.run();
      for (const Talker* talker : {&a, &b})
        for (const auto& [key, said] : talker->all)
          if (!said.cancelled)
            BOOST_TEST((said == want[key.first % 100][key.second]),
                       path << ", mix " << mix << ", " << key.first % 100);
    }
    for (const auto& model : models) BOOST_TEST(used_by_sequences(*model) == 0);
  }
}

// Fragments of many windows, nested ones, and in blend: as when all is kept, in any state of the
// cache, and an entry keeps a window of windowed layers.
BOOST_AUTO_TEST_CASE(fragments_keep_their_last_window) {
  for (const fs::path& path : window_models()) {
    const auto all = keeps_all(path), model = load(path, blocks_of(kBlockSize));
    Settings s = blocks_of(kBlockSize);
    s.kv_bytes = 60 * model->runtime()->cache->block_bytes().both();
    const auto tight = load(path, s);
    Random random(21);
    std::vector<SpanPrompt> prompts = {documents({0, 1, 2}, 90), documents({2, 0, 2, 1}, 90),
                                       documents({1}, 200)};
    SpanPrompt nested;
    nested.text(some(random, 30));
    nested.preamble = 30;
    const size_t outer = nested.begin_span(-1, 0);
    nested.text(some(random, 50));
    nested.fragment(some(random, 70), 1, 0);
    nested.fragment(some(random, 61), 1, 0);
    nested.text(some(random, 45));
    nested.end_span(outer);
    nested.fragment(some(random, 20), 0);
    nested.text(some(random, 40));
    prompts.push_back(nested);
    for (int i = 0; i < 4; ++i) prompts.push_back(random_prompt(random, {2, 3, 50, 330}));
    for (int round = 0; round < 2; ++round)
      for (size_t p = 0; p < prompts.size(); ++p)
        for (const SpanMode mode : {SpanMode::kBlock, SpanMode::kBlend}) {
          const bool flat = prompts[p].spans.empty() || p != 3;
          if (mode == SpanMode::kBlend && !flat) continue;
          const SpanRequest spans = spans_of(
              prompts[p], mode, 5, p % 2 == 0 ? SpanContext::kPreamble : SpanContext::kPrefix);
          all->runtime()->kept->clear();
          const Answer want = Asker(*all).ask(prompts[p], spans, 40);
          for (Model* other : {model.get(), tight.get()}) {
            const std::string where = path.string() + ", prompt " + std::to_string(p) + ", round " +
                                      std::to_string(round) +
                                      (mode == SpanMode::kBlend ? ", blend" : "") +
                                      (other == tight.get() ? ", short of memory" : "");
            const Answer got = Asker(*other).ask(prompts[p], spans, 40);
            BOOST_TEST((got.logprobs == want.logprobs), where);
            BOOST_TEST((got.tokens == want.tokens),
                       where << " " << got.tokens.size() << "/" << want.tokens.size());
            if (round == 1 && other == model.get())
              BOOST_TEST(got.computed() == 1, where << got.computed());
          }
        }
    // Of what one request leaves: the preamble, three fragments and the text around them.
    model->runtime()->kept->clear();
    Asker(*model).ask(prompts[0], spans_of(prompts[0], SpanMode::kBlock));
    const BlockPool& pool = *model->runtime()->pool;
    BOOST_TEST(pool.used(BlockKind::kFull) >= 3 * 90 / kBlockSize);
    if (model->runtime()->cache->block_bytes().full != 0)
      BOOST_TEST(windowed(*model) <= 5 * blocks_of_window(*model, kBlockSize));
    BOOST_TEST(Asker(*model).ask(prompts[1], spans_of(prompts[1], SpanMode::kBlock)).computed() ==
               13);
    BOOST_TEST(blocks_in_use(*model) == 0);
    BOOST_TEST(blocks_in_use(*tight) == 0);
  }
}

// Against the dense forward, which knows nothing of blocks.
BOOST_AUTO_TEST_CASE(long_fragments_are_what_a_dense_forward_says) {
  for (const fs::path& path : window_models()) {
    const auto model = load(path, exact_numbers(4));
    DenseForward oracle(model->bundle().spec);
    for (const SpanMode mode : {SpanMode::kBlock, SpanMode::kBlend}) {
      const SpanPrompt prompt = documents({0, 1}, 50);
      const SpanRequest spans = spans_of(prompt, mode, 5);
      std::vector<float> want =
          oracle.logits(SpanOracle(prompt, spans).rows(), /*long_rope=*/false);
      double sum = 0;
      for (const float logit : want) sum += std::exp(double{logit});
      for (float& logit : want) logit -= static_cast<float>(std::log(sum));
      BOOST_TEST(off_by(Asker(*model).ask(prompt, spans).logprobs, want) < 4e-4, path);
    }
  }
}

// What is read back from disk is all rows of a fragment or its last window: nobody can tell.
BOOST_AUTO_TEST_CASE(fragments_come_back_from_disk) {
  for (const fs::path& path : window_models()) {
    const TemporaryFolder folder;
    Settings on_disk = blocks_of(kBlockSize);
    on_disk.disk = {folder.path, 1 << 28, 0};
    const auto plain = keeps_all(path);
    for (const SpanMode mode : {SpanMode::kBlock, SpanMode::kBlend}) {
      const SpanPrompt prompts[] = {documents({0, 1, 2}, 70), documents({2, 0}, 70)};
      for (const SpanPrompt& prompt : prompts) {
        const SpanRequest spans = spans_of(prompt, mode, 5);
        const Answer want = Asker(*plain).ask(prompt, spans, 40);
        const auto model = load(path, on_disk);  // anew each time
        const Answer got = Asker(*model).ask(prompt, spans, 40);
        BOOST_TEST(got.tokens == want.tokens, boost::test_tools::per_element());
        BOOST_TEST((got.logprobs == want.logprobs), path);
        if (&prompt != prompts)
          BOOST_TEST(got.computed() <= 13 + (mode == SpanMode::kBlend ? 5 : 0));
        BOOST_TEST(blocks_in_use(*model) == 0);
      }
    }
  }
}
