// What is promised of fragments that are cached apart.
#include <array>
#include <cstddef>
#include <new>

#include "random_model.h"
#include "span_client.h"
#include "spnl/modelkit/error.h"
#include "temporary_folder.h"

using namespace spnl::mistralrs;
using namespace spnl::mistralrs::test;

BOOST_AUTO_TEST_CASE(permuted_fragments_are_not_computed_again) {
  const auto model = load(kModel, base());
  for (const SpanMode mode : {SpanMode::kBlock, SpanMode::kBlend}) {
    Asker asker(*model);
    const SpanPrompt first = documents({0, 1, 2, 3});
    asker.ask(first, spans_of(first, mode, 5));
    for (const std::vector<int>& order :
         {std::vector{3, 1, 0, 2}, std::vector{2, 1}, std::vector{1, 1, 3, 1}, std::vector{3}}) {
      const SpanPrompt prompt = documents(order);
      const Answer answer = asker.ask(prompt, spans_of(prompt, mode, 5));
      for (size_t f = 0; f < prompt.spans.size(); ++f)
        BOOST_TEST(answer.computed(prompt.spans[f]) == (mode == SpanMode::kBlend && f > 0 ? 5 : 0));
      BOOST_TEST(answer.computed() <= 13 + 5 * std::ssize(order));
    }
    // The very same again: all but the last token.
    BOOST_TEST(asker.ask(first, spans_of(first, mode, 5)).computed() == 1);
  }
  BOOST_TEST(blocks_in_use(*model) == 0);
}

BOOST_AUTO_TEST_CASE(racing_requests_compute_each_fragment_once) {
  const auto model = load(kModel, base());
  Asker asker(*model);
  std::vector<SpanPrompt> prompts;
  for (int i = 0; i < 8; ++i)
    prompts.push_back(documents({i % 4, (i + 1) % 4, (i + 2) % 4}, 40, i));
  for (const SpanPrompt& p : prompts) asker.submit(p, spans_of(p, SpanMode::kBlock));
  asker.run();
  int64_t computed = 0;
  for (size_t i = 0; i < prompts.size(); ++i)
    for (const auto& span : prompts[i].spans) computed += asker.answers[i].computed(span);
  BOOST_TEST(computed == 40 + 41 + 42 + 43);
  BOOST_TEST(model->runtime()->counters.prefill_tokens == 11u + 166 + 8 * 13);
  // And each gets what it would get alone.
  for (size_t i = 0; i < prompts.size(); ++i) {
    model->runtime()->kept->clear();
    const Answer alone = asker.ask(prompts[i], spans_of(prompts[i], SpanMode::kBlock));
    BOOST_TEST((alone.logprobs == asker.answers[i].logprobs), "request " << i);
  }
}

BOOST_AUTO_TEST_CASE(modes_agree_where_they_must) {
  const auto model = load(kModel, exact_numbers(8));
  Asker asker(*model);
  const auto near = [](const Answer& a, const Answer& b) { return off_by(a.logprobs, b.logprobs); };
  SpanPrompt plain = documents({0, 1});
  plain.spans.clear();
  const Answer want = asker.ask(plain, spans_of(plain, SpanMode::kExact), 5);
  for (const SpanMode mode : {SpanMode::kBlock, SpanMode::kBlend})
    BOOST_TEST((asker.ask(plain, spans_of(plain, mode), 5).tokens == want.tokens));
  const SpanPrompt two = documents({0, 1});
  BOOST_TEST((asker.ask(two, spans_of(two, SpanMode::kExact), 5).tokens == want.tokens));
  BOOST_TEST(near(asker.ask(two, spans_of(two, SpanMode::kBlend, 1 << 20)), want) < 1e-4);
  BOOST_TEST(near(asker.ask(two, spans_of(two, SpanMode::kBlock)), want) > 1e-3);  // it matters
  const Answer block = asker.ask(two, spans_of(two, SpanMode::kBlock), 9);
  BOOST_TEST((asker.ask(two, spans_of(two, SpanMode::kBlend, 0), 9).tokens == block.tokens));
  Random random(8);
  for (int i = 0; i < 12; ++i) {  // nested ones too
    const SpanPrompt tree = random_prompt(random, {.depth = 3});
    const Answer exact = asker.ask(tree, spans_of(tree, SpanMode::kExact));
    const auto context = static_cast<SpanContext>(i % 4);
    const double off =
        near(asker.ask(tree, spans_of(tree, SpanMode::kBlend, 1 << 20, context)), exact);
    BOOST_TEST(off < 1e-4, "tree " << i << ": off by " << off);
  }
  const SpanPrompt one = documents({2});
  const Answer all = asker.ask(one, spans_of(one, SpanMode::kExact));
  BOOST_TEST(near(asker.ask(one, spans_of(one, SpanMode::kBlock, 0, SpanContext::kPrefix)), all) <
             1e-4);
}

