#pragma once
// The warp's matrix instructions, by the layouts that PTX documents for them, for kernels/device/mma.cuh.
#include <algorithm>
#include <cstdint>

#include "tests/host_cuda/executor.hpp"

namespace clip::host_cuda {

/// mma.m16n8k16: sum += a b. `Pair` has two elements e[0] and e[1], one 32-bit register.
template <class Pair>
void mma(float (&sum)[4], const Pair (&a)[4], const Pair& b0, const Pair& b1, const char* file = __builtin_FILE(),
         int line = __builtin_LINE()) {
  struct Lane {
    float* sum;
    const Pair *a, *b0, *b1;
  } self{sum, a, &b0, &b1};
  warp_operation({file, line}, ~0u, &self, [](void* const(&data)[32]) {
    float as[16][16], bs[8][16];  // b by columns
    for (unsigned l = 0; l < 32; ++l) {
      const auto& from = *static_cast<const Lane*>(data[l]);
      const unsigned g = l / 4, c = l % 4 * 2;
      for (unsigned e = 0; e < 2; ++e) {
        for (unsigned i = 0; i < 4; ++i) as[g + 8 * (i % 2)][c + e + 8 * (i / 2)] = static_cast<float>(from.a[i].e[e]);
        bs[g][c + e] = static_cast<float>(from.b0->e[e]);
        bs[g][c + e + 8] = static_cast<float>(from.b1->e[e]);
      }
    }
    for (unsigned l = 0; l < 32; ++l)
      for (unsigned i = 0; i < 4; ++i) {
        const float *const row = as[l / 4 + 8 * (i / 2)], *const column = bs[l % 4 * 2 + i % 2];
        float total = 0;
        for (unsigned k = 0; k < 16; ++k) total += row[k] * column[k];
        static_cast<const Lane*>(data[l])->sum[i] += total;
      }
  });
}

/// ldmatrix.x4, or with .trans. Rows are read when the lane that names them comes, which may be before others have
/// written to them: no lane is promised to see what others wrote unless there was a barrier.
template <bool Transposed, class Pair, class T>
void load_matrices(Pair (&m)[4], const T* row, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  if (reinterpret_cast<std::uintptr_t>(row) % 16 != 0)
    mistake({file, line}, "a row of a matrix that does not begin at a multiple of 16 bytes");
  struct Lane {
    Pair* m;
    T row[8];
  } self{m, {}};
  std::copy_n(row, 8, self.row);
  warp_operation({file, line}, ~0u, &self, [](void* const(&data)[32]) {
    const auto row_of = [&](unsigned i) { return static_cast<const Lane*>(data[i])->row; };
    for (unsigned l = 0; l < 32; ++l)
      for (unsigned i = 0; i < 4; ++i)
        for (unsigned e = 0; e < 2; ++e) {
          const unsigned g = l / 4, c = l % 4 * 2 + e;
          static_cast<const Lane*>(data[l])->m[i].e[e] = Transposed ? row_of(8 * i + c)[g] : row_of(8 * i + g)[c];
        }
  });
}

}  // namespace clip::host_cuda
