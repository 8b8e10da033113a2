#include "spnl/modelkit/quantize_isq.h"

#include <algorithm>
#include <cctype>
#include <string>

#include "gguf_part.h"
#include "spnl/modelkit/error.h"
#include "spnl/modelkit/quantize.h"

namespace spnl::modelkit {
namespace {

using enum TensorType;

struct IsqName {
  std::string_view name;  ///< of mistral.rs
  std::string_view bits;  ///< that stand for it; may be empty
  TensorType type;
};
constexpr IsqName kNames[] = {{"Q4_0", "", kQ4_0}, {"Q4_1", "", kQ4_1},  {"Q5_0", "", kQ5_0},
                              {"Q5_1", "", kQ5_1}, {"Q8_0", "8", kQ8_0}, {"Q2K", "2", kQ2_K},
                              {"Q3K", "3", kQ3_K}, {"Q4K", "4", kQ4_K},  {"Q5K", "5", kQ5_K},
                              {"Q6K", "6", kQ6_K}, {"MXFP4", "", kMXFP4}};
/// Types of mistral.rs that need other kernels.
constexpr std::string_view kOthers[] = {"Q8_1", "Q8K",  "HQQ4", "HQQ8", "AFQ2",   "AFQ3",
                                        "AFQ4", "AFQ6", "AFQ8", "FP8",  "F8E4M3", "F8Q8"};

/// Upper case, and GGUF's "Q4_K" as "Q4K".
std::string normal_form(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  if (out.size() == 4 && out.ends_with("_K")) out.erase(2, 1);
  return out;
}

class Quantizer {
 public:
  explicit Quantizer(TensorType type) : type_(type) {}

  void operator()(Weight& weight, TensorType type) {
    const bool is_float = weight.type() == kF32 || weight.type() == kF16 || weight.type() == kBF16;
    if (!weight || !is_float) return;
    const TensorType fitting = type_for_rows(type, weight.columns());
    if (fitting == kF16) return;  // no blocks fit: no gain
    weight = quantized(weight, fitting);
    ++count_;
  }
  void operator()(Weight& weight) { (*this)(weight, type_); }

  void operator()(Mlp& mlp) {
    for (Linear* linear : {&mlp.gate, &mlp.up, &mlp.down}) (*this)(linear->weight);
  }
  void operator()(AttentionSpec& attention) {
    for (Linear* linear : {&attention.q, &attention.k, &attention.v, &attention.o,
                           &attention.latent.q_a, &attention.latent.kv_a})
      (*this)(linear->weight);
    for (Weight& weight : attention.latent.k_b) (*this)(weight);
    for (Weight& weight : attention.latent.v_b) (*this)(weight);
  }

  uint64_t count() const { return count_; }

 private:
  const TensorType type_;
  uint64_t count_ = 0;
};

}  // namespace

TensorType parse_isq(std::string_view name) {
  const std::string wanted = normal_form(name);
  std::string known;
  for (const IsqName& isq : kNames) {
    if (wanted == isq.name || (!isq.bits.empty() && wanted == isq.bits)) return isq.type;
    known += (known.empty() ? "" : ", ") + std::string(isq.name);
  }
  const bool other = std::find(std::begin(kOthers), std::end(kOthers), wanted) != std::end(kOthers);
  throw Error(other ? ErrorCode::kUnsupported : ErrorCode::kInvalid,
              "MISTRALRS_ISQ=" + printable(name) +
                  (other ? " is a type that this build cannot make; use one of "
                         : " is not understood; use one of ") +
                  known);
}

uint64_t quantize_linears(ModelSpec& spec, TensorType type) {
  Quantizer quantize(type);
  for (LayerSpec& layer : spec.layers) {
    quantize(layer.attention);
    quantize(layer.mlp);
    for (Mlp& expert : layer.experts.experts) quantize(expert);
    quantize(layer.experts.shared);
  }
  // Errors of the output reach the tokens' probabilities undiluted: it gets more bits, as in the K
  // mixes.
  quantize(spec.output.weight, type == kQ8_0 ? kQ8_0 : kQ6_K);
  return quantize.count();
}

}  // namespace spnl::modelkit
