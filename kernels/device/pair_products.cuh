#pragma once
// Products of pairs of rows on tensor cores, for the contrastive losses of bf16 and f16 embeddings: T rows of text and
// V rows of image, sums in f32 and in registers.
//
// Layout. A block owns 128 rows, whose d columns stay in shared memory, and walks over the others. A warp takes 32 of
// those at a time, all against the 128: it copies 64 of their columns into a place of its own while it multiplies the
// 64 before, and ends with [128, 32] products, 128 in each lane. What follows (exponentials, sums, gradients) is done
// there. Warps wait for no other from the first row to the last, so that tensor cores are busy with one while another
// has exponentials. The 128 and the 32 are of one matrix each (`Both` = 1: texts own, images are the others), or half
// are texts and half images on both sides (2): then the products are all four of text and image, for 64 x 16 pairs.
//
// Arithmetic. For each 16 columns a warp multiplies 128 x 32 x 16 (131,072 operations) with 128 + 32 rows of 32 bytes
// read from shared memory and 32 rows written: 21.8 operations a byte, 2,796 a cycle at 128 bytes a cycle, 68 % of what
// the tensor cores of an H100 do (4,096); mma.sync itself reaches about two thirds there, so neither waits much for the
// other. From L2 come 32 rows for those 128 x 32: 128 operations a byte, 3.5 TB/s at 450 TFLOP/s. Exponentials, two a
// product for 2 d operations and 16 a cycle, are 128 x 32 x 2 / 16 = 512 cycles of a tile's 131,072 (d / 16) / 2,796 =
// 47 (d / 16), all of an SM.
#include "kernels/device/async_copy.cuh"
#include "kernels/device/contrastive.cuh"
#include "kernels/device/exp2.cuh"
#include "kernels/device/warp_tile.cuh"

namespace clip::kernels::cuda {

inline constexpr int block_rows = 128, step_rows = 32, step_depth = panel_columns, most_warps = 8;
/// How many items those rows are, of each matrix.
template <int Both>
inline constexpr int own_items = block_rows / Both;
template <int Both>
inline constexpr int step_items = step_rows / Both;
template <int Both>
inline constexpr int most_splits = 4 / Both;

/// Texts and images [n, d].
template <class T>
struct Embeddings {
  const T *text, *image;
  std::int64_t n, d;
  bool vectors;  ///< 16 bytes can be read at once

