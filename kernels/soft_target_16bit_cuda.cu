// The soft-target loss (kernels/contrastive.hpp) of bf16 and f16 embeddings, on tensor cores
// (kernels/device/pair_products.cuh): a block owns 64 items, texts and images alike, and makes S_ij, S_ji and A_ij of
// those and 16 others at a time; logits are in base 2. All that is said of (i, j) is said of (j, i) from the same
// products, so that only rectangles above the diagonal are made, and those on it, where (j, i) comes by itself:
//   statistics   r_i, q_i, a_i and x_i = sum_j P_ij S_ij of rows, and of columns the same of j
//   targets      c_i = sum_j P_ji and w_i = sum_j P_ij q_j, from A alone
//   slopes       2n G_ij, 2n G_ji and 2n (H_ij + H_ji), times what they are products' factors of, in memory as T
//   products     of those with texts and images by cuBLASLt, summed in f32 over rectangles
// That is 4 + 2 + 4 n^2 d operations here and 4, or where gradients pass through the targets 8, in cuBLASLt: 18, the
// fewest there are, where the row-owned kernels need 28. For n = 32,768 and d = 256 that is 2.7 TFLOP here, at
// 450 TFLOP/s 6.1 ms, and 2.2 in cuBLASLt, at 700 TFLOP/s 3.1 ms. Memory: O(n d), with 100 MB for the slopes.
#include <cmath>

#include "kernels/contrastive.hpp"
#include "kernels/device/pair_products.cuh"
#include "kernels/matmul.hpp"

