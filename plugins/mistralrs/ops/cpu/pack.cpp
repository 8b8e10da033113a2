#include <algorithm>
#include <atomic>
#include <cstring>
#include <limits>
#include <string>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "ops/cpu/packed_matrix_impl.h"
#include "spnl/modelkit/error.h"

namespace spnl::mistralrs::cpu {

using modelkit::TensorType;

namespace {

struct Format {
  Storage storage;
  int block_elements, block_bytes;
};

bool find_format(TensorType type, Format& format) {
  switch (type) {
    case TensorType::kF32:
      format = {Storage::kF32, 1, 4};
      return true;
    case TensorType::kF16:
      format = {Storage::kF16, 1, 2};
      return true;
    case TensorType::kBF16:
      format = {Storage::kBF16, 1, 2};
      return true;
    case TensorType::kQ4_0:
      format = {Storage::kQ4Sym, 32, 18};
      return true;
    case TensorType::kQ4_1:
      format = {Storage::kQ4Asym, 32, 20};
      return true;
    case TensorType::kQ5_0:
      format = {Storage::kQ5Sym, 32, 22};
      return true;
    case TensorType::kQ5_1:
      format = {Storage::kQ5Asym, 32, 24};
      return true;
    case TensorType::kQ8_0:
      format = {Storage::kQ8, 32, 34};
      return true;
    case TensorType::kQ4_K:
      format = {Storage::kQ4K, 256, 144};
      return true;
    case TensorType::kQ5_K:
      format = {Storage::kQ5K, 256, 176};
      return true;
    case TensorType::kQ6_K:
      format = {Storage::kQ6K, 256, 210};
      return true;
    default:
      return false;
  }
}

/// 32 columns of one row, as read from a block.
struct Group {
  uint8_t q[kGroup];
  uint8_t scale[4];  ///< the bytes of the group's scales: f16 d (and m), or one u8/i8 each
};

void unpack_nibbles(const uint8_t* qs, uint8_t* q) {
  for (int i = 0; i < 16; ++i) {
    q[i] = qs[i] & 15;
    q[i + 16] = qs[i] >> 4;
  }
}

void add_fifth_bits(const uint8_t* qh, uint8_t* q) {
  uint32_t bits;
  std::memcpy(&bits, qh, 4);
  for (int i = 0; i < kGroup; ++i) q[i] = static_cast<uint8_t>(q[i] | (((bits >> i) & 1) << 4));
}

/// The 6-bit scale and min of group j of a Q4_K or Q5_K block.
void unpack_k_scale(const uint8_t* s, int j, uint8_t* out) {
  if (j < 4) {
    out[0] = s[j] & 63;
    out[1] = s[j + 4] & 63;
  } else {
    out[0] = static_cast<uint8_t>((s[j + 4] & 15) | ((s[j - 4] >> 6) << 4));
    out[1] = static_cast<uint8_t>((s[j + 4] >> 4) | ((s[j] >> 6) << 4));
  }
}

void unpack_q6k(const uint8_t* block, int j, Group& group) {
  const int half = j / 4, quarter = j % 4;
  const uint8_t* low = block + 64 * half + 32 * (quarter & 1);
  const uint8_t* high = block + 128 + 32 * half;
  for (int i = 0; i < kGroup; ++i) {
    const int nibble = quarter < 2 ? low[i] & 15 : low[i] >> 4;
    group.q[i] = static_cast<uint8_t>(nibble | (((high[i] >> (2 * quarter)) & 3) << 4));
  }
  std::memcpy(group.scale, block + 192 + 2 * j, 2);
}

/// Group j of a block.
void unpack_group(TensorType type, const uint8_t* block, int j, Group& group) {
  switch (type) {
    case TensorType::kQ4_0:
      std::memcpy(group.scale, block, 2);
      unpack_nibbles(block + 2, group.q);
      break;
    case TensorType::kQ4_1:
      std::memcpy(group.scale, block, 4);
      unpack_nibbles(block + 4, group.q);
      break;
    case TensorType::kQ5_0:
      std::memcpy(group.scale, block, 2);
      unpack_nibbles(block + 6, group.q);
      add_fifth_bits(block + 2, group.q);
      break;
    case TensorType::kQ5_1:
      std::memcpy(group.scale, block, 4);
      unpack_nibbles(block + 8, group.q);
      add_fifth_bits(block + 4, group.q);
      break;
    case TensorType::kQ8_0:
      std::memcpy(group.scale, block, 2);
      for (int i = 0; i < kGroup; ++i) group.q[i] = block[2 + i] ^ 0x80;  // + 128
      break;
    case TensorType::kQ4_K:
    case TensorType::kQ5_K: {
      unpack_k_scale(block + 4, j, group.scale);
      const bool five = type == TensorType::kQ5_K;
      const uint8_t* qs = block + (five ? 48 : 16) + 32 * (j / 2);
      for (int i = 0; i < kGroup; ++i) group.q[i] = j % 2 ? qs[i] >> 4 : qs[i] & 15;
      if (five) {
        for (int i = 0; i < kGroup; ++i) {
          group.q[i] = static_cast<uint8_t>(group.q[i] | (((block[16 + i] >> j) & 1) << 4));
        }
      }
      break;
    }
    default:
      unpack_q6k(block, j, group);
  }
}

/// Writes the group as lane `lane` of a packed group.
void write_group(Storage s, const Group& group, int lanes, int lane, uint8_t* out) {
  const int one_scale = is_k(s) ? 1 : 2;
  const int scales = scale_bytes(s, lanes) / (one_scale * lanes);
  for (int i = 0; i < scales; ++i) {
    std::memcpy(out + one_scale * (i * lanes + lane), group.scale + one_scale * i,
                static_cast<size_t>(one_scale));
  }
  uint8_t* low = out + scale_bytes(s, lanes) + 4 * lane;
  const int bits = quant_bits(s);
  if (bits == 8) {
    for (int j = 0; j < 8; ++j) std::memcpy(low + 4 * lanes * j, group.q + 4 * j, 4);
    return;
  }
  uint8_t pairs[16];
  for (int i = 0; i < 16; ++i) {
    pairs[i] = static_cast<uint8_t>((group.q[i] & 15) | ((group.q[i + 16] & 15) << 4));
  }
  for (int j = 0; j < 4; ++j) std::memcpy(low + 4 * lanes * j, pairs + 4 * j, 4);
  uint8_t* high = low + low_bytes(s, lanes);
  if (bits == 5) {
    for (int b = 0; b < 4; ++b) {
      int byte = 0;
      for (int step = 0; step < 8; ++step) byte |= (group.q[4 * step + b] >> 4) << step;
      high[b] = static_cast<uint8_t>(byte);
    }
  } else if (bits == 6) {
    for (int p = 0; p < 2; ++p) {
      for (int b = 0; b < 4; ++b) {
        int byte = 0;
        for (int f = 0; f < 4; ++f) byte |= (group.q[16 * p + 4 * f + b] >> 4) << (2 * f);
        high[4 * lanes * p + b] = static_cast<uint8_t>(byte);
      }
    }
  }
}

/// Block `block` of one row becomes lane `lane` of a unit.
void pack_unit(TensorType type, Storage s, const uint8_t* block, int lanes, int lane,
               uint8_t* unit) {
  if (is_k(s)) {
    const uint8_t* d = s == Storage::kQ6K ? block + 208 : block;
    std::memcpy(unit + 2 * lane, d, 2);
    if (s != Storage::kQ6K) std::memcpy(unit + 2 * (lanes + lane), d + 2, 2);
  }
  uint8_t* out = unit + header_bytes(s, lanes);
  for (int j = 0; j < unit_columns(s) / kGroup; ++j) {
    Group group;
    unpack_group(type, block, j, group);
    write_group(s, group, lanes, lane, out + j * group_bytes(s, lanes));
  }
}

void pack_panel(const PackedMatrix::Impl& m, const uint8_t* data, uint64_t row_bytes,
                uint64_t block_bytes, int64_t panel) {
  const int lanes = static_cast<int>(m.lanes);
  uint8_t* out = m.data.get() + panel * m.panel_bytes;
  const int64_t first = panel * lanes;
  const int rows = static_cast<int>(std::min<int64_t>(lanes, m.rows - first));
  if (rows < lanes) std::memset(out, 0, static_cast<size_t>(m.panel_bytes));
  const int bytes = unit_bytes(m.storage, lanes);
  for (int lane = 0; lane < rows; ++lane) {
    const uint8_t* row = data + static_cast<uint64_t>(first + lane) * row_bytes;
    for (int64_t u = 0; u < m.units; ++u) {
      const uint8_t* block = row + static_cast<uint64_t>(u) * block_bytes;
      if (is_float(m.storage)) {
        std::memcpy(out + u * bytes + lane * static_cast<int>(block_bytes), block, block_bytes);
      } else {
        pack_unit(m.type, m.storage, block, lanes, lane, out + u * bytes);
      }
    }
  }
}

}  // namespace

AlignedBytes allocate_aligned(uint64_t bytes) {
  constexpr uint64_t kHuge = uint64_t{2} << 20;
  const uint64_t alignment = bytes >= 2 * kHuge ? kHuge : 64;
  const uint64_t size = (bytes + alignment - 1) / alignment * alignment;
  void* p =
      size < bytes ? nullptr : std::aligned_alloc(alignment, std::max<uint64_t>(size, alignment));
  if (p == nullptr) {
    throw modelkit::Error(modelkit::ErrorCode::kNoMemory,
                          "cannot allocate " + std::to_string(bytes) + " bytes for a matrix");
  }
#if defined(__linux__)
  if (alignment == kHuge)
    (void)madvise(p, size, MADV_HUGEPAGE);  // a wish: TLB misses cost bandwidth
#endif
  return AlignedBytes(static_cast<uint8_t*>(p));
}

bool PackedMatrix::can_pack(TensorType type) {
  Format format;
  return find_format(type, format);
}

PackedMatrix PackedMatrix::pack(ThreadTeam& team, Isa isa, TensorType type, const void* data,
                                int64_t rows, int64_t cols) {
  Format format;
  if (!find_format(type, format)) {
    throw modelkit::Error(
        modelkit::ErrorCode::kUnsupported,
        "no CPU kernel for tensor type " + std::to_string(static_cast<uint32_t>(type)));
  }
  constexpr int64_t kMaxElements = std::numeric_limits<int64_t>::max() / 64;
  if (rows <= 0 || cols <= 0 || cols % format.block_elements != 0 || rows > kMaxElements / cols) {
    throw modelkit::Error(
        modelkit::ErrorCode::kInvalid,
        "cannot pack a matrix of " + std::to_string(rows) + " x " + std::to_string(cols));
  }
  PackedMatrix result;
  Impl& m = *result.impl_;
  m.isa = isa;
  m.type = type;
  m.storage = format.storage;
  m.rows = rows;
  m.cols = cols;
  m.lanes = kernels(isa).lanes;
  m.panels = (rows + m.lanes - 1) / m.lanes;
  m.units = cols / unit_columns(m.storage);
  m.panel_bytes = m.units * unit_bytes(m.storage, static_cast<int>(m.lanes));
  m.bytes = static_cast<uint64_t>(m.panels) * static_cast<uint64_t>(m.panel_bytes);
  m.data = allocate_aligned(m.bytes);

  const auto block_bytes = static_cast<uint64_t>(format.block_bytes);
  const uint64_t row_bytes = static_cast<uint64_t>(cols / format.block_elements) * block_bytes;
  std::atomic<int64_t> next{0};
  team.run([&](int) {
    for (int64_t panel; (panel = next.fetch_add(1, std::memory_order_relaxed)) < m.panels;) {
      pack_panel(m, static_cast<const uint8_t*>(data), row_bytes, block_bytes, panel);
    }
  });
  return result;
}

PackedMatrix::PackedMatrix() : impl_(std::make_unique<Impl>()) {}
PackedMatrix::~PackedMatrix() = default;
PackedMatrix::PackedMatrix(PackedMatrix&&) noexcept = default;
PackedMatrix& PackedMatrix::operator=(PackedMatrix&&) noexcept = default;

int64_t PackedMatrix::rows() const noexcept { return impl_->rows; }
int64_t PackedMatrix::cols() const noexcept { return impl_->cols; }
TensorType PackedMatrix::type() const noexcept { return impl_->type; }
uint64_t PackedMatrix::bytes() const noexcept { return impl_->bytes; }

}  // namespace spnl::mistralrs::cpu
