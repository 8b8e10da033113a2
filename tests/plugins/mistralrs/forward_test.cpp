// The forward over every kind of layer part, on models with random weights: kernels against torch,
// and a sequence alone against the same in a crowd.
#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cmath>
#include <memory>
#include <random>

#include "cache/kv_cache.h"
#include "model/transformer.h"
#include "model/weights.h"
#include "random_model.h"
#include "spnl/modelkit/error.h"

using namespace spnl::mistralrs;
using namespace spnl::mistralrs::test;
using spnl::modelkit::ModelSpec;
using spnl::modelkit::TensorType;

namespace {

constexpr int32_t kBlockSize = 8, kBlocks = 64;

/// A sequence on its way through the cache.
struct Tokens {
  std::vector<int32_t> ids;
  std::vector<int32_t> blocks;
  std::vector<int32_t> windowed{};
  int64_t computed = 0;
  std::vector<float> logits{};  ///< of the last row that was run
};

class Runner {
 public:
  Runner(const ModelSpec& spec, std::unique_ptr<Ops> ops, cpu::KvType type, int32_t window = 0)
      : spec_(spec),
        ops_(std::move(ops)),
        weights_(load_weights(*ops_, spec, 0, [](uint64_t, uint64_t) { return true; })),
        cache_(spec, type, kBlockSize, {kBlocks, kBlocks}, window),
        transformer_(spec, weights_, cache_, *ops_, 128, 16) {}

  /// Blocks are given out scattered; they are never taken back.
  Tokens start(std::vector<int32_t> ids) {
    Tokens t{std::move(ids), {}};
    while (t.blocks.size() * kBlockSize < t.ids.size())
      t.blocks.push_back(next_block_++ * 37 % kBlocks);
    t.windowed = t.blocks;  // none of which is kNoWindowed
    return t;
  }

  /// One forward over the next rows of each.
  void step(const std::vector<std::pair<Tokens*, int64_t>>& chunks) {
    Batch batch;
    batch.full.runs.reserve(chunks.size());
    batch.windowed.runs.reserve(chunks.size());
    for (const auto& [t, rows] : chunks) {
      const int64_t first = batch.rows(), end = t->computed + rows;
      for (int64_t i = t->computed; i < end; ++i) {
        batch.ids.push_back(t->ids[static_cast<size_t>(i)]);
        batch.positions.push_back(static_cast<int32_t>(i));
        batch.long_rope.push_back(t->ids.size() > kLongFrom ? 1 : 0);
      }
      const auto place = [&](const std::vector<int32_t>& blocks, Placement& at) {
        for (int64_t i = t->computed; i < end; ++i)
          at.slots.push_back(int64_t{blocks[static_cast<size_t>(i / kBlockSize)]} * kBlockSize +
                             i % kBlockSize);
        at.runs.push_back({blocks.data(), 0, static_cast<int32_t>(end), 0, 0});
        at.sequences.push_back({first, rows, std::span(&at.runs.back(), 1)});
      };
      place(t->blocks, batch.full);
      place(t->windowed, batch.windowed);
      batch.logit_rows.push_back(static_cast<int32_t>(batch.rows() - 1));
      t->computed = end;
    }
    if (std::none_of(spec_.ropes.begin(), spec_.ropes.end(),
                     [](const auto& rope) { return rope.long_from != 0; }))
      std::fill(batch.long_rope.begin(), batch.long_rope.end(), uint8_t{0});
    transformer_.forward(batch);
    const Rows logits = transformer_.logits(batch.logit_rows);
    for (size_t i = 0; i < chunks.size(); ++i) {
      const float* row = logits.data + static_cast<int64_t>(i) * logits.width;
      chunks[i].first->logits.assign(row, row + logits.width);
    }
  }

  KvCache& cache() { return cache_; }

  std::vector<float> alone(const std::vector<int32_t>& ids) {
    Tokens t = start(ids);
    step({{&t, static_cast<int64_t>(ids.size())}});
    return t.logits;
  }

 private:
  const ModelSpec& spec_;
  std::unique_ptr<Ops> ops_;
  Weights weights_;
  KvCache cache_;
  Transformer transformer_;
  int32_t next_block_ = 1;
};

std::vector<int32_t> some_ids(size_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<int32_t> ids(count);
  for (int32_t& id : ids) id = static_cast<int32_t>(random() % 96);
  return ids;
}

double off_by(const std::vector<float>& got, const std::vector<float>& want) {
  const auto [low, high] = std::minmax_element(want.begin(), want.end());
  double worst = 0;
  for (size_t i = 0; i < want.size(); ++i)
    worst = std::max(worst, std::abs(double{got[i]} - want[i]));
  return std::isnan(worst) ? INFINITY : worst / (*high - *low);
}

}  // namespace