namespace clip::kernels::cuda {
namespace {

/// Sums over the others of an item.
struct Statistics {
  Lse r, q, a;
  float x = 0;  ///< sum of 2^(A - a.top) S
  __device__ void add(const Statistics& part) {
    r.add(part.r);
    q.add(part.q);
    const float now = fmaxf(a.top, part.a.top);
    x = x * exp2_approximately(a.top - now) + part.x * exp2_approximately(part.a.top - now);
    a.add(part.a);
  }
};
struct Targets {
  float c = 0, w = 0;
  __device__ void add(const Targets& part) {
    c += part.c;
    w += part.w;
  }
};
/// All of an item, in base 2.
struct alignas(16) Item {
  float r, q, a, u, c;
};

/// What makes logits in base 2 of products.
struct Factors {
  float s, a;
  __device__ explicit Factors(const float* tau) {
    const float temperature = temperature_at(tau);
    s = log2_e / temperature;
    a = log2_e * temperature / 2;
  }
};

/// Products become S_ij, S_ji and A_ij in the quarters named below.
__device__ __forceinline__ float& s_of(Products& p, int m, int n, int e) { return p.at[m][n + 2][e]; }
__device__ __forceinline__ float& reverse_of(Products& p, int m, int n, int e) { return p.at[m + 4][n][e]; }
__device__ __forceinline__ float& a_of(Products& p, int m, int n, int e) { return p.at[m][n][e]; }
/// f(m, n, e) for the lane's pairs.
template <class F>
__device__ __forceinline__ void each_pair(const F& f) {
#pragma unroll
  for (int m = 0; m < 4; ++m)
#pragma unroll
    for (int n = 0; n < 2; ++n)
#pragma unroll
      for (int e = 0; e < 4; ++e) f(m, n, e);
}
/// Rounded, and not contracted with what comes next: of large logits the difference from their own log-sum-exp would
/// otherwise be what rounding left of the product, and not 0.
__device__ __forceinline__ float a_logit(Products& p, int m, int n, int e, const Factors& factors) {
  return __fmul_rn(a_of(p, m, n, e) + p.at[m + 4][n + 2][e], factors.a);
}
__device__ __forceinline__ void to_logits(Products& p, const Factors& factors) {
  each_pair([&](int m, int n, int e) {
    s_of(p, m, n, e) = __fmul_rn(s_of(p, m, n, e), factors.s);
    reverse_of(p, m, n, e) = __fmul_rn(reverse_of(p, m, n, e), factors.s);
    a_of(p, m, n, e) = a_logit(p, m, n, e, factors);
  });
}

/// Of s(k), the reverse(k) and a(k), k < Count, along a row or column.
template <class Along, int Count, class S, class Reverse, class A>
__device__ __forceinline__ Statistics statistics_along(const S& s, const Reverse& reverse, const A& a) {
  Statistics part{lse_along<Along, Count>(s), lse_along<Along, Count>(reverse), lse_along<Along, Count>(a)};
#pragma unroll
  for (int k = 0; k < Count; ++k) part.x += exp2_approximately(a(k) - part.a.top) * s(k);
  part.x = sum_along<Along>(part.x);
  return part;
}

template <class T>
__global__ void __launch_bounds__(32 * most_warps)
    statistics(Parts<Statistics> parts, Embeddings<T> x, const float* tau, bool both, Rectangle area) {
  Statistics* const rows = parts.begin<2, T>(area);
  const Factors factors(tau);
  const int lane = static_cast<int>(threadIdx.x);
  each_step<2>(x, area, [&](Products& p, const Place<2>& place) {
    to_logits(p, factors);
    if (!place.whole())
      each_pair([&](int m, int n, int e) {
        if (!place.has(place.row(m, e), place.column(n, e)))
          s_of(p, m, n, e) = reverse_of(p, m, n, e) = a_of(p, m, n, e) = no_logit;
      });
#pragma unroll
    for (int m = 0; m < 4; ++m)
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        const Statistics row =
            statistics_along<AlongRow, 4>([&](int k) { return s_of(p, m, k / 2, 2 * h + k % 2); },
                                          [&](int k) { return reverse_of(p, m, k / 2, 2 * h + k % 2); },
                                          [&](int k) { return a_of(p, m, k / 2, 2 * h + k % 2); });
        if (lane % 4 == m) rows[place.row(m, 2 * h)].add(row);
      }
    if (!both) return;
#pragma unroll
    for (int n = 0; n < 2; ++n)
#pragma unroll
      for (int c = 0; c < 2; ++c) {
        const Statistics column =
            statistics_along<AlongColumn, 8>([&](int k) { return reverse_of(p, k / 2, n, k % 2 * 2 + c); },
                                             [&](int k) { return s_of(p, k / 2, n, k % 2 * 2 + c); },
                                             [&](int k) { return a_of(p, k / 2, n, k % 2 * 2 + c); });
        if (lane / 4 == 0 && place.column(n, c) < place.others) parts.column(area, place, place.column(n, c)) = column;
      }
  });
  parts.finish<2, T>(area);
}

__global__ void __launch_bounds__(item_threads) finish_statistics(Item* items, const Statistics* sums, std::int64_t n) {
  const std::int64_t i = std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i < n) items[i] = {sums[i].r.value(), sums[i].q.value(), sums[i].a.value(), -2 * sums[i].x / sums[i].a.sum, 0};
}

template <class T>
__global__ void __launch_bounds__(32 * most_warps)
    targets(Parts<Targets> parts, Embeddings<T> x, const Item* items, const float* tau, bool both, Rectangle area) {
  Targets* const rows = parts.begin<2, T>(area);
  const Factors factors(tau);
  const int lane = static_cast<int>(threadIdx.x);
  each_step<2, true>(x, area, [&](Products& p, const Place<2>& place) {
    Targets columns[4];
    float a_j[4], q_j[4];
#pragma unroll
    for (int k = 0; k < 4; ++k)
      if (const int column = place.column(k / 2, k % 2); column < place.others) {
        a_j[k] = items[place.other + column].a;
        q_j[k] = items[place.other + column].q;
      }
#pragma unroll
    for (int m = 0; m < 4; ++m)
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        Targets row;
        const int at = place.row(m, 2 * h);
        const Item* const item = items + place.own + (at < place.owns ? at : 0);
        const float a_i = item->a, q_i = item->q;
#pragma unroll
        for (int k = 0; k < 4; ++k) {
          if (!place.has(at, place.column(k / 2, k % 2))) continue;
          const int e = 2 * h + k % 2;
          const float a = a_logit(p, m, k / 2, e, factors);
          const float forth = exp2_approximately(a - a_i), back = exp2_approximately(a - a_j[k]);  // P_ij and P_ji
          row.add({back, forth * q_j[k]});
          columns[k].add({forth, back * q_i});
        }
        row = {sum_along<AlongRow>(row.c), sum_along<AlongRow>(row.w)};
        if (lane % 4 == m) rows[at].add(row);
      }
    if (!both) return;
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      const Targets column{sum_along<AlongColumn>(columns[k].c), sum_along<AlongColumn>(columns[k].w)};
      if (const int at = place.column(k / 2, k % 2); lane / 4 == 0 && at < place.others)
        parts.column(area, place, at) = column;
    }
  });
  parts.finish<2, T>(area);
}

