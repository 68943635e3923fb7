// Convolutions through cuDNN's convolution functions, which its documentation calls legacy; they have all that is
// needed here, in a tenth of the lines its graphs take. Images and weights are NHWC to it: weights [out, kernel_h,
// kernel_w, in].
//
// What cuDNN's ranking puts first is taken, among what gives the same result in every run: nothing is tried out, but an
// algorithm that it refuses when it is to run gives way to the next. What was taken is kept by shape, type and
// epilogue.
#include "kernels/conv2d.hpp"

#include <cudnn.h>

#include <array>
#include <limits>
#include <map>
#include <mutex>
#include <vector>

#include "clip/core/error.hpp"
#include "kernels/device/workspace.cuh"

namespace clip::kernels::cuda {
namespace {

static_assert(CUDNN_MAJOR >= 9, "cuDNN 9's status codes are used");

constexpr const char* op = "conv2d";

void call(cudnnStatus_t status, const char* what) {
  if (status != CUDNN_STATUS_SUCCESS) fail(op, "cuDNN, ", what, ": ", cudnnGetErrorString(status));
}

bool unsupported(cudnnStatus_t status) {
  return status >= CUDNN_STATUS_NOT_SUPPORTED && status < CUDNN_STATUS_INTERNAL_ERROR;
}

template <class T>
constexpr cudnnDataType_t type_of = dtype_of<T> == dtype::f32    ? CUDNN_DATA_FLOAT
                                    : dtype_of<T> == dtype::bf16 ? CUDNN_DATA_BFLOAT16
                                                                 : CUDNN_DATA_HALF;

int narrow(std::int64_t extent) {
  check(extent <= std::numeric_limits<int>::max(), op, "expected extents below 2^31 on the GPU, got ", extent);
  return static_cast<int>(extent);
}

/// What cuDNN makes and wants back: its library handle, and descriptors.
template <class Handle, auto create, auto destroy>
class Owned {
 public:
  Owned() { call(create(&handle_), "making a handle or a descriptor"); }
  ~Owned() { destroy(handle_); }
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;
  operator Handle() const { return handle_; }

 private:
  Handle handle_ = nullptr;
};
using Library = Owned<cudnnHandle_t, cudnnCreate, cudnnDestroy>;
using Tensor4d = Owned<cudnnTensorDescriptor_t, cudnnCreateTensorDescriptor, cudnnDestroyTensorDescriptor>;
using Filter = Owned<cudnnFilterDescriptor_t, cudnnCreateFilterDescriptor, cudnnDestroyFilterDescriptor>;
using How = Owned<cudnnConvolutionDescriptor_t, cudnnCreateConvolutionDescriptor, cudnnDestroyConvolutionDescriptor>;
using Function = Owned<cudnnActivationDescriptor_t, cudnnCreateActivationDescriptor, cudnnDestroyActivationDescriptor>;

/// One of cuDNN's algorithms.
struct Choice {
  int algorithm;
  cudnnMathType_t math;
  std::size_t workspace;
};

/// A convolution as cuDNN knows it; its gradients are described by the same.
struct Plan {
  Tensor4d x, y, bias;
  Filter w;
  How how;
  Function activation;
  cudnnMathType_t math;         // f32 is multiplied in full: the default would be TF32
  std::vector<Choice> choices;  // the best first
  bool fused = false;           // with bias, what y held, and activation

