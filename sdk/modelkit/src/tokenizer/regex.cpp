#include "tokenizer/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <new>

#include "spnl/modelkit/error.h"

namespace spnl::modelkit {
namespace {

struct Free {
  void operator()(pcre2_code* code) const { pcre2_code_free(code); }
  void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
  void operator()(pcre2_match_context* context) const { pcre2_match_context_free(context); }
  void operator()(pcre2_compile_context* context) const { pcre2_compile_context_free(context); }
  void operator()(pcre2_jit_stack* stack) const { pcre2_jit_stack_free(stack); }
};

// Steps of a search for an expression that nobody has looked at: enough for what is linear.
uint32_t step_limit(size_t text_size) {
  return static_cast<uint32_t>(
      std::min<uint64_t>(5'000'000 + uint64_t{64} * text_size, UINT32_MAX));
}
constexpr size_t kLongestPattern = 1 << 16;

}  // namespace

struct Regex::Code {
  std::unique_ptr<pcre2_code, Free> code;
  bool trusted;
};

Regex::Regex(std::string_view pattern, bool trusted, bool lines) : code_(std::make_unique<Code>()) {
  int error = 0;
  PCRE2_SIZE offset = 0;
  std::unique_ptr<pcre2_compile_context, Free> context(pcre2_compile_context_create(nullptr));
  if (!context) throw std::bad_alloc();
  pcre2_set_max_pattern_length(context.get(), kLongestPattern);
  const uint32_t anchors = lines ? PCRE2_MULTILINE : PCRE2_DOLLAR_ENDONLY;
  code_->trusted = trusted;
  code_->code.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                                  PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C | anchors, &error,
                                  &offset, context.get()));
  if (!code_->code) {
    throw Error(ErrorCode::kUnsupported, "regular expression \"" +
                                             std::string(pattern.substr(0, 80)) +
                                             "\": PCRE2 refuses it at " + std::to_string(offset) +
                                             " (error " + std::to_string(error) + ")");
  }
  // Without JIT the interpreter does the same, slower.
  pcre2_jit_compile(code_->code.get(), PCRE2_JIT_COMPLETE);
}

Regex::~Regex() = default;
Regex::Regex(Regex&&) noexcept = default;
Regex& Regex::operator=(Regex&&) noexcept = default;

struct Regex::Matcher::State {
  std::unique_ptr<pcre2_match_data, Free> data{pcre2_match_data_create(1, nullptr)};
  std::unique_ptr<pcre2_match_context, Free> context{pcre2_match_context_create(nullptr)};
  std::unique_ptr<pcre2_jit_stack, Free> stack{pcre2_jit_stack_create(32 << 10, 1 << 20, nullptr)};
};

Regex::Matcher::Matcher() : state_(std::make_unique<State>()) {
  if (!state_->data || !state_->context) throw std::bad_alloc();
  pcre2_set_heap_limit(state_->context.get(), 64 << 10);  // KiB
  if (state_->stack) pcre2_jit_stack_assign(state_->context.get(), nullptr, state_->stack.get());
}

Regex::Matcher::~Matcher() = default;

bool Regex::Matcher::find(const Regex& regex, std::string_view text, size_t from, size_t& begin,
                          size_t& end) {
  const pcre2_code* const code = regex.code_->code.get();
  const auto subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  pcre2_set_match_limit(state_->context.get(),
                        regex.code_->trusted ? UINT32_MAX : step_limit(text.size()));
  int rc = pcre2_match(code, subject, text.size(), from, PCRE2_NO_UTF_CHECK, state_->data.get(),
                       state_->context.get());
  if (rc == PCRE2_ERROR_JIT_STACKLIMIT) {  // the interpreter keeps its state on the heap instead
    rc = pcre2_match(code, subject, text.size(), from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT,
                     state_->data.get(), state_->context.get());
  }
  if (rc == PCRE2_ERROR_NOMATCH) return false;
  if (rc < 0) {
    throw Error(ErrorCode::kNoMemory,
                "tokenizer: the search for a regular expression gave up at byte " +
                    std::to_string(from) + " of " + std::to_string(text.size()) + " (PCRE2 error " +
                    std::to_string(rc) + "); split the text");
  }
  const PCRE2_SIZE* const ovector = pcre2_get_ovector_pointer(state_->data.get());
  begin = ovector[0];
  end = ovector[1];
  if (end < begin) end = begin;  // \K in a look-around can say so
  return true;
}

}  // namespace spnl::modelkit
