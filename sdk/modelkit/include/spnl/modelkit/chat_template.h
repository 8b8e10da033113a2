#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace spnl::modelkit {

/// A chat template in Jinja, parsed once and rendered many times. Const after construction: safe from
/// several threads at once. Semantics are those of the environment that Hugging Face gives templates
/// (sandboxed, trim_blocks, lstrip_blocks, loop controls, `generation` blocks, tojson without HTML escaping).
class ChatTemplate {
 public:
  /// Throws Error(kInvalid) with line and column on a syntax error.
  explicit ChatTemplate(std::string_view source);
  ~ChatTemplate();
  ChatTemplate(ChatTemplate&&) noexcept;
  ChatTemplate& operator=(ChatTemplate&&) noexcept;

  /// Renders with the members of one JSON object as variables (messages, tools, bos_token,
  /// add_generation_prompt, ...). Object member order is kept. Throws Error(kInvalid) when the JSON is bad
  /// or the template refuses (raise_exception, an undefined's attribute, a type error), and
  /// Error(kNoMemory) when output, recursion or steps exceed fixed bounds (hostile templates).
  /// `now` (seconds since 1970, shown in UTC) is what strftime_now() tells, so that renderings can be
  /// reproduced; without it the local time of the call.
  std::string render(std::string_view json_object, std::optional<int64_t> now = std::nullopt) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace spnl::modelkit
