#include <iterator>

#include "../gguf_part.h"
#include "arch.h"
#include "spnl/modelkit/error.h"

namespace spnl::modelkit {
namespace {

struct Architecture {
  std::string_view name;  ///< general.architecture
  ModelSpec (*read)(const ArchReader& reader);
};

constexpr Architecture kArchitectures[] = {
    {"llama", llama_spec},
};

}  // namespace

ModelSpec model_spec_from_gguf(const GgufFile& file) {
  const auto name = file.get_string("general.architecture");
  if (!name)
    throw Error(ErrorCode::kCorrupt,
                file.path().string() + ": the metadata lacks 'general.architecture'");
  std::string known;
  for (const Architecture& architecture : kArchitectures) {
    if (architecture.name == *name) return architecture.read(ArchReader(file, std::string(*name)));
    known += (known.empty() ? "" : ", ") + std::string(architecture.name);
  }
  throw Error(ErrorCode::kUnsupported, file.path().string() + ": the architecture '" +
                                           printable(*name) +
                                           "' is not supported; known: " + known);
}

}  // namespace spnl::modelkit
