#pragma once
// Products of pairs of rows on tensor cores, for the contrastive losses of bf16 and f16 embeddings: T rows of text and
// V rows of image, sums in f32 and in registers.
//
// Layout. A block owns 128 rows, whose d columns stay in shared memory, and walks over the others. A warp takes 32 of
// those at a time, all against the 128: it copies 64 of their columns into a place of its own while it multiplies the
// 64 before, and ends with [128, 32] products, 128 in each lane. What follows (exponentials, sums, gradients) is done
// there. Warps wait for no other from the first row to the last, so that tensor cores are busy with one while another
// has exponentials. Rows so long that fewer warps would have room beside them (on an H100 d > 544 to 608, on GPUs of
// 99 KiB d > 128 to 160) pass through shared memory, too, 64 columns at a time, which all warps multiply together; so
// any d will do. The 128 and the 32 are of one matrix each (`Both` = 1: texts own, images are the others), or half are
// texts and half images on both sides (2): then the products are all four of text and image, for 64 x 16 pairs.
//
// Arithmetic. For each 16 columns a warp multiplies 128 x 32 x 16 (131,072 operations) with 128 + 32 rows of 32 bytes
// read from shared memory and 32 rows written: 21.8 operations a byte, 2,796 a cycle at 128 bytes a cycle, 68 % of what
// the tensor cores of an H100 do (4,096); mma.sync itself reaches about two thirds there, so neither waits much for the
// other. From L2 come 32 rows for those 128 x 32: 128 operations a byte, 3.5 TB/s at 450 TFLOP/s. Exponentials, two a
// product for 2 d operations and 16 a cycle, are 128 x 32 x 2 / 16 = 512 cycles of a tile's 131,072 (d / 16) / 2,796 =
// 47 (d / 16), all of an SM. Where own rows pass, 128 + 256 rows come from L2 for 128 x 256 products, 85 operations a
// byte; another 16 rows are written for each warp's 32, 19.7 operations a byte of shared memory; and all warps have
// their exponentials at one time: 512 cycles beside a tile's 52 (d / 16) are 20 % more at d = 768, 8 % at 2,048.
#include <algorithm>

#include "kernels/device/async_copy.cuh"
#include "kernels/device/contrastive.cuh"
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

/// The pairs (i, j) that a launch makes: i from `own` to `own_end`, j from `other` to `other_end`; and how it shares
/// them out, which `grid_of` says.
struct Rectangle {
  std::int64_t own, own_end, other, other_end;
  int splits = 1;       ///< into how many blocks the others of each own block are shared out
  int own_columns = 0;  ///< of own rows that are in shared memory at once: all, or 128, which is two chunks
  __host__ __device__ std::int64_t owns() const { return own_end - own; }
  __host__ __device__ std::int64_t others() const { return other_end - other; }
};

/// A block's shared memory: own rows, then two places for each warp's steps, then what it keeps of each own item. The 8
/// at the end of a row put eight rows into different banks.
template <class T>
using Step = Panel<T, step_rows>;
__host__ __device__ constexpr int own_stride(int own_columns) { return own_columns + 8; }
template <class T>
__device__ Step<T>* steps_of_block(const Rectangle& area) {
  return reinterpret_cast<Step<T>*>(&shared_as<T>() + block_rows * own_stride(area.own_columns));
}
template <class T, int Both>
constexpr std::int64_t block_bytes(int own_columns, std::int64_t warps, std::size_t part) {
  return static_cast<std::int64_t>(sizeof(T)) * block_rows * own_stride(own_columns) +
         warps * static_cast<std::int64_t>(2 * sizeof(Step<T>) + own_items<Both> * part);
}
/// Columns of rows as they are multiplied, zeros at the end.
__host__ __device__ constexpr int whole_depth(std::int64_t d) { return static_cast<int>((d + 15) / 16 * 16); }

