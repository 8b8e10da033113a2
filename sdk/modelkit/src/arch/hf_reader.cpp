// Keys of config.json, names of modules and rotary scalings of Hugging Face folders, as
// transformers 4 and 5 write them.
#include <algorithm>
#include <cmath>

#include "reader.h"
#include "spnl/modelkit/error.h"
#include "spnl/modelkit/weight_finder.h"

namespace spnl::modelkit {
namespace {

/// What stands before "embed_tokens", "layers" and "norm": a text model alone or inside another.
constexpr std::string_view kPrefixes[] = {"model.", "language_model.model.",
                                          "model.language_model.", "language_model.", ""};

class HfReader final : public ModelReader {
 public:
  HfReader(const TensorSource& tensors, const Config& config, const std::string& architecture)
      : outer_(config),
        config_(config.get_object("text_config").value_or(config)),
        finder_(tensors, config),
        architecture_(architecture) {
    const auto prefix =
        std::find_if(std::begin(kPrefixes), std::end(kPrefixes), [&](std::string_view candidate) {
          return finder_.has_linear(std::string(candidate) + "embed_tokens");
        });
    if (prefix == std::end(kPrefixes)) corrupt("tensor 'model.embed_tokens.weight' is missing");
    prefix_ = *prefix;
  }

  bool is_gguf() const override { return false; }
  const std::string& architecture() const override { return architecture_; }
  std::string model_name() const override {
    return outer_.get_string("_name_or_path").value_or("");
  }

  bool has_key(Name key) const override { return !key.hf.empty() && config_.has(key.hf); }
  bool is_null(Name key) const override { return config_.is_null(key.hf); }
  std::optional<std::vector<uint64_t>> find_list(Name key) const override {
    if (key.hf.empty() || !config_.is_list(key.hf)) return std::nullopt;
    return config_.get_uints(key.hf);
  }
  std::string describe(Name key) const override { return config_.describe(key.hf); }

  std::string name_stem(Name name) const override;
  std::string name_stem(uint32_t layer, Name name) const override {
    return prefix_ + "layers." + std::to_string(layer) + "." + std::string(name.hf);
  }
  bool has_linear(const std::string& stem) const override { return finder_.has_linear(stem); }
  const Tensor* find_tensor(const std::string& name) const override {
    return finder_.tensors().find(name);
  }
  Weight read_matrix(const std::string& stem, uint64_t in, uint64_t out) const override {
    return finder_.linear(stem, in, out);
  }
  Weight read_tensor(const std::string& name, std::initializer_list<uint64_t> dims) const override {
    return finder_.tensor(name, dims);
  }
  uint64_t tensor_count() const override { return finder_.tensors().tensors().size(); }
  bool is_tied(bool absent) const override;

 protected:
  std::optional<uint64_t> number(Name key) const override {
    return key.hf.empty() ? std::nullopt : config_.get_uint(key.hf);
  }
  std::optional<double> real(Name key) const override {
    return key.hf.empty() ? std::nullopt : config_.get_float(key.hf);
  }
  std::optional<bool> flag(Name key) const override {
    return key.hf.empty() ? std::nullopt : config_.get_bool(key.hf);
  }
  std::optional<std::string> string(Name key) const override {
    return key.hf.empty() ? std::nullopt : config_.get_string(key.hf);
  }
  std::vector<bool> sliding_layers(uint32_t layers) const override;
  RopeParameters read_rope(const RopeStyle& style, uint32_t head_dim, uint32_t context,
                           std::string_view layer_kind) const override;
  std::string path() const override { return outer_.path().parent_path().string(); }

 private:
  const Config outer_, config_;
  const WeightFinder finder_;
  const std::string architecture_;
  std::string prefix_;
};

std::string HfReader::name_stem(Name name) const {
  if (name.hf != "lm_head") return prefix_ + std::string(name.hf);
  return finder_.has_linear("language_model.lm_head") ? "language_model.lm_head" : "lm_head";
}

bool HfReader::is_tied(bool absent) const {
  for (const Config* config : {&config_, &outer_})
    if (const auto tied = config->get_bool("tie_word_embeddings")) return *tied;
  return absent || !has_linear(stem({{}, "lm_head"}));
}

std::vector<bool> HfReader::sliding_layers(uint32_t layers) const {
  const auto kinds = config_.get_strings("layer_types");
  if (!kinds) return {};
  if (kinds->size() < layers)
    config_.corrupt("layer_types", "has only " + std::to_string(kinds->size()) + " entries for " +
                                       std::to_string(layers) + " layers");
  std::vector<bool> slides;
  for (uint32_t i = 0; i < layers; ++i) {
    const std::string& kind = (*kinds)[i];
    if (kind != "sliding_attention" && kind != "full_attention")
      config_.unsupported("layer_types", "layers of the kind '" + kind + "' are not supported");
    slides.push_back(kind == "sliding_attention");
  }
  return slides;
}

/// A section of config.json that holds rotary parameters.
class RopeSection {
 public:
  RopeSection(const ModelReader& reader, const Config& config, std::optional<Config> section)
      : reader_(reader), config_(config), section_(std::move(section)) {}

