#include <boost/test/unit_test.hpp>
#include <numeric>
#include <random>

#include "cache/block_cache.h"
#include "cache/kv_cache.h"
#include "engine/settings.h"
#include "random_model.h"
#include "spnl/modelkit/error.h"

using namespace spnl::mistralrs;

BOOST_AUTO_TEST_CASE(blocks_return_when_the_last_reference_goes) {
  BlockPool pool(4);
  BlockTable a(pool, 2);
  BOOST_TEST(a.grow(5));
  BOOST_TEST(a.blocks().size() == 3u);
  BOOST_TEST(!a.grow(9));  // all or nothing
  BOOST_TEST(pool.used_blocks() == 3);
  BlockTable b(pool, 2);
  b.share(a, 2);
  a.release();
  BOOST_TEST(pool.used_blocks() == 2);
  BOOST_TEST(b.slot(3) == int64_t{b.blocks()[1]} * 2 + 1);
  b.release();
  BOOST_TEST(pool.used_blocks() == 0);
  BOOST_TEST(!BlockPool(0).take(BlockKind::kFull).has_value());
}

namespace {

constexpr ChainSecret kSecret = {1, 2};
constexpr ChainKey kRoot = {7, 7}, kOtherRoot = {8, 7};

/// Ids at consecutive positions from `first` on.
struct Tokens {
  Tokens(std::vector<int32_t> of, int32_t first = 0) : ids(std::move(of)), positions(ids.size()) {
    std::iota(positions.begin(), positions.end(), first);
  }
  Chain chain(const ChainKey& root = kRoot) const { return {root, ids, positions}; }
  int64_t size() const { return static_cast<int64_t>(ids.size()); }
  std::vector<int32_t> ids, positions;
};

BlockCache::Keep a_sequence() { return {.sequence = true}; }
BlockCache::Keep a_fragment() { return {.last_part = true}; }

/// Stores tokens in new blocks that only the cache keeps.
void store(BlockPool& pool, BlockCache& cache, const Tokens& tokens, int32_t block_size,
           const BlockCache::Keep& keep, const ChainKey& root = kRoot) {
  BlockTable table(pool, block_size);
  cache.make_room(table.missing(tokens.size()));
  BOOST_TEST_REQUIRE(table.grow(tokens.size()));
  cache.store(tokens.chain(root), table, keep);
}

int64_t hit(BlockCache& cache, const Tokens& tokens, const ChainKey& root = kRoot) {
  const auto found = cache.find(tokens.chain(root), tokens.size(), true);
  return found.rows + found.next_rows;
}

}  // namespace

// Vectors of the reference implementation: key 00..0f, input 00, 01, ..
BOOST_AUTO_TEST_CASE(chain_hash_is_siphash_128) {
  const ChainSecret key = {0x0706050403020100, 0x0f0e0d0c0b0a0908};
  const auto of = [&](size_t length) {
    std::vector<std::byte> bytes(length);
    for (size_t i = 0; i < length; ++i) bytes[i] = static_cast<std::byte>(i);
    return chain_hash(key, bytes);
  };
  BOOST_TEST((of(0) == ChainKey{0xe6a825ba047f81a3, 0x930255c71472f66d}));
  BOOST_TEST((of(1) == ChainKey{0x44af996bd8c187da, 0x45fc229b11597634}));
  BOOST_TEST((random_secret() != random_secret()));
}

