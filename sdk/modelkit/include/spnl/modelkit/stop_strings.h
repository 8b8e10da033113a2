#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace spnl::modelkit {

/// Watches streamed text for stop strings, also across piece borders: text that may be the beginning of one is held
/// back; from the first match on nothing comes out any more.
class StopStrings {
 public:
  explicit StopStrings(std::vector<std::string> stops);  ///< empty strings are ignored
  std::string push(std::string_view text);               ///< what may be shown now
  std::string finish();                                  ///< what was held back, when no stop came
  bool stopped() const { return stopped_; }

 private:
  std::vector<std::string> stops_;
  std::string held_;
  bool stopped_ = false;
};

}  // namespace spnl::modelkit
