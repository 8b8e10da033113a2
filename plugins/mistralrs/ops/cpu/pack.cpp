#include <algorithm>
#include <atomic>
#include <cstring>
#include <exception>
#include <limits>
#include <mutex>
#include <string>
#include <vector>

#include "ops/cpu/block_groups.h"
#include "ops/cpu/packed_matrix_impl.h"
#include "spnl/modelkit/error.h"

namespace spnl::mistralrs::cpu {

using modelkit::TensorType;

namespace {

/// Two bits of 32 quants as fields of two vectors: byte p * stride + b.
void write_two_bits(const uint8_t* q, int shift, int stride, uint8_t* out) {
  for (int p = 0; p < 2; ++p) {
    for (int b = 0; b < 4; ++b) {
      int byte = 0;
      for (int f = 0; f < 4; ++f) byte |= ((q[16 * p + 4 * f + b] >> shift) & 3) << (2 * f);
      out[stride * p + b] = static_cast<uint8_t>(byte);
    }
  }
}

/// Bit `shift` of 32 quants as the bits of four bytes.
void write_one_bit(const uint8_t* q, int shift, uint8_t* out) {
  for (int b = 0; b < 4; ++b) {
    int byte = 0;
    for (int step = 0; step < 8; ++step) byte |= ((q[4 * step + b] >> shift) & 1) << step;
    out[b] = static_cast<uint8_t>(byte);
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
  uint8_t* high = low + low_bytes(s, lanes);
  const int bits = quant_bits(s), vector = 4 * lanes;
  if (bits == 8) {
    for (int j = 0; j < 8; ++j) std::memcpy(low + vector * j, group.q + 4 * j, 4);
    return;
  }
  if (bits < 4) {
    write_two_bits(group.q, 0, vector, low);
    if (bits == 3) write_one_bit(group.q, 2, high);
    return;
  }
  uint8_t pairs[16];
  for (int i = 0; i < 16; ++i) {
    pairs[i] = static_cast<uint8_t>((group.q[i] & 15) | ((group.q[i + 16] & 15) << 4));
  }
  for (int j = 0; j < 4; ++j) std::memcpy(low + vector * j, pairs + 4 * j, 4);
  if (bits == 5) write_one_bit(group.q, 4, high);
  if (bits == 6) write_two_bits(group.q, 4, vector, high);
}

/// Block `block` of one row becomes lane `lane` of a unit.
void pack_unit(TensorType type, Storage s, const uint8_t* block, int lanes, int lane,
               uint8_t* unit) {
  const uint8_t* d = block + header_offset(type);
  if (is_k(s)) std::memcpy(unit + 2 * lane, d, 2);
  if (has_k_min(s)) std::memcpy(unit + 2 * (lanes + lane), d + 2, 2);
  uint8_t* out = unit + header_bytes(s, lanes);
  for (int j = 0; j < unit_columns(s) / kGroup; ++j) {
    Group group;
    unpack_group(type, block, j, group);
    write_group(s, group, lanes, lane, out + j * group_bytes(s, lanes));
  }
}

/// Rows first.. of a panel, `data`, become panel `panel`.
void pack_panel(const PackedMatrix::Impl& m, const BlockFormat& format, const uint8_t* data,
                uint64_t row_bytes, int64_t panel) {
  const int lanes = static_cast<int>(m.lanes);
  const auto block_bytes = static_cast<uint64_t>(format.block_bytes);
  uint8_t* out = m.data.get() + panel * m.panel_bytes;
  const int rows = static_cast<int>(std::min<int64_t>(lanes, m.rows - panel * lanes));
  if (rows < lanes) std::memset(out, 0, static_cast<size_t>(m.panel_bytes));
  const int bytes = unit_bytes(m.storage, lanes);
  for (int lane = 0; lane < rows; ++lane) {
    const uint8_t* row = data + static_cast<uint64_t>(lane) * row_bytes;
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

/// work(item, buffer of the thread) for all items on the team; what one throws is thrown here.
template <class Do>
void for_each_item(ThreadTeam& team, int64_t items, const Do& work) {
  std::atomic<int64_t> next{0};
  std::mutex mutex;
  std::exception_ptr error;
  team.run([&](int) {
    std::vector<std::byte> buffer;
    try {
      for (int64_t item; (item = next.fetch_add(1, std::memory_order_relaxed)) < items;)
        work(item, buffer);
    } catch (...) {
      const std::lock_guard lock(mutex);
      error = std::current_exception();
      next.store(items, std::memory_order_relaxed);
    }
  });
  if (error) std::rethrow_exception(error);
}

void check_shape(TensorType type, int64_t rows, int64_t cols) {
  constexpr int64_t kMaxElements = std::numeric_limits<int64_t>::max() / 64;
  const auto info = modelkit::tensor_type_info(type);
  if (rows <= 0 || cols <= 0 || cols % info->block_elements != 0 || rows > kMaxElements / cols) {
    throw modelkit::Error(
        modelkit::ErrorCode::kInvalid,
        "cannot pack a matrix of " + std::to_string(rows) + " x " + std::to_string(cols));
  }
}

}  // namespace

bool PackedMatrix::can_pack(TensorType type) { return block_format(type).has_value(); }

PackedMatrix PackedMatrix::with_shape(Isa isa, TensorType type, Storage storage, int64_t rows,
                                      int64_t cols) {
  check_shape(type, rows, cols);
  PackedMatrix result;
  Impl& m = *result.impl_;
  m.isa = isa;
  m.type = type;
  m.storage = storage;
  m.rows = rows;
  m.cols = cols;
  m.lanes = kernels(isa).lanes;
  m.panels = (rows + m.lanes - 1) / m.lanes;
  m.units = cols / unit_columns(storage);
  m.panel_bytes = m.units * unit_bytes(storage, static_cast<int>(m.lanes));
  return result;
}

/// rows_of(first, count, buffer) answers where the rows are, maybe in the buffer.
template <class RowsOf>
PackedMatrix PackedMatrix::pack_rows(ThreadTeam& team, WeightMemory& memory, Isa isa,
                                     TensorType type, int64_t rows, int64_t cols,
                                     const RowsOf& rows_of) {
  const std::optional<BlockFormat> format = block_format(type);
  if (!format) {
    throw modelkit::Error(
        modelkit::ErrorCode::kUnsupported,
        "no CPU kernel for tensor type " + std::to_string(static_cast<uint32_t>(type)));
  }
  PackedMatrix result = with_shape(isa, type, format->storage, rows, cols);
  Impl& m = *result.impl_;
  m.bytes = static_cast<uint64_t>(m.panels) * static_cast<uint64_t>(m.panel_bytes);
  m.data = memory.take(m.bytes);
  const uint64_t row_bytes = modelkit::tensor_bytes(type, static_cast<uint64_t>(cols));
  for_each_item(team, m.panels, [&](int64_t panel, std::vector<std::byte>& buffer) {
    const int64_t first = panel * m.lanes, count = std::min(m.lanes, rows - first);
    const std::byte* from =
        rows_of(static_cast<uint64_t>(first), static_cast<uint64_t>(count), buffer);
    pack_panel(m, *format, reinterpret_cast<const uint8_t*>(from), row_bytes, panel);
  });
  return result;
}

PackedMatrix PackedMatrix::pack(ThreadTeam& team, Isa isa, TensorType type, const void* data,
                                int64_t rows, int64_t cols) {
  WeightMemory memory(/*piece_bytes=*/0);
  return pack(team, memory, isa, type, data, rows, cols);
}

PackedMatrix PackedMatrix::pack(ThreadTeam& team, WeightMemory& memory, Isa isa, TensorType type,
                                const void* data, int64_t rows, int64_t cols) {
  const uint64_t row_bytes = modelkit::tensor_bytes(type, static_cast<uint64_t>(cols));
  return pack_rows(team, memory, isa, type, rows, cols,
                   [&](uint64_t first, uint64_t, std::vector<std::byte>&) {
                     return static_cast<const std::byte*>(data) + first * row_bytes;
                   });
}

PackedMatrix PackedMatrix::pack(ThreadTeam& team, WeightMemory& memory, Isa isa,
                                const modelkit::Weight& weight) {
  const auto rows = static_cast<int64_t>(weight.rows()),
             cols = static_cast<int64_t>(weight.columns());
  if (!can_pack(weight.type())) return keep_blocks(team, memory, isa, weight);
  if (weight.data() != nullptr)
    return pack(team, memory, isa, weight.type(), weight.data(), rows, cols);
  return pack_rows(team, memory, isa, weight.type(), rows, cols,
                   [&](uint64_t first, uint64_t count, std::vector<std::byte>& buffer) {
                     buffer.resize(count * weight.row_bytes());
                     weight.read_blocks(first, count, buffer.data());
                     return static_cast<const std::byte*>(buffer.data());
                   });
}

PackedMatrix PackedMatrix::keep_blocks(ThreadTeam& team, WeightMemory& memory, Isa isa,
                                       const modelkit::Weight& weight) {
  const auto info = modelkit::tensor_type_info(weight.type());
  if (!info || !info->can_dequantize) {
    throw modelkit::Error(modelkit::ErrorCode::kUnsupported,
                          "tensor " + weight.name() + " has type " +
                              (info ? std::string(info->name)
                                    : std::to_string(static_cast<uint32_t>(weight.type()))) +
                              ", which this build cannot read; use another quantisation");
  }
  PackedMatrix result =
      with_shape(isa, weight.type(), Storage::kF32, static_cast<int64_t>(weight.rows()),
                 static_cast<int64_t>(weight.columns()));
  Impl& m = *result.impl_;
  m.raw_row_bytes = static_cast<int64_t>(weight.row_bytes());
  m.raw = weight.data();
  if (m.raw != nullptr) return result;
  m.bytes = weight.bytes();
  m.data = memory.take(m.bytes);
  auto* copy = reinterpret_cast<std::byte*>(m.data.get());
  m.raw = copy;
  for_each_item(team, m.panels, [&](int64_t panel, std::vector<std::byte>&) {
    const int64_t first = panel * m.lanes;
    weight.read_blocks(static_cast<uint64_t>(first),
                       static_cast<uint64_t>(std::min(m.lanes, m.rows - first)),
                       copy + first * m.raw_row_bytes);
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
