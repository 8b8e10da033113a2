// spnl-host inspect: what a model's files say about it.
#include <spnl/modelkit/error.h>

#include <algorithm>
#include <cstdio>

#include "command.h"
#include "json_text.h"
#include "local_model.h"
#include "model_report.h"
#include "utf8.h"

namespace spnl::host {
namespace {

constexpr uint64_t kTokens = 1000;  // that the cache's size is told for

std::string in_units(double value, double step, const char* const (&units)[5]) {
  size_t unit = 0;
  for (; value >= step && unit + 1 < std::size(units); ++unit) value /= step;
  char text[40];
  std::snprintf(text, sizeof text, unit == 0 ? "%.0f%s" : "%.1f%s", value, units[unit]);
  return text;
}

std::string bytes_text(uint64_t bytes) {
  return in_units(static_cast<double>(bytes), 1024, {" B", " KiB", " MiB", " GiB", " TiB"});
}

std::string count_text(uint64_t count) {
  return in_units(static_cast<double>(count), 1000, {"", "k", "M", "G", "T"});
}

std::string as_json(const ModelReport& report) {
  JsonText json;
  json.begin_object().key("path").text(report.path.string()).key("format").text(report.format);
  json.key("files").begin_array();
  for (const ModelReport::File& file : report.files)
    json.begin_object().key("name").text(file.name).key("bytes").whole(file.bytes).end_object();
  json.end_array().key("architecture").text(report.architecture).key("name").text(report.name);
  json.key("quantisation").text(report.quantisation).key("parameters").whole(report.parameters);
  json.key("types").begin_array();
  for (const ModelReport::TypeShare& share : report.types) {
    json.begin_object().key("type").text(share.type).key("tensors").whole(share.tensors);
    json.key("bytes").whole(share.bytes).end_object();
  }
  json.end_array();
  for (const ModelReport::Number& size : report.sizes) json.key(size.name).whole(size.value);
  const auto id = [&](const char* name, std::optional<int32_t> value) {
    json.key(name);
    value ? json.integer(*value) : json.null();
  };
  json.key("tokenizer");
  if (report.tokenizer.empty()) {
    json.null();
  } else {
    json.begin_object()
        .key("kind")
        .text(report.tokenizer)
        .key("vocab_size")
        .integer(report.vocab_size);
    id("bos", report.bos);
    id("eos", report.eos);
    json.key("end_of_generation").ids(report.end_of_generation).end_object();
  }
  json.key("chat_template").begin_object().key("present").boolean(report.has_template);
  json.key("first_line").text(report.template_line).end_object();
  json.key("memory").begin_object().key("weights_bytes").whole(report.weight_bytes);
  json.key("kv_bytes_per_1000_tokens");
  report.cache_bytes_per_token ? json.whole(*report.cache_bytes_per_token * kTokens) : json.null();
  json.end_object().key("problems").texts(report.problems);
  return json.end_object().str() + "\n";
}

/// A line of the table; nothing for what is not known.
std::string row(std::string name, const std::string& value) {
  if (value.empty()) return "";
  name.resize(std::max<size_t>(name.size() + 1, 20), ' ');
  return name + on_one_line(value) + "\n";
}

std::string spaced(std::string name) {
  std::replace(name.begin(), name.end(), '_', ' ');
  return name;
}

std::string tokenizer_text(const ModelReport& report) {
  if (report.tokenizer.empty()) return "none that can be read";
  const auto id = [](const char* name, std::optional<int32_t> value) {
    return value ? std::string(", ") + name + " " + std::to_string(*value) : "";
  };
  std::string text = report.tokenizer + ", " + std::to_string(report.vocab_size) + " tokens" +
                     id("bos", report.bos) + id("eos", report.eos);
  for (size_t i = 0; i < report.end_of_generation.size(); ++i)
    text += (i == 0 ? ", answers end at " : " ") + std::to_string(report.end_of_generation[i]);
  return text;
}

std::string as_table(const ModelReport& report) {
  std::string out = row("path", report.path.string()) + row("format", report.format);
  for (const ModelReport::File& file : report.files)
    out += row("file", file.name + "  " + bytes_text(file.bytes));
  out += row("architecture", report.architecture) + row("name", report.name);
  out +=
      row("quantisation", report.quantisation) + row("parameters", count_text(report.parameters));
  for (const ModelReport::TypeShare& share : report.types)
    out += row("tensors " + share.type,
               std::to_string(share.tensors) + "  " + bytes_text(share.bytes));
  for (const ModelReport::Number& size : report.sizes)
    out += row(spaced(size.name), std::to_string(size.value));
  out += row("tokenizer", tokenizer_text(report));
  const std::string line = report.template_line.empty() ? "yes" : "yes: " + report.template_line;
  out += row("chat template", report.has_template ? line : "no");
  std::string memory = "weights " + bytes_text(report.weight_bytes);
  if (report.cache_bytes_per_token)
    memory += ", and " + bytes_text(*report.cache_bytes_per_token * kTokens) +
              " for each 1000 tokens of context";
  out += row("memory", memory);
  for (const std::string& problem : report.problems) out += row("problem", problem);
  return out;
}

int run(Invocation& invocation) {
  const Arguments& args = invocation.args;
  if (args.positional().size() != 1)
    throw Error(ErrorCode::kUsage, "no model is given", "command line",
                "give a model's file, folder or name");
  const std::filesystem::path path = local_model(args.positional()[0], invocation);
  ModelReport report;
  try {
    report = report_model(path);
  } catch (const modelkit::Error& error) {
    const bool missing = error.code() == modelkit::ErrorCode::kNotFound;
    throw Error(missing ? ErrorCode::kNotFound : ErrorCode::kNotLoadable, error.what());
  }
  invocation.terminal.result(args.has("json") ? as_json(report)
                                              : without_controls(as_table(report)));
  return kExitDone;
}

}  // namespace

Command inspect_command() {
  return {
      "inspect",
      "Tells what a model's files say: sizes, types, tokenizer, memory.",
      "MODEL [--json]",
      kGeneral,
      {},
      1,
      "MODEL: a GGUF file, a folder of Hugging Face's layout, or a name as --model takes it. "
      "Nothing is loaded.\n"
      "Memory is that of the weights as the files hold them, and of float16 keys and values.\n"
      "A model that would not run is shown as far as its files tell, with the reason as `problem`.",
      run};
}

}  // namespace spnl::host
