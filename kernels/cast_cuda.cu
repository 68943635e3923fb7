// One pass over memory; a thread has 16 bytes of the wider of the two types.
#include "kernels/cast.hpp"

#include <limits>
#include <type_traits>

#include "kernels/device/elements.cuh"
#include "kernels/device/launch.cuh"

namespace clip::kernels::cuda {
namespace {

constexpr int threads = 256;

template <class To, class From>
__device__ To convert(From x) {
  if constexpr (std::is_integral_v<From> && std::is_integral_v<To>) {
    return static_cast<To>(x);
  } else if constexpr (std::is_integral_v<From>) {
    return round2<To>(static_cast<float>(x), 0.0f).e[0];
  } else if constexpr (std::is_integral_v<To>) {
    const auto value = static_cast<double>(widen(x));
    if (value != value) return 0;
    // the bounds as doubles that are exact, so that the comparison is: 2^63 itself does not fit
    constexpr double low = static_cast<double>(std::numeric_limits<To>::min());
    constexpr double high = static_cast<double>(std::numeric_limits<To>::max() / 2 + 1) * 2.0;
    if (value <= low) return std::numeric_limits<To>::min();
    if (value >= high) return std::numeric_limits<To>::max();
    return static_cast<To>(value);
  } else {
    return round2<To>(widen(x), 0.0f).e[0];
  }
}

template <class To, class From>
__global__ void __launch_bounds__(threads) kernel(To* y, const From* x, std::int64_t n, bool vectors) {
  constexpr int N = std::min(vector_of<To>, vector_of<From>);
  const std::int64_t first = std::int64_t{blockIdx.x} * threads * N;
  if (vectors && first + threads * N <= n) {
    const std::int64_t i = first + threadIdx.x * N;
    const auto in = load_packed<N>(x + i);
    Packed<To, N> out;
#pragma unroll
    for (int e = 0; e < N; ++e) out.e[e] = convert<To>(in.e[e]);
    store(y + i, out);
  } else {
    for (std::int64_t i = first + threadIdx.x; i < n && i < first + threads * N; i += threads) y[i] = convert<To>(x[i]);
  }
}

template <class To, class From>
void cast_to(void* y, const From* x, std::int64_t n, Stream stream) {
  auto* const to = static_cast<To*>(y);
  constexpr std::int64_t in_block = threads * std::min(vector_of<To>, vector_of<From>);
  launch("to", {(n + in_block - 1) / in_block, {threads}}, stream, kernel<To, From>, to, x, n,
         in_vectors<To>(0, to, x));
}

template <class From>
void cast_from(void* y, dtype to, const void* x, std::int64_t n, Stream stream) {
  const auto* const from = static_cast<const From*>(x);
  switch (to) {
    case dtype::f32: return cast_to<float>(y, from, n, stream);
    case dtype::bf16: return cast_to<bf16>(y, from, n, stream);
    case dtype::f16: return cast_to<f16>(y, from, n, stream);
    case dtype::i32: return cast_to<std::int32_t>(y, from, n, stream);
    case dtype::i64: return cast_to<std::int64_t>(y, from, n, stream);
    case dtype::u8: return cast_to<std::uint8_t>(y, from, n, stream);
  }
}

}  // namespace

void cast(void* y, dtype to, const void* x, dtype from, std::int64_t n, Stream stream) {
  switch (from) {
    case dtype::f32: return cast_from<float>(y, to, x, n, stream);
    case dtype::bf16: return cast_from<bf16>(y, to, x, n, stream);
    case dtype::f16: return cast_from<f16>(y, to, x, n, stream);
    case dtype::i32: return cast_from<std::int32_t>(y, to, x, n, stream);
    case dtype::i64: return cast_from<std::int64_t>(y, to, x, n, stream);
    case dtype::u8: return cast_from<std::uint8_t>(y, to, x, n, stream);
  }
}

}  // namespace clip::kernels::cuda
