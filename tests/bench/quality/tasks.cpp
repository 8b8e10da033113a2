#include "tasks.h"

#include <algorithm>
#include <random>
#include <span>
#include <stdexcept>

namespace spnl::quality {
namespace {

using Words = std::span<const char* const>;

constexpr const char* kNames[] = {"Anna",   "Boris", "Clara", "David",  "Elena", "Felix", "Grace",
                                  "Hugo",   "Irene", "Jonas", "Karen",  "Louis", "Maria", "Nathan",
                                  "Olivia", "Peter", "Quinn", "Robert", "Sarah", "Thomas"};
constexpr const char* kJobs[] = {"baker",  "doctor",  "farmer", "pilot",    "teacher", "lawyer",
                                 "singer", "painter", "nurse",  "engineer", "writer",  "soldier",
                                 "judge",  "chef",    "miner",  "tailor",   "actor",   "plumber"};
constexpr const char* kCities[] = {"Paris",  "London", "Rome",   "Berlin",  "Madrid", "Vienna",
                                   "Dublin", "Oslo",   "Prague", "Lisbon",  "Athens", "Warsaw",
                                   "Tokyo",  "Cairo",  "Boston", "Chicago", "Moscow", "Delhi"};
constexpr const char* kFruits[] = {"apples",  "bananas", "cherries", "grapes", "lemons",
                                   "oranges", "peaches", "pears",    "plums",  "figs"};
constexpr const char* kPets[] = {"cat",   "dog",   "parrot", "rabbit",
                                 "horse", "snake", "turtle", "goat"};
constexpr const char* kFiller[] = {
    "The weather was mild that week.",      "A train passed every hour.",
    "The street was quiet in the evening.", "Most shops opened at nine.",
    "The river froze in a hard winter.",    "Several letters arrived on Monday.",
    "The old clock needed repair.",         "A new bridge was planned."};
struct Labelled {
  const char* label;
  const char* words[6];
};
constexpr Labelled kLabels[] = {{"animal", {"tiger", "sheep", "eagle", "whale", "mouse", "camel"}},
                                {"colour", {"red", "green", "purple", "yellow", "brown", "grey"}},
                                {"tool", {"hammer", "saw", "shovel", "wrench", "drill", "axe"}},
                                {"drink", {"tea", "coffee", "juice", "milk", "wine", "beer"}}};

class Maker {
 public:
  Maker(size_t fragments, size_t words, uint64_t seed)
      : fragments_(fragments), words_(words), random_(seed) {}

  Question make(std::string_view task) {
    if (task == "single") return single();
    if (task == "two_hop") return two_hop();
    if (task == "compare") return compare();
    if (task == "labels") return labels();
    if (task == "judge") return judge();
    throw std::invalid_argument("no task is called " + std::string(task));
  }

 private:
  size_t below(size_t n) { return static_cast<size_t>(random_() % n); }

  /// `count` different ones in random order.
  std::vector<std::string> draw(Words from, size_t count) {
    if (count > from.size())
      throw std::invalid_argument("at most " + std::to_string(from.size()) + " fragments");
    std::vector<std::string> all(from.begin(), from.end());
    for (size_t i = 0; i < count; ++i) std::swap(all[i], all[i + below(all.size() - i)]);
    all.resize(count);
    return all;
  }

  std::string filled(std::string text) {
    auto words = static_cast<size_t>(std::count(text.begin(), text.end(), ' ')) + 1;
    while (words < words_) {
      const std::string more = kFiller[below(std::size(kFiller))];
      text += " " + more;
      words += static_cast<size_t>(std::count(more.begin(), more.end(), ' ')) + 1;
    }
    return text;
  }

  Question single() {
    Question q;
    const auto names = draw(kNames, fragments_), jobs = draw(kJobs, fragments_),
               cities = draw(kCities, fragments_);
    for (size_t i = 0; i < fragments_; ++i)
      q.fragments.push_back(filled(names[i] + " works as a " + jobs[i] + ". " + names[i] +
                                   " lives in " + cities[i] + ". " + names[i] + " likes " +
                                   kFruits[below(std::size(kFruits))] + " and has a " +
                                   kPets[below(std::size(kPets))] + "."));
    q.right = below(fragments_);
    q.answers = cities;
    q.text = "Where does " + names[q.right] + " live? Reply with the name of the city only.";
    q.stem = names[q.right] + " lives in";
    return q;
  }

  /// A person's city is in one fragment, that city's mayor in another.
  Question two_hop() {
    Question q;
    const size_t pairs = std::max<size_t>(fragments_ / 2, 2);
    const auto names = draw(kNames, 2 * pairs), cities = draw(kCities, pairs);
    for (size_t i = 0; i < pairs; ++i) {
      q.fragments.push_back(filled(names[i] + " lives in " + cities[i] + "."));
      q.fragments.push_back(filled("The mayor of " + cities[i] + " is " + names[pairs + i] + "."));
      q.answers.push_back(names[pairs + i]);
    }
    std::shuffle(q.fragments.begin(), q.fragments.end(), random_);
    q.right = below(pairs);
    q.text = "Who is the mayor of the city where " + names[q.right] +
             " lives? Reply with the name only.";
    q.stem = names[q.right] + " lives in a city whose mayor is";
    return q;
  }

  Question compare() {
    Question q;
    q.answers = draw(kNames, fragments_);
    std::vector<size_t> ages(fragments_);
    for (size_t i = 0; i < fragments_; ++i) ages[i] = 20 + 4 * i + below(4);
    std::shuffle(ages.begin(), ages.end(), random_);
    for (size_t i = 0; i < fragments_; ++i)
      q.fragments.push_back(
          filled(q.answers[i] + " is " + std::to_string(ages[i]) + " years old."));
    q.right = static_cast<size_t>(std::max_element(ages.begin(), ages.end()) - ages.begin());
    q.text = "Who is the oldest? Reply with the name only.";
    q.stem = "The oldest of them is";
    return q;
  }

  Question labels() {
    Question q;
    for (const Labelled& kind : kLabels) q.answers.push_back(kind.label);
    q.right = below(std::size(kLabels));
    const std::string asked = kLabels[q.right].words[5];
    for (size_t i = 0; i < fragments_; ++i) {
      const Labelled& kind = kLabels[i % std::size(kLabels)];
      q.fragments.push_back(
          filled("Word: " + std::string(kind.words[below(5)]) + ". Label: " + kind.label + "."));
    }
    std::shuffle(q.fragments.begin(), q.fragments.end(), random_);
    q.text = "Word: " + asked + ". Reply with its label only.";
    q.stem = "Word: " + asked + ". Label:";
    return q;
  }

  Question judge() {
    Question q;
    q.answers = draw(kNames, fragments_);
    q.right = below(fragments_);
    const size_t a = 2 + below(7), b = 2 + below(7);
    for (size_t i = 0; i < fragments_; ++i)
      q.fragments.push_back(filled(q.answers[i] + " says: " + std::to_string(a) + " plus " +
                                   std::to_string(b) + " is " +
                                   std::to_string(i == q.right ? a + b : a + b + 1 + i) + "."));
    q.text = "Who is right? Reply with the name only.";
    q.stem = "The one who is right is";
    return q;
  }

  const size_t fragments_, words_;
  std::mt19937_64 random_;
};

}  // namespace

std::vector<Question> make_questions(std::string_view task, size_t count, size_t fragments,
                                     size_t words, uint64_t seed) {
  Maker maker(fragments, words, seed);
  std::vector<Question> questions;
  for (size_t i = 0; i < count; ++i) questions.push_back(maker.make(task));
  return questions;
}

}  // namespace spnl::quality
