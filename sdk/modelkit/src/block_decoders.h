#pragma once
/// Decoders of one block each, which dequantize_row() puts together by type. Fields are read byte
/// by byte, so any alignment and any host byte order will do.
#include <cstdint>

#include "spnl/modelkit/block_formats.h"

namespace spnl::modelkit::blocks {

using Bytes = const uint8_t*;
using Decoder = void (*)(Bytes block, float* out);

inline uint16_t u16(Bytes p) { return static_cast<uint16_t>(p[0] | (p[1] << 8)); }
inline uint32_t u32(Bytes p) { return u16(p) | (static_cast<uint32_t>(u16(p + 2)) << 16); }
inline float f16(Bytes p) { return half_to_float(u16(p)); }

/// Twice the values of E2M1 (four-bit floats), which are integers; their scales are halved to
/// match.
inline constexpr int8_t kE2M1Doubled[16] = {0, 1,  2,  3,  4,  6,  8,  12,
                                            0, -1, -2, -3, -4, -6, -8, -12};

void decode_iq1_s(Bytes block, float* out);
void decode_iq1_m(Bytes block, float* out);
void decode_iq2_xxs(Bytes block, float* out);
void decode_iq2_xs(Bytes block, float* out);
void decode_iq2_s(Bytes block, float* out);
void decode_iq3_xxs(Bytes block, float* out);
void decode_iq3_s(Bytes block, float* out);
void decode_tq1_0(Bytes block, float* out);
void decode_tq2_0(Bytes block, float* out);
void decode_q1_0(Bytes block, float* out);
void decode_q2_0(Bytes block, float* out);
void decode_nvfp4(Bytes block, float* out);

}  // namespace spnl::modelkit::blocks