  Plan(const Conv2dShape& s, cudnnDataType_t type, Activation fused_activation)
      : math(type == CUDNN_DATA_FLOAT ? CUDNN_FMA_MATH : CUDNN_TENSOR_OP_MATH) {
    const int out = narrow(s.out), in = narrow(s.in);
    const auto describe = [&](const Tensor4d& t, int n, int c, std::int64_t h, std::int64_t width) {
      const double numbers = 1.0 * n * c * static_cast<double>(h) * static_cast<double>(width);
      check(numbers < 2147483648.0, op, "expected images of fewer than 2^31 numbers on the GPU, got ", n, " x ", h,
            " x ", width, " x ", c, ": use smaller batches");
      call(cudnnSetTensor4dDescriptor(t, CUDNN_TENSOR_NHWC, type, n, c, narrow(h), narrow(width)), "describing images");
    };
    describe(x, narrow(s.n), in, s.h, s.w);
    describe(y, narrow(s.n), out, s.out_h(), s.out_w());
    describe(bias, 1, out, 1, 1);
    call(cudnnSetFilter4dDescriptor(w, type, CUDNN_TENSOR_NHWC, out, in, narrow(s.kernel_h), narrow(s.kernel_w)),
         "describing weights");
    const int stride = narrow(s.stride), padding = narrow(s.padding);
    call(cudnnSetConvolution2dDescriptor(how, padding, padding, stride, stride, 1, 1, CUDNN_CROSS_CORRELATION,
                                         CUDNN_DATA_FLOAT),
         "describing a convolution");
    call(cudnnSetConvolutionMathType(how, math), "describing a convolution");
    call(cudnnSetActivationDescriptor(
             activation, fused_activation == Activation::relu ? CUDNN_ACTIVATION_RELU : CUDNN_ACTIVATION_IDENTITY,
             CUDNN_PROPAGATE_NAN, 0),
         "describing an activation");
  }
};

/// An operand where cuDNN may read it 16 bytes at a time: where it is, or a copy for the time of a call.
template <class T>
class Aligned {
 public:
  Aligned(const T* p, std::int64_t count, Stream stream, bool read = true)
      : data_(const_cast<T*>(p)), bytes_(static_cast<std::size_t>(count) * sizeof(T)), stream_(stream) {
    if (p == nullptr || alignment_of(p) >= 16) return;
    if (const cudaError_t status = cudaMallocAsync(&copy_, bytes_, stream_); status != cudaSuccess) {
      cudaGetLastError();  // must not surface in the next call
      fail(op, "allocating ", bytes_, " bytes for a copy of a misaligned operand: ", cudaGetErrorString(status),
           ": use smaller batches, or operands at multiples of 16 bytes");
    }
    data_ = static_cast<T*>(copy_);
    if (read) call(cudaMemcpyAsync(copy_, p, bytes_, cudaMemcpyDefault, stream_), "copying a misaligned operand");
  }
  ~Aligned() {
    if (copy_ != nullptr) cudaFreeAsync(copy_, stream_);
  }
  Aligned(const Aligned&) = delete;
  Aligned& operator=(const Aligned&) = delete;
  T* data() const { return data_; }
  /// Copies what was written to `data()` to where it belongs.
  void store(T* p) const {
    if (copy_ != nullptr)
      call(cudaMemcpyAsync(p, copy_, bytes_, cudaMemcpyDefault, stream_), "copying a misaligned result");
  }

 private:
  static void call(cudaError_t status, const char* what) {
    if (status != cudaSuccess) fail(op, what, ": ", cudaGetErrorString(status));
  }
  T* data_;
  void* copy_ = nullptr;
  std::size_t bytes_;
  Stream stream_;
};

}  // namespace

class ConvolutionPlans {
 public:
  explicit ConvolutionPlans(Stream given) : stream(given), workspace_(given) {
    call(cudnnSetStream(handle_, stream), "starting");
  }

  template <class T>
  void forward(T* y, const T* x, const T* w, const Conv2dShape& s, const Epilogue<T>& epilogue) {
    const bool known = epilogue.activation == Activation::none || epilogue.activation == Activation::relu;
    const std::lock_guard lock(mutex_);
    Plan& plan = find_or_make<T>(Direction::forward, s, epilogue.bias != nullptr, epilogue.activation, [&](Plan& made) {
      made.fused = epilogue.bias != nullptr && known && choose_fused(made);
      if (!made.fused) choose_forward(made, s);
    });
    const float one = 1, before = epilogue.accumulate ? 1 : 0;
    if (plan.fused) {
      const std::size_t workspace = plan.choices.front().workspace;
      const cudnnStatus_t status = cudnnConvolutionBiasActivationForward(
          handle_, &one, plan.x, x, plan.w, w, plan.how, fusing, workspace_.get(workspace, op), workspace, &before,
          plan.y, y, plan.bias, epilogue.bias, plan.activation, plan.y, y);
      if (!unsupported(status)) return call(status, "convolving");
      choose_forward(plan, s);
      plan.fused = false;
    }
    run(plan, "convolving", [&](int algorithm, void* workspace, std::size_t bytes) {
      return cudnnConvolutionForward(handle_, &one, plan.x, x, plan.w, w, plan.how,
                                     static_cast<cudnnConvolutionFwdAlgo_t>(algorithm), workspace, bytes, &before,
                                     plan.y, y);
    });
    apply_epilogue(y, epilogue.bias, epilogue.activation, s.y_size() / s.out, s.out, stream);
  }

  template <class T>
  void backward_data(T* dx, const T* dy, const T* w, const Conv2dShape& s) {
    const std::lock_guard lock(mutex_);
    Plan& plan = find_or_make<T>(Direction::data, s, false, Activation::none, [&](Plan& made) {
      std::array<cudnnConvolutionBwdDataAlgoPerf_t, most_ranked> ranked;
      int count = 0;
      call(cudnnGetConvolutionBackwardDataAlgorithm_v7(handle_, made.w, made.y, made.how, made.x, most_ranked, &count,
                                                       ranked.data()),
           "ranking algorithms");
      choose(made, s, ranked, count);
    });
    const float one = 1, zero = 0;
    run(plan, "convolving backward", [&](int algorithm, void* workspace, std::size_t bytes) {
      return cudnnConvolutionBackwardData(handle_, &one, plan.w, w, plan.y, dy, plan.how,
                                          static_cast<cudnnConvolutionBwdDataAlgo_t>(algorithm), workspace, bytes,
                                          &zero, plan.x, dx);
    });
  }

