#include "ops/cpu/weight_memory.h"

#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <cstdint>
#include <memory>
#include <vector>

#include "spnl/modelkit/error.h"

using spnl::mistralrs::cpu::WeightMemory;

BOOST_AUTO_TEST_CASE(parts_are_aligned_and_do_not_overlap) {
  WeightMemory memory(/*piece_bytes=*/1000);
  struct Part {
    std::shared_ptr<uint8_t> data;
    size_t bytes;
  };
  std::vector<Part> parts;
  for (size_t bytes : {1u, 64u, 100u, 300u, 400u, 999u, 1000u, 5000u, 7u}) {
    parts.push_back({memory.take(bytes), bytes});
    std::fill_n(parts.back().data.get(), bytes, static_cast<uint8_t>(parts.size()));
  }
  for (size_t i = 0; i < parts.size(); ++i) {
    const uint8_t* data = parts[i].data.get();
    BOOST_TEST(reinterpret_cast<uintptr_t>(data) % 64 == 0u);
    BOOST_TEST(std::count(data, data + parts[i].bytes, static_cast<uint8_t>(i + 1)) ==
               static_cast<std::ptrdiff_t>(parts[i].bytes));
  }
  BOOST_TEST(parts[1].data.get() == parts[0].data.get() + 64);  // of one piece
}

BOOST_AUTO_TEST_CASE(a_part_outlives_memory_and_neighbours) {
  std::shared_ptr<uint8_t> last;
  {
    WeightMemory memory;
    const std::shared_ptr<uint8_t> first = memory.take(10);
    last = memory.take(10);
    std::fill_n(last.get(), 10, uint8_t{3});
  }
  BOOST_TEST(std::count(last.get(), last.get() + 10, uint8_t{3}) == 10);
}

BOOST_AUTO_TEST_CASE(what_does_not_fit_is_an_error_and_the_rest_still_serves) {
  WeightMemory memory(1000);
  const std::shared_ptr<uint8_t> first = memory.take(100);
  for (uint64_t bytes : {UINT64_MAX, UINT64_MAX / 2, UINT64_MAX / 4})
    BOOST_CHECK_THROW(memory.take(bytes), spnl::modelkit::Error);
  const std::shared_ptr<uint8_t> second = memory.take(100);
  std::fill_n(second.get(), 100, uint8_t{1});
  BOOST_TEST(second.get() == first.get() + 128);
}
