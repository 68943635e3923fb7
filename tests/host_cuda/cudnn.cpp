#include "tests/host_cuda/cudnn.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "tests/host_cuda/elements.hpp"

using namespace clip;

struct cudnnContext {
  cudaStream_t stream;
};
struct cudnnTensor {
  cudnnDataType_t type;
  std::int64_t n, c, h, w;
  std::int64_t size() const { return n * c * h * w; }
};
struct cudnnFilter : cudnnTensor {};  // n: output channels
struct cudnnConvolution {
  std::int64_t pad_h, pad_w, stride_h, stride_w;
  cudnnMathType_t math = CUDNN_DEFAULT_MATH;
};
struct cudnnActivation {
  cudnnActivationMode_t mode;
};

namespace {

dtype type_of(const cudnnTensor& t) {
  return t.type == CUDNN_DATA_FLOAT ? dtype::f32 : t.type == CUDNN_DATA_BFLOAT16 ? dtype::bf16 : dtype::f16;
}

bool aligned(const void* p) { return p != nullptr && reinterpret_cast<std::uintptr_t>(p) % 16 == 0; }

std::vector<double> read_all(const cudnnTensor& t, const void* data) {
  std::vector<double> all(static_cast<std::size_t>(t.size()));
  for (std::int64_t i = 0; i < t.size(); ++i) all[static_cast<std::size_t>(i)] = host_cuda::read(data, type_of(t), i);
  return all;
}

std::int64_t extent_after(std::int64_t in, std::int64_t kernel, std::int64_t padding, std::int64_t stride) {
  return (in + 2 * padding - kernel) / stride + 1;
}

bool fits(const cudnnTensor& x, const cudnnFilter& w, const cudnnConvolution& how, const cudnnTensor& y) {
  return x.n == y.n && x.c == w.c && y.c == w.n && y.h == extent_after(x.h, w.h, how.pad_h, how.stride_h) &&
         y.w == extent_after(x.w, w.w, how.pad_w, how.stride_w) && x.size() > 0 && w.size() > 0 && y.size() > 0 &&
         x.type == y.type && x.type == w.type;
}

/// f(where a pixel of y begins, where one of its window in x does, and, within an output channel, where its weights
/// do), for all that lie in the image.
template <class F>
void for_each_pair(const cudnnTensor& x, const cudnnFilter& w, const cudnnConvolution& how, const cudnnTensor& y,
                   const F& f) {
  for (std::int64_t n = 0; n < y.n; ++n)
    for (std::int64_t i = 0; i < y.h; ++i)
      for (std::int64_t j = 0; j < y.w; ++j)
        for (std::int64_t p = 0; p < w.h; ++p)
          for (std::int64_t q = 0; q < w.w; ++q) {
            const std::int64_t row = i * how.stride_h + p - how.pad_h, col = j * how.stride_w + q - how.pad_w;
            if (row >= 0 && row < x.h && col >= 0 && col < x.w)
              f(((n * y.h + i) * y.w + j) * y.c, ((n * x.h + row) * x.w + col) * x.c, (p * w.w + q) * w.c);
          }
}

std::size_t scratch_of(const cudnnTensor& y) { return static_cast<std::size_t>(100 * y.h + 7); }

/// Ranked, but refused when it is to run.
constexpr int refused = 2;

/// What a ranking begins with: a failure, what varies from run to run, TF32, and what is refused later.
template <class Algorithm>
cudnnStatus_t rank(cudnnRanked<Algorithm>* ranked, int wanted, int* found, Algorithm good, const cudnnTensor& y,
                   bool fits) {
  if (!fits || wanted < 6) return CUDNN_STATUS_BAD_PARAM;
  const auto bad = static_cast<Algorithm>(0), later = static_cast<Algorithm>(refused);
  const std::size_t bytes = scratch_of(y);
  ranked[0] = {bad, CUDNN_STATUS_NOT_SUPPORTED, 0, CUDNN_DETERMINISTIC, CUDNN_FMA_MATH};
  ranked[1] = {bad, CUDNN_STATUS_SUCCESS, 0, CUDNN_NON_DETERMINISTIC, CUDNN_FMA_MATH};
  ranked[2] = {later, CUDNN_STATUS_SUCCESS, 1, CUDNN_DETERMINISTIC, CUDNN_TENSOR_OP_MATH};
  ranked[3] = {later, CUDNN_STATUS_SUCCESS, 1, CUDNN_DETERMINISTIC, CUDNN_FMA_MATH};
  ranked[4] = {good, CUDNN_STATUS_SUCCESS, bytes, CUDNN_DETERMINISTIC, CUDNN_TENSOR_OP_MATH};
  ranked[5] = {good, CUDNN_STATUS_SUCCESS, bytes, CUDNN_DETERMINISTIC, CUDNN_FMA_MATH};
  *found = 6;
  return CUDNN_STATUS_SUCCESS;
}

/// Whether a call is as it was planned.
template <class Algorithm>
bool planned(const cudnnTensor& x, const cudnnFilter& w, const cudnnConvolution& how, const cudnnTensor& y,
             Algorithm algorithm, std::size_t bytes) {
  const bool right_math = how.math == (x.type == CUDNN_DATA_FLOAT ? CUDNN_FMA_MATH : CUDNN_TENSOR_OP_MATH);
  return fits(x, w, how, y) && static_cast<int>(algorithm) == 1 && right_math && bytes >= scratch_of(y);
}

/// Puts a convolution into the stream, which also writes to its scratch memory.
template <class Work>
cudnnStatus_t submit(cudnnHandle_t handle, void* workspace, const cudnnTensor& y, const Work& work) {
  host_cuda::submit(handle->stream, [=, bytes = scratch_of(y)] {
    std::memset(workspace, 0xff, bytes);
    work();
  });
  return CUDNN_STATUS_SUCCESS;
}

void convolve(float alpha, const cudnnTensor& x, const void* x_data, const cudnnFilter& w, const void* w_data,
              const cudnnConvolution& how, float beta, const cudnnTensor& y, void* y_data, const void* bias,
              bool relu) {
  const std::vector<double> image = read_all(x, x_data), weights = read_all(w, w_data);
  // [window, in, out], so that sums of all output channels grow together
  std::vector<double> turned(weights.size());
  const std::int64_t window = w.h * w.w * w.c;
  for (std::int64_t o = 0; o < w.n; ++o)
    for (std::int64_t i = 0; i < window; ++i)
      turned[static_cast<std::size_t>(i * w.n + o)] = weights[static_cast<std::size_t>(o * window + i)];
  std::vector<double> sums(static_cast<std::size_t>(y.size()));
  for_each_pair(x, w, how, y, [&](std::int64_t y_at, std::int64_t x_at, std::int64_t w_at) {
    for (std::int64_t c = 0; c < x.c; ++c)
      host_cuda::add_row(sums.data() + y_at, image[static_cast<std::size_t>(x_at + c)],
                         turned.data() + (w_at + c) * w.n, w.n);
  });
  for (std::int64_t i = 0; i < y.size(); ++i) {
    double value = static_cast<double>(alpha) * sums[static_cast<std::size_t>(i)];
    if (beta != 0) value += static_cast<double>(beta) * host_cuda::read(y_data, type_of(y), i);
    if (bias != nullptr) value += host_cuda::read(bias, type_of(y), i % y.c);
    host_cuda::write(y_data, type_of(y), i, relu ? std::max(value, 0.0) : value);
  }
}

void differentiate_by_images(const cudnnFilter& w, const void* w_data, const cudnnTensor& dy, const void* dy_data,
                             const cudnnConvolution& how, const cudnnTensor& dx, void* dx_data) {
  const std::vector<double> slope = read_all(dy, dy_data), weights = read_all(w, w_data);
  std::vector<double> sums(static_cast<std::size_t>(dx.size()));
  const std::int64_t window = w.h * w.w * w.c;
  for_each_pair(dx, w, how, dy, [&](std::int64_t y_at, std::int64_t x_at, std::int64_t w_at) {
    for (std::int64_t o = 0; o < dy.c; ++o)
      host_cuda::add_row(sums.data() + x_at, slope[static_cast<std::size_t>(y_at + o)],
                         weights.data() + o * window + w_at, dx.c);
  });
  for (std::int64_t i = 0; i < dx.size(); ++i)
    host_cuda::write(dx_data, type_of(dx), i, sums[static_cast<std::size_t>(i)]);
}

void differentiate_by_weights(const cudnnTensor& x, const void* x_data, const cudnnTensor& dy, const void* dy_data,
                              const cudnnConvolution& how, const cudnnFilter& dw, void* dw_data) {
  const std::vector<double> slope = read_all(dy, dy_data), image = read_all(x, x_data);
  std::vector<double> sums(static_cast<std::size_t>(dw.size()));
  const std::int64_t window = dw.h * dw.w * dw.c;
  for_each_pair(x, dw, how, dy, [&](std::int64_t y_at, std::int64_t x_at, std::int64_t w_at) {
    for (std::int64_t o = 0; o < dy.c; ++o)
      host_cuda::add_row(sums.data() + o * window + w_at, slope[static_cast<std::size_t>(y_at + o)],
                         image.data() + x_at, x.c);
  });
  for (std::int64_t i = 0; i < dw.size(); ++i)
    host_cuda::write(dw_data, type_of(dw), i, sums[static_cast<std::size_t>(i)]);
}

float factor(const void* p) { return *static_cast<const float*>(p); }

}  // namespace

