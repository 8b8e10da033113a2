// Metadata keys, tensor names and rotary scalings of GGUF files.
#include <algorithm>
#include <cmath>

#include "reader.h"
#include "spnl/modelkit/error.h"
#include "spnl/modelkit/weight_views.h"

namespace spnl::modelkit {
namespace {

std::string shape_text(const uint64_t* dims, size_t n) {
  std::string text = "[";
  for (size_t i = 0; i < n; ++i) text += (i == 0 ? "" : ", ") + std::to_string(dims[i]);
  return text + "]";
}

bool has_shape(const Tensor& tensor, std::initializer_list<uint64_t> dims) {
  // Trailing dimensions of 1 mean nothing: [64] and [64, 1] are the same vector.
  for (size_t i = 0; i < 4; ++i)
    if (tensor.dims[i] != (i < dims.size() ? dims.begin()[i] : 1)) return false;
  return true;
}

class GgufReader final : public ModelReader {
 public:
  GgufReader(const GgufFile& file, const std::string& architecture)
      : file_(file), architecture_(architecture) {}

  bool is_gguf() const override { return true; }
  const std::string& architecture() const override { return architecture_; }
  std::string model_name() const override {
    return std::string(file_.get_string("general.name").value_or(""));
  }

  bool has_key(Name key) const override {
    return !key.gguf.empty() && file_.find_value(full(key)) != nullptr;
  }
  bool is_null(Name) const override { return false; }
  std::optional<std::vector<uint64_t>> find_list(Name key) const override;
  std::string describe(Name key) const override { return "'" + full(key) + "'"; }

  std::string name_stem(Name name) const override { return std::string(name.gguf); }
  std::string name_stem(uint32_t layer, Name name) const override {
    return "blk." + std::to_string(layer) + "." + std::string(name.gguf);
  }
  bool has_linear(const std::string& stem) const override { return has_tensor(stem + ".weight"); }
  const Tensor* find_tensor(const std::string& name) const override { return file_.find(name); }
  Weight read_matrix(const std::string& stem, uint64_t in, uint64_t out) const override;
  Weight read_tensor(const std::string& name, std::initializer_list<uint64_t> dims) const override;
  uint64_t tensor_count() const override { return file_.tensors().size(); }
  bool is_tied(bool) const override { return !has_linear("output"); }

 protected:
  std::optional<uint64_t> number(Name key) const override {
    return key.gguf.empty() ? std::nullopt : file_.get_uint(full(key));
  }
  std::optional<double> real(Name key) const override {
    return key.gguf.empty() ? std::nullopt : file_.get_float(full(key));
  }
  std::optional<bool> flag(Name key) const override {
    return key.gguf.empty() ? std::nullopt : file_.get_bool(full(key));
  }
  std::optional<std::string> string(Name key) const override {
    if (key.gguf.empty()) return std::nullopt;
    const auto value = file_.get_string(full(key));
    return value ? std::optional<std::string>(*value) : std::nullopt;
  }
  std::vector<bool> sliding_layers(uint32_t layers) const override;
  RopeParameters read_rope(const RopeStyle& style, uint32_t head_dim, uint32_t context,
                           std::string_view layer_kind) const override;
  std::string path() const override { return file_.path().string(); }

 private:
  std::string full(Name key) const { return architecture_ + "." + std::string(key.gguf); }
  double positive(std::string_view key, double absent) const {
    return positive_or({key, {}}, absent);
  }
  std::vector<double> factors(const std::string& name, uint32_t count) const;
  void read_scaling(uint32_t context, RopeParameters& p) const;
  void read_long_factors(uint32_t context, RopeParameters& p) const;