  template <class T>
  void backward_weights(T* dw, const T* dy, const T* x, const Conv2dShape& s) {
    const std::lock_guard lock(mutex_);
    Plan& plan = find_or_make<T>(Direction::weights, s, false, Activation::none, [&](Plan& made) {
      std::array<cudnnConvolutionBwdFilterAlgoPerf_t, most_ranked> ranked;
      int count = 0;
      call(cudnnGetConvolutionBackwardFilterAlgorithm_v7(handle_, made.x, made.y, made.how, made.w, most_ranked, &count,
                                                         ranked.data()),
           "ranking algorithms");
      choose(made, s, ranked, count);
    });
    const float one = 1, zero = 0;
    run(plan, "convolving backward", [&](int algorithm, void* workspace, std::size_t bytes) {
      return cudnnConvolutionBackwardFilter(handle_, &one, plan.x, x, plan.y, dy, plan.how,
                                            static_cast<cudnnConvolutionBwdFilterAlgo_t>(algorithm), workspace, bytes,
                                            &zero, plan.w, dw);
    });
  }

  const Stream stream;

 private:
  enum class Direction { forward, data, weights };
  using Key = std::array<std::int64_t, 13>;
  static constexpr std::size_t most_plans = 1024;
  static constexpr std::size_t most_workspace = std::size_t{1} << 30;
  static constexpr std::size_t most_ranked = 16;  // 8 algorithms, with and without tensor cores
  /// The one algorithm that every epilogue can be fused with.
  static constexpr auto fusing = CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM;

  template <class T, class Make>
  Plan& find_or_make(Direction direction, const Conv2dShape& s, bool bias, Activation activation, const Make& make) {
    const Key key{static_cast<std::int64_t>(dtype_of<T>),
                  static_cast<std::int64_t>(direction),
                  s.n,
                  s.h,
                  s.w,
                  s.in,
                  s.out,
                  s.kernel_h,
                  s.kernel_w,
                  s.stride,
                  s.padding,
                  bias,
                  static_cast<std::int64_t>(activation)};
    if (const auto found = plans_.find(key); found != plans_.end()) return found->second;
    if (plans_.size() >= most_plans) plans_.clear();
    Plan& plan = plans_.try_emplace(key, s, type_of<T>, activation).first->second;
    try {
      make(plan);
    } catch (...) {
      plans_.erase(key);
      throw;
    }
    return plan;
  }

  /// Takes those of cuDNN's ranking that may be used.
  template <class Ranked>
  void choose(Plan& plan, const Conv2dShape& s, const std::array<Ranked, most_ranked>& ranked, int count) {
    const bool in_full = plan.math == CUDNN_FMA_MATH;
    plan.choices.clear();
    for (int i = 0; i < count; ++i) {
      const auto& each = ranked[static_cast<std::size_t>(i)];
      const bool tensor_cores =
          each.mathType == CUDNN_TENSOR_OP_MATH || each.mathType == CUDNN_TENSOR_OP_MATH_ALLOW_CONVERSION;
      if (each.status == CUDNN_STATUS_SUCCESS && each.determinism == CUDNN_DETERMINISTIC &&
          each.memory <= most_workspace && !(in_full && tensor_cores))
        plan.choices.push_back({static_cast<int>(each.algo), in_full ? plan.math : each.mathType, each.memory});
    }
    if (plan.choices.empty())
      fail(op, "expected cuDNN to have an algorithm for images ", s.n, " x ", s.h, " x ", s.w, " x ", s.in,
           " and weights ", s.out, " x ", s.kernel_h, " x ", s.kernel_w, ", stride ", s.stride, ", padding ", s.padding,
           ", got none");
  }

  /// work(algorithm, scratch memory, how much of it), which is cuDNN's answer, with the first choice that it takes.
  template <class Work>
  void run(Plan& plan, const char* what, const Work& work) {
    for (;;) {
      const Choice now = plan.choices.front();
      call(cudnnSetConvolutionMathType(plan.how, now.math), "describing a convolution");
      const cudnnStatus_t status = work(now.algorithm, workspace_.get(now.workspace, op), now.workspace);
      if (!unsupported(status) || plan.choices.size() == 1) return call(status, what);
      plan.choices.erase(plan.choices.begin());
    }
  }

