#pragma once
// What the stand-ins for cuBLASLt and cuDNN share: arrays of three types as doubles, and rows of sums.
#include <cstdint>

#include "clip/core/dtype.hpp"

namespace clip::host_cuda {

/// Element `i` of an array.
inline double read(const void* data, dtype type, std::int64_t i) {
  if (type == dtype::f32) return static_cast<double>(static_cast<const float*>(data)[i]);
  if (type == dtype::bf16) return static_cast<double>(static_cast<float>(static_cast<const bf16*>(data)[i]));
  return static_cast<double>(static_cast<float>(static_cast<const f16*>(data)[i]));
}

inline void write(void* data, dtype type, std::int64_t i, double value) {
  const auto rounded = static_cast<float>(value);
  if (type == dtype::f32)
    static_cast<float*>(data)[i] = rounded;
  else if (type == dtype::bf16)
    static_cast<bf16*>(data)[i] = bf16(rounded);
  else
    static_cast<f16*>(data)[i] = f16(rounded);
}

/// sums[i] += factor * row[i], between arrays of the stand-in's own: not watched, because most of the time goes here.
__attribute__((no_sanitize("address", "undefined"))) inline void add_row(double* sums, double factor, const double* row,
                                                                         std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) sums[i] += factor * row[i];
}

}  // namespace clip::host_cuda
