#include "model_report.h"

#include <spnl/modelkit/error.h>
#include <spnl/modelkit/model_spec.h>
#include <spnl/modelkit/quantize_file.h>
#include <spnl/modelkit/safetensors.h>
#include <spnl/modelkit/tokenizer.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <set>

namespace spnl::host {
namespace {

namespace fs = std::filesystem;
using modelkit::Config;
using modelkit::GgufFile;
using modelkit::ModelSpec;

constexpr size_t kMostLine = 200;

/// Runs `action`, and keeps its failure as a problem of the model.
template <class Action>
void attempt(ModelReport& report, const Action& action) {
  try {
    action();
  } catch (const modelkit::Error& error) {
    report.problems.emplace_back(error.what());
  }
}

void add_file(ModelReport& report, const fs::path& path) {
  std::error_code ignored;
  const uint64_t bytes = fs::file_size(path, ignored);
  if (!ignored) report.files.push_back({path.filename().string(), bytes});
}

void add_size(ModelReport& report, const char* name, std::optional<uint64_t> value) {
  if (value && *value > 0) report.sizes.push_back({name, *value});
}

void add_tensors(ModelReport& report, const modelkit::TensorSource& source) {
  std::map<std::string, ModelReport::TypeShare> shares;
  for (const modelkit::Tensor& tensor : source.tensors()) {
    const std::string type(modelkit::tensor_type_info(tensor.type)->name);
    ModelReport::TypeShare& share = shares[type];
    share.type = type;
    ++share.tensors;
    share.bytes += tensor.bytes;
    report.parameters += tensor.elements();
    report.weight_bytes += tensor.bytes;
  }
  for (const auto& [type, share] : shares) report.types.push_back(share);
  std::stable_sort(report.types.begin(), report.types.end(),
                   [](const auto& a, const auto& b) { return a.bytes > b.bytes; });
}

void add_tokenizer(ModelReport& report, const modelkit::Tokenizer& tokenizer, std::string kind) {
  report.tokenizer = std::move(kind);
  report.vocab_size = tokenizer.vocab_size();
  report.bos = tokenizer.bos();
  report.eos = tokenizer.eos();
  report.end_of_generation = tokenizer.end_of_generation();
}

void add_template(ModelReport& report, std::string_view text) {
  report.has_template = true;
  const size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string_view::npos) return;
  const std::string_view line = text.substr(begin, text.find_first_of("\r\n", begin) - begin);
  report.template_line =
      std::string(line.substr(0, kMostLine)) + (line.size() > kMostLine ? "..." : "");
}

/// Elements per token that a layer keeps.
uint64_t cached_values(const modelkit::AttentionSpec& attention) {
  if (attention.latent) return uint64_t{attention.latent.latent_dim} + attention.latent.rope_dim;
  return uint64_t{attention.kv_heads} * (uint64_t{attention.head_dim} + attention.value_dim);
}

void add_spec(ModelReport& report, const ModelSpec& spec) {
  if (report.name.empty()) report.name = spec.name;
  add_size(report, "layers", spec.layers.size());
  add_size(report, "hidden_size", spec.hidden_size);
  uint64_t heads = 0, kv_heads = 0, head_dim = 0, mlp = 0, experts = 0, used = 0, expert_size = 0,
           cached = 0;
  std::set<uint32_t> windows;
  for (const modelkit::LayerSpec& layer : spec.layers) {
    heads = std::max<uint64_t>(heads, layer.attention.heads);
    kv_heads = std::max<uint64_t>(kv_heads, layer.attention.kv_heads);
    head_dim = std::max<uint64_t>(head_dim, layer.attention.head_dim);
    mlp = std::max<uint64_t>(mlp, layer.mlp.size);
    experts = std::max<uint64_t>(experts, layer.experts.experts.size());
    used = std::max<uint64_t>(used, layer.experts.used);
    for (const modelkit::Mlp& expert : layer.experts.experts)
      expert_size = std::max<uint64_t>(expert_size, expert.size);
    if (layer.attention.window > 0) windows.insert(layer.attention.window);
    cached += cached_values(layer.attention);
  }
  add_size(report, "heads", heads);
  add_size(report, "kv_heads", kv_heads);
  add_size(report, "head_dim", head_dim);
  add_size(report, "feed_forward_size", mlp);
  add_size(report, "experts", experts);
  add_size(report, "experts_used", used);
  add_size(report, "expert_size", expert_size);
  add_size(report, "vocab_rows", spec.vocab_size);
  add_size(report, "context", spec.context);
  if (!windows.empty()) add_size(report, "window", *windows.begin());
  report.cache_bytes_per_token = cached * sizeof(uint16_t);
}

/// One number, or the largest of a list of one per layer.
std::optional<uint64_t> gguf_number(const GgufFile& file, const std::string& key) {
  const GgufFile::Value* value = file.find_value(key);
  if (value == nullptr) return std::nullopt;
  if (const auto* list = std::get_if<std::vector<int64_t>>(value)) {
    const auto most = std::max_element(list->begin(), list->end());
    return most == list->end() ? 0 : static_cast<uint64_t>(std::max<int64_t>(*most, 0));
  }
  return file.get_uint(key);
}

/// What the metadata says of an architecture that this build does not know.
void add_gguf_sizes(ModelReport& report, const GgufFile& file) {
  static constexpr std::pair<const char*, const char*> kKeys[] = {
      {"layers", "block_count"},
      {"hidden_size", "embedding_length"},
      {"heads", "attention.head_count"},
      {"kv_heads", "attention.head_count_kv"},
      {"head_dim", "attention.key_length"},
      {"feed_forward_size", "feed_forward_length"},
      {"experts", "expert_count"},
      {"experts_used", "expert_used_count"},
      {"context", "context_length"}};
  for (const auto& [name, key] : kKeys)
    attempt(report, [&, name = name, key = key] {
      add_size(report, name, gguf_number(file, report.architecture + "." + key));
    });
}

void add_config_sizes(ModelReport& report, const Config& config) {
  static constexpr std::pair<const char*, const char*> kKeys[] = {
      {"layers", "num_hidden_layers"},  {"hidden_size", "hidden_size"},
      {"heads", "num_attention_heads"}, {"kv_heads", "num_key_value_heads"},
      {"head_dim", "head_dim"},         {"feed_forward_size", "intermediate_size"},
      {"vocab_rows", "vocab_size"},     {"context", "max_position_embeddings"}};
  for (const auto& [name, key] : kKeys)
    attempt(report, [&, name = name, key = key] { add_size(report, name, config.get_uint(key)); });
}

/// All parts of a split file.
void add_gguf_files(ModelReport& report, const GgufFile& file) {
  const uint64_t parts = file.get_uint("split.count").value_or(1);
  const std::string name = file.path().filename().string();
  const size_t number = name.rfind("-00001-of-");
  add_file(report, file.path());
  for (uint64_t part = 2; part <= parts && number != std::string::npos; ++part) {
    const std::string digits = std::to_string(part);
    std::string other = name;
    other.replace(number + 1, 5, std::string(5 - std::min<size_t>(digits.size(), 5), '0') + digits);
    add_file(report, file.path().parent_path() / other);
  }
}

/// general.file_type is a label, and the one of floats (0) is written out of habit: then the
/// tensors tell.
std::string gguf_quantisation(const ModelReport& report, const GgufFile& file) {
  const auto number = file.get_uint("general.file_type");
  const auto mix = number ? modelkit::quant_mix_of(*number) : std::nullopt;
  const bool told = mix && modelkit::tensor_type_info(mix->type)->block_elements > 1;
  return told ? std::string(mix->name) : report.types.empty() ? "" : report.types[0].type;
}

ModelReport report_gguf(const fs::path& path) {
  ModelReport report;
  const auto file = GgufFile::open(path);
  report.path = path;
  report.format = file->raw_values().empty() ? "GGML" : "GGUF";
  attempt(report, [&] { add_gguf_files(report, *file); });
  add_tensors(report, *file);
  attempt(report, [&] {
    report.architecture = file->get_string("general.architecture").value_or("");
    report.name = file->get_string("general.name").value_or("");
  });
  attempt(report, [&] { report.quantisation = gguf_quantisation(report, *file); });
  attempt(report, [&] {
    const std::string kind(file->get_string("tokenizer.ggml.model").value_or("")),
        pre(file->get_string("tokenizer.ggml.pre").value_or(""));
    add_tokenizer(report, *modelkit::tokenizer_from_gguf(*file),
                  pre.empty() ? kind : kind + " (" + pre + ")");
  });
  attempt(report, [&] {
    if (const auto text = file->get_string("tokenizer.chat_template")) add_template(report, *text);
  });
  const size_t problems = report.problems.size();
  if (!file->tensors().empty())
    attempt(report, [&] { add_spec(report, modelkit::model_spec_from_gguf(*file)); });
  if (file->tensors().empty() || report.problems.size() > problems) add_gguf_sizes(report, *file);
  return report;
}

/// The file that tells how text becomes tokens.
std::string tokenizer_file(const fs::path& folder) {
  for (const char* name : {"tokenizer.json", "tokenizer.model", "tekken.json", "vocab.json"})
    if (fs::exists(folder / name)) return name;
  return "tiktoken";
}

std::string text_of(const fs::path& path) {
  std::string text(1 << 16, '\0');
  std::ifstream in(path, std::ios::binary);
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(in.gcount()));
  return text;
}

