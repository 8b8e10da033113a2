// Speed of the CPU kernels on one machine, as shares of its measured peaks. Use: kernel_bench
// [threads] [isa or ""] [part] where part is one of peaks (one line of JSON), ops, matmul, model,
// attention.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <numeric>
#include <string_view>
#include <vector>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "ops/cpu/attention.h"
#include "ops/cpu/elementwise.h"
#include "ops/cpu/packed_matrix.h"
#include "peak.h"

using namespace spnl::mistralrs::cpu;
using spnl::modelkit::TensorType;

namespace {

struct Type {
  const char* name;
  TensorType type;
  int elements, bytes;
};
constexpr Type kTypes[] = {
    {"Q4_0", TensorType::kQ4_0, 32, 18},   {"Q4_1", TensorType::kQ4_1, 32, 20},
    {"Q5_0", TensorType::kQ5_0, 32, 22},   {"Q5_1", TensorType::kQ5_1, 32, 24},
    {"Q8_0", TensorType::kQ8_0, 32, 34},   {"Q4_K", TensorType::kQ4_K, 256, 144},
    {"Q5_K", TensorType::kQ5_K, 256, 176}, {"Q6_K", TensorType::kQ6_K, 256, 210},
    {"F16", TensorType::kF16, 1, 2},       {"BF16", TensorType::kBF16, 1, 2},
    {"F32", TensorType::kF32, 1, 4}};

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// Best time of one call: other programs only ever add to it.
template <class Do>
double best_seconds(int rounds, const Do& work) {
  double best = 1e9;
  work();
  for (int i = 0; i < rounds; ++i) {
    const double start = now();
    work();
    best = std::min(best, now() - start);
  }
  return best;
}

struct Peaks {
  double gmacs, gbytes;
};

/// Memory for the streaming read: far more than the caches, on large pages as weights are.
struct FreeDeleter {
  void operator()(unsigned char* p) const { std::free(p); }
};
using Buffer = std::unique_ptr<unsigned char, FreeDeleter>;
Buffer large_buffer(size_t bytes) {
  Buffer buffer(static_cast<unsigned char*>(std::aligned_alloc(size_t{2} << 20, bytes)));
  if (buffer == nullptr) std::abort();
#if defined(__linux__)
  (void)madvise(buffer.get(), bytes, MADV_HUGEPAGE);
#endif
  std::memset(buffer.get(), 1, bytes);
  return buffer;
}

Peaks measure_peaks(ThreadTeam& team) {
  constexpr size_t kBytes = size_t{256} << 20;
  const Buffer data = large_buffer(kBytes);
  Peaks best{0, 0};
  for (int round = 0; round < 8; ++round) {
    std::vector<double> macs(static_cast<size_t>(team.size()));
    team.run([&](int w) { macs[static_cast<size_t>(w)] = spnl::bench::peak_int8_gmacs(); });
    best.gmacs = std::max(best.gmacs, std::accumulate(macs.begin(), macs.end(), 0.0));
    const long part = static_cast<long>(kBytes) / team.size();
    const double start = now();
    team.run([&](int w) { spnl::bench::read_pass(data.get() + w * part, part); });
    best.gbytes =
        std::max(best.gbytes, static_cast<double>(part) * team.size() / (now() - start) * 1e-9);
  }
  return best;
}

std::vector<uint8_t> plain_weights(const Type& type, int64_t elements) {
  // Zero scales would do for speed, but ordinary numbers rule out slow special cases.
  std::vector<uint8_t> data(static_cast<size_t>(elements / type.elements * type.bytes));
  for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<uint8_t>(i * 7 & 0x2f);
  return data;
}

void matrix_product(ThreadTeam& team, Isa isa, const Peaks& peaks, const Type& type, int64_t rows,
                    int64_t cols, int64_t m) {
  // Enough copies that a pass over all does not fit the caches.
  const auto data = plain_weights(type, rows * cols);
  const int copies =
      m > 32 ? 1 : static_cast<int>(std::clamp<size_t>((size_t{192} << 20) / data.size(), 1, 400));
  WeightMemory memory;
  std::vector<PackedMatrix> w;
  for (int i = 0; i < copies; ++i)
    w.push_back(PackedMatrix::pack(team, memory, isa, type.type, data.data(), rows, cols));
  std::vector<float> x(static_cast<size_t>(m * cols), 0.5f), y(static_cast<size_t>(m * rows));
  MatmulScratch scratch;
  const double seconds =
      best_seconds(m > 32 ? 30 : 6,
                   [&] {
                     for (const PackedMatrix& matrix : w) {
                       const MatmulOutput output{&matrix, y.data(), rows};
                       matmul(team, scratch, x.data(), cols, m, std::span(&output, 1));
                     }
                   }) /
      copies;
  const double gmacs = static_cast<double>(rows * cols * m) / seconds * 1e-9;
  const double gbytes = static_cast<double>(w[0].bytes()) / seconds * 1e-9;
  std::printf("%-5s %6ld x %-5ld m %-4ld %9.1f us  %7.1f GMAC/s %3.0f%%  %6.1f GB/s %3.0f%%\n",
              type.name, static_cast<long>(rows), static_cast<long>(cols), static_cast<long>(m),
              seconds * 1e6, gmacs, 100 * gmacs / peaks.gmacs, gbytes, 100 * gbytes / peaks.gbytes);
}

void matrix_products(ThreadTeam& team, Isa isa, const Peaks& peaks) {
  for (const Type& type : kTypes) {
    for (int64_t m : {1, 2, 4, 8, 16, 512}) matrix_product(team, isa, peaks, type, 2048, 2048, m);
  }
  for (int64_t m : {1, 512}) {
    matrix_product(team, isa, peaks, kTypes[1], 1536, 576, m);
    matrix_product(team, isa, peaks, kTypes[1], 576, 1536, m);
    matrix_product(team, isa, peaks, kTypes[5], 8192, 2048, m);
    matrix_product(team, isa, peaks, kTypes[5], 2048, 8192, m);
  }
}

void attention(ThreadTeam& team, Isa isa, int heads, int kv_heads, int dim, int rows, int context) {
  Rope rope;
  RopeAngles angles;
  for (int i = 0; i < dim / 2; ++i)
    rope.turns.inv_freq.push_back(std::pow(10000.0, -2.0 * i / dim));
  const int block = 32, blocks = context / block + 1;
  std::vector<uint16_t> keys(static_cast<size_t>(blocks * block * kv_heads * dim), 0x3000),
      values = keys;
  const KvLayer layer{KvType::kF16, block, kv_heads, dim, dim, keys.data(), values.data()};
  std::vector<int32_t> table(static_cast<size_t>(blocks)), positions(static_cast<size_t>(rows));
  std::iota(table.begin(), table.end(), 0);
  std::iota(positions.begin(), positions.end(), context - rows);
  std::vector<int64_t> slots(positions.begin(), positions.end());
  const KvRun run{table.data(), 0, context, 0, 0};
  const AttentionSequence sequence{0, rows, std::span(&run, 1)};
  AttentionParams params;
  params.heads = heads;
  params.scale = 0.125f;
  std::vector<float> q(static_cast<size_t>(rows * heads * dim), 0.1f), out(q.size());
  const double seconds = best_seconds(30, [&] {
    paged_attention(team, isa, rope, angles, layer, params, q.data(), heads * dim, positions,
                    std::span(&sequence, 1), out.data(), heads * dim);
  });
  const double store = best_seconds(30, [&] {
    rope_store(team, isa, rope, angles, layer, q.data(), kv_heads * dim, q.data(), kv_heads * dim,
               positions, slots);
  });
  const double pairs = static_cast<double>(rows) * (context - rows / 2.0) * heads;
  std::printf(
      "attention heads %d/%d dim %d rows %-4d context %-5d %9.1f us  %6.1f GFLOP/s  store %7.1f "
      "us\n",
      heads, kv_heads, dim, rows, context, seconds * 1e6, pairs * dim * 4 / seconds * 1e-9,
      store * 1e6);
}

void small_ops(ThreadTeam& team, Isa isa) {
  const double empty = best_seconds(50, [&] {
    for (int i = 0; i < 100; ++i) team.run([&](int w) { (void)w; });
  });
  std::printf("empty run: %.0f ns\n", empty * 1e7);
  for (int64_t m : {1, 512}) {
    std::vector<float> x(static_cast<size_t>(m * 1536), 0.3f), y = x;
    const NormParams rms{NormKind::kRms, 1e-5f, 0.0f, y.data()};
    const double rms_norm =
        best_seconds(50, [&] { norm(team, isa, rms, x.data(), 576, m, 576, x.data(), 576); });
    const double gate = best_seconds(
        50, [&] { activate(team, isa, Activation::kSilu, x.data(), y.data(), m, 1536); });
    std::printf("m %ld: rms_norm 576 %.2f us, silu 1536 %.2f us\n", static_cast<long>(m),
                rms_norm * 1e6, gate * 1e6);
  }
}

/// All products of a forward pass of SmolLM2-135M (30 layers, tied output in Q8_0 for the last
/// row).
void small_model(ThreadTeam& team, Isa isa, const Type& type, int64_t m) {
  const int64_t shapes[][2] = {{576, 576},  {192, 576},  {192, 576}, {576, 576},
                               {1536, 576}, {1536, 576}, {576, 1536}};
  WeightMemory memory;
  std::vector<PackedMatrix> w;
  for (int layer = 0; layer < 30; ++layer) {
    for (const auto& s : shapes) {
      const auto data = plain_weights(type, s[0] * s[1]);
      w.push_back(PackedMatrix::pack(team, memory, isa, type.type, data.data(), s[0], s[1]));
    }
  }
  const Type& q8 = kTypes[4];
  const auto data = plain_weights(q8, int64_t{49152} * 576);
  const PackedMatrix head = PackedMatrix::pack(team, memory, isa, q8.type, data.data(), 49152, 576);
  std::vector<float> x(static_cast<size_t>(m * 1536), 0.5f), a = x, b = x, c = x, logits(49152);
  MatmulScratch scratch;
  const double seconds = best_seconds(m > 1 ? 5 : 20, [&] {
    for (size_t i = 0; i < w.size(); i += 7) {
      const MatmulOutput qkv[] = {
          {&w[i], a.data(), 576}, {&w[i + 1], b.data(), 192}, {&w[i + 2], c.data(), 192}};
      matmul(team, scratch, x.data(), 576, m, qkv);
      const MatmulOutput o[] = {{&w[i + 3], x.data(), 576}};
      matmul(team, scratch, a.data(), 576, m, o);
      const MatmulOutput gate[] = {{&w[i + 4], a.data(), 1536}, {&w[i + 5], b.data(), 1536}};
      matmul(team, scratch, x.data(), 576, m, gate);
      const MatmulOutput down[] = {{&w[i + 6], x.data(), 576}};
      matmul(team, scratch, a.data(), 1536, m, down);
    }
    const MatmulOutput out[] = {{&head, logits.data(), 49152}};
    matmul(team, scratch, x.data(), 576, 1, out);
  });
  std::printf("SmolLM2-135M products, %s, m %ld: %.2f ms, %.0f tokens/s\n", type.name,
              static_cast<long>(m), seconds * 1e3, static_cast<double>(m) / seconds);
}

}  // namespace

