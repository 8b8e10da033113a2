#include "ops/schema.h"

#include <mutex>

#include "ops/reference.h"

namespace spnl::mistralrs {
namespace {

void define(torch::Library& library) {
  library.def("embedding(Tensor table, int type, int cols, Tensor ids, float scale) -> Tensor");
  library.def("rms_norm(Tensor x, Tensor weight, float eps, float weight_offset) -> Tensor");
  library.def("linear(Tensor x, Tensor weight, int type, Tensor? bias) -> Tensor");
  library.def("gated_activation(Tensor gate, Tensor up, int activation) -> Tensor");
  library.def(
      "rope_store(Tensor(a!) key_cache, Tensor(b!) value_cache, Tensor keys, Tensor values, Tensor "
      "positions, Tensor slots,"
      " Tensor inv_freq, bool interleaved, float magnitude) -> ()");
  library.def(
      "paged_attention(Tensor queries, Tensor positions, Tensor key_cache, Tensor value_cache, "
      "Tensor sequences,"
      " Tensor runs, Tensor blocks, Tensor inv_freq, bool interleaved, float magnitude, float "
      "scale, float softcap,"
      " int window) -> Tensor");
}

void implement(torch::Library& library) {
  library.impl("embedding", &reference::embedding);
  library.impl("rms_norm", &reference::rms_norm);
  library.impl("linear", &reference::linear);
  library.impl("gated_activation", &reference::gated_activation);
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
