// Prints how fast this GPU copies within its memory, the bound of all kernels that compute little, and how fast it
// multiplies matrices, the bound of all that compute much.
#include <cstdio>
#include <iostream>

#include "bench/support/device_time.hpp"

int main() {
  try {
    std::printf("copy bandwidth: %.0f GB/s, read and written\n", 1e-9 * clip::bench::copy_rate());
    std::printf("matrix rate: %.0f TFLOP/s, bf16\n", 1e-12 * clip::bench::matrix_rate());
  } catch (const std::exception& e) {
    std::cerr << "error: " << e.what() << '\n';
    return 1;
  }
}