  /// Row `row` of those for which a block or warp has items from `first` on.
  template <int Both>
  __device__ const T* row(bool own, int items, std::int64_t first, int row_of_items) const {
    const bool texts = Both == 1 ? own : row_of_items < items;
    return (texts ? text : image) + (first + row_of_items % items) * d;
  }
};

/// The pairs (i, j) that a launch makes: i from `own` to `own_end`, j from `other` to `other_end`.
struct Rectangle {
  std::int64_t own, own_end, other, other_end;
  int splits = 1;  ///< into how many blocks the others of each own block are shared out
  __host__ __device__ std::int64_t owns() const { return own_end - own; }
  __host__ __device__ std::int64_t others() const { return other_end - other; }
};

/// Elements of a row in shared memory: the 8 at the end put eight rows into different banks.
__host__ __device__ constexpr std::int64_t own_stride(std::int64_t d) { return (d + 15) / 16 * 16 + 8; }
template <class T>
using Step = Panel<T, step_rows>;
/// Shared memory of a block whose warps each keep `part` bytes for each item it owns.
template <class T, int Both>
constexpr std::int64_t block_bytes(std::int64_t d, std::int64_t warps, std::size_t part) {
  return static_cast<std::int64_t>(sizeof(T)) * block_rows * own_stride(d) +
         warps * static_cast<std::int64_t>(2 * sizeof(Step<T>) + own_items<Both> * part);
}
/// How many warps the shared memory of the current GPU has room for.
template <class T, int Both>
std::int64_t warps_that_fit(std::int64_t d, std::size_t part) {
  const auto most = static_cast<std::int64_t>(most_shared_bytes("contrastive_loss"));
  const std::int64_t none = block_bytes<T, Both>(d, 0, part), each = block_bytes<T, Both>(d, 1, part) - none;
  return std::clamp<std::int64_t>((most - none) / each, 0, most_warps);
}

/// A launch over a rectangle. 128 blocks, one for each of an H100's multiprocessors but four, where it has 4096 rows.
template <class T, int Both>
Grid grid_of(Rectangle& area, std::int64_t d, std::size_t part = 0) {
  const std::int64_t warps = warps_that_fit<T, Both>(d, part);
  const std::int64_t steps = (area.others() + step_items<Both> - 1) / step_items<Both>;
  area.splits = static_cast<int>(std::clamp<std::int64_t>((steps + warps - 1) / warps, 1, most_splits<Both>));
  return {(area.owns() + own_items<Both> - 1) / own_items<Both> * area.splits,
          {32, static_cast<unsigned>(warps)},
          static_cast<std::size_t>(block_bytes<T, Both>(d, warps, part))};
}

/// What a lane has of [128, 32] products: at[m][n][e] is in row 16 m + lane_row(e), column 8 n + lane_column(0, e).
struct Products {
  float at[block_rows / 16][step_rows / 8][4];
};

/// Where a warp's products are among the pairs.
template <int Both>
struct Place {
  std::int64_t own, other;  ///< the first items
  int owns, others;         ///< how many there are from there on
  __device__ static int row(int m, int e) { return 16 * (m % (8 / Both)) + lane_row(e); }
  __device__ static int column(int n, int e) { return lane_column(n % (4 / Both), e); }
  __device__ bool has(int row, int column) const { return row < owns && column < others; }
  __device__ bool whole() const { return owns >= own_items<Both> && others >= step_items<Both>; }
};

/// Begins to copy eight numbers of a row from column `from` on, zeros where there are none.
template <class T>
__device__ __forceinline__ void copy_eight(T* to, const T* row, int from, bool there, const Embeddings<T>& x) {
  if (x.vectors) return copy_async(to, row + from, there && from < x.d);
  for (int e = 0; e < 8; ++e) to[e] = there && from + e < x.d ? row[from + e] : T{};
}

/// sums += own rows times the step's, of the first `depth` columns of both. Where `Same`, only text times text and
/// image times image, which are the first and the last quarter.
template <bool Same, class T>
__device__ __forceinline__ void multiply(Products& sums, const T* own, int stride, const Step<T>& step, int depth) {
  const int lane = static_cast<int>(threadIdx.x);
#pragma unroll
  for (int k = 0; k < step_depth; k += 16) {
    if (k >= depth) break;
    Packed<T, 2> right[2][4];
#pragma unroll
    for (int h = 0; h < 2; ++h)
      load_matrices(right[h], &step.rows[16 * h + lane / 16 * 8 + lane % 8][k + lane / 8 % 2 * 8]);
#pragma unroll
    for (int m = 0; m < 8; ++m) {
      Packed<T, 2> left[4];
      load_matrices(left, own + (16 * m + lane % 16) * stride + k + lane / 16 * 8);
#pragma unroll
      for (int n = 0; n < 4; ++n)
        if (!Same || m / 4 == n / 2) mma(sums.at[m][n], left, right[n / 2][n % 2 * 2], right[n / 2][n % 2 * 2 + 1]);
    }
  }
}

/// f(products, place) by each warp for all its steps through the rectangle.
template <int Both, bool Same = false, class T, class F>
__device__ __forceinline__ void each_step(const Embeddings<T>& x, const Rectangle& area, const F& f) {
  const int lane = static_cast<int>(threadIdx.x), warp = static_cast<int>(threadIdx.y);
  const int warps = static_cast<int>(blockDim.y), thread = warp * 32 + lane;
  const int stride = static_cast<int>(own_stride(x.d)), depth = stride - 8;
  T* const own = &shared_as<T>();
  Step<T>* const place = reinterpret_cast<Step<T>*>(own + block_rows * stride) + 2 * warp;
  const int split = static_cast<int>(blockIdx.x) % area.splits, leap = area.splits * warps;
  const std::int64_t first = area.own + std::int64_t{blockIdx.x} / area.splits * own_items<Both>;
  const std::int64_t steps = (area.others() + step_items<Both> - 1) / step_items<Both>;

  const auto begin_copy = [&](std::int64_t step, int from, int which) {
    const std::int64_t other = area.other + step * step_items<Both>;
    const int left = static_cast<int>(std::min<std::int64_t>(area.other_end - other, step_items<Both>));
#pragma unroll
    for (int r = lane / 8; r < step_rows; r += 4)
      copy_eight(&place[which].rows[r][lane % 8 * 8], x.template row<Both>(false, step_items<Both>, other, r),
                 from + lane % 8 * 8, r % step_items<Both> < left, x);
  };
  std::int64_t step = split * warps + warp;
  if (step < steps) begin_copy(step, 0, 0);
  const int owns = static_cast<int>(std::min<std::int64_t>(area.own_end - first, own_items<Both>));
  for (int i = thread; i < block_rows * (depth / 8); i += 32 * warps) {
    const int row = i / (depth / 8), from = i % (depth / 8) * 8;
    copy_eight(own + row * stride + from, x.template row<Both>(true, own_items<Both>, first, row), from,
               row % own_items<Both> < owns, x);
  }
  wait_for_copies();
  __syncthreads();

  int which = 0;
  for (; step < steps; step += leap) {
    Products sums{};
    for (int from = 0; from < depth; from += step_depth, which ^= 1) {
      wait_for_copies();
      __syncwarp();  // all lanes' copies are there, and the place of the next has been read
      if (from + step_depth < depth)
        begin_copy(step, from + step_depth, which ^ 1);
      else if (step + leap < steps)
        begin_copy(step + leap, 0, which ^ 1);
      multiply<Same>(sums, own + from, stride, place[which], depth - from);
    }
    const std::int64_t other = area.other + step * step_items<Both>;
    const int others = static_cast<int>(std::min<std::int64_t>(area.other_end - other, step_items<Both>));
    f(sums, Place<Both>{first, other, owns, others});
  }
}

/// f(first of a range, its end) for all of n, `step` at a time.
template <class F>
void each_range(std::int64_t first, std::int64_t n, std::int64_t step, const F& f) {
  for (; first < n; first += step) f(first, std::min(first + step, n));
}

/// Hands out parts of a loss's scratch memory, each at a multiple of 256 bytes.
class ScratchParts {
 public:
  explicit ScratchParts(float* memory) : at_(memory) {}
  template <class V>
  V* take(std::int64_t count) {
    V* const part = reinterpret_cast<V*>(at_);
    at_ += (count * static_cast<std::int64_t>(sizeof(V)) + 255) / 256 * 64;
    return part;
  }