BOOST_AUTO_TEST_CASE(kernels_agree_with_torch) {
  for (const auto& [name, spec] : random_models(TensorType::kF32))
    for (const size_t length : {5u, 20u, 60u}) {
      const std::vector<int32_t> ids = some_ids(length, 3);
      const auto want = Runner(spec, make_reference_ops(), cpu::KvType::kF32).alone(ids);
      for (const cpu::Isa isa : cpu::supported_isas()) {
        const double off =
            off_by(Runner(spec, make_cpu_ops(isa, 2), cpu::KvType::kF32).alone(ids), want);
        BOOST_TEST(off < 1e-4, name << ", " << length << " tokens, " << cpu::isa_name(isa)
                                    << ": off by " << off);
      }
    }
}

// Each part must matter: else the test above would pass without it.
BOOST_AUTO_TEST_CASE(long_sequences_turn_by_the_long_frequencies) {
  auto models = random_models(TensorType::kF32);
  ModelSpec& spec = models.back().second;
  ModelSpec other = spec;
  for (double& frequency : other.ropes[0].long_inv_freq) frequency *= 0.5;
  for (const size_t length : {size_t{kLongFrom}, size_t{kLongFrom} + 1}) {
    const auto ids = some_ids(length, 5);
    const double off =
        off_by(Runner(other, make_cpu_ops(cpu::Isa::kScalar, 1), cpu::KvType::kF32).alone(ids),
               Runner(spec, make_cpu_ops(cpu::Isa::kScalar, 1), cpu::KvType::kF32).alone(ids));
    BOOST_TEST((off > 1e-3) == (length > kLongFrom));
  }
}

// The very bits of a sequence do not depend on what runs beside it, nor on how its prompt is cut.
BOOST_AUTO_TEST_CASE(batch_mates_change_nothing) {
  for (const TensorType type : {TensorType::kF32, TensorType::kQ8_0})
    for (const auto& [name, spec] : random_models(type))
      for (const cpu::Isa isa : {cpu::supported_isas().front(), cpu::supported_isas().back()}) {
        std::mt19937 random(9);
        Runner runner(spec, make_cpu_ops(isa, 3), cpu::KvType::kF16);
        std::vector<Tokens> crowd;
        std::vector<std::vector<float>> alone;
        for (const size_t length : {40u, 7u, 26u, 33u}) {
          const auto ids = some_ids(length, static_cast<uint32_t>(length));
          alone.push_back(Runner(spec, make_cpu_ops(isa, 1), cpu::KvType::kF16).alone(ids));
          crowd.push_back(runner.start(ids));
        }
        for (;;) {
          std::vector<std::pair<Tokens*, int64_t>> chunks;
          for (Tokens& t : crowd) {
            const int64_t left = static_cast<int64_t>(t.ids.size()) - t.computed;
            if (left > 0 && random() % 4 != 0)
              chunks.push_back({&t, std::min<int64_t>(left, 1 + random() % 12)});
          }
          if (!chunks.empty()) runner.step(chunks);
          if (std::all_of(crowd.begin(), crowd.end(), [](const Tokens& t) {
                return t.computed == static_cast<int64_t>(t.ids.size());
              }))
            break;
        }
        for (size_t i = 0; i < crowd.size(); ++i)
          BOOST_TEST((crowd[i].logits == alone[i]),
                     name << ", " << cpu::isa_name(isa) << ", sequence " << i);
      }
}

// A fork: whole blocks are shared, the begun one is copied, and both go on as if they were alone.
BOOST_AUTO_TEST_CASE(a_copied_block_goes_on_like_the_original) {
  for (const auto& [name, spec] : random_models(TensorType::kF32)) {
    const cpu::Isa isa = cpu::supported_isas().back();
    std::vector<int32_t> ids = some_ids(20, 4), other = ids;
    for (size_t i = 13; i < other.size(); ++i) other[i] = (other[i] + 5) % 96;
    Runner runner(spec, make_cpu_ops(isa, 2), cpu::KvType::kF16);
    Tokens a = runner.start(ids), b = runner.start(other);
    runner.step({{&a, 13}});
    b.blocks[0] = a.blocks[0];
    runner.cache().copy_block({a.blocks[1]}, {b.blocks[1]}, 13 % kBlockSize);
    b.computed = 13;
    runner.step({{&a, 7}, {&b, 7}});
    BOOST_TEST((a.logits == runner.alone(ids)), name);
    BOOST_TEST((b.logits == runner.alone(other)), name);
  }
}

