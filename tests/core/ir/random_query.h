#pragma once
#include <iterator>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "spnl/query.h"

namespace spnl::test {

/// Makes random trees of every kind of node with texts that are hard to spell. The same random
/// engine gives the same trees on every machine. Every value is one that a reader could have made.
class RandomQuery {
 public:
  explicit RandomQuery(std::mt19937_64& random) : random_(random) {}

  /// Levels of nodes: 1 gives a leaf.
  Query operator()(int max_depth) {
    constexpr uint64_t kLeaves = 7, kKinds = 16;
    const bool leaf = max_depth <= 1 || below(5) == 0;
    switch (leaf ? below(kLeaves) : kLeaves + below(kKinds - kLeaves)) {
      case 0:
        return {User{text()}, {}};
      case 1:
        return {System{text()}, {}};
      case 2:
        return {Assistant{text()}, {}};
      case 3:
        return {Print{text()}, {}};
      case 4:
        return {map(), {}};
      case 5:
        return {fetch(), {}};
      case 6:
        return {Ask{text()}, {}};
      case 7:
        return {Seq{children(max_depth)}, {}};
      case 8:
        return {Cross{children(max_depth)}, {}};
      case 9:
        return {Plus{children(max_depth)}, {}};
      case 10:
        return {Par{children(max_depth)}, {}};
      case 11:
        return {generate(max_depth), {}};
      case 12:
        return {Repeat{static_cast<uint32_t>(1 + below(255)), generate(max_depth)}, {}};
      case 13: {
        QueryBox first = child(max_depth);
        return {Zip{std::move(first), child(max_depth)}, {}};
      }
      case 14:
        return {Monad{child(max_depth)}, {}};
      default: {
        std::string model = name();
        QueryBox body = child(max_depth);
        return {Augment{std::move(model), std::move(body), document()}, {}};
      }
    }
  }

  std::string text() {
    static const std::string kTexts[] = {"",
                                         "a",
                                         "Hello, world.",
                                         "two\nlines",
                                         "ends with a break\n",
                                         "\n",
                                         "\nbegins with one",
                                         "a\n\n\nb\n\n",
                                         "\ttab\t",
                                         "  leading",
                                         "trailing  ",
                                         " ",
                                         "say \"x\"",
                                         "it's 'so'",
                                         "back\\slash",
                                         "\\n",
                                         "\"",
                                         "'",
                                         "yes",
                                         "No",
                                         "null",
                                         "~",
                                         "true",
                                         "12",
                                         "-1.5e3",
                                         "0x1F",
                                         ".inf",
                                         "1:30",
                                         "- a",
                                         "-",
                                         "--- b",
                                         "...",
                                         ": ",
                                         "a: b",
                                         "a:",
                                         "a #b",
                                         "#c",
                                         "? d",
                                         "! e",
                                         "!!str f",
                                         "& g",
                                         "* h",
                                         "%i",
                                         "@j",
                                         "`k`",
                                         "| l",
                                         "> m",
                                         "[n]",
                                         "{o: p}",
                                         "{}",
                                         ", q",
                                         "{{model}}",
                                         "{{",
                                         "}}",
                                         "{{{x}}}",
                                         "{{ y",
                                         "(z \"1\")",
                                         "; comment",
                                         "#| block |#",
                                         "r#\"raw\"#",
                                         "\xC3\xA9t\xC3\xA9",
                                         "\xE6\x97\xA5\xE6\x9C\xAC",
                                         "\xF0\x9F\x98\x80 smile",
                                         "\xE2\x80\xA8line separator",
                                         "\xC2\x85next line",
                                         "\xEF\xBB\xBFmark",
                                         std::string("zero\0byte", 9),
                                         "\x01\x1F\x7F",
                                         "carriage\rreturn\r\n",
                                         "\xC2\x80\xC2\x9F",
                                         "  a\n b\n",
                                         "a\n  b\n\tc",
                                         "long " + std::string(300, 'x') + " line",
                                         "word word word\nword " + std::string(120, 'w'),
                                         "<<",
                                         "=",
                                         "\xEF\xBF\xBE"};
    std::string made = kTexts[below(std::size(kTexts))];
    if (below(4) == 0) made += kTexts[below(std::size(kTexts))];
    return made;
  }

 private:
  uint64_t below(uint64_t n) { return random_() % n; }

  std::string name() {
    static const char* const kNames[] = {
        "m/x",     "mistralrs/smollm2:135m", "org/name:Q4_K_M", "with blank", "a.txt", "1", "true",
        "\xC3\xA9"};
    return kNames[below(std::size(kNames))];
  }

  double number(double most) {
    static const double kNumbers[] = {0, 1, 0.5, 0.1, 0.7, 0.05, 1e-7, 0.333333};
    const double made = below(2) == 0 ? kNumbers[below(std::size(kNumbers))]
                                      : static_cast<double>(below(100'000)) / 100'000;
    return made > most ? most : made;
  }

  Sampling sampling() {
    Sampling made;
    const auto given = [&] { return below(3) == 0; };
    if (below(2) == 0) made.max_tokens = below(2) == 0 ? below(100) : below(uint64_t{1} << 32);
    if (below(2) == 0) made.temperature = number(2);
    if (given()) made.seed = below(2) == 0 ? below(10) : random_();
    if (given()) made.top_k = static_cast<int64_t>(below(uint64_t{1} << 31));
    if (given()) made.top_p = number(1);
    if (given()) made.min_p = number(1);
    if (given()) made.repeat_penalty = static_cast<double>(1 + below(200'000)) / 100'000;
    if (given())
      for (uint64_t i = 0; i < 1 + below(2); ++i) made.stop.push_back("x" + text());
    static const char* const kSpans[] = {"exact", "block", "blend", "blend:4"};
    if (given()) made.spans = kSpans[below(std::size(kSpans))];
    return made;
  }

  std::string model() { return below(4) == 0 ? "" : name(); }

  QueryBox child(int max_depth) { return QueryBox((*this)(max_depth - 1)); }

  QueryList children(int max_depth) {
    QueryList made;
    for (uint64_t n = below(5); n > 0; --n) made.push_back((*this)(max_depth - 1));
    return made;
  }

  Generate generate(int max_depth) {
    std::string by = model();
    Sampling how = sampling();
    return {std::move(by), std::move(how), child(max_depth)};
  }

  Map map() {
    Map made;
    made.model = model();
    made.sampling = sampling();
    for (uint64_t n = below(4); n > 0; --n) made.inputs.push_back(text());
    return made;
  }

  Fetch fetch() {
    const uint64_t kind = below(3);
    return {name(), kind > 0, kind > 1};
  }

  Document document() {
    Document made;
    made.name = below(4) == 0 ? text() : name();
    switch (below(3)) {
      case 0:
        made.content = text();
        break;
      case 1: {
        std::vector<uint8_t> bytes(below(20));
        for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(below(256));
        made.content = std::move(bytes);
        break;
      }
      default:
        made.content = fetch();
        made.name = std::get<Fetch>(made.content).location;
    }
    return made;
  }

  std::mt19937_64& random_;
};

/// A tree of at most `max_depth` levels.
inline Query random_query(std::mt19937_64& random, int max_depth) {
  return RandomQuery(random)(max_depth);
}

}  // namespace spnl::test
