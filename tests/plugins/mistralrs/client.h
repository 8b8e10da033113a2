#pragma once
// A session that keeps what it hears, for tests of the engine.
#include <boost/test/unit_test.hpp>
#include <map>

#include "engine/session.h"
#include "fixtures.h"

namespace spnl::mistralrs::test {

inline const std::filesystem::path kModel =
    std::filesystem::path(SPNL_TEST_FIXTURES_DIR) / "gguf/llama-bf16.gguf";

inline Settings base() {
  Settings s;
  s.threads = 2;
  s.kv_bytes = 16 << 20;
  return s;
}

struct Result {
  std::vector<int32_t> tokens;
  std::string text;
  std::optional<Finish> finish;
  std::string error;
  int64_t cached = 0;
  int finishes = 0;
};

/// A session that keeps what it hears by (request, sample).
struct Client {
  explicit Client(Model& model)
      : session(
            model,
            [this](const Event& e) {
              Result& r = at(e.sequence->request->user_id, e.sequence->sample);
              if (r.finish) ++r.finishes;  // nothing may follow FINISH
              r.text += e.text;
              if (e.finished) {
                r.finish = e.sequence->finish;
                r.error = e.sequence->error;
                r.cached = e.sequence->cached_tokens();
                ++r.finishes;
              } else {
                r.tokens.push_back(e.token);
              }
              return on_token ? on_token(e) : 0;
            },
            [this](const std::string& text) { notes.push_back(text); }) {}

  uint64_t submit(uint64_t user_id, std::vector<int32_t> prompt, uint64_t max_tokens,
                  uint32_t samples = 1, float temperature = 0) {
    Request r;
    r.user_id = user_id;
    r.prompt = std::move(prompt);
    r.sampling.max_tokens = static_cast<uint32_t>(max_tokens);
    r.sampling.samples = samples;
    r.sampling.params.temperature = temperature;
    r.sampling.params.seed = 7;
    uint64_t id = 0;
    BOOST_TEST(session.submit(std::move(r), id));
    return id;
  }
  Result& at(uint64_t user_id, uint32_t sample) { return results[std::make_pair(user_id, sample)]; }
  void run() {
    for (int steps = 0; session.step() > 0; ++steps) BOOST_TEST_REQUIRE(steps < 20000);
  }

  std::map<std::pair<uint64_t, uint32_t>, Result> results;
  std::vector<std::string> notes;
  std::function<int32_t(const Event&)> on_token;
  Session session;
};

inline std::vector<int32_t> prompt(int seed, int length) {
  std::vector<int32_t> ids;
  uint32_t x = static_cast<uint32_t>(seed) * 2654435761u + 12345u;
  for (int i = 0; i < length; ++i) {
    x = x * 1664525u + 1013904223u;
    ids.push_back(3 + static_cast<int32_t>((x >> 8) % 200));
  }
  return ids;
}

inline std::vector<int32_t> alone(Model& model, const std::vector<int32_t>& ids,
                                  uint64_t max_tokens) {
  Client s(model);
  s.submit(1, ids, max_tokens);
  s.run();
  return s.at(1, 0).tokens;
}

inline int32_t used_by_sequences(Model& model) {
  model.runtime()->kept->clear();
  return model.runtime()->pool->used_blocks();
}

}  // namespace spnl::mistralrs::test