  std::optional<double> find(std::string_view key) const {
    return section_ ? section_->get_float(key) : std::nullopt;
  }
  double positive(std::string_view key, double absent) const {
    const double value = find(key).value_or(absent);
    if (!(value > 0) || !std::isfinite(value)) section_->corrupt(key, "must be a number above 0");
    return value;
  }
  std::string type() const {
    if (!section_) return "default";
    for (const char* key : {"rope_type", "type"})
      if (const auto type = section_->get_string(key)) return *type;
    return "default";
  }
  bool flag(std::string_view key, bool absent) const {
    return section_ ? section_->get_bool(key).value_or(absent) : absent;
  }
  std::vector<double> factors(std::string_view key, uint32_t count) const {
    const auto factors = section_->get_floats(key);
    if (!factors || factors->size() != count)
      section_->corrupt(key, "must be a list of " + std::to_string(count) + " numbers");
    for (const double factor : *factors)
      if (!(factor > 0) || !std::isfinite(factor))
        section_->corrupt(key, "holds a factor that is not above 0");
    return *factors;
  }
  /// Newer files keep some keys in the section, older ones beside it.
  std::optional<double> find_here_or_above(std::string_view key) const {
    const auto value = find(key);
    return value ? value : config_.get_float(key);
  }
  [[noreturn]] void unsupported(const std::string& why) const { reader_.unsupported(why); }

 private:
  const ModelReader& reader_;
  const Config& config_;
  const std::optional<Config> section_;
};

/// cos and sin grow by attention_factor, or by what mscale and mscale_all_dim make of the factor.
double yarn_growth(const RopeSection& section, double factor) {
  if (section.find("attention_factor")) return section.positive("attention_factor", 1);
  const double scale = section.find("mscale").value_or(0);
  const double all_dims = section.find("mscale_all_dim").value_or(0);
  if (scale == 0 || all_dims == 0) return yarn_magnitude(factor);
  return yarn_magnitude(factor, scale) / yarn_magnitude(factor, all_dims);
}

void read_scaling(const RopeSection& section, const std::string& type, uint32_t context,
                  RopeParameters& p) {
  p.factor = section.positive("factor", 1);
  if (type == "linear") {
    p.kind = RopeParameters::Kind::kLinear;
  } else if (type == "llama3") {
    p.kind = RopeParameters::Kind::kLlama3;
    p.low_freq_factor = section.positive("low_freq_factor", 1);
    p.high_freq_factor = section.positive("high_freq_factor", 4);
    if (p.high_freq_factor <= p.low_freq_factor)
      section.unsupported("rope scaling 'llama3' with high_freq_factor not above low_freq_factor");
  } else if (type == "yarn") {
    p.kind = RopeParameters::Kind::kYarn;
    if (!section.find("factor")) p.factor = context / p.original_context;
    p.beta_fast = section.positive("beta_fast", 32);
    p.beta_slow = section.positive("beta_slow", 1);
    p.truncate = section.flag("truncate", true);
    p.magnitude = yarn_growth(section, p.factor);
    p.mscale_all_dim = section.find("mscale_all_dim").value_or(0);
  } else if (type == "longrope") {
    p.kind = RopeParameters::Kind::kLongRope;
    p.short_factors = section.factors("short_factor", p.dims / 2);
    p.long_factors = section.factors("long_factor", p.dims / 2);
    if (!section.find("factor")) p.factor = context / p.original_context;
    p.magnitude = p.long_magnitude =
        section.positive("attention_factor", longrope_magnitude(p.factor, p.original_context));
  } else if (type != "default" && type != "mrope" && type != "dynamic") {
    // "dynamic" changes nothing within max_position_embeddings, and more does not fit the context.
    section.unsupported("rope scaling '" + type + "' is not supported");
  }
}

RopeParameters HfReader::read_rope(const RopeStyle& style, uint32_t head_dim, uint32_t context,
                                   std::string_view layer_kind) const {
  const bool slides = layer_kind == "sliding_attention";
  auto found = config_.get_object("rope_parameters");
  const bool is_nested = found && found->is_object(layer_kind);
  if (is_nested) {
    found = found->get_object(layer_kind);
  } else if (!found && !slides) {
    found = config_.get_object("rope_scaling");
  }
  const RopeSection section(*this, config_, found);

  RopeParameters p;
  p.dims = head_dim;
  if (style.is_partial)
    p.dims = static_cast<uint32_t>(
        head_dim *
        std::clamp(section.find_here_or_above("partial_rotary_factor").value_or(style.hf_part), 0.0,
                   1.0));
  if (p.dims % 2 != 0 || p.dims == 0)
    corrupt("the rotary dimensions of a head are " + std::to_string(p.dims) +
            "; their number must be even");
  p.base = section.find_here_or_above("rope_theta").value_or(style.hf_base);
  if (slides && !is_nested) p.base = config_.get_float("rope_local_base_freq").value_or(p.base);
  if (!(p.base > 1)) corrupt(config_.describe("rope_theta") + " must be above 1");

  // Beside the section it wins: phi3 keeps it there.
  p.original_context = config_.get_float("original_max_position_embeddings")
                           .value_or(section.positive("original_max_position_embeddings", context));
  if (p.original_context < 2 || p.original_context > INT32_MAX)
    corrupt(config_.describe("original_max_position_embeddings") + " is absurd");
  std::string type = slides && !is_nested ? "default" : section.type();
  if (type == "su" || (type == "yarn" && style.su_and_yarn_are_longrope)) type = "longrope";
  read_scaling(section, type, context, p);
  if (p.kind == RopeParameters::Kind::kLongRope && style.never_long) {
    p.long_factors = p.short_factors;
    p.magnitude = section.positive("short_mscale", p.magnitude);
    p.long_magnitude = section.positive("long_mscale", p.long_magnitude);
  }
  return p;
}

}  // namespace

std::unique_ptr<ModelReader> make_reader(const TensorSource& tensors, const Config& config,
                                         const std::string& architecture) {
  return std::make_unique<HfReader>(tensors, config, architecture);
}

}  // namespace spnl::modelkit
