#pragma once
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>

#include "spnl/modelkit/config.h"
#include "spnl/modelkit/weight.h"

namespace spnl::modelkit {

/// Finds the matrices of a Hugging Face folder by the names of its modules, whatever packs them:
/// plain tensors, GPTQ, AWQ, compressed-tensors, FP8 with scales, bitsandbytes. The tensors that
/// are there decide; config.json's quantization_config (or quantize_config.json beside it) tells
/// what they do not. `tensors` must outlive the weights. Thread-safe.
class WeightFinder {
 public:
  /// `config`: the whole of config.json, not a nested text_config. Throws Error(kUnsupported) for a
  /// way of quantisation that this build cannot read.
  WeightFinder(const TensorSource& tensors, const Config& config);
  ~WeightFinder();

  const TensorSource& tensors() const { return tensors_; }

  bool has(std::string_view name) const;           ///< a tensor of exactly this name
  bool has_linear(const std::string& stem) const;  ///< linear(stem, ...) would find something

  /// The matrix of module `stem` ("model.layers.0.self_attn.q_proj"): [out][in], in float or in
  /// blocks, perhaps with an input_order. Throws Error: kNotFound when it is missing, kCorrupt when
  /// its shape is another (both naming file and tensor), kUnsupported for a packing that this build
  /// cannot read.
  Weight linear(const std::string& stem, uint64_t in, uint64_t out) const;

  /// A plain tensor with exactly these dimensions, innermost first, in a type that can be decoded;
  /// a tensor of [experts][out][in] has experts * out rows. Throws as linear does.
  Weight tensor(const std::string& name, std::initializer_list<uint64_t> dims) const;
  Weight optional_tensor(const std::string& name,
                         std::initializer_list<uint64_t> dims) const;  ///< or none

 private:
  struct Settings;
  const TensorSource& tensors_;
  std::shared_ptr<const Settings> settings_;
};

}  // namespace spnl::modelkit
