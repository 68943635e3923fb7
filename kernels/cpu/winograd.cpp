// A block of tiles at a time, so that its transforms lie in the cache when they are multiplied; threads take blocks.
// The transforms B' x B and A' m A only add: about a quarter of the time at 64 channels, less at more.
#include "kernels/cpu/winograd.hpp"

#include <algorithm>
#include <exception>
#include <type_traits>
#include <utility>

#include "kernels/cpu/onednn.hpp"
#include "kernels/cpu/simd.hpp"

namespace clip::kernels::cpu {
namespace {

using onednn::Desc, onednn::Tag, onednn::type_of;

constexpr std::int64_t points = 16;  // of a 4x4 tile

/// Tiles of all images, row by row.
struct Tiles {
  std::int64_t rows, cols, count;
  explicit Tiles(const Conv2dShape& s) : rows((s.h + 1) / 2), cols((s.w + 1) / 2), count(s.n * rows * cols) {}
};

/// The products of a block: v [16, tiles, in] times u [16, in, out] to m [16, tiles, out] in f32.
struct Products {
  onednn::Call call;
};

template <class T>
Desc kernels_desc(const Conv2dShape& s) {
  return Desc({points, s.in, s.out}, type_of<T>, Tag::abc);
}

template <class T>
Products& products(std::int64_t tiles, const Conv2dShape& s) {
  const onednn::Key key{static_cast<std::int64_t>(dtype_of<T>), tiles, s.in, s.out};
  return onednn::cached<Products>(key, [&] {
    const Desc v({points, tiles, s.in}, type_of<T>, Tag::abc), u = kernels_desc<T>(s);
    const Desc m({points, tiles, s.out}, type_of<float>, Tag::abc);
    const auto desc = onednn::describe<dnnl::matmul>(dnnl::primitive_attr(), v, u, m);
    return Products{onednn::Call(dnnl::matmul(desc), {{DNNL_ARG_DST, m}, {DNNL_ARG_SRC, v}, {DNNL_ARG_WEIGHTS, u}})};
  });
}

/// 3x3 kernels: that from channel c to o begins at data + c * from_in + o * to_out; `turned` ones are read backwards.
template <class T>
struct Kernels {
  const T* data;
  std::int64_t from_in, to_out;
  bool turned;
};

/// u [16, in, out] = G w G'.
template <class To, class From>
void transform_kernels(To* u, const Kernels<From>& w, std::int64_t in, std::int64_t out) {
  parallel_for(in, 1 + elements_per_thread / (points * out), [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t c = begin; c < end; ++c)
      for (std::int64_t o = 0; o < out; ++o) {
        const From* kernel = w.data + c * w.from_in + o * w.to_out;
        float g[9], half[4][3];
        for (int i = 0; i < 9; ++i) g[i] = static_cast<float>(kernel[w.turned ? 8 - i : i]);
        for (int j = 0; j < 3; ++j) {
          half[0][j] = g[j];
          half[1][j] = 0.5f * (g[j] + g[3 + j] + g[6 + j]);
          half[2][j] = 0.5f * (g[j] - g[3 + j] + g[6 + j]);
          half[3][j] = g[6 + j];
        }
        To* to = u + c * out + o;
        const std::int64_t next = in * out;
        for (int i = 0; i < 4; ++i) {
          const float* h = half[i];
          to[(4 * i) * next] = To(h[0]);
          to[(4 * i + 1) * next] = To(0.5f * (h[0] + h[1] + h[2]));
          to[(4 * i + 2) * next] = To(0.5f * (h[0] - h[1] + h[2]));
          to[(4 * i + 3) * next] = To(h[2]);
        }
      }
  });
}

/// v [16, end - begin, in] = B' x B for the tiles [begin, end). `zeros` [in] stands for pixels outside the image.
template <class T>
CLIP_INLINE void transform_tiles(T* v, const T* x, const T* zeros, const Conv2dShape& s, const Tiles& tiles,
                                 std::int64_t begin, std::int64_t end) {
  const std::int64_t next = (end - begin) * s.in;
  for (std::int64_t t = begin; t < end; ++t, v += s.in) {
    const std::int64_t image = t / (tiles.rows * tiles.cols);
    const std::int64_t top = t / tiles.cols % tiles.rows * 2 - 1, left = t % tiles.cols * 2 - 1;
    const T* pixels[4][4];
    for (int i = 0; i < 4; ++i)
      for (int j = 0; j < 4; ++j) {
        const std::int64_t row = top + i, col = left + j;
        const bool inside = row >= 0 && row < s.h && col >= 0 && col < s.w;
        pixels[i][j] = inside ? x + ((image * s.h + row) * s.w + col) * s.in : zeros;
      }
    for (std::int64_t c = 0; c < s.in; c += lanes) {
      f32x16 half[4][4];
      for (int j = 0; j < 4; ++j) {
        const f32x16 d0 = load(pixels[0][j] + c), d1 = load(pixels[1][j] + c);
        const f32x16 d2 = load(pixels[2][j] + c), d3 = load(pixels[3][j] + c);
        half[0][j] = d0 - d2;
        half[1][j] = d1 + d2;
        half[2][j] = d2 - d1;
        half[3][j] = d1 - d3;
      }
      for (int i = 0; i < 4; ++i) {
        const f32x16* h = half[i];
        T* to = v + 4 * i * next + c;
        store(to, h[0] - h[2]);
        store(to + next, h[1] + h[2]);
        store(to + 2 * next, h[2] - h[1]);
        store(to + 3 * next, h[1] - h[3]);
      }
    }
  }
}

/// y = epilogue(A' m A) for the tiles [begin, end), m [16, end - begin, out].
template <class T>
CLIP_INLINE void collect_tiles(T* y, const float* m, const Epilogue<T>& epilogue, const Conv2dShape& s,
                               const Tiles& tiles, std::int64_t begin, std::int64_t end) {
  const std::int64_t next = (end - begin) * s.out;
  const bool relu = epilogue.activation == Activation::relu;
  for (std::int64_t t = begin; t < end; ++t, m += s.out) {
    const std::int64_t image = t / (tiles.rows * tiles.cols);
    const std::int64_t top = t / tiles.cols % tiles.rows * 2, left = t % tiles.cols * 2;
    for (std::int64_t o = 0; o < s.out; o += lanes) {
      f32x16 half[2][4];
      for (int j = 0; j < 4; ++j) {
        const float* from = m + j * next + o;
        const f32x16 m1 = load(from + 4 * next), m2 = load(from + 8 * next);
        half[0][j] = load(from) + m1 + m2;
        half[1][j] = m1 - m2 - load(from + 12 * next);
      }
      const f32x16 bias = epilogue.bias != nullptr ? load(epilogue.bias + o) : f32x16{};
      for (int i = 0; i < 2; ++i) {
        const f32x16* h = half[i];
        const f32x16 sums[2] = {h[0] + h[1] + h[2], h[1] - h[2] - h[3]};
        for (int j = 0; j < 2; ++j) {
          if (top + i >= s.h || left + j >= s.w) continue;
          T* to = y + ((image * s.h + top + i) * s.w + left + j) * s.out + o;
          f32x16 value = sums[j] + bias;
          if (epilogue.accumulate) value += load(to);
          store(to, relu ? (value < 0.0f ? splat(0) : value) : value);
        }
      }
    }
  }
}

/// Tiles of a block: their transforms should fit a second-level cache beside the kernels.
template <class T>
std::int64_t block_size(const Conv2dShape& s, const Tiles& tiles) {
  const std::int64_t bytes = points * (s.in * static_cast<std::int64_t>(sizeof(T)) + s.out * 4);
  const std::int64_t fitting = std::max<std::int64_t>((std::int64_t{256} << 10) / bytes / 16 * 16, 48);
  const std::int64_t threads = omp_in_parallel() ? 1 : omp_get_max_threads();
  return std::min(fitting, (tiles.count + threads - 1) / threads);
}

template <class T>
void convolve(T* y, const T* x, const onednn::Operand& u, const Conv2dShape& s, const Epilogue<T>& epilogue) {
  const Tiles tiles(s);
  const std::int64_t block = block_size<T>(s, tiles), blocks = (tiles.count + block - 1) / block;
  const int threads = omp_in_parallel() ? 1 : static_cast<int>(std::min<std::int64_t>(omp_get_max_threads(), blocks));
  const auto v_bytes = static_cast<std::size_t>(points * block * s.in) * sizeof(T);
  const auto bytes = v_bytes + static_cast<std::size_t>(points * block * s.out) * sizeof(float);
  const onednn::Buffer work(bytes * static_cast<std::size_t>(threads));
  const onednn::Buffer zeros(static_cast<std::size_t>(s.in) * sizeof(T));
  std::fill_n(static_cast<T*>(zeros.data()), s.in, T(0.0f));
  std::exception_ptr failure;  // must not leave the parallel region
#pragma omp parallel num_threads(threads)
  try {
    char* mine = static_cast<char*>(work.data()) + bytes * static_cast<std::size_t>(omp_get_thread_num());
    T* v = reinterpret_cast<T*>(mine);
    float* m = reinterpret_cast<float*>(mine + v_bytes);
    const onednn::ThreadScope one_thread;
    const std::int64_t team = omp_get_num_threads(), me = omp_get_thread_num();
    for (std::int64_t b = blocks * me / team; b < blocks * (me + 1) / team; ++b) {
      const std::int64_t first = b * block, last = std::min(tiles.count, first + block);
      vectorized(first, last, [&](std::int64_t begin, std::int64_t end) {
        transform_tiles(v, x, static_cast<const T*>(zeros.data()), s, tiles, begin, end);
      });
      products<T>(last - first, s).call({m, v, u});
      vectorized(first, last,
                 [&](std::int64_t begin, std::int64_t end) { collect_tiles(y, m, epilogue, s, tiles, begin, end); });
    }
  } catch (...) {
#pragma omp critical
    failure = std::current_exception();
  }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace

template <class T>
bool winograd_pays(const Conv2dShape& s, Activation activation) {
  if (s.kernel_h != 3 || s.kernel_w != 3 || s.stride != 1 || s.padding != 1) return false;
  if (s.in % lanes != 0 || s.out % lanes != 0) return false;
  if (activation != Activation::none && activation != Activation::relu) return false;
  // Measured: with few channels the transforms outweigh the products, and with many the transformed kernels, read once
  // for each block, leave the cache.
  const std::int64_t fewest = std::is_same_v<T, bf16> ? 64 : 32, most_bytes = std::int64_t{4} << 20;
  return std::min(s.in, s.out) >= fewest && Tiles(s).count >= 32 &&
         points * s.in * s.out * static_cast<std::int64_t>(sizeof(T)) <= most_bytes;
}

template <class T>
void winograd_forward(T* y, const T* x, const void* w, bool converted, const Conv2dShape& s,
                      const Epilogue<T>& epilogue, PackedWeights* packed) {
  const auto transform = [&](void* u) {
    const auto from = [&]<class From>(const From* data) {
      transform_kernels(static_cast<T*>(u), Kernels<From>{data, 9, 9 * s.in, false}, s.in, s.out);
    };
    if (converted)
      from(static_cast<const bf16*>(w));
    else
      from(static_cast<const T*>(w));
  };
  const Desc u = kernels_desc<T>(s);
  if (packed != nullptr) return convolve(y, x, packed->get(w, u, transform), s, epilogue);
  const onednn::Buffer own(u.get_size());
  transform(own.data());
  convolve(y, x, own.data(), s, epilogue);
}

template <class T>
void winograd_backward_data(T* dx, const T* dy, const T* w, const Conv2dShape& s) {
  Conv2dShape back = s;
  std::swap(back.in, back.out);
  const onednn::Buffer u(kernels_desc<T>(back).get_size());
  transform_kernels(static_cast<T*>(u.data()), Kernels<T>{w, 9 * s.in, 9, true}, back.in, back.out);
  convolve(dx, dy, u.data(), back, {});
}

template bool winograd_pays<float>(const Conv2dShape&, Activation);
template bool winograd_pays<bf16>(const Conv2dShape&, Activation);
template void winograd_forward(float*, const float*, const void*, bool, const Conv2dShape&, const Epilogue<float>&,
                               PackedWeights*);
template void winograd_forward(bf16*, const bf16*, const void*, bool, const Conv2dShape&, const Epilogue<bf16>&,
                               PackedWeights*);
template void winograd_backward_data(float*, const float*, const float*, const Conv2dShape&);
template void winograd_backward_data(bf16*, const bf16*, const bf16*, const Conv2dShape&);

}  // namespace clip::kernels::cpu
