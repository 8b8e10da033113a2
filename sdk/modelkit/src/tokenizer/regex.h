#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace spnl::modelkit {

/// A regular expression over UTF-8, compiled by PCRE2 with Unicode classes. Const after
/// construction: thread-safe.
class Regex {
 public:
  /// `trusted`: the expression is ours and linear, so a search may take as many steps as the text
  /// needs; what comes from files is stopped after a fixed number. Throws Error(kUnsupported).
  explicit Regex(std::string_view pattern, bool trusted = false, bool lines = false);
  ~Regex();
  Regex(Regex&&) noexcept;
  Regex& operator=(Regex&&) noexcept;

  /// What a thread needs while it matches.
  class Matcher {
   public:
    Matcher();
    ~Matcher();
    Matcher(const Matcher&) = delete;
    Matcher& operator=(const Matcher&) = delete;
    /// First match in text[from..], which must be UTF-8; false when there is none. Throws
    /// Error(kNoMemory) when the search runs into its limits.
    bool find(const Regex& regex, std::string_view text, size_t from, size_t& begin, size_t& end);

   private:
    struct State;
    std::unique_ptr<State> state_;
  };

 private:
  struct Code;
  std::unique_ptr<Code> code_;
};

/// A compiled expression in the syntax of Oniguruma for Ruby, which tokenizer.json is written in.
/// Throws Error(kUnsupported) for what PCRE2 cannot express.
Regex regex_from_oniguruma(std::string_view pattern);
std::string translate_oniguruma(std::string_view pattern);

}  // namespace spnl::modelkit
