// Threads share the rows of the output; sixteen channels at a time. Backward gathers: each element of dx looks through
// the windows that contain it, so that threads never write to the same place and sums have one order.
#include "kernels/pool.hpp"

#include "kernels/cpu/simd.hpp"

namespace clip::kernels::cpu {
namespace {

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

/// Maximum and its place of `count` channels over rows `h` and columns `w` of `image`; all pointers at those channels.
template <class T, class Count>
CLIP_INLINE void pool_window(T* y, std::int32_t* index, const T* image, PoolShape::Range h, PoolShape::Range w,
                             const PoolShape& s, Count count) {
  i32x16 at = i32x16{} + static_cast<std::int32_t>(h.begin * s.width + w.begin);
  f32x16 best = load(image + (h.begin * s.width + w.begin) * s.channels, count);
  for (std::int64_t i = h.begin; i < h.end; ++i)
    for (std::int64_t j = w.begin; j < w.end; ++j) {
      const std::int64_t position = i * s.width + j;
      const f32x16 v = load(image + position * s.channels, count);
      // best + v is the NaN that v or best is. Not `v` itself: GCC 12 would merge the two conditions, and takes
      // combined ones apart lane by lane
      const f32x16 larger = best < v ? v : best;
      const f32x16 next = v == v ? larger : best + v;
      at = as_int(next) == as_int(best) ? at : i32x16{} + static_cast<std::int32_t>(position);
      best = next;
    }
  store(y, best, count);
  if (index != nullptr) store_index(index, at, count);
}

/// Sum of dy over the outputs (rows `h`, columns `w`) that came from `position`; all pointers at the same channels.
template <class T, class Count>
CLIP_INLINE void gather_gradient(T* dx, const T* dy, const std::int32_t* index, std::int64_t position,
                                 PoolShape::Range h, PoolShape::Range w, const PoolShape& s, Count count) {
  const i32x16 here = i32x16{} + static_cast<std::int32_t>(position);
  f32x16 sum = {};
  for (std::int64_t i = h.begin; i < h.end; ++i)
    for (std::int64_t j = w.begin; j < w.end; ++j) {
      const std::int64_t from = (i * s.out_width + j) * s.channels;
      sum += load_index(index + from, count) == here ? load(dy + from, count) : splat(0);
    }
  store(dx, sum, count);
}

}  // namespace

template <class T>
void max_pool2d_forward(T* y, std::int32_t* index, const T* x, const PoolShape& shape) {
  const PoolShape s = shape;
  parallel_rows(
      s.images * s.out_height, s.out_width * s.channels * s.kernel, [=](std::int64_t begin, std::int64_t end) {
        for (std::int64_t r = begin; r < end; ++r) {
          const T* image = x + r / s.out_height * s.height * s.width * s.channels;
          const auto h = s.covered(r % s.out_height, s.height);
          for (std::int64_t ow = 0; ow < s.out_width; ++ow) {
            const auto w = s.covered(ow, s.width);
            const std::int64_t out = (r * s.out_width + ow) * s.channels;
            for_vectors(
                s.channels, [=](std::int64_t c, auto count) __attribute__((always_inline)) {
                  pool_window(y + out + c, index == nullptr ? nullptr : index + out + c, image + c, h, w, s, count);
                });
          }
        }
      });
}

template <class T>
void max_pool2d_backward(T* dx, const T* dy, const std::int32_t* index, const PoolShape& shape) {
  const PoolShape s = shape;
  parallel_rows(s.images * s.height, s.width * s.channels, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t r = begin; r < end; ++r) {
      const std::int64_t row = r % s.height, image = r / s.height * s.out_height * s.out_width * s.channels;
      const auto h = s.covering(row, s.out_height);
      for (std::int64_t col = 0; col < s.width; ++col) {
        const auto w = s.covering(col, s.out_width);
        T* to = dx + (r * s.width + col) * s.channels;
        for_vectors(
            s.channels, [=](std::int64_t c, auto count) __attribute__((always_inline)) {
              gather_gradient(to + c, dy + image + c, index + image + c, row * s.width + col, h, w, s, count);
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
