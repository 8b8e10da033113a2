#include "ops/cpu/elementwise.h"

#include <algorithm>
#include <atomic>

#include "ops/cpu/kernel_table.h"

namespace spnl::mistralrs::cpu {
namespace {

/// Pieces of rows given out to the team; below kWorthSharing elements the caller is faster alone.
constexpr int64_t kWorthSharing = 8192;
constexpr int64_t kPiece = 2048;  ///< a multiple of every vector width

template <class Do>
void for_each_row(ThreadTeam& team, int64_t m, int64_t n, const Do& work) {
  if (m * n < kWorthSharing || m == 1) {
    for (int64_t row = 0; row < m; ++row) work(row);
    return;
  }
  std::atomic<int64_t> next{0};
  const int64_t chunk = std::max<int64_t>(1, m / (team.size() * 8));
  team.run([&](int) {
    for (int64_t row; (row = next.fetch_add(chunk, std::memory_order_relaxed)) < m;) {
      for (int64_t r = row; r < std::min(row + chunk, m); ++r) work(r);
    }
  });
}

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

void rms_norm(ThreadTeam& team, Isa isa, const float* x, const float* weight, float eps,
              float weight_offset, int64_t m, int64_t n, float* y) {
  const KernelTable& table = kernels(isa);
  for_each_row(team, m, n, [&](int64_t row) {
    table.rms_norm(x + row * n, weight, eps, weight_offset, n, y + row * n);
  });
}

void gated_activation(ThreadTeam& team, Isa isa, Activation activation, float* gate,
                      const float* up, int64_t m, int64_t n) {
  const KernelTable& table = kernels(isa);
  for_each_piece(team, m * n, [&](int64_t first, int64_t count) {
    table.gated_activation(activation, gate + first, up + first, count);
  });
}

void add_scaled(ThreadTeam& team, Isa isa, const float* x, float scale, int64_t m, int64_t n,
                float* y) {
  const KernelTable& table = kernels(isa);
  for_each_piece(team, m * n, [&](int64_t first, int64_t count) {
    table.add_scaled(x + first, scale, count, y + first);
  });
}

}  // namespace spnl::mistralrs::cpu