BOOST_AUTO_TEST_CASE(chains_match_by_ids_positions_and_root) {
  BlockPool pool(16);
  BlockCache cache(pool, 4, 2, kSecret);
  const Tokens ids({1, 2, 3, 4, 5, 6, 7, 8, 9});
  BlockTable table(pool, 4);
  BOOST_TEST(table.grow(9));
  cache.store(ids.chain(), table, a_sequence());
  const auto found = cache.find(ids.chain(), 8, false);
  BOOST_TEST(found.rows == 8);
  BOOST_TEST((found.blocks == std::vector{table.block(0), table.block(1)}));
  BOOST_TEST(hit(cache, ids) == 8);  // the begun block was not kept
  // An open chain copies what it shares of a block that it will write to.
  const auto part = cache.find(ids.chain(), 7, false);
  BOOST_TEST(part.rows == 4);
  BOOST_TEST((part.next_block == table.block(1)));
  BOOST_TEST(part.next_rows == 3);
  BOOST_TEST(hit(cache, Tokens({1, 2, 3, 4, 5, 0, 7, 8})) == 5);
  BOOST_TEST(hit(cache, Tokens({2, 2, 3, 4})) == 0);
  BOOST_TEST(hit(cache, Tokens({1, 2, 3, 4}, 1)) == 0);
  BOOST_TEST(hit(cache, ids, kOtherRoot) == 0);
  table.release();
  BOOST_TEST(pool.used_blocks() == 2);
  cache.make_room(15);
  BOOST_TEST(pool.used_blocks() == 1);
  cache.make_room(16);
  BOOST_TEST(pool.used_blocks() == 0);
}

BOOST_AUTO_TEST_CASE(a_fragment_is_shared_with_its_part_full_block) {
  BlockPool pool(16);
  BlockCache cache(pool, 4, 2, kSecret);
  const Tokens fragment({1, 2, 3, 4, 5, 6}, 3);
  store(pool, cache, fragment, 4, a_fragment());
  BOOST_TEST(pool.used_blocks() == 2);
  const auto closed = cache.find(fragment.chain(), 6, true);
  BOOST_TEST(closed.rows == 6);
  BOOST_TEST(closed.blocks.size() == 2u);
  const auto shorter = cache.find(fragment.chain().first(5), 5, true);
  BOOST_TEST((shorter.blocks == closed.blocks));
  const auto open = cache.find(fragment.chain(), 6, false);
  BOOST_TEST(open.rows == 4);
  BOOST_TEST(open.next_rows == 2);
  // A longer one makes the begun block superfluous.
  store(pool, cache, Tokens({1, 2, 3, 4, 5, 6, 7}, 3), 4, a_fragment());
  BOOST_TEST(pool.used_blocks() == 2);
  BOOST_TEST(hit(cache, fragment) == 6);
}

BOOST_AUTO_TEST_CASE(tails_name_all_that_they_see) {
  BlockPool pool(4);
  BlockCache cache(pool, 2, 2, kSecret);
  const Tokens a({1, 2, 3}), b({1, 2, 4}), moved({1, 2, 3}, 1);
  BOOST_TEST((cache.end_of(a.chain()) == cache.end_of(a.chain())));
  BOOST_TEST((cache.end_of(a.chain()) != cache.end_of(b.chain())));
  BOOST_TEST((cache.end_of(a.chain()) != cache.end_of(moved.chain())));
  BOOST_TEST((cache.end_of(a.chain()) != cache.end_of(a.chain(kOtherRoot))));
  BOOST_TEST(
      (cache.end_of(a.chain()) != BlockCache(pool, 2, 2, ChainSecret{1, 3}).end_of(a.chain())));
}

BOOST_AUTO_TEST_CASE(a_longer_sequence_replaces_its_prefix_and_the_oldest_goes_first) {
  BlockPool pool(32);
  BlockCache cache(pool, 2, 2, kSecret);
  store(pool, cache, Tokens({1, 2}), 2, a_sequence());
  store(pool, cache, Tokens({1, 2, 3, 4}), 2, a_sequence());
  BOOST_TEST(cache.sequences() == 1u);
  store(pool, cache, Tokens({1, 2}), 2, a_sequence());  // known
  BOOST_TEST(cache.sequences() == 1u);
  store(pool, cache, Tokens({5, 6}), 2, a_sequence());
  BOOST_TEST(hit(cache, Tokens({1, 2, 3, 4})) == 4);  // used again
  store(pool, cache, Tokens({7, 8}), 2, a_sequence());
  BOOST_TEST(hit(cache, Tokens({5, 6})) == 0);
  BOOST_TEST(hit(cache, Tokens({1, 2, 3, 4})) == 4);
  store(pool, cache, Tokens({1, 2, 9, 9}), 2, a_sequence());  // two ends, one beginning
  BOOST_TEST(hit(cache, Tokens({1, 2, 3, 4})) == 4);
  BOOST_TEST(cache.sequences() == 2u);
  for (int32_t i = 0; i < 9; ++i) store(pool, cache, Tokens({20 + i}), 2, a_fragment());
  BOOST_TEST(hit(cache, Tokens({20})) == 1);  // fragments are not counted
  BlockCache off(pool, 2, 0, kSecret);
  store(pool, off, Tokens({1, 2, 3, 4}), 2, a_sequence());
  BOOST_TEST(off.size() == 0u);
}