 private:
  float* at_;
};

// Sums over rows and columns of a rectangle. A Part has `add`, and is neutral when made. Warps keep one for each item
// their block owns, in shared memory; blocks leave the sums of their rows and columns in `own` [splits, owns] and
// `other` [own blocks, others], and add_parts adds these to the totals of items, in order.

template <class Part>
struct Parts {
  Part *own, *other;

  /// This warp's, in shared memory.
  template <int Both, class T>
  __device__ static Part* of_warp(const Embeddings<T>& x, unsigned warp) {
    T* const steps = &shared_as<T>() + block_rows * own_stride(x.d);
    return reinterpret_cast<Part*>(reinterpret_cast<Step<T>*>(steps) + 2 * blockDim.y) + warp * own_items<Both>;
  }
  template <int Both, class T>
  __device__ static Part* begin(const Embeddings<T>& x) {
    Part* const mine = of_warp<Both>(x, threadIdx.y);
    for (int i = static_cast<int>(threadIdx.x); i < own_items<Both>; i += 32) mine[i] = Part();
    __syncwarp();
    return mine;
  }
  /// Of a column of the place.
  template <int Both>
  __device__ Part& column(const Rectangle& area, const Place<Both>& place, int column) const {
    return other[std::int64_t{blockIdx.x} / area.splits * area.others() + place.other - area.other + column];
  }
  template <int Both, class T>
  __device__ void finish(const Embeddings<T>& x, const Rectangle& area) const {
    __syncthreads();
    const std::int64_t first = std::int64_t{blockIdx.x} / area.splits * own_items<Both>;
    for (int i = static_cast<int>(threadIdx.y * 32 + threadIdx.x); i < own_items<Both> && first + i < area.owns();
         i += static_cast<int>(32 * blockDim.y)) {
      Part sum;
      for (unsigned warp = 0; warp < blockDim.y; ++warp) sum.add(of_warp<Both>(x, warp)[i]);
      own[std::int64_t{blockIdx.x} % area.splits * area.owns() + first + i] = sum;
    }
  }
};

/// total [count] = the sum of parts [sets, count], and of what it was unless that is `fresh`.
template <class Part>
__global__ void add_parts(Part* total, const Part* parts, std::int64_t count, std::int64_t sets, bool fresh) {
  const std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= count) return;
  Part sum = fresh ? Part() : total[i];
  for (std::int64_t s = 0; s < sets; ++s) sum.add(parts[s * count + i]);
  total[i] = sum;
}
inline Grid items_grid(std::int64_t count) { return {(count + 255) / 256, {256}}; }