/// *loss = ln 2 sum (r + u) / 2n, and the items' c and u.
__global__ void __launch_bounds__(total_threads)
    finish_targets(float* loss, Item* items, const Targets* sums, std::int64_t n) {
  const double total = total_of(n, [=](std::int64_t i) {
    items[i].c = sums[i].c;
    items[i].u += sums[i].w;
    return static_cast<double>(items[i].r) + static_cast<double>(items[i].u);
  });
  if (threadIdx.x == 0) *loss = static_cast<float>(total * static_cast<double>(ln_2) / (2 * static_cast<double>(n)));
}

/// Of the pairs of a rectangle, [owns, others] each; null where they are not wanted: `back` on the diagonal, `m` where
/// targets are detached.
template <class T>
struct Slopes {
  T *forth, *back, *m;  ///< 2n / tau times G_ij and G_ji, and n tau (H_ij + H_ji)
};

/// Of one pair: 2n G_ij and 2n H_ij.
struct Slope {
  float g, h;
};
__device__ __forceinline__ Slope slope_of(const Item& i, const Item& j, float s, float a) {
  const float p = exp2_approximately(a - i.a);
  return {exp2_approximately(s - i.r) + j.c * exp2_approximately(s - j.q) - 2 * p, p * (j.q - 2 * s - i.u) * ln_2};
}

/// Totals: of 2n G S and of 2n H A, both by ln 2 too small.
template <class T>
__global__ void __launch_bounds__(32 * most_warps) slopes(Slopes<T> out, double* totals, bool fresh, Embeddings<T> x,
                                                          const Item* items, const float* tau, Rectangle area) {
  const Factors factors(tau);
  const float down = 1 / *tau, up = *tau / 2;
  Floats<totals_of_block> sums{};
  each_step<2>(x, area, [&](Products& p, const Place<2>& place) {
    to_logits(p, factors);
#pragma unroll
    for (int n = 0; n < 2; ++n) {
      const int column = place.column(n, 0);
      if (column >= place.others) continue;
      Item j[2];
#pragma unroll
      for (int c = 0; c < 2; ++c)
        if (column + c < place.others) j[c] = items[place.other + column + c];
      std::int64_t at = (place.own - area.own + place.row(0, 0)) * area.others() + (place.other - area.other);
#pragma unroll
      for (int m = 0; m < 4; ++m)
#pragma unroll
        for (int h = 0; h < 2; ++h, at += 8 * area.others()) {
          const int row = place.row(m, 2 * h);
          if (row >= place.owns) continue;
          const Item i = items[place.own + row];
          float forth[2] = {}, back[2] = {}, both[2] = {};
#pragma unroll
          for (int c = 0; c < 2; ++c) {
            if (column + c >= place.others) continue;
            const float s = s_of(p, m, n, 2 * h + c), reverse = reverse_of(p, m, n, 2 * h + c);
            const float a = a_of(p, m, n, 2 * h + c);
            const Slope ij = slope_of(i, j[c], s, a), ji = slope_of(j[c], i, reverse, a);
            sums[0] += ij.g * s;
            sums[1] += ij.h * a;
            if (out.back != nullptr) {
              sums[0] += ji.g * reverse;
              sums[1] += ji.h * a;
            }
            forth[c] = ij.g * down;
            back[c] = ji.g * down;
            both[c] = (ij.h + ji.h) * up;
          }
          const std::int64_t columns = area.other_end - place.other;
          store_pair(out.forth + at, column, columns, forth[0], forth[1]);
          if (out.back != nullptr) store_pair(out.back + at, column, columns, back[0], back[1]);
          if (out.m != nullptr) store_pair(out.m + at, column, columns, both[0], both[1]);
        }
    }
  });
  add_totals(totals, sums, fresh);
}