const char* cudnnGetErrorString(cudnnStatus_t status) {
  return status == CUDNN_STATUS_SUCCESS         ? "success"
         : status == CUDNN_STATUS_NOT_SUPPORTED ? "not supported"
                                                : "bad parameter";
}

cudnnStatus_t cudnnCreate(cudnnHandle_t* handle) {
  *handle = new cudnnContext{};
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnDestroy(cudnnHandle_t handle) {
  delete handle;
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream) {
  handle->stream = stream;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnCreateTensorDescriptor(cudnnTensorDescriptor_t* t) {
  *t = new cudnnTensor{};
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnDestroyTensorDescriptor(cudnnTensorDescriptor_t t) {
  delete t;
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnSetTensor4dDescriptor(cudnnTensorDescriptor_t t, cudnnTensorFormat_t format, cudnnDataType_t type,
                                         int n, int c, int h, int w) {
  *t = {type, n, c, h, w};
  return format == CUDNN_TENSOR_NHWC ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_NOT_SUPPORTED;
}
cudnnStatus_t cudnnCreateFilterDescriptor(cudnnFilterDescriptor_t* w) {
  *w = new cudnnFilter{};
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnDestroyFilterDescriptor(cudnnFilterDescriptor_t w) {
  delete w;
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnSetFilter4dDescriptor(cudnnFilterDescriptor_t w, cudnnDataType_t type, cudnnTensorFormat_t format,
                                         int k, int c, int h, int width) {
  *w = {{type, k, c, h, width}};
  return format == CUDNN_TENSOR_NHWC ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_NOT_SUPPORTED;
}
cudnnStatus_t cudnnCreateConvolutionDescriptor(cudnnConvolutionDescriptor_t* how) {
  *how = new cudnnConvolution{};
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnDestroyConvolutionDescriptor(cudnnConvolutionDescriptor_t how) {
  delete how;
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnSetConvolution2dDescriptor(cudnnConvolutionDescriptor_t how, int pad_h, int pad_w, int stride_h,
                                              int stride_w, int dilation_h, int dilation_w, cudnnConvolutionMode_t mode,
                                              cudnnDataType_t compute) {
  *how = {pad_h, pad_w, stride_h, stride_w, CUDNN_DEFAULT_MATH};
  const bool ours =
      dilation_h == 1 && dilation_w == 1 && mode == CUDNN_CROSS_CORRELATION && compute == CUDNN_DATA_FLOAT;
  return ours ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_NOT_SUPPORTED;
}
cudnnStatus_t cudnnSetConvolutionMathType(cudnnConvolutionDescriptor_t how, cudnnMathType_t math) {
  how->math = math;
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnCreateActivationDescriptor(cudnnActivationDescriptor_t* activation) {
  *activation = new cudnnActivation{};
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnDestroyActivationDescriptor(cudnnActivationDescriptor_t activation) {
  delete activation;
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnSetActivationDescriptor(cudnnActivationDescriptor_t activation, cudnnActivationMode_t mode,
                                           cudnnNanPropagation_t nan, double) {
  if (nan != CUDNN_PROPAGATE_NAN) return CUDNN_STATUS_BAD_PARAM;  // as the CPU's ReLU does
  activation->mode = mode;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnGetConvolutionForwardAlgorithm_v7(cudnnHandle_t, cudnnTensorDescriptor_t x,
                                                     cudnnFilterDescriptor_t w, cudnnConvolutionDescriptor_t how,
                                                     cudnnTensorDescriptor_t y, int wanted, int* found,
                                                     cudnnConvolutionFwdAlgoPerf_t* ranked) {
  return rank(ranked, wanted, found, CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM, *y, fits(*x, *w, *how, *y));
}
cudnnStatus_t cudnnGetConvolutionForwardWorkspaceSize(cudnnHandle_t, cudnnTensorDescriptor_t, cudnnFilterDescriptor_t,
                                                      cudnnConvolutionDescriptor_t, cudnnTensorDescriptor_t y,
                                                      cudnnConvolutionFwdAlgo_t, std::size_t* bytes) {
  *bytes = scratch_of(*y);
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnConvolutionForward(cudnnHandle_t handle, const void* alpha, cudnnTensorDescriptor_t x,
                                      const void* x_data, cudnnFilterDescriptor_t w, const void* w_data,
                                      cudnnConvolutionDescriptor_t how, cudnnConvolutionFwdAlgo_t algorithm,
                                      void* workspace, std::size_t bytes, const void* beta, cudnnTensorDescriptor_t y,
                                      void* y_data) {
  if (algorithm == refused) return CUDNN_STATUS_NOT_SUPPORTED;
  if (!aligned(x_data) || !aligned(w_data) || !aligned(y_data) || !planned(*x, *w, *how, *y, algorithm, bytes))
    return CUDNN_STATUS_BAD_PARAM;
  return submit(handle, workspace, *y,
                [=, x = *x, w = *w, how = *how, y = *y, scale = factor(alpha), before = factor(beta)] {
                  convolve(scale, x, x_data, w, w_data, how, before, y, y_data, nullptr, false);
                });
}
cudnnStatus_t cudnnConvolutionBiasActivationForward(
    cudnnHandle_t handle, const void* alpha, cudnnTensorDescriptor_t x, const void* x_data, cudnnFilterDescriptor_t w,
    const void* w_data, cudnnConvolutionDescriptor_t how, cudnnConvolutionFwdAlgo_t algorithm, void* workspace,
    std::size_t bytes, const void* beta, cudnnTensorDescriptor_t z, const void* z_data, cudnnTensorDescriptor_t bias,
    const void* bias_data, cudnnActivationDescriptor_t activation, cudnnTensorDescriptor_t y, void* y_data) {
  if (y->c % 3 == 0) return CUDNN_STATUS_NOT_SUPPORTED;
  if (!aligned(x_data) || !aligned(w_data) || !aligned(y_data) || !aligned(bias_data) || z_data != y_data ||
      z->size() != y->size() || bias->c != y->c || bias->size() != y->c || !planned(*x, *w, *how, *y, algorithm, bytes))
    return CUDNN_STATUS_BAD_PARAM;
  return submit(handle, workspace, *y,
                [=, x = *x, w = *w, how = *how, y = *y, scale = factor(alpha), before = factor(beta),
                 relu = activation->mode == CUDNN_ACTIVATION_RELU] {
                  convolve(scale, x, x_data, w, w_data, how, before, y, y_data, bias_data, relu);
                });
}

cudnnStatus_t cudnnGetConvolutionBackwardDataAlgorithm_v7(cudnnHandle_t, cudnnFilterDescriptor_t w,
                                                          cudnnTensorDescriptor_t dy, cudnnConvolutionDescriptor_t how,
                                                          cudnnTensorDescriptor_t dx, int wanted, int* found,
                                                          cudnnConvolutionBwdDataAlgoPerf_t* ranked) {
  return rank(ranked, wanted, found, CUDNN_CONVOLUTION_BWD_DATA_ALGO_1, *dy, fits(*dx, *w, *how, *dy));
}
cudnnStatus_t cudnnConvolutionBackwardData(cudnnHandle_t handle, const void*, cudnnFilterDescriptor_t w,
                                           const void* w_data, cudnnTensorDescriptor_t dy, const void* dy_data,
                                           cudnnConvolutionDescriptor_t how, cudnnConvolutionBwdDataAlgo_t algorithm,
                                           void* workspace, std::size_t bytes, const void*, cudnnTensorDescriptor_t dx,
                                           void* dx_data) {
  if (algorithm == refused) return CUDNN_STATUS_NOT_SUPPORTED;
  if (!aligned(dx_data) || !aligned(w_data) || !aligned(dy_data) || !planned(*dx, *w, *how, *dy, algorithm, bytes))
    return CUDNN_STATUS_BAD_PARAM;
  return submit(handle, workspace, *dy, [=, w = *w, dy = *dy, how = *how, dx = *dx] {
    differentiate_by_images(w, w_data, dy, dy_data, how, dx, dx_data);
  });
}

cudnnStatus_t cudnnGetConvolutionBackwardFilterAlgorithm_v7(cudnnHandle_t, cudnnTensorDescriptor_t x,
                                                            cudnnTensorDescriptor_t dy,
                                                            cudnnConvolutionDescriptor_t how,
                                                            cudnnFilterDescriptor_t dw, int wanted, int* found,
                                                            cudnnConvolutionBwdFilterAlgoPerf_t* ranked) {
  return rank(ranked, wanted, found, CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1, *dy, fits(*x, *dw, *how, *dy));
}
cudnnStatus_t cudnnConvolutionBackwardFilter(cudnnHandle_t handle, const void*, cudnnTensorDescriptor_t x,
                                             const void* x_data, cudnnTensorDescriptor_t dy, const void* dy_data,
                                             cudnnConvolutionDescriptor_t how,
                                             cudnnConvolutionBwdFilterAlgo_t algorithm, void* workspace,
                                             std::size_t bytes, const void*, cudnnFilterDescriptor_t dw,
                                             void* dw_data) {
  if (algorithm == refused) return CUDNN_STATUS_NOT_SUPPORTED;
  if (!aligned(x_data) || !aligned(dw_data) || !aligned(dy_data) || !planned(*x, *dw, *how, *dy, algorithm, bytes))
    return CUDNN_STATUS_BAD_PARAM;
  return submit(handle, workspace, *dy, [=, x = *x, dy = *dy, how = *how, dw = *dw] {
    differentiate_by_weights(x, x_data, dy, dy_data, how, dw, dw_data);
  });
}