// What no window reaches any more need not be there; one block more, and it shows.
BOOST_AUTO_TEST_CASE(windowed_blocks_are_needed_as_long_as_a_window_reaches_them) {
  for (const auto& [name, spec] : random_models(TensorType::kF32)) {
    const auto window = static_cast<int32_t>(spec.layers[0].attention.window);
    if (window == 0) continue;
    const std::vector<int32_t> ids = some_ids(44, 6);
    for (const cpu::Isa isa : cpu::supported_isas())
      for (const int32_t too_many : {0, 1}) {
        Runner all(spec, make_cpu_ops(isa, 2), cpu::KvType::kF16);
        Runner runner(spec, make_cpu_ops(isa, 2), cpu::KvType::kF16, window);
        Tokens a = all.start(ids), b = runner.start(ids);
        all.step({{&a, 41}});
        runner.step({{&b, 41}});
        BOOST_TEST((a.logits == b.logits), name);
        const auto behind = static_cast<size_t>((41 - window) / kBlockSize + too_many);
        std::fill_n(b.windowed.begin(), behind, kNoWindowed);
        all.step({{&a, 3}});
        runner.step({{&b, 3}});
        BOOST_TEST((a.logits == b.logits) == (too_many == 0), name);
      }
  }
}

BOOST_AUTO_TEST_CASE(latent_attention_caches_one_compressed_row) {
  for (const auto& [name, spec] : random_models(TensorType::kF32)) {
    const uint64_t per_token = KvCache::block_bytes(spec, cpu::KvType::kF16, 4).both() / 4;
    if (name == "plain") BOOST_TEST(per_token == 2u * 2 * (2 * 2 * 32));
    if (name.starts_with("latent")) BOOST_TEST(per_token == 2u * 2 * (64 + 32));
    const uint64_t in_bytes = KvCache::block_bytes(spec, cpu::KvType::kQ8_0, 4).both() / 4;
    BOOST_TEST(in_bytes == per_token * 17 / 32, name);  // 34 bytes where f16 takes 64
  }
}

BOOST_AUTO_TEST_CASE(heads_that_do_not_fit_the_type_of_the_cache_are_refused) {
  ModelSpec spec = random_models(TensorType::kF32).front().second;
  spec.layers[1].attention.value_dim = 80;
  BOOST_CHECK_EXCEPTION(
      KvCache::block_bytes(spec, cpu::KvType::kQ8_0, 4).both(), spnl::modelkit::Error,
      [](const auto& e) { return std::string(e.what()).find("80 elements") != std::string::npos; });
}

BOOST_AUTO_TEST_CASE(specs_that_contradict_themselves_are_refused) {
  const auto models = random_models(TensorType::kF32);
  const auto refused = [&](size_t model, const auto& spoil) {
    ModelSpec spec = models[model].second;
    spoil(spec);
    const auto ops = make_cpu_ops(cpu::Isa::kScalar, 1);
    BOOST_CHECK_THROW(load_weights(*ops, spec, 0, [](uint64_t, uint64_t) { return true; }),
                      spnl::modelkit::Error);
  };
  refused(0, [](ModelSpec& s) { s.layers[1].attention.kv_heads = 3; });
  refused(0, [](ModelSpec& s) { s.layers[1].attention.rope = 1; });
  refused(0, [](ModelSpec& s) { s.ropes[0].first_dim = 2; });
  refused(0, [](ModelSpec& s) { s.layers[0].mlp = {}; });
  refused(2, [](ModelSpec& s) { s.layers[0].pre_attention = {}; });
  refused(5, [](ModelSpec& s) { s.layers[1].experts.used = 9; });
  refused(6, [](ModelSpec& s) { s.layers[1].experts.groups = 3; });
  refused(6, [](ModelSpec& s) { s.layers[0].attention.latent.k_b.pop_back(); });
  refused(9, [](ModelSpec& s) { s.ropes[0].long_inv_freq.pop_back(); });
}
