// Fragments that are moved as far as a context may ever be: the turned query loses nothing.
#include <algorithm>
#include <array>
#include <boost/test/unit_test.hpp>

#include "fixtures.h"
#include "random_model.h"
#include "span_oracle.h"

using namespace spnl::mistralrs;
using namespace spnl::mistralrs::test;
using spnl::modelkit::ModelSpec;

namespace {

constexpr int32_t kFragment = 20, kText = 4, kBlockSize = 8, kBlocks = 8;

/// Two fragments that saw nothing but themselves, and a text that sees both: the second has moved
/// by `offset`, the first not at all.
struct Moved {
  int32_t offset, first, second, text;  // positions where they begin, as they were computed
  std::vector<int32_t> ids;

  /// Each stands behind the other and the text behind both, as the text sees it.
  Moved(int32_t by, Random& random)
      : offset(by),
        first(std::max(by, 0)),
        second(first + kFragment - by),
        text(first + 2 * kFragment),
        ids(some(random, 2 * kFragment + kText)) {}

  std::vector<DenseRow> rows() const {
    std::vector<DenseRow> all;
    const auto size = static_cast<int32_t>(ids.size());
    const auto part = [](int32_t row) { return row / kFragment; };
    const auto own = [&](int32_t row) {
      const std::array<int32_t, 3> begin = {first, second, text};
      return begin[static_cast<size_t>(part(row))] + row % kFragment;
    };
    for (int32_t t = 0; t < size; ++t) {
      all.push_back({ids[static_cast<size_t>(t)], {}});
      for (int32_t s = 0; s < size; ++s) {
        const bool seen = s <= t && (part(s) == part(t) || part(t) == 2);
        const int32_t moved = part(s) == 1 && part(t) == 2 ? offset : 0;
        all.back().distance.push_back(seen ? own(t) - own(s) - moved : -1);
      }
    }
    return all;
  }
};

class Runner {
 public:
  explicit Runner(const ModelSpec& spec)
      : spec_(spec),
        ops_(make_cpu_ops(cpu::supported_isas().back(), 1)),
        weights_(load_weights(*ops_, spec, 0, [](uint64_t, uint64_t) { return true; })),
        cache_(spec, cpu::KvType::kF32, kBlockSize, kBlocks),
        transformer_(spec, weights_, cache_, *ops_, 64, 1) {}

  std::vector<float> logits(const Moved& moved, bool long_rope) {
    const std::vector<int32_t> first = {0, 1, 2}, second = {5, 4, 3}, text = {6};
    const cpu::KvRun one{first.data(), 0, kFragment, moved.first, 0};
    const cpu::KvRun two{second.data(), 0, kFragment, moved.second, 0};
    cpu::KvRun two_moved = two;
    two_moved.offset = moved.offset;
    run(moved, 0, kFragment, moved.first, {one}, long_rope);
    run(moved, kFragment, kFragment, moved.second, {two}, long_rope);
    return run(moved, 2 * kFragment, kText, moved.text,
               {one, two_moved, {text.data(), 0, kText, moved.text, 0}}, long_rope);
  }

 private:
  /// Rows of the last run, at consecutive positions; logits of the last.
  std::vector<float> run(const Moved& moved, int32_t begin, int32_t rows, int32_t position,
                         const std::vector<cpu::KvRun>& runs, bool long_rope) {
    Batch batch;
    batch.full.runs = runs;
    for (int32_t i = 0; i < rows; ++i) {
      batch.ids.push_back(moved.ids[static_cast<size_t>(begin + i)]);
      batch.positions.push_back(position + i);
      batch.long_rope.push_back(long_rope ? 1 : 0);
      batch.full.slots.push_back(int64_t{runs.back().blocks[i / kBlockSize]} * kBlockSize +
                                 i % kBlockSize);
    }
    batch.full.sequences.push_back({0, rows, batch.full.runs});
    transformer_.forward(batch);
    const std::vector<int32_t> last = {rows - 1};
    const Rows logits = transformer_.logits(last);
    return {logits.data, logits.data + spec_.vocab_size};
  }

  const ModelSpec& spec_;
  std::unique_ptr<Ops> ops_;
  Weights weights_;
  KvCache cache_;
  Transformer transformer_;
};

}  // namespace

BOOST_AUTO_TEST_CASE(offsets_of_100000_cost_no_more_than_none) {
  for (const auto& [name, spec] : random_models(spnl::modelkit::TensorType::kF32)) {
    const bool has_long = spec.ropes[0].long_from != 0;
    DenseForward oracle(spec);
    Runner runner(spec);
    for (const bool long_rope : {false, true}) {
      if (long_rope && !has_long) continue;
      Random random(7);
      for (const int32_t offset : {0, 1, -1, 777, -12345, 99999, 100000, -99999, -100000}) {
        const Moved moved(offset, random);
        const double off =
            off_by(runner.logits(moved, long_rope), oracle.logits(moved.rows(), long_rope));
        BOOST_TEST(off < 2e-5, name << ", offset " << offset << ": off by " << off);
      }
    }
  }
}
