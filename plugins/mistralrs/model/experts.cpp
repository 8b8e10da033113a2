#include <algorithm>

#include "model/transformer.h"

namespace spnl::mistralrs {

void Transformer::ExpertRows::resize(int64_t rows, const cpu::RouterParams& router) {
  const auto entries = static_cast<size_t>(rows * router.used);
  for (std::vector<int32_t>* list : {&chosen, &tokens, &places}) list->resize(entries);
  weights.resize(entries);
  first.resize(static_cast<size_t>(router.experts) + 1);
}

/// A counting sort of `chosen`: tokens[place] for each entry's place, expert e's places from
/// first[e] to first[e + 1].
void Transformer::ExpertRows::sort(const cpu::RouterParams& router) {
  std::fill(first.begin(), first.end(), 0);
  for (const int32_t expert : chosen) ++first[static_cast<size_t>(expert) + 1];
  for (size_t e = 1; e < first.size(); ++e) first[e] += first[e - 1];
  for (size_t i = 0; i < chosen.size(); ++i) {
    places[i] = first[static_cast<size_t>(chosen[i])]++;  // first[e] is where the next one goes
    tokens[static_cast<size_t>(places[i])] = static_cast<int32_t>(i) / router.used;
  }
  std::copy_backward(first.begin(), first.end() - 1, first.end());
  first.front() = 0;
}

/// sum of weight_e * expert_e(n) over the experts used, + shared(n)   with E = experts, k = used,
/// f = size of an expert. A token's sum is made in the order of its own choice, whatever else is in
/// the batch.
Rows Transformer::experts(const modelkit::Experts& spec, const LoadedExperts& w, Rows n) {
  const Rows sum = workspace_.branch(n.count);  // [m, h]
  route(w, n);
  run_experts(spec, w, n);
  ops_.combine(workspace_.expert_out(n.count * spec.used), expert_rows_.places,
               expert_rows_.weights, sum);  // [m * k, h] -> [m, h]
  if (w.shared) add_shared(spec, w, n, sum);
  return sum;
}

void Transformer::route(const LoadedExperts& w, Rows n) {
  const Rows logits = workspace_.router(n.count, w.params.experts);  // [m, E]
  linear(n, w.router, logits);                                       // [m, h] -> [m, E]
  expert_rows_.resize(n.count, w.params);
  ops_.route(w.params, logits, expert_rows_.chosen, expert_rows_.weights);  // [m, k] twice
  expert_rows_.sort(w.params);
}

/// Each expert that is used runs once, on all its tokens.
void Transformer::run_experts(const modelkit::Experts& spec, const LoadedExperts& w, Rows n) {
  const int64_t entries = n.count * spec.used, size = spec.experts.front().size;
  const Rows gate = workspace_.expert_gate(entries, size);  // [m * k, f], sorted by expert
  const Rows up = workspace_.expert_up(entries, size);      // [m * k, f]
  const Rows out = workspace_.expert_out(entries);          // [m * k, h]
  const bool gated = static_cast<bool>(w.experts.front().gate);
  const auto part = [](Rows rows, int64_t first, int64_t count) -> Rows {
    return {rows.data + first * rows.width, count, rows.width};
  };
  const auto each_expert = [&](const auto& add_group) {
    outputs_.clear();
    groups_.clear();
    outputs_.reserve(2 * w.experts.size());
    for (size_t e = 0; e < w.experts.size(); ++e) {
      const int64_t first = expert_rows_.first[e], count = expert_rows_.first[e + 1] - first;
      if (count > 0) add_group(w.experts[e], first, count);
    }
    ops_.linear(groups_);
  };
  each_expert([&](const LoadedMlp& expert, int64_t first, int64_t count) {
    const size_t outputs = gated ? 2 : 1;
    if (gated)
      outputs_.push_back(
          {expert.gate.weight.get(), expert.gate.bias.floats(), part(gate, first, count)});
    outputs_.push_back({expert.up.weight.get(), expert.up.bias.floats(), part(up, first, count)});
    groups_.push_back({n, std::span(outputs_).last(outputs),
                       std::span(expert_rows_.tokens)
                           .subspan(static_cast<size_t>(first), static_cast<size_t>(count))});
  });  // [tokens of the expert, h] -> [tokens, f] twice
  const Rows inner = gated ? gate : up;
  ops_.activate(to_activation(spec.experts.front().activation), inner, gated ? up : Rows());
  each_expert([&](const LoadedMlp& expert, int64_t first, int64_t count) {
    outputs_.push_back(
        {expert.down.weight.get(), expert.down.bias.floats(), part(out, first, count)});
    groups_.push_back({part(inner, first, count), std::span(outputs_).last(1)});
  });  // [tokens of the expert, f] -> [tokens, h]
}

void Transformer::add_shared(const modelkit::Experts& spec, const LoadedExperts& w, Rows n,
                             Rows sum) {
  const Rows inner = feed_forward(spec.shared, w.shared, n);  // [m, shared size]
  if (w.shared_gate == nullptr) {
    linear(inner, w.shared.down, sum, /*accumulate=*/true);  // [m, h]
    return;
  }
  const Rows out = workspace_.expert_out(n.count), gate = workspace_.router(n.count, 1);
  linear(inner, w.shared.down, out);  // [m, h]
  const LinearOutput to_gate[] = {{w.shared_gate.get(), nullptr, gate}};
  ops_.linear(n, to_gate);         // [m, 1]
  ops_.add_gated(out, gate, sum);  // [m, h]
}

}  // namespace spnl::mistralrs