/// A launch over a rectangle. 128 blocks, one for each of an H100's multiprocessors but four, where it has 4096 rows.
/// Own rows stay in shared memory whole where this leaves room for as many warps as if they passed through it.
template <class T, int Both>
Grid grid_of(Rectangle& area, std::int64_t d, std::size_t part = 0) {
  const auto most = static_cast<std::int64_t>(most_shared_bytes("contrastive_loss"));
  const auto warps_beside = [&](int own_columns) {
    const std::int64_t none = block_bytes<T, Both>(own_columns, 0, part);
    return std::clamp<std::int64_t>((most - none) / (block_bytes<T, Both>(own_columns, 1, part) - none), 0, most_warps);
  };
  const int all = whole_depth(d), some = std::min(all, 2 * step_depth);
  area.own_columns = warps_beside(all) == warps_beside(some) ? all : some;
  const std::int64_t warps = warps_beside(area.own_columns);
  const std::int64_t steps = (area.others() + step_items<Both> - 1) / step_items<Both>;
  area.splits = static_cast<int>(std::clamp<std::int64_t>((steps + warps - 1) / warps, 1, most_splits<Both>));
  return {(area.owns() + own_items<Both> - 1) / own_items<Both> * area.splits,
          {32, static_cast<unsigned>(warps)},
          static_cast<std::size_t>(block_bytes<T, Both>(area.own_columns, warps, part))};
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
  const int depth = whole_depth(x.d), stride = own_stride(area.own_columns);
  const bool passing = area.own_columns < depth;  // own rows come chunk by chunk, to all warps at once
  T* const own = &shared_as<T>();
  Step<T>* const place = steps_of_block<T>(area) + 2 * warp;
  const int split = static_cast<int>(blockIdx.x) % area.splits, leap = area.splits * warps;
  const std::int64_t first = area.own + std::int64_t{blockIdx.x} / area.splits * own_items<Both>;
  const std::int64_t steps = (area.others() + step_items<Both> - 1) / step_items<Both>;
  const int owns = static_cast<int>(std::min<std::int64_t>(area.own_end - first, own_items<Both>));

  const auto copy_own = [&](T* to, int from, int columns) {
    for (int i = thread; i < block_rows * (columns / 8); i += 32 * warps) {
      const int row = i / (columns / 8), column = i % (columns / 8) * 8;
      copy_eight(to + row * stride + column, x.template row<Both>(true, own_items<Both>, first, row), from + column,
                 row % own_items<Both> < owns, x);
    }
  };
  const auto begin_copy = [&](std::int64_t round, int from, int which) {
    if (passing) copy_own(own + which * step_depth, from, step_depth);
    const std::int64_t other = area.other + (round + warp) * step_items<Both>;
    const int left = static_cast<int>(std::clamp<std::int64_t>(area.other_end - other, 0, step_items<Both>));
#pragma unroll
    for (int r = lane / 8; r < step_rows; r += 4)
      copy_eight(&place[which].rows[r][lane % 8 * 8], x.template row<Both>(false, step_items<Both>, other, r),
                 from + lane % 8 * 8, r % step_items<Both> < left, x);
  };
  if (!passing) copy_own(own, 0, depth);
  begin_copy(split * warps, 0, 0);
  wait_for_copies();
  __syncthreads();

  int which = 0;
  for (std::int64_t round = split * warps; round < steps; round += leap) {
    const bool busy = round + warp < steps;
    Products sums{};
    for (int from = 0; from < depth; from += step_depth, which ^= 1) {
      wait_for_copies();
      // all copies are there, those of other lanes and where rows pass of other warps, and the places of the next read
      if (passing)
        __syncthreads();
      else
        __syncwarp();
      if (from + step_depth < depth)
        begin_copy(round, from + step_depth, which ^ 1);
      else if (round + leap < steps)
        begin_copy(round + leap, 0, which ^ 1);
      if (busy) multiply<Same>(sums, own + (passing ? which * step_depth : from), stride, place[which], depth - from);
    }
    if (!busy) continue;
    const std::int64_t other = area.other + (round + warp) * step_items<Both>;
    const int others = static_cast<int>(std::min<std::int64_t>(area.other_end - other, step_items<Both>));
    f(sums, Place<Both>{first, other, owns, others});
  }
}

/// f(first of a range, its end) for all of n, `step` at a time.
template <class F>
void each_range(std::int64_t first, std::int64_t n, std::int64_t step, const F& f) {
  for (; first < n; first += step) f(first, std::min(first + step, n));
}

// Sums over rows and columns of a rectangle. A Part has `add`, and is neutral when made. Warps keep one for each item
// their block owns, in shared memory; blocks leave the sums of their rows and columns in `own` [splits, owns] and
// `other` [own blocks, others], and add_parts adds these to the totals of items, in order.

template <class Part>
struct Parts {
  Part *own, *other;

  /// A warp's, in shared memory.
  template <int Both, class T>
  __device__ static Part* of_warp(const Rectangle& area, unsigned warp) {
    return reinterpret_cast<Part*>(steps_of_block<T>(area) + 2 * blockDim.y) + warp * own_items<Both>;
  }
  /// This warp's. To be called before each_step, which has a barrier before anything is added.
  template <int Both, class T>
  __device__ static Part* begin(const Rectangle& area) {
    Part* const mine = of_warp<Both, T>(area, threadIdx.y);
    for (int i = static_cast<int>(threadIdx.x); i < own_items<Both>; i += 32) mine[i] = Part();
    return mine;
  }
  /// Of a column of the place.
  template <int Both>
  __device__ Part& column(const Rectangle& area, const Place<Both>& place, int column) const {
    return other[std::int64_t{blockIdx.x} / area.splits * area.others() + place.other - area.other + column];
  }
  template <int Both, class T>
  __device__ void finish(const Rectangle& area) const {
    __syncthreads();
    const std::int64_t first = std::int64_t{blockIdx.x} / area.splits * own_items<Both>;
    for (int i = static_cast<int>(threadIdx.y * 32 + threadIdx.x); i < own_items<Both> && first + i < area.owns();
         i += static_cast<int>(32 * blockDim.y)) {
      Part sum;
      for (unsigned warp = 0; warp < blockDim.y; ++warp) sum.add(of_warp<Both, T>(area, warp)[i]);
      own[std::int64_t{blockIdx.x} % area.splits * area.owns() + first + i] = sum;
    }
  }
};

/// What add_parts does: total [count] = the sum of parts [sets, count], and of what it was unless that is `fresh`.
template <class Part>
struct Addition {
  Part* total;
  const Part* parts;
  std::int64_t count, sets;
  bool fresh;
};
inline constexpr unsigned item_threads = 256;
template <class Part>
__global__ void __launch_bounds__(item_threads) add_parts(Addition<Part> rows, Addition<Part> columns) {
  const auto add = [](const Addition<Part>& to, std::int64_t i) {
    if (i >= to.count) return;
    Part sum = to.fresh ? Part() : to.total[i];
    for (std::int64_t s = 0; s < to.sets; ++s) sum.add(to.parts[s * to.count + i]);
    to.total[i] = sum;
  };
  const std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i < rows.count)
    add(rows, i);
  else
    add(columns, i - rows.count);
}
inline Grid items_grid(std::int64_t count) { return {(count + item_threads - 1) / item_threads, {item_threads}}; }

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
  for (int bits = Along::from; bits <= Along::to; bits *= 2) x = op(x, __shfl_xor_sync(all_lanes, x, bits));
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

using Lse = LogSumExp<Base2>;
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
