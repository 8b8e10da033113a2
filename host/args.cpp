#include "args.h"

#include <algorithm>
#include <boost/program_options.hpp>
#include <charconv>
#include <cmath>
#include <limits>

#include "spnl/error.h"
#include "utf8.h"

namespace spnl::host {
namespace {

namespace po = boost::program_options;
constexpr unsigned kAllGroups = kGeneral | kBackend | kModel | kSampling;

[[noreturn]] void usage_error(const std::string& what, const std::string& where,
                              const std::string& hint) {
  throw Error(ErrorCode::kUsage, what, where, hint);
}

std::string help_hint(const Command& command) {
  return std::string("see spnl-host ") + command.name + " --help";
}

std::vector<OptionSpec> all_options(const Command& command) {
  std::vector<OptionSpec> out = command.options;
  for (const OptionSpec& option : common_options(command.groups)) {
    bool own = std::any_of(out.begin(), out.end(), [&](const OptionSpec& o) {
      return std::string_view(o.name) == option.name;
    });
    if (!own) out.push_back(option);
  }
  return out;
}

size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      size_t substituted = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j - 1] + 1, row[j] + 1, substituted});
    }
  }
  return row[b.size()];
}

void check_utf8(const std::vector<std::string>& words) {
  for (size_t i = 0; i < words.size(); ++i)
    if (size_t at = first_invalid_utf8(words[i]); at != std::string_view::npos)
      usage_error("argument " + std::to_string(i + 1) + " is not UTF-8",
                  "byte " + std::to_string(at), "pass text through a file");
}

[[noreturn]] void unknown_option(const Command& command, std::string word) {
  word = word.substr(0, word.find('='));
  std::string name = word.substr(std::min(word.find_first_not_of('-'), word.size()));
  for (const OptionSpec& option : common_options(kAllGroups))
    if (name == option.name || (name.size() == 1 && option.letter == name[0]))
      usage_error("option '" + word + "' does not apply to '" + command.name + "'", "command line",
                  help_hint(command));
  std::vector<std::string> names;
  for (const OptionSpec& option : all_options(command))
    names.push_back(std::string("--") + option.name);
  std::string near = name.size() > 1 ? near_name("--" + name, names) : "";
  usage_error("unknown option '" + word + "'", "command line",
              near.empty() ? help_hint(command) : near);
}

po::options_description described(const std::vector<OptionSpec>& options) {
  po::options_description description;
  for (const OptionSpec& option : options) {
    std::string names = option.name;
    if (option.letter != 0) names += std::string(",") + option.letter;
    if (*option.value != '\0')
      description.add_options()(names.c_str(), po::value<std::vector<std::string>>(), option.help);
    else
      description.add_options()(names.c_str(), option.help);
  }
  return description;
}

std::vector<po::option> parse_words(const Command& command, const std::vector<OptionSpec>& options,
                                    const std::vector<std::string>& words) {
  namespace style = po::command_line_style;
  po::options_description description = described(options);
  try {
    return po::command_line_parser(words)
        .options(description)
        .style(style::unix_style ^ style::allow_guessing)
        .run()
        .options;
  } catch (const po::unknown_option& e) {
    unknown_option(command, e.get_option_name());
  } catch (const po::error& e) {
    usage_error(e.what(), "command line", help_hint(command));
  }
}

uint64_t to_unsigned(const std::string& text, std::string_view name, uint64_t least,
                     uint64_t most) {
  uint64_t value = 0;
  auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (problem != std::errc() || end != text.data() + text.size() || value < least || value > most)
    usage_error("'" + text + "' is not a whole number from " + std::to_string(least) + " to " +
                    std::to_string(most),
                "--" + std::string(name), "write digits only");
  return value;
}

}  // namespace

/// Turns Boost's list of parsed options into Arguments.
class ArgumentReader {
 public:
  static Arguments read(const Command& command, const std::vector<std::string>& words) {
    check_utf8(words);
    std::vector<OptionSpec> options = all_options(command);
    Arguments args;
    for (const po::option& parsed : parse_words(command, options, words)) {
      if (parsed.position_key >= 0 || parsed.string_key.empty()) {
        args.positional_.insert(args.positional_.end(), parsed.value.begin(), parsed.value.end());
        continue;
      }
      auto spec = std::find_if(options.begin(), options.end(),
                               [&](const OptionSpec& o) { return parsed.string_key == o.name; });
      std::vector<std::string>& values = args.options_[parsed.string_key];
      if (!values.empty() && spec != options.end() && !spec->repeatable && *spec->value != '\0')
        usage_error("option '--" + parsed.string_key + "' is given twice", "command line",
                    "give it once");
      if (parsed.value.empty())
        values.emplace_back();
      else
        values.insert(values.end(), parsed.value.begin(), parsed.value.end());
    }
    // --help answers whatever else stands there.
    if (args.positional_.size() > command.most_positional && !args.has("help"))
      usage_error("unexpected argument '" + args.positional_[command.most_positional] + "'",
                  "command line",
                  command.most_positional == 0 ? help_hint(command)
                                               : "put text with spaces between quotes");
    return args;
  }
};