namespace {

/// Bytes of keys and values of all layers, of the rows of an extent that are kept.
std::vector<char> kept_rows(Model& model, const ExtentPlan& extent) {
  Runtime& runtime = *model.runtime();
  const auto found = runtime.kept->find(extent.chain(), extent.rows(), true);
  BOOST_TEST_REQUIRE(found.rows == extent.rows());
  std::vector<char> bytes;
  const auto add = [&](BlockKind kind, const cpu::KvLayer& layer, const void* base, int32_t dim) {
    const int64_t row = cpu::kv_row_bytes(layer.type, dim), head = row * layer.block_size;
    for (int64_t slot = 0; slot < extent.rows(); ++slot)
      for (int32_t h = 0; h < layer.kv_heads; ++h) {
        const Block& blocks = found.blocks[static_cast<size_t>(slot / layer.block_size)];
        const int64_t block = kind == BlockKind::kFull ? blocks.full : blocks.windowed;
        if (block == kNoWindowed && kind == BlockKind::kWindowed) continue;
        const char* at = static_cast<const char*>(base) + (block * layer.kv_heads + h) * head +
                         slot % layer.block_size * row;
        bytes.insert(bytes.end(), at, at + row);
      }
  };
  for (size_t i = 0; i < model.bundle().spec.layers.size(); ++i) {
    const cpu::KvLayer& layer = runtime.cache->layer(i);
    const BlockKind kind = runtime.cache->kind(i);
    add(kind, layer, layer.keys, layer.head_dim);
    if (layer.values != nullptr) add(kind, layer, layer.values, layer.value_dim);
  }
  return bytes;
}

}  // namespace

BOOST_AUTO_TEST_CASE(siblings_change_no_key_and_no_value) {
  Settings settings = base();
  settings.block_size = 8;
  for (const auto& [name, spec] : random_models(spnl::modelkit::TensorType::kF32)) {
    const auto model = load(spec, settings);
    std::vector<std::vector<char>> rows;
    for (const std::vector<int>& order : {std::vector{0, 1, 2}, std::vector{3, 4, 1}}) {
      model->runtime()->kept->clear();
      const SpanPrompt prompt = documents(order, 21);
      const SpanRequest spans = spans_of(prompt, SpanMode::kBlock);
      Asker(*model).ask(prompt, spans);
      const auto plan = plan_spans(prompt.ids, spans, model->turns_long(std::ssize(prompt.ids)),
                                   *model->runtime()->kept);
      for (const auto& extent : plan->extents)
        if (extent->rows() == 22) rows.push_back(kept_rows(*model, *extent));
    }
    BOOST_TEST_REQUIRE(rows.size() == 2u, name);
    BOOST_TEST((rows[0] == rows[1]), name);
    BOOST_TEST(std::any_of(rows[0].begin(), rows[0].end(), [](char byte) { return byte != 0; }));
  }
}

