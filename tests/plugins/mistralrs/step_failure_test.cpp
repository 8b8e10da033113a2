// Steps whose forward fails: whoever took part hears of it once, and all others go on.
#include <new>
#include <stdexcept>

#include "delegating_ops.h"
#include "span_client.h"

using namespace spnl::mistralrs;
using namespace spnl::mistralrs::test;

namespace {

/// The product so many calls from now throws.
class FailingOps final : public DelegatingOps {
 public:
  using DelegatingOps::DelegatingOps;

  void linear(std::span<const LinearGroup> groups) override {
    if (calls_left > 0 && --calls_left == 0) {
      ++failures;
      if (failures % 2 == 0) throw std::bad_alloc();
      throw std::runtime_error("no product today");
    }
    DelegatingOps::linear(groups);
  }

  int calls_left = 0;  // 0: all succeed
  int failures = 0;
};

/// A model whose steps run by such.
struct Fragile {
  explicit Fragile(const Settings& settings)
      : model(load(kModel, settings)), ops(*model->runtime()->ops) {
    Runtime& runtime = *model->runtime();
    runtime.transformer = std::make_unique<Transformer>(
        model->bundle().spec, runtime.weights, *runtime.cache, ops, kTokenBudget, kLogitRows);
  }

  std::unique_ptr<Model> model;
  FailingOps ops;
};

Settings small_blocks() {
  Settings s = base();
  s.threads = 1;
  s.block_size = 8;
  return s;
}

Request request_of(const SpanPrompt& prompt, SpanMode mode) {
  Request r;
  r.prompt = prompt.ids;
  r.spans = spans_of(prompt, mode, 5);
  r.sampling.max_tokens = 8;
  r.sampling.params.temperature = 0;
  return r;
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_failed_step_ends_who_took_part_and_nothing_else) {
  Fragile fragile(small_blocks());
  Model& model = *fragile.model;
  std::vector<Request> requests;
  for (int i = 0; i < 6; ++i)
    requests.push_back(
        request_of(documents({i % 3, (i + 1) % 3}, 30, i), static_cast<SpanMode>(i % 3)));
  requests[4].sampling.samples = 3;
  std::vector<std::vector<int32_t>> want;
  for (const Request& request : requests) {
    Client alone(model);
    uint64_t id = 0;
    alone.session.submit(request, id);
    alone.run();
    want.push_back(alone.at(0, 0).tokens);
  }
  int failed = 0, fine = 0;
  for (int call = 1; call < 160; call += 3) {
    model.runtime()->kept->clear();
    Client client(model), late(model);
    for (size_t i = 0; i < requests.size(); ++i) {
      Request request = requests[i];
      request.user_id = i;
      uint64_t id = 0;
      client.session.submit(std::move(request), id);
    }
    fragile.ops.calls_left = call;
    for (int step = 0; step < 2; ++step) client.session.step();
    uint64_t id = 0;
    late.session.submit(requests[0], id);  // sees what was on its way
    client.run();
    late.run();
    client.results.emplace(std::pair(requests.size(), 0), late.at(0, 0));
    for (const auto& [key, result] : client.results) {
      const auto& tokens = want[key.first % requests.size()];
      BOOST_TEST(result.finishes == 1, "call " << call << ", request " << key.first);
      if (result.finish == Finish::kError) {
        ++failed;
        BOOST_TEST(std::equal(result.tokens.begin(), result.tokens.end(), tokens.begin()));
        BOOST_TEST((result.error == "no product today" ||
                    result.error == "out of memory; run fewer requests at once"));
      } else {
        ++fine;
        BOOST_TEST((result.tokens == tokens), "call " << call << ", request " << key.first);
      }
    }
    BOOST_TEST(blocks_in_use(model) == 0, "call " << call);
    BOOST_TEST(model.runtime()->counters.running + model.runtime()->counters.waiting == 0u);
  }
  BOOST_TEST(failed > 50);
  BOOST_TEST(fine > 50);
}
