// One pass over memory, in which a thread has 16 bytes of columns of 4 rows, or single columns where addresses do not
// allow, and their biases in registers.
#include "kernels/epilogue.hpp"

#include "clip/core/error.hpp"
#include "kernels/device/activation.cuh"
#include "kernels/device/cells.cuh"

namespace clip::kernels::cuda {
namespace {

constexpr int rows_each = 4;

template <Activation f, int N, class T>
__global__ void __launch_bounds__(Cells::most) apply(T* y, const T* bias, Cells cells) {
  if (cells.col() >= cells.cols) return;
  const std::int64_t column = cells.col() * N, cols = cells.cols * N;
  const Floats<N> shift = bias == nullptr ? Floats<N>{} : load<N>(bias + column);
  cells.each_row<rows_each>([&](std::int64_t row) {
    T* const at = y + row * cols + column;
    auto v = load<N>(at);
    for (int e = 0; e < N; ++e) v[e] = activation<f>(v[e] + shift[e]);
    store(at, v);
  });
}

}  // namespace

template <class T>
void apply_epilogue(T* y, const T* bias, Activation activation, std::int64_t rows, std::int64_t cols, Stream stream) {
  if (bias == nullptr && activation == Activation::none) return;
  with_constant(activation, [&]<Activation f>() {
    const auto run = [&]<int N>() {
      const Cells cells(rows, cols / N, rows_each);
      launch("epilogue", cells.grid(), stream, apply<f, N, T>, y, bias, cells);
    };
    if (in_vectors<T>(cols, y, bias))
      run.template operator()<vector_of<T>>();
    else
      run.template operator()<1>();
  });
}

template <class T>
void epilogue_of_nothing(T* y, const Epilogue<T>& epilogue, std::int64_t rows, std::int64_t cols, Stream stream,
                         const char* op) {
  if (!epilogue.accumulate) {
    const cudaError_t status = cudaMemsetAsync(y, 0, static_cast<std::size_t>(rows * cols) * sizeof(T), stream);
    if (status != cudaSuccess) fail(op, "clearing the output: ", cudaGetErrorString(status));
  }
  apply_epilogue(y, epilogue.bias, epilogue.activation, rows, cols, stream);
}

template void apply_epilogue(float*, const float*, Activation, std::int64_t, std::int64_t, Stream);
template void apply_epilogue(bf16*, const bf16*, Activation, std::int64_t, std::int64_t, Stream);
template void apply_epilogue(f16*, const f16*, Activation, std::int64_t, std::int64_t, Stream);
template void epilogue_of_nothing(float*, const Epilogue<float>&, std::int64_t, std::int64_t, Stream, const char*);
template void epilogue_of_nothing(bf16*, const Epilogue<bf16>&, std::int64_t, std::int64_t, Stream, const char*);
template void epilogue_of_nothing(f16*, const Epilogue<f16>&, std::int64_t, std::int64_t, Stream, const char*);

}  // namespace clip::kernels::cuda