// Upstream shared the tails of prompts that end with the same fragment.
BOOST_AUTO_TEST_CASE(tails_after_other_fragments_are_not_shared) {
  const auto model = load(kModel, base());
  Asker asker(*model);
  const SpanPrompt a = documents({0, 2}), b = documents({1, 2});
  asker.ask(a, spans_of(a, SpanMode::kBlock));
  const Answer warm = asker.ask(b, spans_of(b, SpanMode::kBlock));
  BOOST_TEST(std::count(warm.cached.end() - 13, warm.cached.end(), 0) == 13);
  model->runtime()->kept->clear();
  BOOST_TEST((asker.ask(b, spans_of(b, SpanMode::kBlock)).logprobs == warm.logprobs));
}

// The same with all tokens at the same places: only what they see differs.
BOOST_AUTO_TEST_CASE(text_after_other_text_of_the_same_length_is_not_shared) {
  const SpanPrompt first = documents({0, 2});
  const auto with_other = [&](uint64_t begin, uint64_t end) {
    SpanPrompt other = first;
    for (uint64_t i = begin; i < end; ++i) other.ids[i] = first.ids[i] == 5 ? 6 : 5;
    return other;
  };
  const SpanPrompt other_fragment = with_other(first.spans[0].begin, first.spans[0].end),
                   other_preamble = with_other(1, first.preamble);
  const auto model = load(kModel, base());
  Asker asker(*model);
  for (const SpanPrompt* now : {&other_fragment, &other_preamble}) {
    model->runtime()->kept->clear();
    asker.ask(first, spans_of(first, SpanMode::kBlock));
    const Answer warm = asker.ask(*now, spans_of(*now, SpanMode::kBlock));
    BOOST_TEST(std::count(warm.cached.end() - 13, warm.cached.end(), 0) == 13);
    BOOST_TEST(warm.computed(now->spans[0]) ==
               static_cast<int64_t>(now->spans[0].end - now->spans[0].begin));
    model->runtime()->kept->clear();
    BOOST_TEST((asker.ask(*now, spans_of(*now, SpanMode::kBlock)).logprobs == warm.logprobs));
  }
}

// Whatever is cached, evicted, in flight, preempted or cancelled: the same bits, and no block lost.
BOOST_AUTO_TEST_CASE(the_state_of_the_cache_changes_nothing) {
  Random random(3);
  Settings tiny = base();
  tiny.block_size = 8;
  const auto roomy = load(kModel, tiny);
  const uint64_t block =
      KvCache::block_bytes(roomy->bundle().spec, roomy->runtime()->cache->layer(0).type, 8).both();
  tiny.kv_bytes = 60 * block;
  const auto model = load(kModel, tiny);
  std::vector<std::pair<SpanPrompt, SpanRequest>> requests;
  std::vector<Answer> want;
  for (int i = 0; i < 24; ++i) {
    std::vector<int> order;
    for (size_t n = 1 + random() % 4; n > 0; --n) order.push_back(static_cast<int>(random() % 5));
    const SpanPrompt prompt = i % 3 == 0 ? random_prompt(random, {}) : documents(order, 30, i);
    const auto mode = static_cast<SpanMode>(random() % 3);
    requests.emplace_back(prompt, spans_of(prompt, mode, 6));
    Asker alone(*roomy);
    roomy->runtime()->kept->clear();
    want.push_back(alone.ask(prompt, requests.back().second, 12));
  }
  for (int round = 0; round < 6; ++round) {
    Asker asker(*model);
    std::vector<std::pair<size_t, size_t>> asked;  // answer, request
    for (int i = 0; i < 30; ++i) {
      const size_t r = random() % requests.size();
      const size_t a = asker.submit(requests[r].first, requests[r].second, 12);
      if (random() % 6 == 0)
        asker.session.cancel(asker.sequences[a]);
      else
        asked.emplace_back(a, r);
      for (size_t steps = random() % 3; steps > 0; --steps) asker.session.step();
    }
    asker.run();
    for (const auto& [a, r] : asked) {
      BOOST_TEST((asker.answers[a].tokens == want[r].tokens), "round " << round << ", " << r);
      BOOST_TEST((asker.answers[a].logprobs == want[r].logprobs), "round " << round << ", " << r);
    }
    if (round % 2 == 1) BOOST_TEST(blocks_in_use(*model) == 0);
  }
}

