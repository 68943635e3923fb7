#pragma once
#include "clip/core/device.hpp"
#include "clip/core/dtype.hpp"
#include "clip/core/error.hpp"
#include "clip/core/tensor.hpp"
#include "kernels/stream.hpp"

namespace clip {

/// Calls `f.operator()<T>()` with T = float or bf16, the types ops compute in. Throws on any other.
template <class F>
decltype(auto) dispatch_float(dtype type, const char* op, F&& f) {
  if (type == dtype::f32) return f.template operator()<float>();
  if (type == dtype::bf16) return f.template operator()<bf16>();
  fail(op, "expected f32 or bf16, got ", type);
}

/// Calls `f.operator()<T>()` with T = std::int32_t or std::int64_t, the types of ids and indices.
template <class F>
decltype(auto) dispatch_index(dtype type, const char* op, F&& f) {
  if (type == dtype::i32) return f.template operator()<std::int32_t>();
  if (type == dtype::i64) return f.template operator()<std::int64_t>();
  fail(op, "expected i32 or i64, got ", type);
}

#ifdef CLIP_HAS_CUDA  // from CMake; the one place that asks
inline constexpr bool built_with_cuda = true;
#else
inline constexpr bool built_with_cuda = false;
#endif

/// The devices that an op has kernels for.
enum class Kernels { cpu, cpu_and_cuda };

/// What every op checks before any work: that `x` is defined and on a device that has the op's kernel.
inline void check_tensor(const Tensor& x, const char* op, Kernels kernels = Kernels::cpu) {
  check(x.defined(), op, "expected a defined tensor, got an undefined one");
  check(x.device().is_cpu() || kernels == Kernels::cpu_and_cuda, op, "expected tensors on cpu, got ", x.device(),
        ": this op has no CUDA kernel");
}
/// The same, and that it is f32 or bf16.
inline void check_float(const Tensor& x, const char* op, Kernels kernels = Kernels::cpu) {
  check_tensor(x, op, kernels);
  check(x.dtype() == dtype::f32 || x.dtype() == dtype::bf16, op, "expected f32 or bf16, got ", x.dtype());
}

/// Runs an op's kernel call for the device. This is the one place where the backends part.
template <class Cpu>
void on_device(const Device& device, const char* op, Cpu&& cpu) {
  check(device.is_cpu(), op, "expected tensors on cpu, got ", device, ": this op has no CUDA kernel");
  cpu();
}
/// `cuda` takes the stream, as `auto`: a build without CUDA does not compile its body.
template <class Cpu, class Cuda>
void on_device(const Device& device, const char* op, Cpu&& cpu, Cuda&& cuda) {
  if constexpr (built_with_cuda)
    if (device.is_cuda()) return cuda(static_cast<kernels::cuda::Stream>(device.stream()));
  on_device(device, op, cpu);
}

}  // namespace clip
