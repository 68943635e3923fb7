#pragma once
#include "clip/core/device.hpp"
#include "clip/core/dtype.hpp"
#include "clip/core/error.hpp"

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

/// Runs an op's kernel call for the device. This is the one place where the backends part.
template <class Cpu>
void on_device(const Device& device, const char* op, Cpu&& cpu) {
  check(device.is_cpu(), op, "expected tensors on cpu, got ", device, ": this op has no CUDA kernel");
  cpu();
}

}  // namespace clip
