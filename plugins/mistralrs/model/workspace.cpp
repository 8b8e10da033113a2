#include "model/workspace.h"

#include <algorithm>

namespace spnl::mistralrs {
namespace {

/// Most elements of a row, over all layers. Experts: of all the rows of a token together.
struct Widths {
  int64_t q = 0, k = 0, v = 0, attended = 0, ffn = 0;
  int64_t q_latent = 0, absorbed = 0, attended_latent = 0;
  int64_t router = 0, expert_ffn = 0, expert_out = 0;

  void add(const modelkit::AttentionSpec& a) {
    const auto grow = [](int64_t& width, uint64_t count, uint64_t size) {
      width = std::max(width, static_cast<int64_t>(count * size));
    };
    grow(q, a.heads, a.head_dim);
    grow(attended, a.heads, a.value_dim);
    if (!a.latent) {
      grow(k, a.kv_heads, a.head_dim);
      grow(v, a.kv_heads, a.value_dim);
      return;
    }
    const uint64_t cached = uint64_t{a.latent.latent_dim} + a.latent.rope_dim;
    grow(k, 1, cached);
    grow(q_latent, 1, a.latent.q_a.weight.rows());
    grow(absorbed, a.heads, cached);
    grow(attended_latent, a.heads, a.latent.latent_dim);
  }

  void add(const modelkit::Experts& e, int64_t hidden) {
    if (!e) return;
    ffn = std::max<int64_t>(ffn, e.shared.size);
    router = std::max(router, static_cast<int64_t>(e.experts.size()));
    for (const modelkit::Mlp& expert : e.experts)
      expert_ffn = std::max(expert_ffn, int64_t{e.used} * expert.size);
    expert_out = std::max(expert_out, e.used * hidden);
  }
};

}  // namespace

Workspace::Workspace(const modelkit::ModelSpec& spec, int64_t max_rows, int64_t max_logit_rows)
    : max_rows_(max_rows),
      max_logit_rows_(max_logit_rows),
      hidden_size_(spec.hidden_size),
      vocab_(spec.vocab_size) {
  Widths w;
  for (const modelkit::LayerSpec& layer : spec.layers) {
    w.add(layer.attention);
    w.add(layer.experts, hidden_size_);
    w.ffn = std::max<int64_t>(w.ffn, layer.mlp.size);
  }
  const struct {
    float** place;
    int64_t width;
  } parts[] = {{&hidden_, hidden_size_},
               {&normed_, hidden_size_},
               {&branch_, hidden_size_},
               {&q_, w.q},
               {&k_, w.k},
               {&v_, w.v},
               {&attended_, w.attended},
               {&gate_, w.ffn},
               {&up_, w.ffn},
               {&q_latent_, w.q_latent},
               {&absorbed_, w.absorbed},
               {&attended_latent_, w.attended_latent},
               {&router_, w.router},
               {&expert_gate_, w.expert_ffn},
               {&expert_up_, w.expert_ffn},
               {&expert_out_, w.expert_out}};
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