/// dL/dtau = (sum H A - sum G S) / tau
__global__ void __launch_bounds__(total_threads)
    total_temperature(float* dtemperature, const double* totals, const float* tau, bool detach_targets,
                      std::int64_t blocks, std::int64_t n) {
  const double total = total_of(blocks, [=](std::int64_t b) {
    const double* const of_block = totals + b * totals_of_block;
    return (detach_targets ? 0 : of_block[1]) - of_block[0];
  });
  if (threadIdx.x == 0)
    *dtemperature = static_cast<float>(total * static_cast<double>(ln_2) /
                                       (2 * static_cast<double>(n) * static_cast<double>(*tau)));
}

/// f(rectangle, whether it is on the diagonal) for the diagonal and all above it, of so many rows and columns.
template <class F>
void each_rectangle(std::int64_t n, std::int64_t rows, std::int64_t columns, const F& f) {
  each_range(0, n, rows, [&](std::int64_t i, std::int64_t i_end) {
    f(Rectangle{i, i_end, i, i_end}, true);
    each_range(i_end, n, columns, [&](std::int64_t j, std::int64_t j_end) { f(Rectangle{i, i_end, j, j_end}, false); });
  });
}

/// Launches a kernel as `run(grid, rectangle, both)` for all pairs, and adds its parts to the sums of items [n].
template <class T, class Part, class F>
void sum_over_pairs(const char* name, Part* sums, const Parts<Part>& parts, const Embeddings<T>& x,
                    PairRectangles sizes, Stream stream, const F& run) {
  each_rectangle(x.n, sizes.rows, sizes.wide, [&](Rectangle area, bool diagonal) {
    const Grid grid = grid_of<T, 2>(area, x.d, sizeof(Part));
    run(grid, area, !diagonal);
    const Addition<Part> rows{sums + area.own, parts.own, area.owns(), area.splits, diagonal && area.own == 0};
    const Addition<Part> columns{sums + area.other, parts.other, diagonal ? 0 : area.others(),
                                 grid.blocks / area.splits, area.own == 0};
    launch(name, items_grid(rows.count + columns.count), stream, add_parts<Part>, rows, columns);
  });
}

template <class T>
struct SoftTargetMemory {
  Statistics* statistics;
  Targets* targets;
  Item* items;
  Parts<Statistics> parts;
  Parts<Targets> target_parts;  ///< in the same place, when statistics are done
  double* totals;
  Slopes<T> slopes{};
  SoftTargetMemory(ScratchParts& memory, std::int64_t n, bool gradients, bool detach_targets, PairRectangles sizes)
      : statistics(memory.take<Statistics>(n)), targets(memory.take<Targets>(n)), items(memory.take<Item>(n)) {
    const std::int64_t rows = std::min(n, sizes.rows), blocks = (rows + own_items<2> - 1) / own_items<2>;
    parts.own = memory.take<Statistics>(most_splits<2> * rows);
    parts.other = memory.take<Statistics>(blocks * std::min(n, sizes.wide));
    target_parts = {reinterpret_cast<Targets*>(parts.own), reinterpret_cast<Targets*>(parts.other)};
    totals = memory.take<double>(most_splits<2> * blocks * totals_of_block);
    if (!gradients) return;
    const auto matrix = [&] { return memory.take<T>(rows * rows); };
    slopes = {matrix(), matrix(), detach_targets ? nullptr : matrix()};
  }
};

}  // namespace

template <class T>
std::int64_t soft_target_scratch(std::int64_t n, bool gradients, bool detach_targets, PairRectangles sizes) {
  return scratch_for<SoftTargetMemory<T>>(n, gradients, detach_targets, sizes);
}

