// sdk/template over its ABI: what authors copy must keep the rules.
#include <boost/test/unit_test.hpp>
#include <cstring>

#include "plugin_harness.h"

using namespace spnl::test;

namespace {

struct Fixture {
  FakeHost host;
  EventLog log;
  Opened opened{host};
  uint64_t sequence = 0;

  Fixture() {
    BOOST_TEST_REQUIRE(opened.load_status == SPNL_OK, opened.error.message);
    BOOST_TEST_REQUIRE(opened.open_session(log) == SPNL_OK);
  }
  const SampleLog& sample(uint32_t index = 0) { return log.samples[{sequence, index}]; }
};

}  // namespace

BOOST_FIXTURE_TEST_CASE(answers_with_the_message, Fixture) {
  BOOST_TEST(opened.submit(PromptOf("hé €😀", SPNL_ROLE_USER), sampling_of(0, 2), sequence) ==
             SPNL_OK);
  opened.run();
  BOOST_TEST(sample(0).text == "hé €😀");
  BOOST_TEST(sample(1).text == "hé €😀");
  BOOST_TEST(sample(0).reason == SPNL_FIN_EOS);
  BOOST_TEST(sample(0).usage.output_tokens == 5u);
  opened.submit(PromptOf("hello"), sampling_of(3), sequence);
  opened.run();
  BOOST_TEST(sample().text == "hel");
  BOOST_TEST(sample().reason == SPNL_FIN_LENGTH);
  BOOST_TEST(log.faults.empty());
}

BOOST_FIXTURE_TEST_CASE(cancels_and_closes, Fixture) {
  opened.submit(PromptOf("hello"), sampling_of(0), sequence);
  opened.step();
  opened.backend.cancel(opened.session, sequence);
  BOOST_TEST(opened.step() == 0u);
  BOOST_TEST(sample().reason == SPNL_FIN_CANCELLED);
  opened.submit(PromptOf("hello"), sampling_of(0), sequence);
  opened.backend.session_close(opened.session);
  opened.session = nullptr;
  BOOST_TEST(sample().reason == SPNL_FIN_CANCELLED);
  BOOST_TEST(log.faults.empty());
}

BOOST_FIXTURE_TEST_CASE(refuses_what_it_cannot, Fixture) {
  spnl_sampling sampling = sampling_of(3);
  const spnl_str stops[] = {spnl::abi::str("x")};
  sampling.set |= SPNL_SET_STOPS;
  sampling.stops = stops;
  sampling.n_stops = 1;
  BOOST_TEST(opened.submit(PromptOf("x"), sampling, sequence) == SPNL_UNSUPPORTED);
  BOOST_TEST(opened.submit(PromptOf("x", 99), sampling_of(3), sequence) == SPNL_INVALID);
  BOOST_TEST(opened.submit(PromptOf(std::vector<int32_t>{-1}), sampling_of(3), sequence) ==
             SPNL_INVALID);
  BOOST_TEST(opened.backend.submit(opened.session, nullptr, nullptr, nullptr) == SPNL_INVALID);
  BOOST_TEST(opened.submit(PromptOf(std::string("\xff\xc3(\xed\xa0\x80", 6)), sampling_of(0),
                           sequence) == SPNL_OK);
  opened.run();
  BOOST_TEST(sample().text == "\uFFFD\uFFFD(\uFFFD\uFFFD\uFFFD");
}

BOOST_FIXTURE_TEST_CASE(renders_and_tokenises, Fixture) {
  std::string text, ids;
  const spnl_sink text_sink = spnl::abi::string_sink(text), id_sink = spnl::abi::string_sink(ids);
  const PromptOf prompt("hi", SPNL_ROLE_USER);
  BOOST_TEST(opened.backend.render(opened.model, prompt.get(), &text_sink, nullptr) == SPNL_OK);
  BOOST_TEST(text == "user: hi\n");
  BOOST_TEST(opened.backend.tokenize(opened.model, prompt.get(), &id_sink, nullptr, nullptr) ==
             SPNL_OK);
  std::vector<int32_t> numbers(ids.size() / 4);
  std::memcpy(numbers.data(), ids.data(), ids.size());
  text.clear();
  BOOST_TEST(opened.backend.detokenize(opened.model, numbers.data(), numbers.size(), &text_sink,
                                       nullptr) == SPNL_OK);
  BOOST_TEST(text == "user: hi\n");
}
