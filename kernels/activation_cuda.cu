// One pass over memory (kernels/device/elementwise.cuh). The costliest, GELU, is about 25 instructions an element;
// where memory is the limit an H100 has time for 40 in bf16.
#include "kernels/activation.hpp"

#include "kernels/device/activation.cuh"
#include "kernels/device/elementwise.cuh"

namespace clip::kernels::cuda {
namespace {

template <Activation f>
struct Forward {
  template <int N>
  __device__ Floats<N> operator()(std::int64_t, Floats<N> x) const {
    for (int e = 0; e < N; ++e) x[e] = activation<f>(x[e]);
    return x;
  }
};

template <Activation f>
struct Backward {
  template <int N>
  __device__ Floats<N> operator()(std::int64_t, Floats<N> dy, const Floats<N>& x) const {
    for (int e = 0; e < N; ++e) dy[e] *= activation_derivative<f>(x[e]);
    return dy;
  }
};

}  // namespace

template <class T>
void activation_forward(Activation f, T* y, const T* x, std::int64_t n, Stream stream) {
  with_constant(f, [&]<Activation constant>() { elementwise("activation", stream, Forward<constant>(), n, y, x); });
}

template <class T>
void activation_backward(Activation f, T* dx, const T* dy, const T* x, std::int64_t n, Stream stream) {
  with_constant(f,
                [&]<Activation constant>() { elementwise("activation", stream, Backward<constant>(), n, dx, dy, x); });
}

template void activation_forward(Activation, float*, const float*, std::int64_t, Stream);
template void activation_forward(Activation, bf16*, const bf16*, std::int64_t, Stream);
template void activation_forward(Activation, f16*, const f16*, std::int64_t, Stream);
template void activation_backward(Activation, float*, const float*, const float*, std::int64_t, Stream);
template void activation_backward(Activation, bf16*, const bf16*, const bf16*, std::int64_t, Stream);
template void activation_backward(Activation, f16*, const f16*, const f16*, std::int64_t, Stream);

}  // namespace clip::kernels::cuda