BOOST_AUTO_TEST_CASE(samples_share_the_fragments) {
  const auto model = load(kModel, base());
  const SpanPrompt prompt = documents({0, 1, 2});
  Client client(*model);
  Request r;
  r.prompt = prompt.ids;
  r.spans = spans_of(prompt, SpanMode::kBlock);
  r.sampling.max_tokens = 8;
  r.sampling.samples = 3;
  r.sampling.params.temperature = 0;
  uint64_t id = 0;
  BOOST_TEST(client.session.submit(std::move(r), id));
  client.run();
  Asker asker(*model);
  const Answer want = asker.ask(prompt, spans_of(prompt, SpanMode::kBlock), 8);
  for (uint32_t i = 0; i < 3; ++i) BOOST_TEST((client.at(0, i).tokens == want.tokens));
  BOOST_TEST(blocks_in_use(*model) == 0);
}

BOOST_AUTO_TEST_CASE(one_time_text_is_not_kept) {
  const auto model = load(kModel, base());
  Asker asker(*model);
  SpanPrompt prompt = documents({0, 1});
  prompt.spans[1].no_store = true;
  asker.ask(prompt, spans_of(prompt, SpanMode::kBlock));
  const Answer again = asker.ask(prompt, spans_of(prompt, SpanMode::kBlock));
  BOOST_TEST(again.computed(prompt.spans[0]) == 0);
  BOOST_TEST(again.computed(prompt.spans[1]) == 38);
  BOOST_TEST(again.computed() == 38 + 13);
}

// Not in the preamble, nor between the groups, nor what sees it.
BOOST_AUTO_TEST_CASE(one_time_text_outside_of_fragments_is_not_kept) {
  const auto model = load(kModel, base());
  Asker asker(*model);
  Random random(31);
  SpanPrompt prompt = documents({0, 1});
  prompt.text(some(random, 10));  // together with the question before it
  const uint64_t group = prompt.ids.size();
  prompt.fragment(some(random, 33), 1);
  prompt.fragment(some(random, 34), 2);
  prompt.spans[3].sees_prefix = true;
  prompt.text(some(random, 8));
  const auto computed_again = [&](int64_t storable) {
    model->runtime()->kept->clear();
    SpanRequest spans = spans_of(prompt, SpanMode::kBlock);
    spans.storable_tokens = storable;
    asker.ask(prompt, spans);
    return asker.ask(prompt, spans).computed();
  };
  BOOST_TEST(computed_again(std::ssize(prompt.ids)) == 1);
  BOOST_TEST(computed_again(static_cast<int64_t>(group) - 1) == 23 + 34 + 8);
  BOOST_TEST(computed_again(0) == std::ssize(prompt.ids));
  BOOST_TEST(blocks_in_use(*model) == 0);
}

