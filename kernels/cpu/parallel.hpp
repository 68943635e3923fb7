#pragma once
// Threads and instruction sets for the CPU kernels.
//
// A kernel's body is compiled three times, for plain x86-64, AVX2 and AVX-512, and the one this CPU can run is chosen
// at run time. `flatten` pulls everything the body calls into a function of the wider target; that works for code that
// is written with the vector types of simd.hpp or vectorised by the compiler. All helpers called inside a body are
// CLIP_INLINE: vectors must not cross a call between functions of different targets.
//
// Threads are OpenMP's because oneDNN's are: two pools would fight over the cores. Each thread gets one contiguous
// range, so a result depends at most on the number of threads.
#include <omp.h>

#include <algorithm>
#include <cstdint>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#define CLIP_INLINE inline __attribute__((always_inline))

namespace clip::kernels::cpu {

enum class InstructionSet { baseline, avx2, avx512 };

/// The widest one this CPU has; the environment variable CLIP_MAX_ISA (`baseline`, `avx2`) lowers it, for tests.
InstructionSet instruction_set();

#if defined(__x86_64__)
namespace detail {
template <class Body>
__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2"), flatten, noinline)) void run_avx512(
    const Body& body, std::int64_t begin, std::int64_t end) {
  body(begin, end);
}
template <class Body>
__attribute__((target("avx2,fma,bmi2"), flatten, noinline)) void run_avx2(const Body& body, std::int64_t begin,
                                                                          std::int64_t end) {
  body(begin, end);
}
}  // namespace detail

/// Runs `body(begin, end)` on this thread in the widest instruction set of the CPU.
template <class Body>
void vectorized(std::int64_t begin, std::int64_t end, const Body& body) {
  switch (instruction_set()) {
    case InstructionSet::avx512: return detail::run_avx512(body, begin, end);
#ifndef CLIP_SANITIZED  // sanitizers see the widest and the plainest
    case InstructionSet::avx2: return detail::run_avx2(body, begin, end);
#endif
    default: return body(begin, end);
  }
}
#else
template <class Body>
void vectorized(std::int64_t begin, std::int64_t end, const Body& body) {
  body(begin, end);
}
#endif

/// Orders this thread's streamed stores (simd.hpp) before what follows.
inline void finish_streams() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

/// Runs `body(begin, end)` over [0, count) split among the threads at multiples of `step`; no thread gets fewer than
/// `grain` items, so that small work stays on the calling thread.
template <class Body>
void parallel_for(std::int64_t count, std::int64_t grain, const Body& body, std::int64_t step = 1) {
  if (count <= 0) return;
  const std::int64_t wanted = count / std::max<std::int64_t>(grain, 1);
  if (wanted <= 1 || omp_get_max_threads() == 1 || omp_in_parallel()) {
    vectorized(0, count, body);
    return finish_streams();
  }
  const std::int64_t steps = (count + step - 1) / step;
  const int threads = static_cast<int>(std::min<std::int64_t>({wanted, steps, omp_get_max_threads()}));
#pragma omp parallel num_threads(threads)
  {
    const std::int64_t team = omp_get_num_threads(), me = omp_get_thread_num();
    const std::int64_t begin = std::min(count, steps * me / team * step);
    const std::int64_t end = std::min(count, steps * (me + 1) / team * step);
    if (begin < end) vectorized(begin, end, body);
    finish_streams();
  }
}

/// How much work, in elements of a simple elementwise kernel, is worth another thread (about 10 µs).
inline constexpr std::int64_t elements_per_thread = 32768;

/// `parallel_for` over elements, split at cache lines.
template <class Body>
void parallel_elements(std::int64_t count, const Body& body) {
  parallel_for(count, elements_per_thread, body, 64);
}

/// `parallel_for` over rows of `cols` elements each.
template <class Body>
void parallel_rows(std::int64_t rows, std::int64_t cols, const Body& body) {
  parallel_for(rows, elements_per_thread / std::max<std::int64_t>(cols, 1), body);
}

}  // namespace clip::kernels::cpu
