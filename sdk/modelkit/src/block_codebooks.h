#pragma once
#include <cstdint>

/// Codebooks of the IQ block formats: which groups of values their indices stand for. Numbers as
/// the formats define them (ggml's published tables); each entry is packed into 16 bits, value j in
/// bits [w * j, w * j + w).
namespace spnl::modelkit {
/// IQ2_XXS: 8 values of 2 bits, which stand for 8, 25, 43.
extern const uint16_t kGrid2Xxs[256];
/// IQ2_XS: 8 values of 2 bits, which stand for 8, 25, 43.
extern const uint16_t kGrid2Xs[512];
/// IQ2_S: 8 values of 2 bits, which stand for 8, 25, 43.
extern const uint16_t kGrid2S[1024];
/// IQ1_S and IQ1_M: 8 values of 2 bits, which stand for -1, 0, 1.
extern const uint16_t kGrid1[2048];
/// IQ3_XXS: 4 values of 3 bits, which stand for 4, 12, 20, 28, 36, 44, 52, 62.
extern const uint16_t kGrid3Xxs[256];
/// IQ3_S: 4 values of 3 bits, which stand for 1, 3, 5, 7, 9, 11, 13, 15.
extern const uint16_t kGrid3S[512];

}  // namespace spnl::modelkit