namespace {

/// A prompt that quotes what sequences wrote: [header, output, two tokens that close it] each.
struct Quotes {
  std::vector<std::vector<int32_t>> prompts;  // of the sequences
  SpanPrompt outer;
};

Quotes write_and_quote(Asker& asker, SpanMode mode, int64_t storable = 1 << 20) {
  constexpr size_t kHeader = 3;
  Random random(17);
  const auto preamble = some(random, 9), header = some(random, kHeader), closing = some(random, 2);
  Quotes quotes;
  quotes.outer.text(preamble);
  quotes.outer.preamble = preamble.size();
  std::vector<size_t> asked;
  for (size_t i = 0; i < 3; ++i) {
    SpanPrompt inner;
    inner.text(preamble);
    inner.text(some(random, 20 + i));
    inner.text(header);
    quotes.prompts.push_back(inner.ids);
    SpanRequest spans = spans_of(inner, mode);
    spans.storable_tokens = storable;
    asked.push_back(asker.submit(inner, spans, 25));
  }
  asker.run();
  for (const size_t a : asked) {
    const size_t index = quotes.outer.begin_span(-1, 0);
    quotes.outer.spans[index].lineage = asker.sequences[a];
    quotes.outer.text(header);
    const size_t text_begin = quotes.outer.ids.size();
    quotes.outer.text(asker.answers[a].tokens);
    const size_t text_end = quotes.outer.ids.size();
    quotes.outer.text(closing);
    quotes.outer.end_span(index);
    quotes.outer.spans[index].text_begin = text_begin;
    quotes.outer.spans[index].text_end = text_end;
  }
  quotes.outer.text(some(random, 12));
  return quotes;
}

/// Each quote sees the prompt that it answered; the outer prompt sees the quotes alone.
std::vector<DenseRow> quoted_rows(const Quotes& quotes) {
  struct Place {
    int32_t chain, own, outer;  // chain -1: the outer prompt; outer -1: hidden from it
  };
  std::vector<Place> places;
  std::vector<DenseRow> rows;
  const SpanPrompt& outer = quotes.outer;
  const auto add = [&](int32_t id, Place place) {
    places.push_back(place);
    rows.push_back({id, {}});
  };
  const auto at = [](uint64_t i) { return static_cast<int32_t>(i); };
  for (uint64_t i = 0; i < outer.preamble; ++i) add(outer.ids[i], {-1, -1, at(i)});
  for (size_t q = 0; q < quotes.prompts.size(); ++q) {
    const std::vector<int32_t>& prompt = quotes.prompts[q];
    const auto& span = outer.spans[q];
    const size_t header = span.text_begin - span.begin;
    for (size_t i = 0; i + header < prompt.size(); ++i) add(prompt[i], {at(q), at(i), -1});
    for (uint64_t i = span.begin; i < span.end; ++i)
      add(outer.ids[i], {at(q), at(prompt.size() - header + (i - span.begin)), at(i)});
  }
  for (uint64_t i = outer.spans.back().end; i < outer.ids.size(); ++i)
    add(outer.ids[i], {-1, -1, at(i)});
  for (size_t t = 0; t < rows.size(); ++t)
    for (size_t s = 0; s < rows.size(); ++s) {
      const Place &a = places[t], &b = places[s];
      const int32_t distance = a.chain >= 0   ? (a.chain == b.chain ? a.own - b.own : -1)
                               : b.outer >= 0 ? a.outer - b.outer
                                              : -1;
      rows[t].distance.push_back(distance);
    }
  return rows;
}

}  // namespace

// Of what inner sequences wrote the outer prompt computes the last token, which they never did, and
// what closes the message; when it is gone, it is computed as its author did, to the same bits.
BOOST_AUTO_TEST_CASE(outputs_are_seen_as_they_were_computed) {
  const auto model = load(kModel, exact_numbers(8));
  for (const SpanMode inner : {SpanMode::kExact, SpanMode::kBlock}) {
    Asker asker(*model);
    const Quotes quotes = write_and_quote(asker, inner);
    const SpanRequest spans = spans_of(quotes.outer, SpanMode::kBlock);
    const Answer warm = asker.ask(quotes.outer, spans);
    for (const auto& span : quotes.outer.spans) BOOST_TEST(warm.computed(span) == 1 + 2);
    BOOST_TEST(warm.computed() == 3 * 3 + 12);
    std::vector<float> want =
        DenseForward(model->bundle().spec).logits(quoted_rows(quotes), /*long_rope=*/false);
    BOOST_TEST(off_by(warm.logprobs, log_softmax(std::move(want))) < 2e-4);
    model->runtime()->kept->clear();
    BOOST_TEST((asker.ask(quotes.outer, spans).logprobs == warm.logprobs));
    // Other text than was written is an ordinary fragment.
    SpanPrompt other = quotes.outer;
    ++other.ids[other.spans[0].text_begin];
    BOOST_TEST(asker.ask(other, spans_of(other, SpanMode::kBlock)).computed(other.spans[0]) > 20);
    BOOST_TEST(blocks_in_use(*model) == 0);
  }
}

