#include "times.h"

#include <cstdio>

#include "generation.h"

namespace spnl::host {
namespace {

std::string cell(std::optional<double> value, const char* format) {
  if (!value) return "-";
  char text[40];
  std::snprintf(text, sizeof text, format, *value);
  return text;
}

std::string row(const std::vector<std::string>& cells, size_t first_width) {
  std::string out = cells[0];
  out.resize(std::max(out.size(), first_width), ' ');
  for (size_t i = 1; i < cells.size(); ++i) {
    size_t width = 11;
    out += std::string(cells[i].size() < width ? width - cells[i].size() : 1, ' ') + cells[i];
  }
  return out;
}

}  // namespace

std::string times_table(const std::vector<NodeTimes>& nodes) {
  size_t first_width = 8;
  for (const NodeTimes& node : nodes) first_width = std::max(first_width, node.node.size() + 4);
  std::string out =
      row({"node", "in", "cached", "out", "ttft ms", "itl ms", "prefill/s", "decode/s", "end"},
          first_width);
  for (const NodeTimes& node : nodes)
    for (const Completion& sample : node.samples) {
      const Usage& usage = sample.usage;
      std::optional<double> ttft, itl;
      if (usage.first_token_ns > 0) ttft = static_cast<double>(usage.first_token_ns) / 1e6;
      if (usage.output_tokens > 1)
        itl = static_cast<double>(usage.decode_ns) / 1e6 /
              static_cast<double>(usage.output_tokens - 1);
      std::string name = node.node.empty() ? "." : node.node;
      if (node.samples.size() > 1) name += "#" + std::to_string(sample.sample);
      out += "\n" +
             row({name, std::to_string(usage.prompt_tokens), std::to_string(usage.cached_tokens),
                  std::to_string(usage.output_tokens), cell(ttft, "%.1f"), cell(itl, "%.2f"),
                  cell(prefill_rate(usage), "%.1f"), cell(decode_rate(usage), "%.1f"),
                  std::string(finish_reason_name(sample.finish))},
                 first_width);
    }
  return out;
}

}  // namespace spnl::host