BOOST_AUTO_TEST_CASE(what_is_needed_again_is_evicted_later) {
  BlockPool pool(3);
  BlockCache cache(pool, 2, 8, kSecret);
  store(pool, cache, Tokens({1, 1}), 2, {.last_part = true, .pin = true});
  store(pool, cache, Tokens({2, 2}), 2, {.last_part = true, .next_use = 5});
  store(pool, cache, Tokens({3, 3}), 2, a_fragment());
  for (int i = 0; i < 5; ++i) BOOST_TEST(hit(cache, Tokens({3, 3})) == 2);
  cache.make_room(1);
  BOOST_TEST(hit(cache, Tokens({3, 3})) == 0);
  BlockTable user(pool, 2);
  user.share(cache.find(Tokens({2, 2}).chain(), 2, true).blocks);
  cache.make_room(2);  // what somebody uses stays, though it comes before what is pinned
  BOOST_TEST(hit(cache, Tokens({2, 2})) == 2);
  BOOST_TEST(hit(cache, Tokens({1, 1})) == 0);
  cache.make_room(3);
  BOOST_TEST(pool.used_blocks() == 1);
}

namespace {

/// Blocks of two tokens: full ones cost 2, windowed ones 3, and windows reach back four tokens.
BlockPool::Sizes windowed_sizes(int32_t blocks, uint64_t budget) {
  BlockPool::Sizes sizes;
  sizes.blocks = {blocks, blocks};
  sizes.full_bytes = 2;
  sizes.windowed_bytes = 3;
  sizes.budget = budget;
  sizes.window = 4;
  return sizes;
}

std::vector<int32_t> windowed_of(const BlockCache::Found& found) {
  std::vector<int32_t> there;
  for (const Block& block : found.blocks) there.push_back(block.windowed != kNoWindowed);
  return there;
}

}  // namespace

BOOST_AUTO_TEST_CASE(both_kinds_of_blocks_share_one_budget) {
  std::vector<std::pair<BlockKind, int32_t>> discarded;
  BlockPool pool(windowed_sizes(20, 20),
                 [&](BlockKind kind, int32_t block) { discarded.emplace_back(kind, block); });
  BOOST_TEST(pool.fits({4, 4}));
  BOOST_TEST(!pool.fits({5, 4}));
  BOOST_TEST(pool.times({1, 1}) == 4);
  BOOST_TEST(pool.times({5, 1}) == 1);
  BlockTable table(pool, 2);
  BOOST_TEST(table.grow(8));
  BOOST_TEST(!table.grow(9));
  BOOST_TEST(pool.used_bytes() == 20u);
  BOOST_TEST(!table.has_to_leave(5));  // the token at 5 sees 2, 3 and 4
  BOOST_TEST(table.has_to_leave(6));
  table.leave_behind(6);
  BOOST_TEST(table.blocks(BlockKind::kWindowed)[0] == kNoWindowed);
  BOOST_TEST(table.blocks(BlockKind::kWindowed)[1] != kNoWindowed);
  BOOST_TEST(pool.used_bytes() == 17u);
  BOOST_TEST(discarded.empty());
  BOOST_TEST(pool.take(BlockKind::kFull).has_value());  // in the memory of what was left behind
  BOOST_TEST((discarded == std::vector{std::pair{BlockKind::kWindowed, 1}}));
  BOOST_TEST(!pool.take(BlockKind::kFull).has_value());
  table.release();
  BOOST_TEST(pool.used_bytes() == 2u);
}