  const GgufFile& file_;
  const std::string architecture_;
};

std::optional<std::vector<uint64_t>> GgufReader::find_list(Name key) const {
  if (key.gguf.empty()) return std::nullopt;
  const GgufFile::Value* value = file_.find_value(full(key));
  if (value == nullptr) return std::nullopt;
  std::vector<uint64_t> list;
  if (const auto* flags = std::get_if<std::vector<bool>>(value)) {
    list.assign(flags->begin(), flags->end());
  } else if (const auto* numbers = std::get_if<std::vector<int64_t>>(value)) {
    for (const int64_t number : *numbers) {
      if (number < 0) corrupt(describe(key) + " holds a number below 0");
      list.push_back(static_cast<uint64_t>(number));
    }
  } else {
    return std::nullopt;
  }
  return list;
}

Weight GgufReader::read_matrix(const std::string& stem, uint64_t in, uint64_t out) const {
  const Weight weight = tensor(stem + ".weight", {in, out});
  // NVFP4 has one more scale for the whole tensor.
  const Weight scale = optional_tensor(stem + ".scale", {1});
  if (weight.type() != TensorType::kNVFP4 || !scale) return weight;
  float factor = 1;
  scale.read_floats(0, 1, &factor);
  return scaled(weight, factor);
}

Weight GgufReader::read_tensor(const std::string& name,
                               std::initializer_list<uint64_t> dims) const {
  const Tensor* found = file_.find(name);
  if (found == nullptr) corrupt("tensor '" + name + "' is missing");
  if (!has_shape(*found, dims))
    corrupt("tensor '" + name + "' has the shape " + shape_text(found->dims.data(), found->n_dims) +
            " instead of " + shape_text(dims.begin(), dims.size()));
  const auto info = tensor_type_info(found->type);
  if (!info || !info->can_dequantize)
    unsupported("tensor '" + name + "' has the type " + std::string(info ? info->name : "?") +
                " (id " + std::to_string(static_cast<uint32_t>(found->type)) +
                "), which is not supported");
  return Weight(*found);
}

std::vector<bool> GgufReader::sliding_layers(uint32_t layers) const {
  const auto list = find_list(keys::kWindowPattern);
  if (!list) return {};
  if (list->size() < layers)
    corrupt(describe(keys::kWindowPattern) + " has only " + std::to_string(list->size()) +
            " entries for " + std::to_string(layers) + " layers");
  return std::vector<bool>(list->begin(), list->begin() + layers);
}

std::vector<double> GgufReader::factors(const std::string& name, uint32_t count) const {
  // Some converters write one copy for each layer.
  const std::string there = has_tensor(name) ? name : "blk.0." + name;
  const Weight weight = optional_tensor(there, {count});
  std::vector<float> factors(weight ? count : 0);
  if (weight) weight.read_floats(0, 1, factors.data());
  for (const float factor : factors)
    if (!std::isfinite(factor) || factor <= 0)
      corrupt("tensor '" + there + "' holds a factor that is not above 0");
  return {factors.begin(), factors.end()};
}

void GgufReader::read_scaling(uint32_t context, RopeParameters& p) const {
  p.factor = positive("rope.scaling.factor", positive("rope.scale_linear", 1));
  p.original_context = uint_or({"rope.scaling.original_context_length", {}}, context);
  const std::string type = text({"rope.scaling.type", {}});
  if (type == "linear" || (type.empty() && p.factor != 1)) {
    p.kind = RopeParameters::Kind::kLinear;
  } else if (type == "yarn") {
    p.kind = RopeParameters::Kind::kYarn;
    p.beta_fast = positive("rope.scaling.yarn_beta_fast", 32);
    p.beta_slow = positive("rope.scaling.yarn_beta_slow", 1);
    p.extrapolation = positive("rope.scaling.yarn_ext_factor", 1);
    p.magnitude = positive("rope.scaling.yarn_attn_factor", 1) *
                  positive("rope.scaling.attn_factor", 1) * yarn_magnitude(p.factor);
    p.mscale_all_dim = real({"rope.scaling.yarn_log_multiplier", {}}).value_or(0) / 0.1;
  } else if (!type.empty() && type != "none" && type != "longrope") {
    unsupported("rope scaling '" + type + "' is not supported");
  }
}

void GgufReader::read_long_factors(uint32_t context, RopeParameters& p) const {
  p.short_factors = factors("rope_factors_short.weight", p.dims / 2);
  p.long_factors = factors("rope_factors_long.weight", p.dims / 2);
  if (p.long_factors.empty() != p.short_factors.empty())
    corrupt("there is only one of the tensors 'rope_factors_short.weight' and '..._long.weight'");
  if (p.long_factors.empty()) {
    if (text({"rope.scaling.type", {}}) == "longrope")
      corrupt("rope scaling 'longrope' without the tensor 'rope_factors_long.weight'");
    return;
  }
  p.kind = RopeParameters::Kind::kLongRope;
  const double computed = longrope_magnitude(context / p.original_context, p.original_context);
  p.magnitude = p.long_magnitude = positive("rope.scaling.attn_factor", computed);
}

RopeParameters GgufReader::read_rope(const RopeStyle& style, uint32_t head_dim, uint32_t context,
                                     std::string_view layer_kind) const {
  RopeParameters p;
  p.dims = uint_or({"rope.dimension_count", {}}, head_dim);
  if (p.dims > head_dim || p.dims % 2 != 0 || (p.dims != head_dim && !style.is_partial))
    corrupt("'" + architecture_ + ".rope.dimension_count' is " + std::to_string(p.dims) +
            ", but heads are " + std::to_string(head_dim) + " wide; they must be equal and even");
  p.base = positive("rope.freq_base", 10000);
  const bool slides = layer_kind == "sliding_attention";
  if (slides)
    p.base = positive("rope.freq_base_swa",
                      style.gguf_window_base == 0 ? p.base : style.gguf_window_base);
  if (p.base <= 1) corrupt("'" + architecture_ + ".rope.freq_base' must be above 1");
  if (slides) return p;  // scaling is for layers that see everything
  p.truncate = style.truncates_yarn;
  read_scaling(context, p);
  read_long_factors(context, p);
  if (style.never_long) p.long_factors = p.short_factors;
  p.divisors = factors("rope_freqs.weight", p.dims / 2);
  return p;
}

}  // namespace

std::unique_ptr<ModelReader> make_reader(const GgufFile& file, const std::string& architecture) {
  return std::make_unique<GgufReader>(file, architecture);
}

}  // namespace spnl::modelkit