  void choose_forward(Plan& plan, const Conv2dShape& s) {
    std::array<cudnnConvolutionFwdAlgoPerf_t, most_ranked> ranked;
    int count = 0;
    call(cudnnGetConvolutionForwardAlgorithm_v7(handle_, plan.x, plan.w, plan.how, plan.y, most_ranked, &count,
                                                ranked.data()),
         "ranking algorithms");
    choose(plan, s, ranked, count);
  }

  /// Whether the fused convolution may exist; it may yet be refused when it is to run.
  bool choose_fused(Plan& plan) {
    std::size_t workspace = 0;
    const cudnnStatus_t status =
        cudnnGetConvolutionForwardWorkspaceSize(handle_, plan.x, plan.w, plan.how, plan.y, fusing, &workspace);
    if (!unsupported(status)) call(status, "measuring scratch memory");
    plan.choices = {{static_cast<int>(fusing), plan.math, workspace}};
    return status == CUDNN_STATUS_SUCCESS;
  }

  Workspace workspace_;
  Library handle_;
  std::map<Key, Plan> plans_;
  std::mutex mutex_;
};

std::shared_ptr<void> make_convolution_plans(void* stream) {
  return std::make_shared<ConvolutionPlans>(static_cast<Stream>(stream));
}

namespace {

template <class T>
void clear(T* y, std::int64_t n, Stream stream) {
  if (n > 0) epilogue_of_nothing<T>(y, {}, 1, n, stream, op);
}

}  // namespace

template <class T>
void conv2d_forward(T* y, const T* x, const T* w, const Conv2dShape& s, const Epilogue<T>& epilogue,
                    ConvolutionPlans& plans) {
  if (s.y_size() == 0) return;
  if (s.x_size() == 0 || s.w_size() == 0)  // nothing to sum
    return epilogue_of_nothing(y, epilogue, s.y_size() / s.out, s.out, plans.stream, op);
  const Aligned<T> x_at(x, s.x_size(), plans.stream), w_at(w, s.w_size(), plans.stream);
  const Aligned<T> y_at(y, s.y_size(), plans.stream, epilogue.accumulate), bias(epilogue.bias, s.out, plans.stream);
  plans.forward<T>(y_at.data(), x_at.data(), w_at.data(), s, {bias.data(), epilogue.accumulate, epilogue.activation});
  y_at.store(y);
}

template <class T>
void conv2d_backward_data(T* dx, const T* dy, const T* w, const Conv2dShape& s, ConvolutionPlans& plans) {
  if (s.y_size() == 0 || s.w_size() == 0) return clear(dx, s.x_size(), plans.stream);
  if (s.x_size() == 0) return;
  const Aligned<T> dy_at(dy, s.y_size(), plans.stream), w_at(w, s.w_size(), plans.stream);
  const Aligned<T> dx_at(dx, s.x_size(), plans.stream, false);
  plans.backward_data<T>(dx_at.data(), dy_at.data(), w_at.data(), s);
  dx_at.store(dx);
}

template <class T>
void conv2d_backward_weights(T* dw, const T* dy, const T* x, const Conv2dShape& s, ConvolutionPlans& plans) {
  if (s.y_size() == 0 || s.x_size() == 0) return clear(dw, s.w_size(), plans.stream);
  if (s.w_size() == 0) return;
  const Aligned<T> dy_at(dy, s.y_size(), plans.stream), x_at(x, s.x_size(), plans.stream);
  const Aligned<T> dw_at(dw, s.w_size(), plans.stream, false);
  plans.backward_weights<T>(dw_at.data(), dy_at.data(), x_at.data(), s);
  dw_at.store(dw);
}

template void conv2d_forward(float*, const float*, const float*, const Conv2dShape&, const Epilogue<float>&,
                             ConvolutionPlans&);
template void conv2d_forward(bf16*, const bf16*, const bf16*, const Conv2dShape&, const Epilogue<bf16>&,
                             ConvolutionPlans&);
template void conv2d_forward(f16*, const f16*, const f16*, const Conv2dShape&, const Epilogue<f16>&, ConvolutionPlans&);
template void conv2d_backward_data(float*, const float*, const float*, const Conv2dShape&, ConvolutionPlans&);
template void conv2d_backward_data(bf16*, const bf16*, const bf16*, const Conv2dShape&, ConvolutionPlans&);
template void conv2d_backward_data(f16*, const f16*, const f16*, const Conv2dShape&, ConvolutionPlans&);
template void conv2d_backward_weights(float*, const float*, const float*, const Conv2dShape&, ConvolutionPlans&);
template void conv2d_backward_weights(bf16*, const bf16*, const bf16*, const Conv2dShape&, ConvolutionPlans&);
template void conv2d_backward_weights(f16*, const f16*, const f16*, const Conv2dShape&, ConvolutionPlans&);

}  // namespace clip::kernels::cuda