BOOST_AUTO_TEST_CASE(a_hit_has_the_window_before_it) {
  BlockPool pool(windowed_sizes(20, 100));
  BlockCache cache(pool, 2, 8, kSecret);
  const Tokens ids({1, 2, 3, 4, 5, 6, 7, 8, 9, 10});
  BlockTable table(pool, 2);
  BOOST_TEST(table.grow(10));
  cache.store(ids.chain(), table, a_sequence());
  const auto all = cache.find(ids.chain(), 10, false);
  BOOST_TEST(all.rows == 10);
  BOOST_TEST(windowed_of(all) == (std::vector{0, 0, 0, 1, 1}), boost::test_tools::per_element());
  const auto part = cache.find(ids.chain(), 7, false);
  BOOST_TEST(part.rows == 6);
  BOOST_TEST(part.next_rows == 1);
  BOOST_TEST(windowed_of(part) == (std::vector{0, 1, 1}), boost::test_tools::per_element());
  cache.clear();
  // What a sequence has left behind is not found, and so neither is an end that needs it.
  table.leave_behind(10);
  cache.store(ids.chain(), table, a_sequence());
  BOOST_TEST(cache.find(ids.chain(), 10, false).rows == 10);
  for (const int64_t most : {9, 8, 7, 6, 3, 2, 1}) {
    const auto found = cache.find(ids.chain(), most, false);
    BOOST_TEST(found.rows + found.next_rows == 0, most);
  }
  // Who computes it again brings it back.
  BlockTable again(pool, 2);
  BOOST_TEST(again.grow(8));
  cache.store(ids.chain().first(8), again, a_sequence());
  BOOST_TEST(cache.find(ids.chain(), 7, false).rows == 6);
  table.release();
  again.release();
  cache.clear();
  BOOST_TEST(pool.used_blocks() == 0);
}

BOOST_AUTO_TEST_CASE(windowed_blocks_far_from_every_end_go_first) {
  BlockPool pool(windowed_sizes(60, 100));
  BlockCache cache(pool, 2, 8, kSecret);
  const Tokens longer({1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16});
  Tokens fork = longer;
  fork.ids.resize(10);
  fork.positions.resize(10);
  fork.ids[8] = 99;
  store(pool, cache, longer, 2, a_sequence());
  {
    BlockTable other(pool, 2);
    other.share(cache.find(fork.chain(), 8, false).blocks);
    BOOST_TEST(other.grow(10));
    cache.store(fork.chain(), other, a_sequence());
  }
  BOOST_TEST(pool.used(BlockKind::kWindowed) == 9);
  cache.make_room({(100 - 9 * 5) / 2 + 3, 0});  // two windowed blocks' worth
  BOOST_TEST(pool.used(BlockKind::kFull) == 9);
  BOOST_TEST(pool.used(BlockKind::kWindowed) == 7);
  cache.make_room({(100 - 9 * 2 - 7 * 3) / 2 + 3, 0});
  BOOST_TEST(pool.used(BlockKind::kWindowed) == 5);  // the fork keeps its window, and both ends
  BOOST_TEST(pool.used(BlockKind::kFull) == 9);
  BOOST_TEST(cache.find(longer.chain(), 16, false).rows == 16);
  BOOST_TEST(cache.find(fork.chain(), 10, false).rows == 10);
  BOOST_TEST(cache.find(longer.chain(), 8, false).rows == 8);
  // The last resort: what others' full blocks hang on.
  BlockTable user(pool, 2);
  user.share(cache.find(longer.chain(), 16, false).blocks);
  BlockTable second(pool, 2);
  second.share(cache.find(fork.chain(), 10, false).blocks);
  user.leave_behind(1 << 20);
  second.leave_behind(1 << 20);
  cache.make_room({(100 - 9 * 2) / 2, 0});
  BOOST_TEST(pool.used(BlockKind::kWindowed) == 0);
}

