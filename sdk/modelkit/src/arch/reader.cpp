#include "reader.h"

#include <cmath>

#include "spnl/modelkit/error.h"

namespace spnl::modelkit {

void ModelReader::corrupt(const std::string& why) const {
  throw Error(ErrorCode::kCorrupt, path() + ": " + why);
}

void ModelReader::unsupported(const std::string& why) const {
  throw Error(ErrorCode::kUnsupported, path() + ": " + why);
}

std::optional<uint32_t> ModelReader::find_uint(Name key) const {
  const auto value = number(key);
  if (!value) return std::nullopt;
  if (*value > INT32_MAX)
    corrupt("the value of " + describe(key) + " is absurd: " + std::to_string(*value));
  if (observer_ != nullptr) observer_->whole(key, static_cast<uint32_t>(*value));
  return static_cast<uint32_t>(*value);
}

uint32_t ModelReader::uint(Name key) const {
  const auto value = find_uint(key);
  if (!value) corrupt("there is no " + describe(key));
  if (*value == 0) corrupt(describe(key) + " is 0");
  return *value;
}

uint32_t ModelReader::uint_or(Name key, uint32_t absent) const {
  if (has_key(key)) return uint(key);
  if (observer_ != nullptr) observer_->whole(key, absent);
  return absent;
}

uint32_t ModelReader::uint_of_layer(Name key, uint32_t layer,
                                    std::optional<uint32_t> absent) const {
  const auto list = find_list(key);
  if (!list) return absent ? uint_or(key, *absent) : uint(key);
  if (layer >= list->size())
    corrupt(describe(key) + " has only " + std::to_string(list->size()) + " entries");
  const uint64_t value = (*list)[layer];
  if (value == 0 || value > INT32_MAX)
    corrupt(describe(key) + " of layer " + std::to_string(layer) + " is " + std::to_string(value));
  if (observer_ != nullptr) observer_->whole_of_layer(key, layer, static_cast<uint32_t>(value));
  return static_cast<uint32_t>(value);
}

double ModelReader::positive_or(Name key, double absent) const {
  const double value = real(key).value_or(absent);
  if (!std::isfinite(value) || value <= 0) corrupt(describe(key) + " must be a number above 0");
  if (observer_ != nullptr) observer_->real(key, value);
  return value;
}

bool ModelReader::flag_or(Name key, bool absent) const {
  const bool value = flag(key).value_or(absent);
  if (observer_ != nullptr) observer_->flag(key, value);
  return value;
}

std::string ModelReader::text(Name key) const { return string(key).value_or(""); }

std::vector<uint32_t> ModelReader::windows(uint32_t layers, uint32_t period,
                                           uint32_t absent) const {
  const uint32_t window = find_uint(keys::kWindow).value_or(is_null(keys::kWindow) ? 0 : absent);
  std::vector<uint32_t> windows(layers, window);
  if (window == 0) return windows;
  std::vector<bool> slides = sliding_layers(layers);
  if (slides.empty()) {
    // Not told to the observer: in GGUF files the key means a list.
    const uint64_t every = number(keys::kWindowPattern).value_or(period);
    for (uint32_t i = 0; i < layers; ++i) slides.push_back(every == 0 || (i + 1) % every != 0);
  }
  for (uint32_t i = 0; i < layers; ++i)
    if (!slides[i]) windows[i] = 0;
  return windows;
}

RopeParameters ModelReader::rope_parameters(const RopeStyle& style, uint32_t head_dim,
                                            uint32_t context, std::string_view layer_kind) const {
  const RopeParameters parameters = read_rope(style, head_dim, context, layer_kind);
  if (observer_ != nullptr) observer_->rope(style, parameters, layer_kind);
  return parameters;
}

std::string ModelReader::stem(Name name) const {
  std::string stem = name_stem(name);
  if (observer_ != nullptr && !name.gguf.empty()) observer_->stem(stem, std::string(name.gguf));
  return stem;
}

std::string ModelReader::stem(uint32_t layer, Name name) const {
  std::string stem = name_stem(layer, name);
  if (observer_ != nullptr && !name.gguf.empty())
    observer_->stem(stem, "blk." + std::to_string(layer) + "." + std::string(name.gguf));
  return stem;
}

Weight ModelReader::matrix(const std::string& stem, uint64_t in, uint64_t out) const {
  const Weight weight = read_matrix(stem, in, out);
  if (observer_ != nullptr) observer_->tensor(stem + ".weight", weight);
  return weight;
}

Weight ModelReader::tensor(const std::string& name, std::initializer_list<uint64_t> dims) const {
  const Weight weight = read_tensor(name, dims);
  if (observer_ != nullptr) observer_->tensor(name, weight);
  return weight;
}

RopeSpec ModelReader::rope(const RopeStyle& style, uint32_t head_dim, uint32_t context,
                           std::string_view layer_kind) const {
  return make_rope(rope_parameters(style, head_dim, context, layer_kind),
                   is_gguf() ? style.gguf_pairs : style.hf_pairs);
}

Weight ModelReader::optional_tensor(const std::string& name,
                                    std::initializer_list<uint64_t> dims) const {
  return has_tensor(name) ? tensor(name, dims) : Weight();
}

Linear ModelReader::linear(const std::string& stem, uint64_t in, uint64_t out) const {
  return {matrix(stem, in, out), optional_tensor(stem + ".bias", {out})};
}

}  // namespace spnl::modelkit
