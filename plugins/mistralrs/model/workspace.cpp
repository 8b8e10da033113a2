#include "model/workspace.h"

#include <algorithm>

namespace spnl::mistralrs {

Workspace::Workspace(const modelkit::ModelSpec& spec, int64_t max_rows, int64_t max_logit_rows)
    : max_rows_(max_rows),
      max_logit_rows_(max_logit_rows),
      hidden_size_(spec.hidden_size),
      vocab_(spec.vocab_size) {
  int64_t q_width = 0, kv_width = 0, ffn = 0;
  for (const modelkit::LayerSpec& layer : spec.layers) {
    q_width = std::max<int64_t>(q_width, int64_t{layer.attention.heads} * layer.attention.head_dim);
    kv_width =
        std::max<int64_t>(kv_width, int64_t{layer.attention.kv_heads} * layer.attention.head_dim);
    ffn = std::max<int64_t>(ffn, layer.mlp.size);
  }
  const struct {
    float** place;
    int64_t width;
  } parts[] = {{&hidden_, hidden_size_},
               {&normed_, hidden_size_},
               {&branch_, hidden_size_},
               {&q_, q_width},
               {&k_, kv_width},
               {&v_, kv_width},
               {&attended_, q_width},
               {&gate_, ffn},
               {&up_, ffn}};
  const auto padded = [&](int64_t width) {
    return (max_rows * width + 15) / 16 * 16;
  };  // 64-byte aligned parts
  int64_t floats = 0;
  for (const auto& part : parts) floats += padded(part.width);
  memory_ = allocate(static_cast<uint64_t>(floats) * sizeof(float), "activations");
  logits_ = allocate(static_cast<uint64_t>(max_logit_rows * vocab_) * sizeof(float), "logits");
  float* next = memory_.floats();
  for (const auto& part : parts) {
    *part.place = next;
    next += padded(part.width);
  }
}

}  // namespace spnl::mistralrs