// A key that another chain has already, as a forger would have it, is no hit.
BOOST_AUTO_TEST_CASE(a_key_alone_is_no_hit) {
  BlockPool pool(4);
  BlockCache cache(pool, 2, 8, kSecret);
  const Tokens first({1, 2}), next({3, 4}, 2);
  store(pool, cache, Tokens({1, 2, 3, 4}), 2, a_sequence());
  // The second block's key is reached from a root that equals the first block's end, but the block
  // hangs elsewhere.
  BOOST_TEST(hit(cache, next, cache.end_of(first.chain())) == 0);
}

// Seeded sessions: sequences come, share, store and go; no block is lost or given out twice, and
// what is found was stored.
BOOST_AUTO_TEST_CASE(random_use_never_loses_a_block) {
  std::mt19937 random(5);
  BlockPool pool(40);
  {
    BlockCache cache(pool, 3, 4, kSecret);
    std::vector<std::pair<Tokens, BlockTable>> live;
    for (int round = 0; round < 3000; ++round) {
      if (live.size() < 6 && random() % 2 == 0) {
        std::vector<int32_t> ids(1 + random() % 20);
        for (auto& id : ids) id = static_cast<int32_t>(random() % 2);
        const Tokens tokens(std::move(ids));
        const bool fragment = random() % 2 == 0;
        BlockTable table(pool, 3);
        table.share(cache.find(tokens.chain(), tokens.size() - 1, false).blocks);
        cache.make_room(table.missing(tokens.size()));
        if (!table.grow(tokens.size())) continue;
        cache.store(tokens.chain(), table, fragment ? a_fragment() : a_sequence());
        BOOST_TEST_REQUIRE(hit(cache, tokens) >= tokens.size() / 3 * 3);
        live.emplace_back(tokens, std::move(table));
      } else if (!live.empty()) {
        live.pop_back();
      }
      std::vector<int32_t> owners(40, 0);
      for (const auto& [ids, table] : live)
        for (const int32_t block : table.blocks()) ++owners[static_cast<size_t>(block)];
      int32_t used = 0;
      for (int32_t b = 0; b < 40; ++b) {
        used += pool.references(BlockKind::kFull, b) > 0;
        BOOST_TEST_REQUIRE(pool.references(BlockKind::kFull, b) >= owners[static_cast<size_t>(b)]);
      }
      BOOST_TEST_REQUIRE(used == pool.used_blocks());
      BOOST_TEST_REQUIRE(cache.sequences() <= 4u);
    }
  }
  BOOST_TEST(pool.used_blocks() == 0);
}

// Rows taken out of blocks of one size and put into blocks of another, in part, are those rows.
BOOST_AUTO_TEST_CASE(rows_move_between_blocks_of_any_size) {
  constexpr int64_t kRows = 11, kFirst = 3;
  std::mt19937 random(8);
  for (const auto& [name, spec] : test::random_models(spnl::modelkit::TensorType::kF32)) {
    KvCache from(spec, cpu::KvType::kF16, 4, 5), to(spec, cpu::KvType::kF16, 3, 6);
    const std::vector<int32_t> from_blocks = {4, 0, 2}, to_blocks = {1, 5, 0, 3};
    for (size_t layer = 0; layer < from.layers(); ++layer) {
      const auto bytes = static_cast<size_t>(from.bytes_of_rows(layer, kRows));
      const auto taken_from = [&](const KvCache& cache, const std::vector<int32_t>& blocks) {
        std::vector<std::byte> rows(bytes);
        cache.save_rows(layer, blocks, kRows, rows.data());
        return rows;
      };
      std::vector<std::byte> rows(bytes), others(bytes);
      for (std::byte& byte : rows) byte = static_cast<std::byte>(random());
      for (std::byte& byte : others) byte = static_cast<std::byte>(random());
      from.load_rows(layer, from_blocks, 0, kRows, rows.data());
      BOOST_TEST((taken_from(from, from_blocks) == rows), name);
      to.load_rows(layer, to_blocks, 0, kRows, others.data());
      to.load_rows(layer, to_blocks, kFirst, kRows, rows.data());
      // Keys [kv_heads, rows, head_dim], then values: the first rows of each head are the others'.
      const cpu::KvLayer& shape = from.layer(layer);
      size_t begin = 0;
      for (const int32_t dim : {shape.head_dim, shape.values == nullptr ? 0 : shape.value_dim}) {
        const auto row = static_cast<size_t>(cpu::kv_row_bytes(shape.type, dim));
        for (int32_t head = 0; head < shape.kv_heads; ++head, begin += row * kRows)
          std::copy_n(others.begin() + static_cast<std::ptrdiff_t>(begin), row * kFirst,
                      rows.begin() + static_cast<std::ptrdiff_t>(begin));
      }
      BOOST_TEST(begin == bytes, name);
      BOOST_TEST((taken_from(to, to_blocks) == rows), name << ", layer " << layer);
    }
  }
}

