#include "ops/cpu/elementwise.h"

#include <algorithm>
#include <atomic>

#include "ops/cpu/for_each_row.h"
#include "ops/cpu/kernel_table.h"

namespace spnl::mistralrs::cpu {
namespace {

constexpr int64_t kPiece = 2048;  ///< a multiple of every vector width

/// Element-by-element functions do not care for rows.
template <class Do>
void for_each_piece(ThreadTeam& team, int64_t elements, const Do& work) {
  if (elements < kWorthSharing) {
    work(0, elements);
    return;
  }
  std::atomic<int64_t> next{0};
  team.run([&](int) {
    for (int64_t first; (first = next.fetch_add(kPiece, std::memory_order_relaxed)) < elements;) {
      work(first, std::min(kPiece, elements - first));
    }
  });
}

}  // namespace

void norm(ThreadTeam& team, Isa isa, const NormParams& params, const float* x, int64_t ldx,
          int64_t m, int64_t n, float* y, int64_t ldy) {
  const KernelTable& table = kernels(isa);
  for_each_row(team, m, n, [&](int64_t row) {
    const int64_t at = params.weight_rows == 1 ? 0 : row % params.weight_rows * n;
    table.norm(params, params.weight + at, params.bias != nullptr ? params.bias + at : nullptr,
               x + row * ldx, n, y + row * ldy);
  });
}

void activate(ThreadTeam& team, Isa isa, Activation activation, float* gate, const float* up,
              int64_t m, int64_t n) {
  const KernelTable& table = kernels(isa);
  const auto piece = [&](int64_t first, int64_t count) {
    table.activate(activation, gate + first, up != nullptr ? up + first : nullptr, count);
  };
  if (m > kMaxTokens || m * n < kWorthSharing) return for_each_piece(team, m * n, piece);
  // Each thread what it will quantise next: see prepare().
  team.run([&](int worker) {
    const ColumnShare columns(n, worker, team.size());
    for (int64_t row = 0; row < m; ++row)
      piece(row * n + columns.first, columns.last - columns.first);
  });
}

void add_scaled(ThreadTeam& team, Isa isa, const float* x, float scale, int64_t m, int64_t n,
                float* y) {
  const KernelTable& table = kernels(isa);
  for_each_piece(team, m * n, [&](int64_t first, int64_t count) {
    table.add_scaled(x + first, scale, count, y + first);
  });
}

void scale_and_cap(ThreadTeam& team, Isa isa, float scale, float cap, float* x, int64_t n) {
  const KernelTable& table = kernels(isa);
  for_each_piece(team, n, [&](int64_t first, int64_t count) {
    table.scale_and_cap(scale, cap, x + first, count);
  });
}

}  // namespace spnl::mistralrs::cpu
