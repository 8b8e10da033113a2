#pragma once
#include <cstdint>

namespace spnl::mistralrs::cpu {

/// The operand of LDTILECFG: Intel SDM volume 2, palette 1 (eight tiles of up to 16 rows of up to
/// 64 bytes).
struct alignas(64) TileConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {};  ///< [tile]; from the ninth on reserved, zero
  uint8_t rows[16] = {};        ///< likewise
};
static_assert(sizeof(TileConfig) == 64);

}  // namespace spnl::mistralrs::cpu
