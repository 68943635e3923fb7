#pragma once
// Bare oneDNN primitives on data of their own, weights packed before: the yardstick of `linear`, `conv2d` and whole
// models.
#include <cstdint>
#include <functional>

#include "clip/core/activation.hpp"
#include "clip/core/dtype.hpp"

namespace clip::bench {

struct Primitive {
  std::int64_t flops;
  std::function<void()> run;
};

struct ConvSize {
  std::int64_t images, in, size, out, kernel, stride;
};

/// activation(x w^T + bias) for x [rows, in] and w [out, in].
Primitive bare_linear(dtype type, std::int64_t rows, std::int64_t in, std::int64_t out, Activation activation);
/// activation(conv(x) + bias [+ y]) for square images, padded by kernel / 2.
Primitive bare_conv2d(dtype type, const ConvSize& size, Activation activation, bool accumulate = false);

}  // namespace clip::bench
