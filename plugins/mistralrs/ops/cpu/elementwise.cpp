#include "ops/cpu/elementwise.h"

#include <algorithm>
#include <atomic>

#include "ops/cpu/for_each_row.h"
#include "ops/cpu/kernel_table.h"

namespace spnl::mistralrs::cpu {
namespace {

constexpr int64_t kPiece = 2048;  ///< a multiple of every vector width
/// Rows of a decode step, or less: more are worth sharing out again where a thread falls behind.
constexpr int64_t kSmall = int64_t{kMaxTokens} * 32768;

/// Element-by-element functions do not care for rows. Of a few rows each thread takes those that it
/// will quantise next, see prepare().
template <class Do>
void for_each_piece(ThreadTeam& team, int64_t elements, const Do& work) {
  if (elements < kWorthSharing) {
    work(0, elements);
    return;
  }
  const auto piece = [&](int64_t first) { work(first, std::min(kPiece, elements - first)); };
  std::atomic<int64_t> next{0};
  team.run([&](int worker) {
    if (elements <= kSmall) {
      const RowShare pieces((elements + kPiece - 1) / kPiece, worker, team.size());
      for (int64_t i = pieces.first; i < pieces.last; ++i) piece(i * kPiece);
      return;
    }
    for (int64_t first; (first = next.fetch_add(kPiece, std::memory_order_relaxed)) < elements;)
      piece(first);
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
  for_each_piece(team, m * n, [&](int64_t first, int64_t count) {
    table.activate(activation, gate + first, up != nullptr ? up + first : nullptr, count);
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
