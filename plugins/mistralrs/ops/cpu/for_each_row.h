#pragma once
#include <algorithm>
#include <atomic>
#include <cstdint>

#include "ops/cpu/thread_team.h"

namespace spnl::mistralrs::cpu {

/// Elements below which the caller is faster alone.
constexpr int64_t kWorthSharing = 8192;

/// The columns of all rows that one thread takes of a small operation. Of a tile of quantised rows
/// these are whole lines of the cache, and operations that share columns out so find near their
/// core what they wrote before.
struct ColumnShare {
  ColumnShare(int64_t columns, int worker, int threads)
      : first(begin(columns, worker, threads)), last(begin(columns, worker + 1, threads)) {}
  int64_t first, last;

 private:
  /// A multiple of every vector and of what quantises many groups at once.
  static constexpr int64_t kPiece = 512;
  static int64_t begin(int64_t columns, int worker, int threads) {
    const int64_t pieces = (columns + kPiece - 1) / kPiece;
    return std::min(columns, pieces * worker / threads * kPiece);
  }
};

/// work(row) for rows 0..m-1, of about n elements each, shared out to the team when there is enough
/// to do.
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

}  // namespace spnl::mistralrs::cpu
