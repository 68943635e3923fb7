#pragma once
// How programs that scripts time beside others are asked to run.
#include <chrono>
#include <functional>
#include <iostream>

#include "clip/core/device.hpp"

namespace clip::bench {

/// For each number on stdin runs that often, and prints the milliseconds it took until all was done on `device`.
inline void serve(const std::function<void()>& run, const Device& device = {}) {
  for (int runs; std::cin >> runs;) {
    const auto start = std::chrono::steady_clock::now();
    for (; runs > 0; --runs) run();
    device.synchronize();
    const std::chrono::duration<double, std::milli> time = std::chrono::steady_clock::now() - start;
    std::cout << time.count() << std::endl;
  }
}

}  // namespace clip::bench