// What is read from disk needs nothing computed that it once saw.
BOOST_AUTO_TEST_CASE(quotes_on_disk_need_nothing_from_before_them) {
  const TemporaryFolder folder;
  Settings settings = exact_numbers(8);
  settings.disk = {folder.path, 1 << 30, 0};
  const auto model = load(kModel, settings);
  Asker asker(*model);
  const Quotes quotes = write_and_quote(asker, SpanMode::kBlock);
  const SpanRequest spans = spans_of(quotes.outer, SpanMode::kBlock);
  model->runtime()->kept->clear();
  const Answer cold = asker.ask(quotes.outer, spans);
  model->runtime()->disk->close();
  model->runtime()->kept->clear();
  const uint64_t before = model->runtime()->counters.prefill_tokens;
  const Answer warm = asker.ask(quotes.outer, spans);
  BOOST_TEST((warm.logprobs == cold.logprobs));
  for (const auto& span : quotes.outer.spans) BOOST_TEST(warm.computed(span) == 0);
  BOOST_TEST(model->runtime()->counters.prefill_tokens - before == 12u);
  BOOST_TEST(warm.computed() == 12);
  BOOST_TEST(blocks_in_use(*model) == 0);
}

BOOST_AUTO_TEST_CASE(quotes_that_are_computed_again_need_nothing_from_before_them) {
  const auto model = load(kModel, exact_numbers(8));
  Asker asker(*model);
  const Quotes quotes = write_and_quote(asker, SpanMode::kBlock);
  model->runtime()->kept->clear();
  const uint64_t before = model->runtime()->counters.prefill_tokens;
  const Answer blend = asker.ask(quotes.outer, spans_of(quotes.outer, SpanMode::kBlend, 100));
  BOOST_TEST(model->runtime()->counters.prefill_tokens - before == quotes.outer.ids.size());
  const Answer exact = asker.ask(quotes.outer, spans_of(quotes.outer, SpanMode::kExact));
  BOOST_TEST(off_by(blend.logprobs, exact.logprobs) < 1e-4);
}

// Only what is missing needs what it sees.
BOOST_AUTO_TEST_CASE(what_complete_extents_see_is_not_computed_for_them) {
  const auto model = load(kModel, exact_numbers(8));
  Asker asker(*model);
  const SpanPrompt inner = documents({0});
  const SpanRequest inner_spans = spans_of(inner, SpanMode::kBlock);
  const size_t asked = asker.submit(inner, inner_spans, 20);
  asker.run();
  constexpr int64_t kHeader = 3;
  SpanPrompt outer;
  outer.text({inner.ids.begin(), inner.ids.begin() + static_cast<int64_t>(inner.preamble)});
  outer.preamble = inner.preamble;
  outer.fragment({inner.ids.end() - kHeader, inner.ids.end()}, 0);
  outer.text(asker.answers[asked].tokens);
  outer.end_span(0);
  outer.spans[0].text_begin = outer.spans[0].begin + kHeader;
  outer.spans[0].lineage = asker.sequences[asked];
  outer.spans[0].pin = true;  // stays when what it sees goes
  outer.text({4, 5, 6});
  asker.ask(outer, spans_of(outer, SpanMode::kBlock));
  BlockCache& kept = *model->runtime()->kept;
  const auto plan = plan_spans(inner.ids, inner_spans, false, kept);
  const Chain fragment = plan->extents.back()->chain();
  const BlockPool& pool = *model->runtime()->pool;
  for (int32_t free = pool.sizes().blocks.full - pool.used_blocks();
       kept.find(fragment, fragment.rows(), true).rows > 0; ++free)
    kept.make_room(free);
  const uint64_t before = model->runtime()->counters.prefill_tokens;
  outer.ids.back() = 7;
  asker.ask(outer, spans_of(outer, SpanMode::kBlock));
  BOOST_TEST(model->runtime()->counters.prefill_tokens - before <= outer.preamble + 3);
}

