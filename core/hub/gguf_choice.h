#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "spnl/hub.h"

namespace spnl::hub {

bool is_gguf_name(std::string_view name);  ///< ends in ".gguf", any case

/// A GGUF model among files: one file, or the parts of a split one in order.
struct GgufChoice {
  std::vector<ModelFile> files;  ///< empty: none fits
  std::string reason;            ///< then: why, in one line
};

/// Chooses as the language specification's section 10 says: the selector's quant if there is one,
/// else Q4_K_M, Q5_K_M, Q8_0, Q4_K_S, then the smallest other of at least 4 bits a weight. A quant
/// counts when the name ends in it, after '-' or '.', in any case. Split files count as one and
/// only when whole; projectors and importance matrices never count.
GgufChoice choose_gguf(const std::vector<ModelFile>& files, std::string_view selector);

/// The parts of the split file that `file` belongs to, in order; `file` alone when it is not split.
/// Empty, with the missing part in `missing`, when one is not among `siblings`.
std::vector<ModelFile> parts_of(const ModelFile& file, const std::vector<ModelFile>& siblings,
                                std::string& missing);

}  // namespace spnl::hub
