#include "thread_pool.h"

#include <atomic>
#include <boost/test/unit_test.hpp>
#include <stdexcept>

using spnl::cpu_ref::ThreadPool;

BOOST_AUTO_TEST_CASE(every_turn_is_taken_once) {
  for (const uint32_t threads : {1u, 2u, 5u}) {
    ThreadPool pool(threads);
    for (const uint64_t n : {0u, 1u, 2u, 7u, 1000u}) {
      std::vector<int> taken(n, 0);
      pool.run(n, 1, [&](uint64_t begin, uint64_t end) {
        for (uint64_t i = begin; i < end; ++i) ++taken[i];
      });
      BOOST_TEST(taken == std::vector<int>(n, 1), boost::test_tools::per_element());
    }
  }
}

BOOST_AUTO_TEST_CASE(several_callers_take_turns) {
  ThreadPool pool(3);
  std::atomic<uint64_t> sum{0};
  std::vector<std::thread> callers;
  for (int c = 0; c < 4; ++c)
    callers.emplace_back([&] {
      for (int i = 0; i < 200; ++i)
        pool.run(10, 1, [&](uint64_t begin, uint64_t end) { sum += end - begin; });
    });
  for (std::thread& caller : callers) caller.join();
  BOOST_TEST(sum.load() == 4u * 200 * 10);
}

BOOST_AUTO_TEST_CASE(exceptions_come_out_and_the_pool_lives_on) {
  ThreadPool pool(3);
  for (int i = 0; i < 50; ++i) {
    BOOST_CHECK_THROW(pool.run(9, 1,
                               [](uint64_t, uint64_t end) {
                                 if (end == 9) throw std::runtime_error("x");
                               }),
                      std::runtime_error);
    uint64_t seen[9] = {};
    pool.run(9, 1, [&](uint64_t begin, uint64_t) { seen[begin] = 1; });
    BOOST_TEST(seen[0] == 1u);
  }
}
