// Threads share the rows of the output; sixteen channels at a time. Backward gathers: each element of dx looks through
// the windows that contain it, so that threads never write to the same place and sums have one order.
#include "kernels/pool.hpp"

#include <algorithm>

#include "kernels/cpu/simd.hpp"

namespace clip::kernels::cpu {
namespace {

/// Positions [begin, end) that window `out` covers.
struct Range {
  std::int64_t begin, end;
};
CLIP_INLINE Range covered(std::int64_t out, std::int64_t extent, const PoolShape& s) {
  const std::int64_t first = out * s.stride - s.padding;
  return {std::max<std::int64_t>(first, 0), std::min(first + s.kernel, extent)};
}

/// Windows [begin, end), of `count`, that cover position `at`.
CLIP_INLINE Range covering(std::int64_t at, std::int64_t count, const PoolShape& s) {
  const std::int64_t last = (at + s.padding) / s.stride, before = at + s.padding - s.kernel;
  return {before < 0 ? 0 : before / s.stride + 1, std::min(last + 1, count)};
}

CLIP_INLINE i32x16 load_index(const std::int32_t* p, AllLanes) {
  i32x16 v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
CLIP_INLINE i32x16 load_index(const std::int32_t* p, std::int64_t count) {
  i32x16 v = {};
  for (std::int64_t i = 0; i < count; ++i) v[i] = p[i];
  return v;
}
CLIP_INLINE void store_index(std::int32_t* p, i32x16 v, AllLanes) { std::memcpy(p, &v, sizeof v); }
CLIP_INLINE void store_index(std::int32_t* p, i32x16 v, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) p[i] = v[i];
}

}  // namespace

template <class T>
void max_pool2d_forward(T* y, std::int32_t* index, const T* x, const PoolShape& shape) {
  const std::int64_t row = shape.out_width * shape.channels;
  parallel_rows(shape.images * shape.out_height, row * shape.kernel, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      const T* image = x + r / shape.out_height * shape.height * shape.width * shape.channels;
      const Range h = covered(r % shape.out_height, shape.height, shape);
      for (std::int64_t ow = 0; ow < shape.out_width; ++ow) {
        const Range w = covered(ow, shape.width, shape);
        const std::int64_t out = r * row + ow * shape.channels;
        for_vectors(
            shape.channels, [=](std::int64_t c, auto count) __attribute__((always_inline)) {
              const auto first = static_cast<std::int32_t>(h.begin * shape.width + w.begin);
              f32x16 best = load(image + first * shape.channels + c, count);
              i32x16 at = i32x16{} + first;
              for (std::int64_t i = h.begin; i < h.end; ++i)
                for (std::int64_t j = w.begin; j < w.end; ++j) {
                  const std::int64_t position = i * shape.width + j;
                  const f32x16 v = load(image + position * shape.channels + c, count);
                  const i32x16 better = (v > best) | ((v != v) & (best == best));
                  best = better != 0 ? v : best;
                  at = better != 0 ? i32x16{} + static_cast<std::int32_t>(position) : at;
                }
              store(y + out + c, best, count);
              if (index != nullptr) store_index(index + out + c, at, count);
            });
      }
    }
  });
}

template <class T>
void max_pool2d_backward(T* dx, const T* dy, const std::int32_t* index, const PoolShape& shape) {
  const std::int64_t row = shape.width * shape.channels;
  parallel_rows(shape.images * shape.height, row, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      const std::int64_t image = r / shape.height * shape.out_height, h = r % shape.height;
      const Range rows = covering(h, shape.out_height, shape);
      for (std::int64_t w = 0; w < shape.width; ++w) {
        const Range cols = covering(w, shape.out_width, shape);
        for_vectors(
            shape.channels, [=](std::int64_t c, auto count) __attribute__((always_inline)) {
              const i32x16 here = i32x16{} + static_cast<std::int32_t>(h * shape.width + w);
              f32x16 sum = {};
              for (std::int64_t oh = rows.begin; oh < rows.end; ++oh)
                for (std::int64_t ow = cols.begin; ow < cols.end; ++ow) {
                  const std::int64_t out = ((image + oh) * shape.out_width + ow) * shape.channels + c;
                  sum += load_index(index + out, count) == here ? load(dy + out, count) : splat(0);
                }
              store(dx + (r * shape.width + w) * shape.channels + c, sum, count);
            });
      }
    }
  });
}

template void max_pool2d_forward(float*, std::int32_t*, const float*, const PoolShape&);
template void max_pool2d_forward(bf16*, std::int32_t*, const bf16*, const PoolShape&);
template void max_pool2d_backward(float*, const float*, const std::int32_t*, const PoolShape&);
template void max_pool2d_backward(bf16*, const bf16*, const std::int32_t*, const PoolShape&);

}  // namespace clip::kernels::cpu
