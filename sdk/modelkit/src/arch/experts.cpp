// Mixtures of experts: one tensor for all experts of a layer, or one for each.
#include "decoder.h"

namespace spnl::modelkit {
namespace {

constexpr uint32_t kMaxExperts = 4096;  // of a layer; the largest models have a few hundred

std::string numbered(std::string_view name, uint32_t expert) {
  const size_t at = name.find("{}");
  return std::string(name.substr(0, at)) + std::to_string(expert) +
         std::string(name.substr(at + 2));
}

/// The same name with the number filled in. GGUF files of 2023 have "ffn_gate.0" instead of a row
/// of "ffn_gate_exps".
std::string stem_of_expert(const ModelReader& in, uint32_t layer, Name name, uint32_t expert) {
  if (!in.is_gguf()) return in.stem(layer, {{}, numbered(name.hf, expert)});
  const std::string_view base = name.gguf.substr(0, name.gguf.find("_exps"));
  return in.stem(layer, {std::string(base) + "." + std::to_string(expert), {}});
}

/// The name of the tensor that holds the matrices of all experts; empty when there is none.
std::string stacked_tensor(const ModelReader& in, uint32_t layer, Name name) {
  if (name.empty() || (!in.is_gguf() && name.hf.find("{}") != std::string_view::npos)) return "";
  const std::string stem = in.stem(layer, name);
  for (const std::string& tensor : {stem + ".weight", stem})
    if (in.has_tensor(tensor)) return tensor;
  return "";
}

/// One matrix for each expert.
std::vector<Linear> read_matrices(const ModelReader& in, uint32_t layer, Name name, uint32_t count,
                                  uint64_t columns, uint64_t rows) {
  std::vector<Linear> matrices;
  const std::string stacked = stacked_tensor(in, layer, name);
  if (stacked.empty()) {
    for (uint32_t e = 0; e < count; ++e)
      matrices.push_back(in.linear(stem_of_expert(in, layer, name, e), columns, rows));
    return matrices;
  }
  const Weight all = in.tensor(stacked, {columns, rows, count});
  const Weight bias = in.optional_tensor(in.stem(layer, name) + ".bias", {rows, count});
  for (uint32_t e = 0; e < count; ++e)
    matrices.push_back({all.rows_of(e * rows, rows), bias ? bias.rows_of(e, 1) : Weight()});
  return matrices;
}

std::vector<Mlp> read_mlps(const ModelReader& in, const ExpertStyle& style, uint32_t layer,
                           uint64_t hidden) {
  std::vector<Mlp> experts(style.count);
  const ExpertNames& names = style.names;
  if (!stacked_tensor(in, layer, names.gate_up).empty()) {
    const auto both =
        read_matrices(in, layer, names.gate_up, style.count, hidden, uint64_t{2} * style.size);
    for (uint32_t e = 0; e < style.count; ++e) {
      experts[e].gate = rows_of(both[e], 0, style.size);
      experts[e].up = rows_of(both[e], style.size, style.size);
    }
  } else {
    const auto gates = read_matrices(in, layer, names.gate, style.count, hidden, style.size);
    const auto ups = read_matrices(in, layer, names.up, style.count, hidden, style.size);
    for (uint32_t e = 0; e < style.count; ++e) {
      experts[e].gate = gates[e];
      experts[e].up = ups[e];
    }
  }
  const auto downs = read_matrices(in, layer, names.down, style.count, style.size, hidden);
  for (uint32_t e = 0; e < style.count; ++e) experts[e].down = downs[e];
  return experts;
}

Mlp read_shared(const ModelReader& in, const ExpertStyle& style, uint32_t layer, uint64_t hidden) {
  Mlp shared;
  shared.size = style.shared_size;
  const std::string both = in.stem(layer, style.names.shared_gate_up);
  const std::string gate = in.stem(layer, style.names.shared_gate_proj);
  if (!style.names.shared_gate_up.empty() && !in.has_linear(gate)) {
    const Linear fused = in.linear(both, hidden, uint64_t{2} * shared.size);
    shared.gate = rows_of(fused, 0, shared.size);
    shared.up = rows_of(fused, shared.size, shared.size);
  } else {
    shared.gate = in.linear(gate, hidden, shared.size);
    shared.up = in.linear(in.stem(layer, style.names.shared_up), hidden, shared.size);
  }
  shared.down = in.linear(in.stem(layer, style.names.shared_down), shared.size, hidden);
  return shared;
}

void check(const ModelReader& in, const Experts& experts, uint32_t count) {
  const auto wrong = [&](const std::string& what) {
    in.corrupt(what + " cannot be chosen from " + std::to_string(count) + " experts");
  };
  if (experts.used > count) wrong(std::to_string(experts.used) + " experts");
  if (experts.groups == 0) return;
  if (count % experts.groups != 0 || experts.groups_used == 0 ||
      experts.groups_used > experts.groups ||
      experts.used > count / experts.groups * experts.groups_used)
    wrong(std::to_string(experts.groups_used) + " of " + std::to_string(experts.groups) +
          " groups");
}

}  // namespace

Experts read_experts(const ModelReader& in, const Style& style, uint32_t layer, uint64_t hidden) {
  const ExpertStyle& own = *style.experts;
  if (own.count > kMaxExperts)
    in.corrupt("there are " + std::to_string(own.count) + " experts; at most " +
               std::to_string(kMaxExperts) + " make sense");
  Experts experts = own.rule;
  experts.used = in.uint_of_layer(keys::kExpertsUsed, layer, std::nullopt);
  check(in, experts, own.count);
  experts.router = in.linear(in.stem(layer, own.names.router), hidden, own.count);
  const std::string bias = in.stem(layer, own.names.selection_bias);
  experts.selection_bias =
      in.optional_tensor(in.has_tensor(bias) ? bias : bias + ".bias", {own.count});
  experts.experts = own.read_matrices != nullptr ? own.read_matrices(in, own, layer, hidden)
                                                 : read_mlps(in, own, layer, hidden);
  for (Mlp& expert : experts.experts) {
    expert.size = own.size;
    expert.activation = style.activation;
  }
  if (own.shared_size != 0) {
    experts.shared = read_shared(in, own, layer, hidden);
    experts.shared.activation = style.activation;
    if (!own.names.shared_weight.empty())
      experts.shared_gate =
          in.tensor(in.stem(layer, own.names.shared_weight) + ".weight", {hidden, 1});
  }
  return experts;
}

}  // namespace spnl::modelkit
