#include "clip/ops/activation.hpp"

#include "clip/autograd.hpp"
#include "kernels/activation.hpp"
#include "src/dispatch.hpp"

namespace clip {
namespace {

constexpr const char* name_of(Activation f) {
  switch (f) {
    case Activation::none: return "identity";
    case Activation::relu: return "relu";
    case Activation::sigmoid: return "sigmoid";
    case Activation::tanh: return "tanh";
    case Activation::gelu: return "gelu";
    case Activation::gelu_tanh: return "gelu_tanh";
    case Activation::quick_gelu: return "quick_gelu";
  }
  return "activation";
}

Tensor activation_backward(const Tensor& dy, const Tensor& x, Activation f) {
  Tensor dx = empty_like(x);
  dispatch_float(x.dtype(), name_of(f), [&]<class T>() {
    T* out = dx.mutable_data<T>();
    on_device(
        x.device(), name_of(f),
        [&] { kernels::cpu::activation_backward(f, out, dy.data<T>(), x.data<T>(), x.numel()); },
        [&](auto stream) { kernels::cuda::activation_backward(f, out, dy.data<T>(), x.data<T>(), x.numel(), stream); });
  });
  return dx;
}

}  // namespace

Tensor activation(const Tensor& x, Activation f) {
  if (f == Activation::none) return x;
  check_float(x, name_of(f), Kernels::cpu_and_cuda);
  Tensor y = empty_like(x);
  dispatch_float(x.dtype(), name_of(f), [&]<class T>() {
    T* out = y.mutable_data<T>();
    on_device(
        x.device(), name_of(f), [&] { kernels::cpu::activation_forward(f, out, x.data<T>(), x.numel()); },
        [&](auto stream) { kernels::cuda::activation_forward(f, out, x.data<T>(), x.numel(), stream); });
  });
  return record(name_of(f), y, {x}, [x, f](const Tensor& dy) { return Grads{activation_backward(dy, x, f)}; });
}

}  // namespace clip
