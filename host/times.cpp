#include "times.h"

#include <algorithm>
#include <cstdio>

#include "generation.h"
#include "utf8.h"

namespace spnl::host {
namespace {

std::string format(const char* how, double value) {
  char text[40];
  std::snprintf(text, sizeof text, how, value);
  return text;
}

/// `amount` per `per`, times `scale`; "-" when there is nothing to divide by.
std::string ratio(double amount, double per, double scale, const char* how) {
  return amount > 0 && per > 0 ? format(how, amount / per * scale) : "-";
}

/// What the lines of the table are made from, of one sample or of many.
struct Sums {
  size_t samples = 0;
  double in = 0, cached = 0, out = 0;
  double first_ns = 0, first_samples = 0;  ///< of samples that wrote anything
  double prefilled = 0, prefill_ns = 0;
  double steps = 0, decode_ns = 0;  ///< tokens after the first
  double total_ns = 0;

  void add(const Usage& usage) {
    ++samples;
    in += static_cast<double>(usage.prompt_tokens);
    cached += static_cast<double>(usage.cached_tokens);
    out += static_cast<double>(usage.output_tokens);
    if (usage.first_token_ns > 0) {
      first_ns += static_cast<double>(usage.first_token_ns);
      ++first_samples;
    }
    if (usage.prompt_tokens > usage.cached_tokens && usage.prefill_ns > 0) {
      prefilled += static_cast<double>(usage.prompt_tokens - usage.cached_tokens);
      prefill_ns += static_cast<double>(usage.prefill_ns);
    }
    if (usage.output_tokens > 1 && usage.decode_ns > 0) {
      steps += static_cast<double>(usage.output_tokens - 1);
      decode_ns += static_cast<double>(usage.decode_ns);
    }
    total_ns += static_cast<double>(usage.first_token_ns + usage.decode_ns);
  }
};

std::string row(const std::vector<std::string>& cells, size_t first_width) {
  std::string out = cells[0];
  out.resize(std::max(out.size(), first_width), ' ');
  for (size_t i = 1; i < cells.size(); ++i) {
    const size_t width = i < 5 ? 9 : 11;
    out += std::string(cells[i].size() < width ? width - cells[i].size() : 1, ' ') + cells[i];
  }
  return out;
}

/// A line of sums, or of means over `over` samples.
std::string line(const std::string& name, const Sums& sums, double over, const std::string& end,
                 size_t first_width) {
  const char* count = over > 1 ? "%.1f" : "%.0f";
  return row({name, format(count, sums.in / over), format(count, sums.cached / over),
              format(count, (sums.in - sums.cached) / over), format(count, sums.out / over),
              ratio(sums.first_ns, sums.first_samples, 1e-6, "%.1f"),
              ratio(sums.decode_ns, sums.steps, 1e-6, "%.2f"),
              ratio(sums.prefilled, sums.prefill_ns, 1e9, "%.1f"),
              ratio(sums.steps, sums.decode_ns, 1e9, "%.1f"),
              ratio(sums.total_ns, over, 1e-6, "%.1f"), end},
             first_width);
}

std::string whole_run(const Sums& all, double seconds) {
  return "total: " + std::to_string(all.samples) +
         (all.samples == 1 ? " generation, " : " generations, ") + format("%.0f", all.in) +
         " tokens in (" + format("%.0f", all.cached) + " cached), " + format("%.0f", all.out) +
         " out, " + format("%.2f s", seconds) + ", " + ratio(all.out, seconds, 1, "%.1f") +
         " tokens out a second";
}

/// Why it ended, and how its independent parts were evaluated.
std::string end_of(const Completion& sample) {
  std::string end(finish_reason_name(sample.finish));
  if (sample.usage.span_mode.empty()) return end;
  end += "  " + sample.usage.span_mode;
  return sample.usage.span_context.empty() ? end : end + "/" + sample.usage.span_context;
}

std::string fragment_lines(const Usage& usage) {
  std::string out;
  for (const FragmentUsage& one : usage.fragments)
    out += "\n  fragment " + one.path + ": " + std::to_string(one.tokens) + " tokens, " +
           std::to_string(one.cached) + " cached, " +
           std::to_string(one.tokens - std::min(one.tokens, one.cached)) +
           " computed: " + on_one_line(one.begins);
  return out;
}

}  // namespace

std::string times_table(const std::vector<NodeTimes>& nodes, std::optional<double> seconds,
                        bool fragments) {
  size_t first_width = 8;
  for (const NodeTimes& node : nodes) first_width = std::max(first_width, node.node.size() + 4);
  std::string out = row({"node", "in", "cached", "computed", "out", "ttft ms", "itl ms",
                         "prefill/s", "decode/s", "total ms", "end"},
                        first_width);
  Sums all;
  for (const NodeTimes& node : nodes)
    for (const Completion& sample : node.samples) {
      Sums one;
      one.add(sample.usage);
      all.add(sample.usage);
      std::string name = node.node;
      if (node.samples.size() > 1) name += "#" + std::to_string(sample.sample);
      out += "\n" + line(name, one, 1, end_of(sample), first_width);
      if (fragments) out += fragment_lines(sample.usage);
    }
  if (all.samples > 1)
    out += "\n" + line("mean", all, static_cast<double>(all.samples), "", first_width);
  if (seconds) out += "\n" + whole_run(all, *seconds);
  return out;
}

}  // namespace spnl::host
