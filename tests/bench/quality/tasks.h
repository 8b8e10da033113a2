#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

// Questions over independent fragments, made by script from fixed seeds: names and facts are drawn
// at random, so no model has met them. The tasks are those of the span specification, section 4.3.
namespace spnl::quality {

struct Question {
  std::vector<std::string> fragments;
  std::string text;                  ///< the question, and how to answer
  std::string stem;                  ///< a sentence that the answer completes
  std::vector<std::string> answers;  ///< one word each, all different
  size_t right = 0;                  ///< index in `answers`
};

/// single: a fact in one fragment. two_hop: the answer needs two. compare: the largest of a number
/// that each fragment has. labels: each fragment is a labelled example. judge: one of the
/// fragments' sums is right.
inline constexpr std::string_view kTasks[] = {"single", "two_hop", "compare", "labels", "judge"};

/// `fragments` of each question, at least 2, filled up to about `words` words each. Throws
/// std::invalid_argument for an unknown task.
std::vector<Question> make_questions(std::string_view task, size_t count, size_t fragments,
                                     size_t words, uint64_t seed);

}  // namespace spnl::quality
