#pragma once
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace spnl::modelkit {

/// Watches streamed text for stop strings, also across piece borders: text that may be the
/// beginning of one is held back; from the first match on nothing comes out any more. The first
/// match is the one that is complete first, of several the longest: what comes out does not depend
/// on how the text was cut. Linear in the text for each stop string.
class StopStrings {
 public:
  explicit StopStrings(std::vector<std::string> stops);  ///< empty strings are ignored
  std::string push(std::string_view text);               ///< what may be shown now
  std::string finish();                                  ///< what was held back, when no stop came
  bool stopped() const { return stopped_; }

 private:
  struct Stop {
    std::string text;
    std::vector<size_t>
        border;  // Knuth-Morris-Pratt: of each prefix, the longest proper prefix that also ends it
    size_t matched = 0;  // bytes of `text` that the stream ends with
  };
  std::vector<Stop> stops_;
  std::string held_;
  bool stopped_ = false;
};

}  // namespace spnl::modelkit
