#include "ops/schema.h"

#include <mutex>

#include "ops/reference.h"

namespace spnl::mistralrs {
namespace {

void define(torch::Library& library) {
  library.def("embedding(Tensor table, int type, int cols, Tensor ids, float scale) -> Tensor");
  library.def(
      "norm(Tensor x, Tensor weight, Tensor? bias, bool layer_norm, float eps, float "
      "weight_offset) -> Tensor");
  library.def("linear(Tensor x, Tensor weight, int type, Tensor? bias, Tensor? order) -> Tensor");
  library.def("activate(Tensor gate, Tensor? up, int activation) -> Tensor");
  library.def("scale_and_cap(Tensor x, float scale, float cap) -> Tensor");
  library.def(
      "route(Tensor logits, Tensor? selection_bias, int gating, int used, int groups, int "
      "groups_used, bool group_score_is_top_two, bool renormalise, float scale, float jitter) -> "
      "(Tensor, Tensor)");
  library.def(
      "rope_store(Tensor(a!) key_cache, Tensor(b!)? value_cache, Tensor keys, Tensor? values, "
      "Tensor positions, Tensor slots, Tensor inv_freq, Tensor magnitude, int first_dim, bool "
      "interleaved) -> ()");
  library.def(
      "paged_attention(Tensor queries, Tensor positions, Tensor key_cache, Tensor? value_cache, "
      "int value_dim, Tensor sequences, Tensor runs, Tensor blocks, Tensor inv_freq, Tensor "
      "magnitude, int first_dim, bool interleaved, float scale, float softcap, int window, "
      "Tensor? sinks) -> Tensor");
}

void implement(torch::Library& library) {
  library.impl("embedding", &reference::embedding);
  library.impl("norm", &reference::norm);
  library.impl("linear", &reference::linear);
  library.impl("activate", &reference::activate);
  library.impl("scale_and_cap", &reference::scale_and_cap);
  library.impl("route", &reference::route);
  library.impl("rope_store", &reference::rope_store);
  library.impl("paged_attention", &reference::paged_attention);
}

}  // namespace

void register_torch_ops() {
  static std::once_flag once;
  std::call_once(once, [] {
    auto definitions = std::make_unique<torch::Library>(torch::Library::DEF, "spnl_mistralrs",
                                                        std::nullopt, __FILE__, __LINE__);
    define(*definitions);
    auto implementations = std::make_unique<torch::Library>(
        torch::Library::IMPL, "spnl_mistralrs", c10::DispatchKey::CompositeExplicitAutograd,
        __FILE__, __LINE__);
    implement(*implementations);
    definitions.release();  // never destroyed, see the header
    implementations.release();
  });
}

}  // namespace spnl::mistralrs
