#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace spnl::host {

struct OptionSpec {
  const char* name;   ///< without dashes
  char letter;        ///< one-letter form, or 0
  const char* value;  ///< what stands for the value in help; "" for a flag
  const char* help;
  bool repeatable = false;
};

/// Which of the common options a command takes beside its own.
enum OptionGroup : unsigned {
  kGeneral = 1,   ///< json, quiet, verbose, color, help, version
  kBackend = 2,   ///< backend-path, device, threads
  kModel = 4,     ///< model, backend
  kSampling = 8,  ///< seed, max-tokens, temperature, ..., time
  kSpans = 16,    ///< spans, span-context, span-order
};

/// The options given on a command line, by name, and what is left.
class Arguments {
 public:
  bool has(std::string_view name) const { return options_.count(std::string(name)) != 0; }
  std::optional<std::string> get(std::string_view name) const;
  const std::vector<std::string>& all(std::string_view name) const;
  const std::vector<std::string>& positional() const { return positional_; }

  /// Numbers within bounds, or nothing when not given. Throw Error(kUsage) for anything else.
  std::optional<uint64_t> unsigned_number(std::string_view name, uint64_t least,
                                          uint64_t most) const;
  /// The same for several with commas between, at least one.
  std::optional<std::vector<uint64_t>> unsigned_numbers(std::string_view name, uint64_t least,
                                                        uint64_t most) const;
  std::optional<double> real_number(std::string_view name, double least, double most) const;

 private:
  friend class ArgumentReader;
  std::map<std::string, std::vector<std::string>, std::less<>> options_;
  std::vector<std::string> positional_;
};

struct Invocation;

struct Command {
  const char* name;
  const char* summary;  ///< one line
  const char* usage;    ///< what follows `spnl-host NAME`
  unsigned groups;
  std::vector<OptionSpec> options;
  size_t most_positional;   ///< how many arguments that are no options
  const char* notes;        ///< more help, or ""
  int (*run)(Invocation&);  ///< returns the exit code; throws Error
};

/// Reads what follows the command's name. Throws Error(kUsage): unknown options with near names,
/// missing values, an option given twice, arguments that are not UTF-8.
Arguments read_arguments(const Command& command, const std::vector<std::string>& words);

std::string command_help(const Command& command);

/// The options of `groups`, from the one table of common options.
std::vector<OptionSpec> common_options(unsigned groups);

/// "; did you mean 'x'?" for the candidate nearest to `word`, or "" when none is near.
std::string near_name(std::string_view word, const std::vector<std::string>& candidates);

/// "1,2,3" as token ids; `where` names the option. Throws Error(kUsage).
std::vector<int32_t> token_ids(std::string_view text, const std::string& where);

/// The whole of `text` as a finite number, or nothing.
std::optional<double> to_real(std::string_view text);

}  // namespace spnl::host
