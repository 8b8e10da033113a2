#include "spnl/modelkit/weight_finder.h"

#include <algorithm>
#include <system_error>

#include "gguf_part.h"
#include "linear_reader.h"
#include "spnl/modelkit/error.h"

namespace spnl::modelkit {

struct WeightFinder::Settings {
  QuantSettings quant;
};

namespace {

constexpr std::string_view kMethods[] = {"",           "gptq",
                                         "awq",        "fp8",
                                         "fbgemm_fp8", "compressed-tensors",
                                         "mxfp4",      "bitsandbytes",
                                         "auto-round", "intel/auto-round"};

std::string lower(std::string text) {
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return text;
}

/// quantization_config, or the file beside config.json where older GPTQ and AWQ tools put it.
std::optional<Config> quantization_config(const Config& config) {
  if (config.has("quantization_config")) return config.get_object("quantization_config");
  if (config.has("compression_config")) return config.get_object("compression_config");
  for (const char* name : {"quantize_config.json", "quant_config.json"}) {
    const auto file = config.path().parent_path() / name;
    std::error_code ignored;
    if (std::filesystem::is_regular_file(file, ignored)) return Config::read(file);
  }
  return std::nullopt;
}

QuantSettings read_settings(const Config& model) {
  QuantSettings settings;
  const auto found = quantization_config(model);
  if (!found) return settings;
  const Config& config = *found;
  settings.method = lower(config.get_string("quant_method").value_or(""));
  if (std::find(std::begin(kMethods), std::end(kMethods), settings.method) == std::end(kMethods))
    config.unsupported("quant_method", "'" + printable(settings.method) +
                                           "' is not supported; take the model's float weights or "
                                           "a GGUF of it");
  settings.checkpoint_format =
      lower(config.get_string(config.has("checkpoint_format") ? "checkpoint_format" : "format")
                .value_or(""));
  if (settings.method == "gptq" && settings.checkpoint_format != "" &&
      settings.checkpoint_format != "gptq" && settings.checkpoint_format != "gptq_v2")
    config.unsupported("checkpoint_format", "'" + printable(settings.checkpoint_format) +
                                                "' is not supported (gptq and gptq_v2 are)");
  settings.version = lower(config.get_string("version").value_or(""));
  settings.symmetric = config.get_bool("sym");
  // Not get_uint: -1 stands for one group.
  if (const auto size = config.get_float(config.has("group_size") ? "group_size" : "q_group_size");
      size && *size >= 1 && *size <= INT32_MAX)
    settings.group_size = static_cast<uint64_t>(*size);
  if (const auto block = config.get_uints("weight_block_size")) {
    if (block->size() != 2 || block->at(0) == 0 || block->at(1) == 0)
      config.corrupt("weight_block_size", "is not two sizes");
    settings.block_rows = block->at(0);
    settings.block_columns = block->at(1);
  }
  return settings;
}

}  // namespace

std::string shape_text(const Tensor& tensor) {
  std::string text = "[";
  for (uint32_t i = 0; i < tensor.n_dims; ++i)
    text += (i == 0 ? "" : ", ") + std::to_string(tensor.dims[tensor.n_dims - 1 - i]);
  return text + "]";
}

bool has_shape(const Tensor& tensor, std::initializer_list<uint64_t> dims) {
  // Outer dimensions of 1 mean nothing: [64] and [1, 64] are the same vector.
  for (size_t i = 0; i < 4; ++i)
    if (tensor.dims[i] != (i < dims.size() ? dims.begin()[i] : 1)) return false;
  return true;
}

const Tensor* LinearReader::find(std::string_view suffix) const {
  return tensors.find(stem + std::string(suffix));
}

void LinearReader::corrupt(std::string_view suffix, const std::string& why) const {
  throw Error(ErrorCode::kCorrupt, tensors.path().string() + ": tensor '" +
                                       printable(stem + std::string(suffix)) + "' " + why);
}

void LinearReader::unsupported(std::string_view suffix, const std::string& why) const {
  throw Error(ErrorCode::kUnsupported, tensors.path().string() + ": tensor '" +
                                           printable(stem + std::string(suffix)) + "' " + why);
}

const Tensor& LinearReader::need(std::string_view suffix, std::initializer_list<uint64_t> dims,
                                 std::initializer_list<TensorType> types) const {
  const Tensor* tensor = find(suffix);
  if (tensor == nullptr) corrupt(suffix, "is missing");
  if (!has_shape(*tensor, dims)) {
    std::string wanted;  // as safetensors tell shapes: outermost first
    for (const uint64_t n : dims)
      wanted = std::to_string(n) + (wanted.empty() ? "" : ", ") + wanted;
    corrupt(suffix, "has the shape " + shape_text(*tensor) + " instead of [" + wanted + "]");
  }
  if (types.size() != 0 && std::find(types.begin(), types.end(), tensor->type) == types.end())
    unsupported(suffix, "has elements of type " +
                            std::string(tensor_type_info(tensor->type)->name) +
                            ", which do not belong there");
  return *tensor;
}

WeightFinder::WeightFinder(const TensorSource& tensors, const Config& config)
    : tensors_(tensors), settings_(std::make_shared<Settings>(Settings{read_settings(config)})) {}

WeightFinder::~WeightFinder() = default;

bool WeightFinder::has(std::string_view name) const { return tensors_.find(name) != nullptr; }

bool WeightFinder::has_linear(const std::string& stem) const {
  return has(stem + ".weight") || has(stem + ".qweight") || has(stem + ".weight_packed");
}

Weight WeightFinder::linear(const std::string& stem, uint64_t in, uint64_t out) const {
  const LinearReader reader{tensors_, settings_->quant, stem, in, out};
  if (in == 0 || out == 0) reader.corrupt(".weight", "has no elements");
  if (reader.find(".qweight") != nullptr)
    return is_awq(reader) ? awq_linear(reader) : gptq_linear(reader);
  if (reader.find(".weight_packed") != nullptr) return compressed_linear(reader);
  if (reader.find(".weight.absmax") != nullptr || reader.find(".SCB") != nullptr)
    return bitsandbytes_linear(reader);
  if (reader.find(".weight_scale_inv") != nullptr || reader.find(".weight_scale") != nullptr)
    return scaled_linear(reader);
  return tensor(stem + ".weight", {in, out});
}

Weight WeightFinder::tensor(const std::string& name, std::initializer_list<uint64_t> dims) const {
  const LinearReader reader{tensors_, settings_->quant, name, 0, 0};
  if (reader.find("") == nullptr)
    throw Error(ErrorCode::kNotFound,
                tensors_.path().string() + ": tensor '" + printable(name) + "' is missing");
  const Tensor& found = reader.need("", dims, {});
  const auto info = tensor_type_info(found.type);
  if (!info->can_dequantize)
    reader.unsupported(
        "", "has elements of type " + std::string(info->name) + ", which are no weights");
  return Weight(found);
}

Weight WeightFinder::optional_tensor(const std::string& name,
                                     std::initializer_list<uint64_t> dims) const {
  return has(name) ? tensor(name, dims) : Weight();
}

}  // namespace spnl::modelkit