BOOST_AUTO_TEST_CASE(quotes_of_prompts_with_many_fragments_count_with_them) {
  const auto model = load(kModel, base());
  const BlockCache& kept = *model->runtime()->kept;
  SpanPrompt inner, outer;
  for (int32_t i = 0; i < 900; ++i) {
    inner.fragment({5}, i);
    inner.text({6});
  }
  const auto text = std::make_shared<GeneratedText>();
  text->plan = plan_spans(inner.ids, spans_of(inner, SpanMode::kBlock), false, kept);
  text->output = {7};
  for (int i = 0; i < 3; ++i) {
    outer.fragment({7}, 0);
    outer.spans.back().text_begin = outer.spans.back().begin;
    outer.spans.back().lineage = 1;
  }
  outer.text({8});
  SpanRequest spans = spans_of(outer, SpanMode::kBlock);
  spans.lineage.emplace(1, text);
  BOOST_CHECK_THROW(plan_spans(outer.ids, spans, false, kept), spnl::modelkit::Error);
}

// What was written in answer to one-time text is quoted without keeping that text.
BOOST_AUTO_TEST_CASE(quotes_do_not_keep_the_one_time_text_before_them) {
  const auto model = load(kModel, base());
  Asker asker(*model);
  const Quotes quotes = write_and_quote(asker, SpanMode::kExact, /*storable=*/10);
  const SpanRequest spans = spans_of(quotes.outer, SpanMode::kBlock);
  asker.ask(quotes.outer, spans);
  const Answer again = asker.ask(quotes.outer, spans);
  for (const auto& span : quotes.outer.spans)
    BOOST_TEST(again.computed(span) == static_cast<int64_t>(span.end - span.begin));
  BOOST_TEST(blocks_in_use(*model) == 0);
}

// Prompts that only warm the cache.
BOOST_AUTO_TEST_CASE(a_prefill_leaves_its_fragments) {
  const auto model = load(kModel, base());
  Asker asker(*model);
  SpanPrompt corpus = documents({2, 0, 3});
  corpus.ids.resize(corpus.spans.back().end);  // ends with a fragment
  corpus.spans[0].pin = true;
  Request r;
  r.prompt = corpus.ids;
  r.spans = spans_of(corpus, SpanMode::kBlock);
  r.prefill_only = true;
  uint64_t id = 0;
  asker.answers.emplace_back();
  asker.sequences.emplace_back();
  BOOST_TEST(asker.session.submit(std::move(r), id));
  asker.run();
  const SpanPrompt question = documents({0, 2});
  BOOST_TEST(asker.ask(question, spans_of(question, SpanMode::kBlock)).computed() == 13);
}