Arguments read_arguments(const Command& command, const std::vector<std::string>& words) {
  return ArgumentReader::read(command, words);
}

std::optional<std::string> Arguments::get(std::string_view name) const {
  auto found = options_.find(name);
  if (found == options_.end() || found->second.empty()) return std::nullopt;
  return found->second.back();
}

const std::vector<std::string>& Arguments::all(std::string_view name) const {
  static const std::vector<std::string> none;
  auto found = options_.find(name);
  return found == options_.end() ? none : found->second;
}

std::optional<uint64_t> Arguments::unsigned_number(std::string_view name, uint64_t least,
                                                   uint64_t most) const {
  std::optional<std::string> text = get(name);
  if (!text) return std::nullopt;
  return to_unsigned(*text, name, least, most);
}

std::optional<std::vector<uint64_t>> Arguments::unsigned_numbers(std::string_view name,
                                                                 uint64_t least,
                                                                 uint64_t most) const {
  std::optional<std::string> text = get(name);
  if (!text) return std::nullopt;
  std::vector<uint64_t> values;
  for (size_t begin = 0; begin <= text->size();) {
    const size_t end = std::min(text->find(',', begin), text->size());
    values.push_back(to_unsigned(text->substr(begin, end - begin), name, least, most));
    begin = end + 1;
  }
  return values;
}

std::optional<double> Arguments::real_number(std::string_view name, double least,
                                             double most) const {
  std::optional<std::string> text = get(name);
  if (!text) return std::nullopt;
  std::optional<double> value = to_real(*text);
  if (!value || *value < least || *value > most) {
    char bounds[80];
    std::snprintf(bounds, sizeof bounds, "%g to %g", least, most);
    usage_error("'" + *text + "' is not a number from " + bounds, "--" + std::string(name),
                "write it like 0.7");
  }
  return value;
}

std::optional<double> to_real(std::string_view text) {
  double value = 0;
  auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (problem != std::errc() || end != text.data() + text.size() || !std::isfinite(value))
    return std::nullopt;
  return value;
}

std::string near_name(std::string_view word, const std::vector<std::string>& candidates) {
  size_t best = std::numeric_limits<size_t>::max();
  std::string name;
  for (const std::string& candidate : candidates) {
    size_t distance = edit_distance(word.substr(0, 64), candidate);
    if (distance < best) {
      best = distance;
      name = candidate;
    }
  }
  bool near = best <= 2 || best * 3 <= name.size();
  return near && best < name.size() ? "did you mean '" + name + "'?" : "";
}

std::vector<int32_t> token_ids(std::string_view text, const std::string& where) {
  std::vector<int32_t> ids;
  while (true) {
    std::string_view word = text.substr(0, text.find(','));
    std::string_view digits = word;
    while (!digits.empty() && digits.front() == ' ') digits.remove_prefix(1);
    while (!digits.empty() && digits.back() == ' ') digits.remove_suffix(1);
    int32_t id = -1;
    auto [end, problem] = std::from_chars(digits.data(), digits.data() + digits.size(), id);
    if (problem != std::errc() || end != digits.data() + digits.size() || id < 0)
      usage_error("'" + std::string(word) + "' is not a token id", where, "write ids like 1,2,3");
    ids.push_back(id);
    if (word.size() == text.size()) return ids;
    text.remove_prefix(word.size() + 1);
  }
}

std::string command_help(const Command& command) {
  auto lines = [](const std::vector<OptionSpec>& options) {
    std::string out;
    for (const OptionSpec& option : options) {
      std::string names = option.letter != 0 ? std::string("-") + option.letter + ", " : "    ";
      names += std::string("--") + option.name;
      if (*option.value != '\0') names += std::string(" ") + option.value;
      names = "  " + names;
      names.resize(std::max<size_t>(names.size() + 2, 32), ' ');
      out += names + option.help + "\n";
    }
    return out;
  };
  std::string out = std::string("usage: spnl-host ") + command.name + " " + command.usage + "\n\n" +
                    command.summary + "\n";
  if (*command.notes != '\0') out += std::string("\n") + command.notes + "\n";
  if (!command.options.empty()) out += "\noptions:\n" + lines(command.options);
  std::vector<OptionSpec> common;
  for (const OptionSpec& option : all_options(command))
    if (std::none_of(command.options.begin(), command.options.end(), [&](const OptionSpec& own) {
          return std::string_view(own.name) == option.name;
        }))
      common.push_back(option);
  return out + "\ncommon options:\n" + lines(common);
}

}  // namespace spnl::host
