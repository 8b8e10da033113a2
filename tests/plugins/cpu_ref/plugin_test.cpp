// cpu_ref over its ABI: events, finish reasons, cancellation, samples, score.
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <cstring>
#include <filesystem>

#include "gguf_builder.h"
#include "plugin_harness.h"

using namespace spnl::test;

namespace {

struct Fixture {
  TempDir dir;
  FakeHost host;
  EventLog log;
  uint64_t sequence = 0;

  explicit Fixture(uint32_t context = 64) {
    host.file = dir.write("m.gguf", tiny_llama(context).bytes()).string();
  }
  ~Fixture() {
    BOOST_TEST(host.live_allocations == 0);
    BOOST_TEST(log.faults.empty());
  }
  const SampleLog& sample(uint32_t index = 0) { return log.samples[{sequence, index}]; }
};

const PromptOf kPrompt(std::vector<int32_t>{1, 40, 50, 60});

}  // namespace

BOOST_AUTO_TEST_CASE(greedy_generation_and_its_events) {
  Fixture f;
  Opened opened(f.host);
  BOOST_TEST_REQUIRE(opened.load_status == SPNL_OK, opened.error.message);
  BOOST_TEST_REQUIRE(opened.open_session(f.log) == SPNL_OK);
  BOOST_TEST_REQUIRE(opened.submit(kPrompt, sampling_of(5), f.sequence) == SPNL_OK,
                     opened.error.message);
  int steps = 1;
  while (opened.step() > 0) ++steps;
  BOOST_TEST(steps == 5);  // prefill gives the first token, each later step one more
  const SampleLog first = f.sample();
  BOOST_TEST(first.finishes == 1);
  BOOST_TEST(first.reason == SPNL_FIN_LENGTH);
  BOOST_TEST(first.ids.size() == 5u);
  BOOST_TEST(first.usage.prompt_tokens == 4u);
  BOOST_TEST(first.usage.output_tokens == 5u);
  BOOST_TEST(first.usage.prefill_ns > 0u);
  BOOST_TEST(first.usage.first_token_ns >= first.usage.prefill_ns);
  BOOST_TEST(first.fragment_tokens == std::vector<uint64_t>{4}, boost::test_tools::per_element());

  std::string text;
  const spnl_sink sink = spnl::abi::string_sink(text);
  BOOST_TEST(opened.backend.detokenize(opened.model, first.ids.data(), first.ids.size(), &sink,
                                       nullptr) == SPNL_OK);

  // The same again beside another sequence: the same tokens.
  uint64_t other = 0;
  opened.submit(PromptOf(std::vector<int32_t>{1, 99}), sampling_of(9), other);
  opened.submit(kPrompt, sampling_of(5), f.sequence);
  opened.run();
  BOOST_TEST(f.sample().ids == first.ids, boost::test_tools::per_element());

  spnl_stats stats{};
  stats.struct_size = sizeof stats;
  BOOST_TEST(opened.backend.stats(opened.model, &stats, nullptr) == SPNL_OK);
  BOOST_TEST(stats.prefill_tokens == 10u);
  BOOST_TEST(stats.decode_tokens == 19u);
  BOOST_TEST(stats.running + stats.waiting == 0u);
  BOOST_TEST(stats.bytes_cache == 0u);
  BOOST_TEST(stats.bytes_weights > 0u);
}

