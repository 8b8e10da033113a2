#include "spnl/modelkit/stop_strings.h"

#include <boost/test/unit_test.hpp>
#include <cstdint>

using spnl::modelkit::StopStrings;

namespace {

struct Outcome {
  std::string text;
  bool stopped;
  bool operator==(const Outcome&) const = default;
};
std::ostream& operator<<(std::ostream& out, const Outcome& o) {
  return out << '"' << o.text << "\" " << o.stopped;
}

// What the header promises, by trying every end: the first end where a stop is complete, the
// longest of those.
Outcome reference(const std::vector<std::string>& stops, const std::string& text) {
  for (size_t end = 1; end <= text.size(); ++end) {
    size_t longest = 0;
    for (const std::string& stop : stops) {
      if (!stop.empty() && stop.size() <= end &&
          text.compare(end - stop.size(), stop.size(), stop) == 0) {
        longest = std::max(longest, stop.size());
      }
    }
    if (longest > 0) return {text.substr(0, end - longest), true};
  }
  return {text, false};
}

Outcome run(const std::vector<std::string>& stops, const std::vector<std::string>& pieces) {
  StopStrings watcher(stops);
  std::string out;
  for (const std::string& piece : pieces) out += watcher.push(piece);
  out += watcher.finish();
  return {out, watcher.stopped()};
}

}  // namespace

BOOST_AUTO_TEST_CASE(found_at_every_split) {
  const std::vector<std::string> stops{"</end>", "", "STOP"};
  const std::string text = "one <</en </end> two";
  for (size_t i = 0; i <= text.size(); ++i) {
    for (size_t j = i; j <= text.size(); ++j) {
      BOOST_TEST(run(stops, {text.substr(0, i), text.substr(i, j - i), text.substr(j)}) ==
                 (Outcome{"one <</en ", true}));
    }
  }
}

BOOST_AUTO_TEST_CASE(only_what_may_become_a_stop_waits) {
  StopStrings watcher({"abab!"});
  BOOST_TEST(watcher.push("xabab") == "x");
  BOOST_TEST(watcher.push("a") == "ab");  // "aba" may still be the beginning
  BOOST_TEST(watcher.push("c") == "abac");
  BOOST_TEST(!watcher.stopped());
  BOOST_TEST(watcher.push("ab") == "");
  BOOST_TEST(watcher.finish() == "ab");
}

BOOST_AUTO_TEST_CASE(nothing_after_the_stop) {
  StopStrings watcher({"#"});
  BOOST_TEST(watcher.push("a#b") == "a");
  BOOST_TEST(watcher.stopped());
  BOOST_TEST(watcher.push("c#") == "");
  BOOST_TEST(watcher.finish() == "");
}

BOOST_AUTO_TEST_CASE(no_stops_at_all) { BOOST_TEST(run({}, {"a", "b"}) == (Outcome{"ab", false})); }

BOOST_AUTO_TEST_CASE(random_texts_over_two_letters) {
  uint32_t state = 3;
  const auto random = [&](uint32_t n) {
    state = state * 1664525u + 1013904223u;
    return (state >> 16) % n;
  };
  const auto word = [&](uint32_t size) {
    std::string text;
    for (uint32_t i = 0; i < size; ++i) text += static_cast<char>('a' + random(2));
    return text;
  };
  for (int round = 0; round < 5000; ++round) {
    std::vector<std::string> stops;
    for (uint32_t i = random(3) + 1; i > 0; --i) stops.push_back(word(random(6) + 1));
    std::vector<std::string> pieces;
    std::string text;
    for (uint32_t i = random(6); i > 0; --i) text += pieces.emplace_back(word(random(5)));
    BOOST_REQUIRE_EQUAL(run(stops, pieces), reference(stops, text));
  }
}

BOOST_AUTO_TEST_CASE(long_stop_that_nearly_matches_is_linear) {
  StopStrings watcher({std::string(200000, 'a') + "b"});
  std::string out;
  for (int i = 0; i < 400; ++i) out += watcher.push(std::string(1000, 'a'));
  BOOST_TEST(out.size() == 200000u);
  BOOST_TEST(watcher.finish().size() == 200000u);
}
