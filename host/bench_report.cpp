#include "bench_report.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <string_view>
#include <tuple>

#include "json_text.h"

namespace spnl::host {
namespace {

struct Summary {
  double median = 0, least = 0, most = 0;
  size_t rounds = 0;
};

/// Without the round that warmed up, where others came after it.
std::optional<Summary> summary(const std::vector<double>& rounds) {
  if (rounds.empty()) return std::nullopt;
  std::vector<double> sorted(rounds.begin() + (rounds.size() > 1 ? 1 : 0), rounds.end());
  std::sort(sorted.begin(), sorted.end());
  return Summary{sorted[sorted.size() / 2], sorted.front(), sorted.back(), sorted.size()};
}

constexpr std::string_view kPrefill = "prefill", kDecode = "decode";

struct Row {
  std::string_view part;
  BenchSetting setting;
  std::optional<Summary> rate;
  std::optional<double> first_token;
};

/// Prefill before decode, then by sequences and tokens.
std::vector<Row> rows_of(const BenchReport& report) {
  std::vector<Row> rows;
  for (size_t i = 0; i < report.figures.size(); ++i)
    if (report.plan.settings[i].prefill) {
      const BenchFigures& figures = report.figures[i];
      const auto first = summary(figures.first_token);
      rows.push_back({kPrefill, report.plan.settings[i], summary(figures.prefill),
                      first ? std::optional(first->median) : std::nullopt});
    }
  for (size_t i = 0; i < report.figures.size(); ++i)
    if (report.plan.settings[i].decode)
      rows.push_back(
          {kDecode, report.plan.settings[i], summary(report.figures[i].decode), std::nullopt});
  auto place = [](const Row& row) {
    return std::make_tuple(row.part == kDecode, row.setting.sequences, row.setting.tokens);
  };
  std::sort(rows.begin(), rows.end(),
            [&](const Row& a, const Row& b) { return place(a) < place(b); });
  return rows;
}

/// Null: the plan has no such part.
const Row* headline(const std::vector<Row>& rows, std::string_view part) {
  const Row* first = nullptr;
  for (const Row& row : rows) {
    if (row.part != part) continue;
    if (row.setting.tokens == 512 && row.setting.sequences == 1) return &row;
    if (first == nullptr) first = &row;
  }
  return first;
}

std::optional<double> median_of(const Row* row) {
  return row != nullptr && row->rate ? std::optional(row->rate->median) : std::nullopt;
}

void add_row(JsonText& json, const Row& row) {
  json.begin_object().key("part").text(row.part);
  json.key("tokens").whole(row.setting.tokens).key("sequences").whole(row.setting.sequences);
  json.key("rounds").whole(row.rate ? row.rate->rounds : 0);
  json.key("tok_s").optional_rounded(median_of(&row), 1);
  json.key("least_tok_s")
      .optional_rounded(row.rate ? std::optional(row.rate->least) : std::nullopt, 1);
  json.key("most_tok_s")
      .optional_rounded(row.rate ? std::optional(row.rate->most) : std::nullopt, 1);
  if (row.part == kPrefill) json.key("ttft_s").optional_rounded(row.first_token, 4);
  json.end_object();
}

[[gnu::format(printf, 1, 2)]] std::string formatted(const char* how, ...) {
  char text[300];
  va_list values;
  va_start(values, how);
  std::vsnprintf(text, sizeof text, how, values);
  va_end(values);
  return text;
}

std::string mebibytes(uint64_t bytes) {
  return formatted("%.1f MiB", static_cast<double>(bytes) / (1 << 20));
}

std::string line_of(const Row& row) {
  std::string out = formatted("%-8s %7llu %10llu", row.part.data(),
                              static_cast<unsigned long long>(row.setting.tokens),
                              static_cast<unsigned long long>(row.setting.sequences));
  if (!row.rate) return out + "       0          -\n";
  out += formatted(" %7zu %10.1f %9.1f %9.1f", row.rate->rounds, row.rate->median, row.rate->least,
                   row.rate->most);
  if (row.first_token) out += formatted(" %9.1f ms", *row.first_token * 1000);
  return out + "\n";
}

std::string memory_line(const BenchReport& report) {
  std::string out;
  auto add = [&](const char* what, uint64_t bytes) {
    if (bytes > 0) out += (out.empty() ? "memory: " : ", ") + std::string(what) + mebibytes(bytes);
  };
  add("weights ", report.stats.bytes_weights);
  add("keys and values at most ", report.stats.bytes_cache_limit);
  add("process at its peak ", report.peak_bytes);
  return out.empty() ? out : out + "\n";
}

}  // namespace

bool BenchReport::empty() const {
  return std::all_of(figures.begin(), figures.end(), [](const BenchFigures& setting) {
    return setting.prefill.empty() && setting.decode.empty();
  });
}

std::string bench_table(const BenchReport& report) {
  std::string out =
      formatted("%s on %s, %llu threads, loaded in %.3f s\n", report.model.substr(0, 160).c_str(),
                report.info.device.substr(0, 20).c_str(),
                static_cast<unsigned long long>(report.plan.threads), report.load_seconds);
  out += formatted("medians of rounds; decode: %llu tokens of each sequence after `tokens`\n\n",
                   static_cast<unsigned long long>(report.plan.gen_tokens));
  out += "          tokens  sequences  rounds   tokens/s     least      most  first token\n";
  for (const Row& row : rows_of(report)) out += line_of(row);
  return out + "\n" + memory_line(report);
}

std::string bench_json(const BenchReport& report) {
  const std::vector<Row> rows = rows_of(report);
  const Row *prefill = headline(rows, kPrefill), *decode = headline(rows, kDecode);
  const BenchSetting& shown = (prefill != nullptr ? prefill : decode)->setting;
  JsonText json;
  json.begin_object().key("engine").text("spnl " SPNL_VERSION " " +
                                         report.model.substr(0, report.model.find('/')));
  json.key("model").text(report.model.substr(report.model.rfind('/') + 1));
  json.key("prompt").whole(shown.tokens).key("gen").whole(report.plan.gen_tokens);
  json.key("threads").whole(report.plan.threads).key("sequences").whole(shown.sequences);
  json.key("prefill_tok_s").optional_rounded(median_of(prefill), 1);
  json.key("decode_tok_s").optional_rounded(median_of(decode), 1);
  json.key("ttft_s").optional_rounded(prefill != nullptr ? prefill->first_token : std::nullopt, 4);
  json.key("device").text(report.info.device).key("repeat").whole(report.plan.repeat);
  json.key("load_s").rounded(report.load_seconds, 4);
  json.key("complete").boolean(report.complete);
  json.key("memory").begin_object();
  json.key("peak_rss_bytes").whole(report.peak_bytes);
  json.key("weights_bytes").whole(report.stats.bytes_weights);
  json.key("kv_limit_bytes").whole(report.stats.bytes_cache_limit).end_object();
  json.key("results").begin_array();
  for (const Row& row : rows) add_row(json, row);
  return json.end_array().end_object().str() + "\n";
}

}  // namespace spnl::host
