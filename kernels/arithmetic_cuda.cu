// One pass over memory. Operands of one shape are an elementwise kernel (kernels/device/elementwise.cuh). Others are
// walked along the output's last dimension, 16 bytes to a thread where an operand that moves allows it; where they lie
// follows from the other dimensions' indices.
#include "kernels/arithmetic.hpp"

#include <cmath>

#include "kernels/device/elementwise.cuh"

namespace clip::kernels::cuda {
namespace {

template <Arithmetic op>
struct Operate {
  template <int N>
  __device__ Floats<N> operator()(std::int64_t, Floats<N> a, const Floats<N>& b) const {
    for (int e = 0; e < N; ++e)
      a[e] = op == Arithmetic::add   ? a[e] + b[e]
             : op == Arithmetic::sub ? a[e] - b[e]
             : op == Arithmetic::mul ? a[e] * b[e]
                                     : a[e] / b[e];
    return a;
  }
};

struct Affine {
  float scale, shift;
  template <int N>
  __device__ Floats<N> operator()(std::int64_t, Floats<N> x) const {
    for (int e = 0; e < N; ++e) x[e] = x[e] * scale + shift;
    return x;
  }
};

struct Exp {
  template <int N>
  __device__ Floats<N> operator()(std::int64_t, Floats<N> x) const {
    for (int e = 0; e < N; ++e) x[e] = expf(x[e]);
    return x;
  }
};

struct Log {
  template <int N>
  __device__ Floats<N> operator()(std::int64_t, Floats<N> x) const {
    for (int e = 0; e < N; ++e) x[e] = logf(x[e]);
    return x;
  }
};

template <int N, class T>
__device__ Floats<N> load_or_repeat(const T* p, bool repeat) {
  if (!repeat) return load<N>(p);
  Floats<N> r;
  for (int e = 0; e < N; ++e) r[e] = widen(*p);
  return r;
}

/// Each thread has N elements of the last dimension; `parts` is how many threads that takes.
template <class T, Arithmetic op, int N>
__global__ void __launch_bounds__(elementwise_threads)
    broadcast_kernel(T* y, const T* a, const T* b, Broadcast shape, std::int64_t parts, std::int64_t total) {
  const std::int64_t index = std::int64_t{blockIdx.x} * elementwise_threads + threadIdx.x;
  if (index >= total) return;
  const int last = shape.rank - 1;
  const std::int64_t column = index % parts * N;
  std::int64_t rest = index / parts, a_at = column * shape.a_stride[last], b_at = column * shape.b_stride[last];
  const std::int64_t row = rest;
  for (int d = last - 1; d >= 0; --d) {
    const std::int64_t i = rest % shape.extent[d];
    rest /= shape.extent[d];
    a_at += i * shape.a_stride[d];
    b_at += i * shape.b_stride[d];
  }
  const auto result = Operate<op>()(0, load_or_repeat<N>(a + a_at, shape.a_stride[last] == 0),
                                    load_or_repeat<N>(b + b_at, shape.b_stride[last] == 0));
  store(y + row * shape.extent[last] + column, result);
}

/// Whether 16 bytes of an operand can be read at every place: it repeats, or all its rows are aligned.
template <class T>
bool in_vectors(const T* operand, const std::array<std::int64_t, 8>& stride, int rank) {
  const auto last = static_cast<std::size_t>(rank - 1);
  if (stride[last] == 0) return true;
  bool aligned = cuda::in_vectors<T>(0, operand);
  for (std::size_t d = 0; d < last; ++d) aligned = aligned && stride[d] % vector_of<T> == 0;
  return aligned;
}

template <Arithmetic op, class T>
void broadcast(T* y, const T* a, const T* b, const Broadcast& given, Stream stream) {
  Broadcast shape = given;
  if (shape.rank == 0) shape.extent[0] = shape.rank = 1;
  const auto last = static_cast<std::size_t>(shape.rank - 1);
  std::int64_t rows = 1;
  for (std::size_t d = 0; d < last; ++d) rows *= shape.extent[d];
  if (shape.rank == 1 && shape.a_stride[0] == 1 && shape.b_stride[0] == 1)
    return elementwise("arithmetic", stream, Operate<op>(), shape.extent[0], y, a, b);
  const auto run = [&]<int N>() {
    const std::int64_t parts = shape.extent[last] / N, total = rows * parts;
    launch("arithmetic", {(total + elementwise_threads - 1) / elementwise_threads, {elementwise_threads}}, stream,
           broadcast_kernel<T, op, N>, y, a, b, shape, parts, total);
  };
  if (cuda::in_vectors<T>(shape.extent[last], y) && in_vectors(a, shape.a_stride, shape.rank) &&
      in_vectors(b, shape.b_stride, shape.rank))
    run.template operator()<vector_of<T>>();
  else
    run.template operator()<1>();
}

}  // namespace

template <class T>
void arithmetic(Arithmetic op, T* y, const T* a, const T* b, const Broadcast& shape, Stream stream) {
  switch (op) {
    case Arithmetic::add: return broadcast<Arithmetic::add>(y, a, b, shape, stream);
    case Arithmetic::sub: return broadcast<Arithmetic::sub>(y, a, b, shape, stream);
    case Arithmetic::mul: return broadcast<Arithmetic::mul>(y, a, b, shape, stream);
    case Arithmetic::div: return broadcast<Arithmetic::div>(y, a, b, shape, stream);
  }
}

template <class T>
void add(T* y, const T* a, const T* b, std::int64_t n, Stream stream) {
  elementwise("add", stream, Operate<Arithmetic::add>(), n, y, a, b);
}
template <class T>
void affine(T* y, const T* x, float scale, float shift, std::int64_t n, Stream stream) {
  elementwise("affine", stream, Affine{scale, shift}, n, y, x);
}
template <class T>
void exp(T* y, const T* x, std::int64_t n, Stream stream) {
  elementwise("exp", stream, Exp(), n, y, x);
}
template <class T>
void log(T* y, const T* x, std::int64_t n, Stream stream) {
  elementwise("log", stream, Log(), n, y, x);
}

template void arithmetic(Arithmetic, float*, const float*, const float*, const Broadcast&, Stream);
template void arithmetic(Arithmetic, bf16*, const bf16*, const bf16*, const Broadcast&, Stream);
template void arithmetic(Arithmetic, f16*, const f16*, const f16*, const Broadcast&, Stream);
template void add(float*, const float*, const float*, std::int64_t, Stream);
template void add(bf16*, const bf16*, const bf16*, std::int64_t, Stream);
template void add(f16*, const f16*, const f16*, std::int64_t, Stream);
template void affine(float*, const float*, float, float, std::int64_t, Stream);
template void affine(bf16*, const bf16*, float, float, std::int64_t, Stream);
template void affine(f16*, const f16*, float, float, std::int64_t, Stream);
template void exp(float*, const float*, std::int64_t, Stream);
template void exp(bf16*, const bf16*, std::int64_t, Stream);
template void exp(f16*, const f16*, std::int64_t, Stream);
template void log(float*, const float*, std::int64_t, Stream);
template void log(bf16*, const bf16*, std::int64_t, Stream);
template void log(f16*, const f16*, std::int64_t, Stream);

}  // namespace clip::kernels::cuda
