// A data race on purpose: every thread adds to one sum. The test passes when ThreadSanitizer reports it.
#include <iostream>

#include "clip/core/device.hpp"
#include "kernels/cpu/parallel.hpp"

int main() {
  clip::set_num_threads(4);
  std::int64_t sum = 0;
  clip::kernels::cpu::parallel_for(1000, 1, [&](std::int64_t begin, std::int64_t end) { sum += end - begin; });
  std::cout << "counted " << sum << '\n';
}
