#pragma once
#include <string>
#include <string_view>

namespace spnl::modelkit {

/// Turns token pieces, which may end inside a character, into whole UTF-8 characters. Bytes that can never become a
/// character come out as U+FFFD, one per maximal ill-formed part (Unicode 3.9, as WHATWG decoding does).
class Utf8Stream {
 public:
  std::string push(std::string_view bytes);  ///< the characters that are complete now
  std::string finish();                      ///< what is held back, replaced by U+FFFD if it is incomplete

 private:
  std::string held_;
};

}  // namespace spnl::modelkit
