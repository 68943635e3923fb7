// One pass over memory (kernels/device/elementwise.cuh). Four elements share a Philox block of about 60 instructions.
#include "kernels/dropout.hpp"

#include "kernels/device/dropout.cuh"
#include "kernels/device/elementwise.cuh"

namespace clip::kernels::cuda {
namespace {

struct Drop {
  Dropped dropped;
  template <int N>
  __device__ Floats<N> operator()(std::int64_t i, Floats<N> x) const {
    dropped.apply(i, x);
    return x;
  }
};

struct DropAdd {
  Dropped dropped;
  template <int N>
  __device__ Floats<N> operator()(std::int64_t i, Floats<N> x, const Floats<N>& residual) const {
    dropped.apply(i, x);
    for (int e = 0; e < N; ++e) x[e] += residual[e];
    return x;
  }
};

}  // namespace

template <class T>
void dropout(T* y, const T* x, const DropoutMask& mask, std::int64_t n, Stream stream) {
  elementwise("dropout", stream, Drop{Dropped(mask)}, n, y, x);
}

template <class T>
void dropout_add(T* y, const T* x, const T* residual, const DropoutMask& mask, std::int64_t n, Stream stream) {
  elementwise("dropout_add", stream, DropAdd{Dropped(mask)}, n, y, x, residual);
}

template void dropout(float*, const float*, const DropoutMask&, std::int64_t, Stream);
template void dropout(bf16*, const bf16*, const DropoutMask&, std::int64_t, Stream);
template void dropout(f16*, const f16*, const DropoutMask&, std::int64_t, Stream);
template void dropout_add(float*, const float*, const float*, const DropoutMask&, std::int64_t, Stream);
template void dropout_add(bf16*, const bf16*, const bf16*, const DropoutMask&, std::int64_t, Stream);
template void dropout_add(f16*, const f16*, const f16*, const DropoutMask&, std::int64_t, Stream);

}  // namespace clip::kernels::cuda