BOOST_AUTO_TEST_CASE(prompts_of_too_many_fragments_are_refused) {
  Settings small = base();
  const auto roomy = load(kModel, small);
  small.kv_bytes = 20 * roomy->runtime()->cache->block_bytes().both();
  const auto model = load(kModel, small);
  const auto refused = [&](const SpanPrompt& prompt, const SpanRequest& spans,
                           const std::string& word) {
    Client client(*model);
    Request r;
    r.prompt = prompt.ids;
    r.spans = spans;
    uint64_t id = 0;
    BOOST_CHECK_EXCEPTION(
        client.session.submit(std::move(r), id), spnl::modelkit::Error,
        [&](const auto& e) { return std::string(e.what()).find(word) != std::string::npos; });
  };
  Random random(4);
  SpanPrompt many;  // 31 tokens fit one of the 20 blocks, but not 31
  for (int i = 0; i < 30; ++i) many.fragment({10 + i}, 0);
  many.text(some(random, 1));
  refused(many, spans_of(many, SpanMode::kBlock), "31 blocks");
  refused(many, spans_of(many, SpanMode::kBlock), "holds 20");
  SpanPrompt again;  // the same fragment has the same block
  for (int i = 0; i < 30; ++i) again.fragment({5}, 0);
  again.text(some(random, 1));
  Asker asker(*model);
  BOOST_TEST(asker.ask(again, spans_of(again, SpanMode::kBlock)).computed() == 2);
  SpanPrompt nested;  // each sees all before: runs grow with the square
  for (int32_t i = 0; i < 2000; ++i) {
    nested.fragment({5}, i);
    nested.text({6});
  }
  const BlockCache& kept = *model->runtime()->kept;
  BOOST_CHECK_THROW(plan_spans(nested.ids, spans_of(nested, SpanMode::kBlock), false, kept),
                    spnl::modelkit::Error);
  BOOST_TEST(plan_spans(nested.ids, spans_of(nested, SpanMode::kExact), false, kept)->own->rows() ==
             4000);
  SpanPrompt deep;
  for (int32_t i = 0; i < 100000; ++i) deep.begin_span(i - 1, i);
  deep.text({5});
  for (size_t i = 0; i < deep.spans.size(); ++i) deep.end_span(i);
  BOOST_CHECK_THROW(plan_spans(deep.ids, spans_of(deep, SpanMode::kBlock), false, kept),
                    spnl::modelkit::Error);
}

// Text between groups sees all before it, so the ways from the last to the first cannot be walked.
BOOST_AUTO_TEST_CASE(many_groups_can_be_on_their_way_at_once) {
  Settings small_blocks = base();
  small_blocks.block_size = 8;
  const auto model = load(kModel, small_blocks);
  Random random(6);
  SpanPrompt groups, long_text;
  for (int32_t i = 0; i < 70; ++i) {
    groups.fragment(some(random, 3), i);
    groups.text(some(random, 3));
  }
  long_text.text(some(random, 400));
  const SpanRequest block = spans_of(groups, SpanMode::kBlock);
  const SpanRequest exact = spans_of(long_text, SpanMode::kExact);
  Asker asker(*model), second(*model), third(*model);
  const Answer want = asker.ask(groups, block);
  model->runtime()->kept->clear();
  const size_t again = asker.submit(groups, block);
  second.submit(long_text, exact);  // they take their parts of each step, so that it takes several
  third.submit(long_text, exact);
  asker.run();
  BOOST_TEST((asker.answers[again].logprobs == want.logprobs));
  second.run();
  third.run();
  BOOST_TEST(blocks_in_use(*model) == 0);
}

// Both sessions are paused while a fragment that they wait for is computed; one is closed.
BOOST_AUTO_TEST_CASE(a_fragment_outlives_the_session_that_it_was_begun_for) {
  const auto model = load(kModel, base());
  const SpanPrompt prompt = documents({0}, 400);
  const SpanRequest spans = spans_of(prompt, SpanMode::kBlock);
  const Answer want = Asker(*model).ask(prompt, spans);
  model->runtime()->kept->clear();
  alignas(Asker) std::array<std::byte, sizeof(Asker)> place{};
  Asker* closed = new (place.data()) Asker(*model);
  Asker waiting(*model), other(*model);
  SpanPrompt word;
  word.text({5});
  const auto step = [&] { other.ask(word, spans_of(word, SpanMode::kExact)); };
  for (int i = 0; i < 63; ++i) step();
  closed->submit(prompt, spans);
  waiting.submit(prompt, spans);
  step();
  closed->~Asker();
  place.fill({});
  step();
  step();
  const auto zero = [](std::byte byte) { return byte == std::byte{}; };
  BOOST_TEST(std::all_of(place.begin(), place.end(), zero));  // nobody writes to what is gone
  waiting.run();
  BOOST_TEST((waiting.answers[0].logprobs == want.logprobs));
  BOOST_TEST(blocks_in_use(*model) == 0);
}
