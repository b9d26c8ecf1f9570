// The pool of threads behind every call on the CPU.
#include "cpu/threads.h"

#include <glance/core.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

#include "tests/support.h"

namespace {

// How often each number was given, in one parallel call; empty numbers beyond the threads it had.
std::vector<int> turns(int wanted) {
  std::vector<std::atomic<int>> counts(static_cast<size_t>(wanted));
  std::atomic<int> had{0};
  glance::parallel(wanted, [&](int thread, int threads) {
    had = threads;
    counts[static_cast<size_t>(thread)]++;
  });
  std::vector<int> result;
  for (int i = 0; i < had; ++i) result.push_back(counts[static_cast<size_t>(i)]);
  return result;
}

TEST(Threads, EachRunsOnce) {
  for (const int wanted : {1, 2, 3, 7}) {
    for (int i = 0; i < 200; ++i) {
      ASSERT_EQ(turns(wanted), std::vector<int>(static_cast<size_t>(wanted), 1));
    }
  }
}

// They have gone to sleep by then.
TEST(Threads, EachRunsOnceAfterAPause) {
  for (int i = 0; i < 5; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    ASSERT_EQ(turns(3), std::vector<int>(3, 1));
  }
}

// A thread whose CPU other programs have, or which sleeps, must not hold a call up: what it has not
// begun the caller does.
TEST(Threads, TheCallerDoesWhatNobodyHasBegun) {
  const std::thread::id caller = std::this_thread::get_id();
  int taken = 0;
  for (int i = 0; i < 20; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    std::atomic<int> mine{0};
    glance::parallel(2, [&](int, int) { mine += std::this_thread::get_id() == caller ? 1 : 0; });
    taken += mine == 2 ? 1 : 0;
  }
  // Threads that have gone to sleep wake later than so little is done.
  EXPECT_GT(taken, 0);
}

// Each waits for all the others, which hangs if they take turns on fewer threads.
TEST(Threads, AllRunAtOnce) {
  for (int i = 0; i < 50; ++i) {
    std::atomic<int> here{0};
    glance::parallel(3, [&](int, int threads) {
      ++here;
      for (uint32_t turn = 0; here < threads; ++turn) glance::wait_a_turn(turn);
    });
    ASSERT_EQ(here, 3);
  }
}

TEST(Threads, ACallWithinACallRunsAlone) {
  std::atomic<int> inner{0};
  glance::parallel(2, [&](int, int) {
    glance::parallel(2, [&](int thread, int threads) {
      EXPECT_EQ(thread, 0);
      EXPECT_EQ(threads, 1);
      ++inner;
    });
  });
  EXPECT_EQ(inner, 2);
}

TEST(Threads, CallersAtTheSameTimeAllGetTheirWorkDone) {
  std::atomic<int> done{0};
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 3; ++caller) {
    callers.emplace_back([&] {
      for (int i = 0; i < 300; ++i) {
        std::atomic<int> here{0};
        std::atomic<int> had{0};
        glance::parallel(2, [&](int, int threads) {
          had = threads;
          ++here;
        });
        if (here == had) ++done;
      }
    });
  }
  for (std::thread &caller : callers) caller.join();
  EXPECT_EQ(done, 900);
}

TEST(Threads, NumberIsSetAndChecked) {
  const glance_test::UseThreads restore(glance_threads());
  EXPECT_GE(glance_threads(), 1);
  EXPECT_EQ(glance_set_threads(3), GLANCE_OK);
  EXPECT_EQ(glance_threads(), 3);
  for (const int32_t wrong : {0, -1, 257}) {
    EXPECT_TRUE(glance_test::refused(glance_set_threads(wrong), "threads"));
    EXPECT_EQ(glance_threads(), 3);
  }
}

TEST(Threads, OneThreadCanBeLeftAlone) {
  const glance_test::UseThreads three(3);
  EXPECT_EQ(glance_set_alone(1), 0);
  EXPECT_EQ(glance_threads(), 1);
  EXPECT_EQ(glance::threads_worth(1e9, 100), 1);
  std::thread other([] {
    EXPECT_EQ(glance_threads(), 3);
    EXPECT_EQ(glance::threads_worth(1e9, 100), 3);
  });
  other.join();
  EXPECT_EQ(glance_set_alone(0), 1);
  EXPECT_EQ(glance_threads(), 3);
}

}  // namespace
