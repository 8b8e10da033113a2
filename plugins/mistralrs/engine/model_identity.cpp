#include "engine/model_identity.h"

#include <gnu/libc-version.h>
#include <link.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <span>
#include <string>

#include "spnl/modelkit/gguf.h"

namespace spnl::mistralrs {
namespace {

/// Of each tensor, at its begin, middle and end.
constexpr size_t kSample = 4096;

std::string text_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// What a file says of its model besides the weights.
void add_metadata(ChainHasher& hasher, const modelkit::TensorSource& tensors) {
  if (const auto* gguf = dynamic_cast<const modelkit::GgufFile*>(&tensors)) {
    for (const modelkit::GgufFile::RawValue& value : gguf->raw_values())
      hasher.add(value.key).add(uint64_t{value.bytes.size()}).add(value.bytes);
    return;
  }
  for (const char* name : {"config.json", "tokenizer.json"})
    hasher.add(text_of(tensors.path() / name));
}

void add_tensor(ChainHasher& hasher, const modelkit::Tensor& tensor) {
  hasher.add(tensor.name).add(static_cast<uint64_t>(tensor.type)).add(tensor.bytes);
  for (const uint64_t dim : tensor.dims) hasher.add(dim);
  const std::span bytes(tensor.data, tensor.bytes);
  const size_t count = std::min<size_t>(kSample, bytes.size());
  for (const size_t begin : {size_t{0}, (bytes.size() - count) / 2, bytes.size() - count})
    hasher.add(bytes.subspan(begin, count));
}

/// The segments of this library that nobody writes to: its code and constants. Sums may come out
/// otherwise after any change of those, and nobody needs to remember to say so.
void add_own_code(ChainHasher& hasher) {
  struct Search {
    ChainHasher& hasher;
    uintptr_t inside;
  } search{hasher, reinterpret_cast<uintptr_t>(&add_own_code)};
  const auto visit = [](dl_phdr_info* library, size_t, void* data) {
    Search& s = *static_cast<Search*>(data);
    const std::span segments(library->dlpi_phdr, library->dlpi_phnum);
    const auto holds = [&](const ElfW(Phdr) & segment) {
      return segment.p_type == PT_LOAD && s.inside - library->dlpi_addr - segment.p_vaddr <
                                              static_cast<uintptr_t>(segment.p_memsz);
    };
    if (std::none_of(segments.begin(), segments.end(), holds)) return 0;
    for (const ElfW(Phdr) & segment : segments)
      if (segment.p_type == PT_LOAD && (segment.p_flags & PF_W) == 0 &&
          (segment.p_flags & PF_R) != 0)
        s.hasher.add(
            std::span(reinterpret_cast<const std::byte*>(library->dlpi_addr + segment.p_vaddr),
                      segment.p_filesz));
    return 1;
  };
  dl_iterate_phdr(visit, &search);
}

}  // namespace

void add_model(ChainHasher& hasher, const modelkit::ModelBundle& bundle, const Settings& settings,
               cpu::KvType kv_type, std::string_view kernels) {
  add_metadata(hasher, *bundle.tensors);
  for (const modelkit::Tensor& tensor : bundle.tensors->tensors()) add_tensor(hasher, tensor);
  hasher.add(settings.isq ? 1 + static_cast<uint64_t>(*settings.isq) : uint64_t{0});
  hasher.add(static_cast<uint64_t>(kv_type)).add(kernels);
  hasher.add(std::string_view(gnu_get_libc_version()));
  add_own_code(hasher);
}

}  // namespace spnl::mistralrs
