#include "ops/cpu/thread_team.h"

#include <atomic>
#include <boost/test/unit_test.hpp>
#include <chrono>
#include <new>
#include <stdexcept>
#include <thread>
#include <vector>

using spnl::mistralrs::cpu::ThreadTeam;

BOOST_AUTO_TEST_CASE(every_worker_runs_once) {
  for (int threads : {1, 2, 3, 8}) {
    ThreadTeam team(threads);
    BOOST_TEST(team.size() == threads);
    std::vector<int> calls(static_cast<size_t>(threads));
    for (int i = 0; i < 200; ++i)
      team.run([&](int worker) { ++calls[static_cast<size_t>(worker)]; });
    for (int c : calls) BOOST_TEST(c == 200);
  }
  BOOST_TEST(ThreadTeam(0).size() == 1);
}

BOOST_AUTO_TEST_CASE(worker_0_is_the_caller) {
  ThreadTeam team(2);
  std::thread::id id;
  team.run([&](int worker) {
    if (worker == 0) id = std::this_thread::get_id();
  });
  BOOST_CHECK(id == std::this_thread::get_id());
}

// What one run wrote the next one reads, in the other thread: run() must order memory.
BOOST_AUTO_TEST_CASE(runs_are_ordered) {
  ThreadTeam team(3);
  std::vector<long> cells(3, 0);
  for (long i = 0; i < 5000; ++i) {
    team.run([&, i](int worker) {
      const auto w = static_cast<size_t>(worker);
      if (i % 2 == 0) cells[w] += 1;
      if (i % 2 == 1) cells[(w + 1) % 3] += 1;
    });
  }
  for (long c : cells) BOOST_TEST(c == 5000);
}

// Gaps longer than the spin: workers park and must wake, also when work comes just as they go to
// sleep.
BOOST_AUTO_TEST_CASE(parked_workers_wake) {
  ThreadTeam team(3);
  std::atomic<int> done{0};
  for (int i = 0; i < 300; ++i) {
    team.run([&](int) { done.fetch_add(1); });
    std::this_thread::sleep_for(std::chrono::microseconds(i % 3 == 0 ? 300 : 60 + i % 80));
  }
  BOOST_TEST(done == 900);
}

BOOST_AUTO_TEST_CASE(teams_come_and_go) {
  for (int i = 0; i < 100; ++i) {
    ThreadTeam team(1 + i % 4);
    std::atomic<int> sum{0};
    if (i % 3 != 0) {
      team.run([&](int worker) { sum.fetch_add(worker); });
      BOOST_TEST(sum == team.size() * (team.size() - 1) / 2);
    }
  }
}

BOOST_AUTO_TEST_CASE(what_a_worker_throws_reaches_the_caller) {
  ThreadTeam team(3);
  for (int thrower = 0; thrower < 3; ++thrower) {
    std::atomic<int> done{0};
    BOOST_CHECK_THROW(team.run([&](int worker) {
      if (worker == thrower) throw std::bad_alloc();
      done.fetch_add(1);
    }),
                      std::bad_alloc);
    BOOST_TEST(done == 2);  // the others finished first
  }
  BOOST_CHECK_THROW(team.run([](int) { throw std::runtime_error("all"); }), std::runtime_error);
  std::atomic<int> done{0};
  team.run([&](int) { done.fetch_add(1); });
  BOOST_TEST(done == 3);
}