BOOST_AUTO_TEST_CASE(settings_are_read_and_refused_by_name) {
  const auto with = [](std::string_view key, std::string value) {
    return read_settings(
        [=](std::string_view k) { return k == key ? std::optional(value) : std::nullopt; });
  };
  BOOST_TEST(with("", "").block_size == 32);
  BOOST_TEST(with("", "").prefix_entries == 16u);
  BOOST_TEST(with("MISTRALRS_PAGED_ATTN_BLOCK_SIZE", "16").block_size == 16);
  BOOST_TEST(!with("MISTRALRS_PAGED_ATTN", "false").paged);
  BOOST_TEST(with("MISTRALRS_PREFIX_CACHE_N", "false").prefix_entries == 0u);
  BOOST_TEST(with("MISTRALRS_PREFIX_CACHE_N", "3").prefix_entries == 3u);
  BOOST_TEST(with("kv_memory", "2M").kv_bytes == 2u << 20);
  BOOST_TEST(with("", "").disk.folder.empty());
  BOOST_TEST(with("span_cache", "/a/b").disk.folder == "/a/b");
  BOOST_TEST(with("span_cache_size", "3G").disk.max_bytes == uint64_t{3} << 30);
  BOOST_TEST((with("kv_type", "q8_0").kv_type == spnl::mistralrs::cpu::KvType::kQ8_0));
  BOOST_TEST(with("threads", "3").threads == 3);
  BOOST_TEST((with("", "").speculate == Speculate::kAuto));
  BOOST_TEST((with("speculate", "off").speculate == Speculate::kOff));
  BOOST_TEST((with("speculate", "NGram").speculate == Speculate::kNgram));
  BOOST_TEST(!with("MISTRALRS_ISQ", "").isq);
  BOOST_TEST((with("MISTRALRS_ISQ", "q4k").isq == spnl::modelkit::TensorType::kQ4_K));
  using Pair = std::pair<const char*, const char*>;
  for (const auto& [key, value] :
       {Pair{"MISTRALRS_PAGED_ATTN_BLOCK_SIZE", "0"},
        Pair{"MISTRALRS_PAGED_ATTN_BLOCK_SIZE", "1025"},
        Pair{"MISTRALRS_PAGED_ATTN_BLOCK_SIZE", "32x"}, Pair{"MISTRALRS_PAGED_ATTN", "maybe"},
        Pair{"MISTRALRS_PREFIX_CACHE_N", "-1"}, Pair{"kv_memory", "lots"},
        Pair{"span_cache_size", "1x"}, Pair{"kv_memory", "99999999999999999999"},
        Pair{"kv_type", "q3"}, Pair{"threads", "-2"}, Pair{"speculate", "yes"},
        Pair{"MISTRALRS_ISQ", "HQQ4"}, Pair{"MISTRALRS_DEVICE", "cuda"},
        Pair{"MISTRALRS_DEVICE", "abacus"}})
    BOOST_CHECK_EXCEPTION(with(key, value), spnl::modelkit::Error, [&](const auto& e) {
      return std::string(e.what()).find(value) != std::string::npos;
    });
}