/// f(lane's x) combined over the lanes that have the same row, or the same column.
struct AlongRow {
  static constexpr int from = 1, to = 2;
};
struct AlongColumn {
  static constexpr int from = 4, to = 16;
};
template <class Along, class Op>
__device__ __forceinline__ float combine(float x, const Op& op) {
#pragma unroll
  for (int bits = Along::from; bits <= Along::to; bits *= 2) x = op(x, __shfl_xor_sync(~0u, x, bits));
  return x;
}
template <class Along>
__device__ __forceinline__ float sum_along(float x) {
  return combine<Along>(x, [](float a, float b) { return a + b; });
}
template <class Along>
__device__ __forceinline__ float max_along(float x) {
  return combine<Along>(x, [](float a, float b) { return fmaxf(a, b); });
}

/// Below every logit, but finite: differences stay numbers.
inline constexpr float no_logit = -1e30f;

/// A log-sum-exp in base 2.
struct Lse {
  float top = no_logit, sum = 0;
  __device__ void add(const Lse& part) {
    const float now = fmaxf(top, part.top);
    sum = sum * exp2_approximately(top - now) + part.sum * exp2_approximately(part.top - now);
    top = now;
  }
  __device__ float value() const { return top + log2f(sum); }
};
/// Of s(0) … s(Count - 1) of the lanes along a row or column; for all of them.
template <class Along, int Count, class F>
__device__ __forceinline__ Lse lse_along(const F& s) {
  Lse part;
#pragma unroll
  for (int k = 0; k < Count; ++k) part.top = fmaxf(part.top, s(k));
  part.top = max_along<Along>(part.top);
#pragma unroll
  for (int k = 0; k < Count; ++k) part.sum += exp2_approximately(s(k) - part.top);
  part.sum = sum_along<Along>(part.sum);
  return part;
}

/// Up to three sums over all pairs, of each block, in double because rectangles add to them.
inline constexpr int totals_of_block = 3;
__device__ inline void add_totals(double* totals, const Floats<totals_of_block>& sums, bool fresh) {
  float* const each = &shared_as<float>();
  __syncthreads();  // shared memory has been read
  for (int k = 0; k < totals_of_block; ++k) {
    const float sum = sum_along<AlongColumn>(sum_along<AlongRow>(sums[k]));
    if (threadIdx.x == 0) each[threadIdx.y * totals_of_block + static_cast<unsigned>(k)] = sum;
  }
  __syncthreads();
  const unsigned k = threadIdx.x;
  if (threadIdx.y != 0 || k >= totals_of_block) return;
  double& total = totals[std::int64_t{blockIdx.x} * totals_of_block + k];
  double sum = fresh ? 0 : total;
  for (unsigned warp = 0; warp < blockDim.y; ++warp) sum += static_cast<double>(each[warp * totals_of_block + k]);
  total = sum;
}
/// Writes two neighbours of a row of a matrix of `columns` columns, the first of them even; those that are there.
template <class T>
__device__ __forceinline__ void store_pair(T* row, int column, std::int64_t columns, float a, float b) {
  const Packed<T, 2> pair = round2<T>(a, b);
  if (columns % 2 == 0)
    store(row + column, pair);
  else {
    row[column] = pair.e[0];
    if (column + 1 < columns) row[column + 1] = pair.e[1];
  }
}

}  // namespace clip::kernels::cuda