template <class T>
void soft_target_loss(float* loss, const ContrastiveGradients& gradient, const T* text, const T* image,
                      const float* temperature, bool detach_targets, std::int64_t n, std::int64_t d, float* scratch,
                      MatmulPlans& plans, Stream stream, PairRectangles sizes) {
  constexpr const char* name = "soft_target_loss";
  const Embeddings<T> x{text, image, n, d, in_vectors<T>(d, text, image)};
  ScratchParts all_memory(scratch);
  const SoftTargetMemory<T> memory(all_memory, n, gradient.text != nullptr, detach_targets, sizes);
  Item* const items = memory.items;

  sum_over_pairs(name, memory.statistics, memory.parts, x, sizes, stream,
                 [&](const Grid& grid, const Rectangle& area, bool both) {
                   launch(name, grid, stream, statistics<T>, memory.parts, x, temperature, both, area);
                 });
  launch(name, items_grid(n), stream, finish_statistics, items, memory.statistics, n);
  sum_over_pairs(name, memory.targets, memory.target_parts, x, sizes, stream,
                 [&](const Grid& grid, const Rectangle& area, bool both) {
                   launch(name, grid, stream, targets<T>, memory.target_parts, x, items, temperature, both, area);
                 });
  launch(name, total_grid, stream, finish_targets, loss, items, memory.targets, n);
  if (gradient.text == nullptr) return;

  T *const forth = memory.slopes.forth, *const back = memory.slopes.back, *const m = memory.slopes.m;
  const float mean = 1 / (2 * static_cast<float>(n));
  std::int64_t all = 0;
  each_rectangle(n, sizes.rows, sizes.rows, [&](Rectangle area, bool diagonal) {
    const Grid grid = grid_of<T, 2>(area, d);
    const bool first = diagonal && area.own == 0;
    if (first) all = grid.blocks;  // no rectangle has more
    launch(name, grid, stream, slopes<T>, Slopes<T>{forth, diagonal ? nullptr : back, m}, memory.totals, first, x,
           items, temperature, area);
    // to the gradients of i from rows of j, and to those of j from rows of i
    const auto add = [&](float* y, const T* slope, const T* rows, bool to_others, bool begin) {
      const std::int64_t to = to_others ? area.other : area.own, from = to_others ? area.own : area.other;
      const MatmulShape shape{.m = to_others ? area.others() : area.owns(),
                              .n = d,
                              .k = to_others ? area.owns() : area.others(),
                              .transpose_a = to_others};
      matmul_f32(y + to * d, slope, rows + from * d, shape, mean, !begin, plans);
    };
    const bool begin_own = first, begin_other = area.own == 0;
    add(gradient.text, forth, image, false, begin_own);
    add(gradient.image, forth, text, true, begin_other);
    if (!diagonal) {
      add(gradient.text, back, image, true, begin_other);
      add(gradient.image, back, text, false, begin_own);
    }
    if (detach_targets) return;
    add(gradient.text, m, text, false, false);
    add(gradient.image, m, image, false, false);
    if (diagonal) return;
    add(gradient.text, m, text, true, false);
    add(gradient.image, m, image, true, false);
  });
  launch(name, total_grid, stream, total_temperature, gradient.scale, memory.totals, temperature, detach_targets, all,
         n);
}

template std::int64_t soft_target_scratch<bf16>(std::int64_t, bool, bool, PairRectangles);
template std::int64_t soft_target_scratch<f16>(std::int64_t, bool, bool, PairRectangles);
template void soft_target_loss(float*, const ContrastiveGradients&, const bf16*, const bf16*, const float*, bool,
                               std::int64_t, std::int64_t, float*, MatmulPlans&, Stream, PairRectangles);
template void soft_target_loss(float*, const ContrastiveGradients&, const f16*, const f16*, const float*, bool,
                               std::int64_t, std::int64_t, float*, MatmulPlans&, Stream, PairRectangles);

}  // namespace clip::kernels::cuda