void add_folder_template(ModelReport& report, const fs::path& folder) {
  if (fs::exists(folder / "chat_template.jinja")) {
    add_template(report, text_of(folder / "chat_template.jinja"));
    return;
  }
  for (const char* name : {"chat_template.json", "tokenizer_config.json"}) {
    if (report.has_template || !fs::exists(folder / name)) continue;
    const Config config = Config::read(folder / name);
    report.has_template = config.has("chat_template");
    if (report.has_template && !config.is_list("chat_template"))
      add_template(report, config.get_string("chat_template").value_or(""));
  }
}

std::string folder_quantisation(const ModelReport& report, const Config& config) {
  const auto settings = config.get_object("quantization_config");
  if (!settings) return report.types.empty() ? "" : report.types[0].type;
  std::string method = settings->get_string("quant_method").value_or("quantised");
  const auto bits = settings->get_uint("bits");
  return bits ? method + ", " + std::to_string(*bits) + " bits" : method;
}

ModelReport report_folder(const fs::path& folder) {
  ModelReport report;
  report.path = folder;
  report.format = "safetensors";
  const Config config = Config::read(folder / "config.json");
  const auto tensors = modelkit::SafetensorsFolder::open(folder);
  std::vector<fs::path> files;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder))
    if (entry.path().extension() == ".safetensors") files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  for (const fs::path& file : files) add_file(report, file);
  add_tensors(report, *tensors);
  attempt(report, [&] { report.architecture = config.get_string("model_type").value_or(""); });
  attempt(report, [&] { report.quantisation = folder_quantisation(report, config); });
  attempt(report, [&] {
    add_tokenizer(report, *modelkit::tokenizer_from_folder(folder), tokenizer_file(folder));
  });
  attempt(report, [&] { add_folder_template(report, folder); });
  const size_t problems = report.problems.size();
  attempt(report, [&] { add_spec(report, modelkit::model_spec_from_folder(*tensors, config)); });
  if (report.problems.size() > problems) add_config_sizes(report, config);
  return report;
}

}  // namespace

ModelReport report_model(const fs::path& path) {
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) return report_folder(path);
  if (path.extension() == ".safetensors" || path.extension() == ".json")
    return report_folder(path.has_parent_path() ? path.parent_path() : ".");
  return report_gguf(path);
}

}  // namespace spnl::host