int main(int argc, char** argv) {
  ThreadTeam team(argc > 1 ? std::max(1, std::atoi(argv[1])) : 2);
  const Isa isa = choose_isa(argc > 2 ? argv[2] : "");
  const Peaks peaks = measure_peaks(team);
  const std::string_view part = argc > 3 ? argv[3] : "";
  if (part == "peaks") {
    std::printf("{\"threads\":%d,\"int8_gmacs\":%.1f,\"read_gbytes\":%.2f}\n", team.size(),
                peaks.gmacs, peaks.gbytes);
    return 0;
  }
  std::printf("threads %d, isa %s, peak %.0f GMAC/s int8, %.1f GB/s read\n", team.size(),
              isa_name(isa).data(), peaks.gmacs, peaks.gbytes);
  if (part.empty() || part == "ops") small_ops(team, isa);
  if (part.empty() || part == "matmul") matrix_products(team, isa, peaks);
  if (part.empty() || part == "model") {
    for (int64_t m : {1, 2, 8, 512}) small_model(team, isa, kTypes[1], m);
  }
  if (part.empty() || part == "attention") {
    attention(team, isa, 9, 3, 64, 512, 512);
    attention(team, isa, 9, 3, 64, 1, 512);
    attention(team, isa, 9, 3, 64, 1, 4096);
    attention(team, isa, 32, 8, 64, 512, 512);
    attention(team, isa, 32, 8, 64, 1, 2048);
  }
  return 0;
}
