#include <boost/test/unit_test.hpp>
#include <random>

#include "cache/prefix_cache.h"
#include "engine/settings.h"
#include "spnl/modelkit/error.h"

using namespace spnl::mistralrs;

BOOST_AUTO_TEST_CASE(blocks_return_when_the_last_reference_goes) {
  BlockPool pool(4);
  BlockTable a(pool, 2);
  BOOST_TEST(a.grow(5));
  BOOST_TEST(a.blocks().size() == 3u);
  BOOST_TEST(!a.grow(9));  // all or nothing
  BOOST_TEST(pool.free_blocks() == 1);
  BlockTable b(pool, 2);
  b.share(a.blocks().first(2));
  a.release();
  BOOST_TEST(pool.free_blocks() == 2);
  BOOST_TEST(b.slot(3) == int64_t{b.blocks()[1]} * 2 + 1);
  b.release();
  BOOST_TEST(pool.free_blocks() == 4);
  BOOST_TEST(!BlockPool(0).take().has_value());
}

BOOST_AUTO_TEST_CASE(prefixes_match_by_ids_in_whole_blocks) {
  BlockPool pool(16);
  PrefixCache cache(pool, 4, 2);
  const std::vector<int32_t> ids = {1, 2, 3, 4, 5, 6, 7, 8, 9};
  BlockTable table(pool, 4);
  BOOST_TEST(table.grow(9));
  cache.store(ids, false, table);
  BOOST_TEST(cache.find(ids, false, 8).size() == 2u);
  BOOST_TEST(cache.find(ids, false, 7).size() == 1u);
  BOOST_TEST(cache.find(std::vector<int32_t>{1, 2, 3, 4, 5, 0, 7, 8}, false, 8).size() == 1u);
  BOOST_TEST(cache.find(std::vector<int32_t>{2, 2, 3, 4}, false, 4).empty());
  BOOST_TEST(cache.find(ids, true, 8).empty());  // turned by other frequencies
  table.release();
  BOOST_TEST(pool.used_blocks() == 2);
  cache.make_room(15);
  BOOST_TEST(pool.used_blocks() == 0);
}

BOOST_AUTO_TEST_CASE(a_longer_sequence_replaces_its_prefix_and_the_oldest_goes_first) {
  BlockPool pool(32);
  PrefixCache cache(pool, 2, 2);
  const auto store = [&](std::vector<int32_t> ids) {
    BlockTable table(pool, 2);
    BOOST_TEST(table.grow(static_cast<int64_t>(ids.size())));
    cache.store(ids, false, table);
  };
  store({1, 2});
  store({1, 2, 3, 4});
  BOOST_TEST(cache.size() == 1u);
  store({1, 2});  // known
  BOOST_TEST(cache.size() == 1u);
  store({5, 6});
  BOOST_TEST(cache.find(std::vector<int32_t>{1, 2, 3, 4}, false, 4).size() == 2u);  // used again
  store({7, 8});
  BOOST_TEST(cache.find(std::vector<int32_t>{5, 6}, false, 2).empty());
  BOOST_TEST(cache.find(std::vector<int32_t>{1, 2, 3, 4}, false, 4).size() == 2u);
  PrefixCache off(pool, 2, 0);
  BlockTable table(pool, 2);
  BOOST_TEST(table.grow(4));
  off.store(std::vector<int32_t>{1, 2, 3, 4}, false, table);
  BOOST_TEST(off.size() == 0u);
}

// Seeded sessions: sequences come, share, store and go; no block is lost or given out twice.
BOOST_AUTO_TEST_CASE(random_use_never_loses_a_block) {
  std::mt19937 random(5);
  BlockPool pool(40);
  {
    PrefixCache cache(pool, 3, 4);
    std::vector<std::pair<std::vector<int32_t>, BlockTable>> live;
    for (int round = 0; round < 3000; ++round) {
      if (live.size() < 6 && random() % 2 == 0) {
        std::vector<int32_t> ids(1 + random() % 20);
        for (auto& id : ids) id = static_cast<int32_t>(random() % 2);
        BlockTable table(pool, 3);
        const auto size = static_cast<int64_t>(ids.size());
        table.share(cache.find(ids, false, size - 1));
        cache.make_room(table.missing(size));
        if (!table.grow(size)) continue;
        cache.store(ids, false, table);
        live.emplace_back(std::move(ids), std::move(table));
      } else if (!live.empty()) {
        live.pop_back();
      }
      std::vector<int32_t> owners(40, 0);
      for (const auto& [ids, table] : live)
        for (const int32_t block : table.blocks()) ++owners[static_cast<size_t>(block)];
      int32_t used = 0;
      for (int32_t b = 0; b < 40; ++b) {
        used += pool.references(b) > 0;
        BOOST_TEST_REQUIRE(pool.references(b) >= owners[static_cast<size_t>(b)]);
      }
      BOOST_TEST_REQUIRE(used == pool.used_blocks());
    }
  }
  BOOST_TEST(pool.free_blocks() == 40);
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
        Pair{"kv_memory", "99999999999999999999"}, Pair{"kv_type", "q3"}, Pair{"threads", "-2"},
        Pair{"speculate", "yes"}, Pair{"MISTRALRS_ISQ", "HQQ4"}, Pair{"MISTRALRS_DEVICE", "cuda"},
        Pair{"MISTRALRS_DEVICE", "abacus"}})
    BOOST_CHECK_EXCEPTION(with(key, value), spnl::modelkit::Error, [&](const auto& e) {
      return std::string(e.what()).find(value) != std::string::npos;
    });
}