BOOST_AUTO_TEST_CASE(a_full_context_ends_with_length_and_a_note) {
  Fixture f(10);
  Opened opened(f.host);
  opened.open_session(f.log);
  BOOST_TEST_REQUIRE(opened.submit(kPrompt, sampling_of(0), f.sequence) == SPNL_OK);
  opened.run();
  if (f.sample().reason == SPNL_FIN_LENGTH) {
    BOOST_TEST(f.sample().ids.size() == 6u);
    BOOST_TEST_REQUIRE(f.host.notes.size() == 1u);
    BOOST_TEST(f.host.notes[0].find("context of 10 tokens is full") != std::string::npos);
  } else {
    BOOST_TEST(f.sample().reason == SPNL_FIN_EOS);
  }
  // A prompt that fills the context leaves no room for an answer; a longer one is refused.
  BOOST_TEST(opened.submit(PromptOf(std::vector<int32_t>(10, 5)), sampling_of(3), f.sequence) ==
             SPNL_OK);
  opened.run();
  BOOST_TEST(f.sample().reason == SPNL_FIN_LENGTH);
  BOOST_TEST(f.sample().ids.empty());
  BOOST_TEST(opened.submit(PromptOf(std::vector<int32_t>(11, 5)), sampling_of(3), f.sequence) ==
             SPNL_INVALID);
  BOOST_TEST(std::string(opened.error.message).find("11 tokens") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(stop_strings_end_and_are_not_shown) {
  Fixture f;
  Opened opened(f.host);
  opened.open_session(f.log);
  spnl_sampling sampling = sampling_of(40);
  sampling.set |= SPNL_SET_TEMPERATURE | SPNL_SET_SEED | SPNL_SET_TOP_P;
  sampling.temperature = 5;
  sampling.top_p = 1;
  sampling.seed = 3;
  opened.submit(kPrompt, sampling, f.sequence);
  opened.run();
  const std::string whole = f.sample().text;
  // Stop at a piece of what came, in the middle, that is ASCII.
  size_t at = whole.size() / 3;
  while (at < whole.size() && (whole[at] <= ' ' || static_cast<unsigned char>(whole[at]) >= 0x7F))
    ++at;
  BOOST_TEST_REQUIRE(at < whole.size());
  const std::string stop = whole.substr(at, 1);
  const spnl_str stops[] = {spnl::abi::str(stop)};
  sampling.set |= SPNL_SET_STOPS;
  sampling.stops = stops;
  sampling.n_stops = 1;
  opened.submit(kPrompt, sampling, f.sequence);
  opened.run();
  BOOST_TEST(f.sample().reason == SPNL_FIN_STOP);
  BOOST_TEST(f.sample().text == whole.substr(0, whole.find(stop)));
}

BOOST_AUTO_TEST_CASE(samples_share_a_prefill_and_differ_by_their_number) {
  Fixture f;
  Opened opened(f.host);
  opened.open_session(f.log);
  spnl_sampling sampling = sampling_of(12, 4);
  sampling.set |= SPNL_SET_TEMPERATURE | SPNL_SET_SEED | SPNL_SET_TOP_LOGPROBS;
  sampling.temperature = 3;
  sampling.seed = 11;
  sampling.top_logprobs = 2;
  opened.submit(kPrompt, sampling, f.sequence);
  opened.run();
  std::vector<SampleLog> first;
  for (uint32_t i = 0; i < 4; ++i) {
    first.push_back(f.sample(i));
    BOOST_TEST(first[i].finishes == 1);
    BOOST_TEST(first[i].logprobs.size() == first[i].ids.size());
    for (const float logprob : first[i].logprobs)
      BOOST_TEST((logprob < 0 && std::isfinite(logprob)));
  }
  BOOST_TEST((first[0].ids != first[1].ids));
  spnl_stats stats{};
  stats.struct_size = sizeof stats;
  opened.backend.stats(opened.model, &stats, nullptr);
  BOOST_TEST(stats.prefill_tokens == 4u);
  opened.submit(kPrompt, sampling, f.sequence);  // the same seed: the same again
  opened.run();
  for (uint32_t i = 0; i < 4; ++i)
    BOOST_TEST(f.sample(i).ids == first[i].ids, boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(cancel_before_during_and_after) {
  Fixture f;
  Opened opened(f.host);
  opened.open_session(f.log);
  uint64_t early = 0, late = 0, from_event = 0;
  opened.submit(kPrompt, sampling_of(0), early);
  opened.submit(kPrompt, sampling_of(30, 2), late);
  opened.submit(kPrompt, sampling_of(30), from_event);
  BOOST_TEST(opened.backend.cancel(opened.session, early) == SPNL_OK);
  BOOST_TEST(opened.backend.cancel(opened.session, early) == SPNL_OK);
  f.log.stop_sequence = from_event;
  BOOST_TEST(opened.step() == 2u);
  BOOST_TEST(f.log.samples[std::pair(early, 0u)].reason == SPNL_FIN_CANCELLED);
  BOOST_TEST(f.log.samples[std::pair(early, 0u)].ids.empty());
  std::thread([&] { opened.backend.cancel(opened.session, late); }).join();
  BOOST_TEST(opened.step() == 0u);
  for (const auto& [sequence, index] :
       {std::pair(late, 0u), std::pair(late, 1u), std::pair(from_event, 0u)}) {
    BOOST_TEST(f.log.samples[std::pair(sequence, index)].reason == SPNL_FIN_CANCELLED);
    BOOST_TEST(f.log.samples[std::pair(sequence, index)].ids.size() == 1u);
  }
  BOOST_TEST(opened.backend.cancel(opened.session, late) == SPNL_OK);
  BOOST_TEST(opened.backend.cancel(opened.session, 999) == SPNL_NOT_FOUND);
  BOOST_TEST(opened.backend.cancel(opened.session, 0) == SPNL_NOT_FOUND);
}

BOOST_AUTO_TEST_CASE(closing_finishes_what_is_alive) {
  Fixture f;
  Opened opened(f.host);
  opened.open_session(f.log);
  opened.submit(kPrompt, sampling_of(0, 3), f.sequence);
  opened.backend.session_close(opened.session);
  opened.session = nullptr;
  for (uint32_t i = 0; i < 3; ++i) BOOST_TEST(f.sample(i).reason == SPNL_FIN_CANCELLED);
}

BOOST_AUTO_TEST_CASE(prefill_only_gives_no_tokens) {
  Fixture f;
  Opened opened(f.host);
  opened.open_session(f.log);
  opened.submit(kPrompt, sampling_of(5, 2), f.sequence, SPNL_REQ_PREFILL_ONLY);
  BOOST_TEST(opened.step() == 0u);
  BOOST_TEST(f.sample(0).reason == SPNL_FIN_LENGTH);
  BOOST_TEST(f.sample(1).finishes == 1);
  BOOST_TEST(f.sample(0).ids.empty());
}

BOOST_AUTO_TEST_CASE(a_budget_takes_several_steps) {
  Fixture f;
  Opened opened(f.host);
  opened.open_session(f.log);
  opened.submit(kPrompt, sampling_of(20), f.sequence);
  BOOST_TEST(opened.step(60'000'000'000) == 0u);
  BOOST_TEST(f.sample().finishes == 1);
}

BOOST_AUTO_TEST_CASE(long_prompts_come_in_pieces) {
  Fixture f(512);
  Opened opened(f.host);
  opened.open_session(f.log);
  opened.submit(PromptOf(std::vector<int32_t>(200, 5)), sampling_of(1), f.sequence);
  BOOST_TEST(opened.step() == 1u);
  BOOST_TEST(opened.step() == 1u);
  opened.backend.cancel(opened.session, f.sequence);  // in the middle of the prompt
  BOOST_TEST(opened.step() == 0u);
  BOOST_TEST(f.sample().reason == SPNL_FIN_CANCELLED);
}

BOOST_AUTO_TEST_CASE(score_agrees_with_generation) {
  Fixture f;
  Opened opened(f.host);
  const auto* score =
      static_cast<const spnl_score_v1*>(opened.backend.extension(opened.instance, SPNL_EXT_SCORE));
  BOOST_TEST_REQUIRE(score != nullptr);
  BOOST_TEST(opened.backend.extension(opened.instance, "spnl.unknown/1") == nullptr);
  opened.open_session(f.log);
  spnl_sampling sampling = sampling_of(6);
  sampling.set |= SPNL_SET_TOP_LOGPROBS;
  opened.submit(kPrompt, sampling, f.sequence);
  opened.run();
  std::vector<int32_t> ids = {1, 40, 50, 60};
  ids.insert(ids.end(), f.sample().ids.begin(), f.sample().ids.end());
  std::vector<float> logprobs(ids.size()), logits(3);
  std::vector<int32_t> top(3);
  double sum = 0;
  BOOST_TEST(score->score(opened.model, ids.data(), ids.size(), 3, logprobs.data(), top.data(),
                          logits.data(), &sum, &opened.error) == SPNL_OK);
  BOOST_TEST(std::isnan(logprobs[0]));
  for (size_t i = 0; i < f.sample().logprobs.size(); ++i)
    BOOST_TEST(logprobs[4 + i] == f.sample().logprobs[i]);
  BOOST_TEST(logits[0] >= logits[1]);
  BOOST_TEST(sum > logits[0]);
}

BOOST_AUTO_TEST_CASE(no_fragments_are_kept_on_disk) {
  Fixture f;
  f.host.config["span_cache"] = "/tmp/nowhere";
  Opened opened(f.host);
  BOOST_TEST_REQUIRE(f.host.notes.size() == 1u);
  BOOST_TEST(f.host.notes[0].find("/tmp/nowhere is not used") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(what_the_model_says_about_itself) {
  Fixture f;
  Opened opened(f.host, {}, 1000);
  BOOST_TEST(f.host.notes.size() == 1u);  // the larger context is not used
  spnl_model_info info{};
  info.struct_size = sizeof info;
  BOOST_TEST(opened.backend.model_info(opened.model, &info, nullptr) == SPNL_OK);
  BOOST_TEST(spnl::abi::view(info.architecture) == "llama");
  BOOST_TEST(info.context == 64u);
  BOOST_TEST(info.vocab == kTinyVocabulary);
  BOOST_TEST(info.embedding_dim == 8u);
  BOOST_TEST(info.caps == opened.backend.descriptor->caps);
  BOOST_TEST(std::count(info.eos, info.eos + info.n_eos, 2) == 1);
  struct {
    spnl_model_info info;
    uint64_t canary[2];
  } newer{};
  newer.info.struct_size = sizeof newer;
  newer.canary[0] = newer.canary[1] = 0xABABABAB;
  opened.backend.model_info(opened.model, &newer.info, nullptr);
  BOOST_TEST(newer.info.struct_size == sizeof info);
  BOOST_TEST(newer.canary[0] == 0xABABABABu);
}

BOOST_AUTO_TEST_CASE(text_goes_to_ids_and_back) {
  Fixture f;
  Opened opened(f.host);
  std::string ids, ends, text;
  const spnl_sink id_sink = spnl::abi::string_sink(ids), end_sink = spnl::abi::string_sink(ends),
                  text_sink = spnl::abi::string_sink(text);
  const PromptOf prompt("hi");
  BOOST_TEST(opened.backend.tokenize(opened.model, &prompt.prompt, &id_sink, &end_sink,
                                     &opened.error) == SPNL_OK,
             opened.error.message);
  BOOST_TEST_REQUIRE(ids.size() == 12u);  // bos, h, i
  BOOST_TEST(ends.size() == 8u);
  std::vector<int32_t> numbers(3);
  std::memcpy(numbers.data(), ids.data(), 12);
  BOOST_TEST(numbers[0] == 1);
  opened.backend.detokenize(opened.model, numbers.data(), 3, &text_sink, nullptr);
  BOOST_TEST(text == "<s>hi");
  text.clear();
  BOOST_TEST(opened.backend.render(opened.model, &prompt.prompt, &text_sink, nullptr) == SPNL_OK);
  BOOST_TEST(text == "hi");
  spnl_sink stops = text_sink;
  stops.write = [](void*, const void*, uint64_t) -> spnl_status { return SPNL_IO; };
  BOOST_TEST(opened.backend.render(opened.model, &prompt.prompt, &stops, nullptr) ==
             SPNL_CANCELLED);
}

BOOST_AUTO_TEST_CASE(vocab_only_has_a_tokenizer_and_no_more) {
  GgufBuilder gguf;
  gguf.string("general.architecture", "unheard-of");
  add_vocabulary(gguf);
  Fixture f;
  f.host.file = f.dir.write("v.gguf", gguf.bytes()).string();
  Opened opened(f.host, {{"vocab_only", "true"}});
  BOOST_TEST_REQUIRE(opened.load_status == SPNL_OK, opened.error.message);
  std::string text;
  const spnl_sink sink = spnl::abi::string_sink(text);
  BOOST_TEST(opened.backend.render(opened.model, PromptOf("hi").get(), &sink, nullptr) == SPNL_OK);
  BOOST_TEST(opened.open_session(f.log) == SPNL_UNSUPPORTED);
  BOOST_TEST(std::string(opened.error.message).find("vocab_only") != std::string::npos);
  spnl_model_info info{};
  info.struct_size = sizeof info;
  opened.backend.model_info(opened.model, &info, nullptr);
  BOOST_TEST(spnl::abi::view(info.architecture) == "unheard-of");
  BOOST_TEST(info.vocab == kTinyVocabulary);
}

BOOST_AUTO_TEST_CASE(a_broken_chat_template_stops_messages_only) {
  GgufBuilder gguf = tiny_llama();
  gguf.string("tokenizer.chat_template", "{% for BROKEN' \\ %}");
  Fixture f;
  f.host.file = f.dir.write("b.gguf", gguf.bytes()).string();
  Opened opened(f.host);
  BOOST_TEST_REQUIRE(opened.load_status == SPNL_OK, opened.error.message);
  std::string text;
  const spnl_sink sink = spnl::abi::string_sink(text);
  BOOST_TEST(opened.backend.render(opened.model, PromptOf("hi").get(), &sink, &opened.error) ==
             SPNL_OK);
  BOOST_TEST(opened.backend.render(opened.model, PromptOf("hi", SPNL_ROLE_USER).get(), &sink,
                                   &opened.error) == SPNL_INVALID);
  BOOST_TEST(std::string(opened.error.message).find("broken chat template") != std::string::npos,
             opened.error.message);
}
