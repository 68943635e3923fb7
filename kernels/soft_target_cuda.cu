// The soft-target loss (kernels/contrastive.hpp), row-owned (kernels/device/pair_tiles.cuh): a block owns 64 items,
// texts and images alike, and walks over all others three times, making of each 64 x 64 pairs S_ij, R_ij = S_ji and
// A_ij:
//   statistics   r_i from S, q_i from R, a_i and x_i = sum_j P_ij S_ij from A and S
//   targets      c_i = sum_j P_ji and w_i = sum_j P_ij q_j, from A
//   gradients    G_ij from S, G_ji from R, M_ij = H_ij + H_ji from all three, times the rows of both sides
// 28 n^2 d operations in f32 where 18 would do if tiles were shared; memory O(n).
#include <cmath>

#include "kernels/contrastive.hpp"
#include "kernels/device/contrastive.cuh"
#include "kernels/device/pair_tiles.cuh"

namespace clip::kernels::cuda {
namespace {

using Memory = TileMemory<4, 3>;

/// Of each item; [n] each.
struct Sums {
  float *r, *q, *a, *x, *c, *w, *g_s, *h_a;
  Sums(ScratchParts& parts, std::int64_t n) {
    for (float** sum : {&r, &q, &a, &x, &c, &w, &g_s, &h_a}) *sum = parts.take<float>(n);
  }
};

struct Pairs {
  TilePart s, r, a;
};

/// The logits of the block's items and the 64 from `other` on; with `targets_only` a alone.
__device__ Pairs logits(Memory& memory, const float* text, const float* image, float temperature, std::int64_t first,
                        std::int64_t other, const Items& items, bool targets_only) {
  Pairs p{};
  for (std::int64_t k = 0; k < items.d; k += tile_depth) {
    __syncthreads();
    copy_panel(memory.deep[0], tile_depth, text, first, k, items);
    copy_panel(memory.deep[1], tile_depth, image, first, k, items);
    copy_panel(memory.deep[2], tile_depth, text, other, k, items);
    copy_panel(memory.deep[3], tile_depth, image, other, k, items);
    __syncthreads();
    add_products(p.a, memory.deep[0], memory.deep[2]);
    add_products(p.a, memory.deep[1], memory.deep[3]);
    if (targets_only) continue;
    add_products(p.s, memory.deep[0], memory.deep[3]);
    add_products(p.r, memory.deep[1], memory.deep[2]);
  }
  const float down = 1.0f / temperature, up = temperature / 2;
  for (int r = 0; r < 4; ++r)
    for (int c = 0; c < 4; ++c) {
      p.s.at[r][c] *= down;
      p.r.at[r][c] *= down;
      p.a.at[r][c] *= up;
    }
  return p;
}

__global__ void __launch_bounds__(tile_threads)
    statistics(Sums sums, const float* text, const float* image, const float* tau, Items items) {
  Memory& memory = shared_as<Memory>();
  const TilePlace place;
  const std::int64_t first = std::int64_t{blockIdx.x} * tile_side;
  const float temperature = temperature_at(tau);
  RunningSum rs[4], qs[4], as[4];
  float xs[4] = {};
  for (std::int64_t other = 0; other < items.n; other += tile_side) {
    const Pairs p = logits(memory, text, image, temperature, first, other, items, false);
    for (int r = 0; r < 4; ++r)
      for (int c = 0; c < 4; ++c) {
        if (other + place.col(c) >= items.n) continue;
        const float s = p.s.at[r][c], reverse = p.r.at[r][c], a = p.a.at[r][c];
        rs[r].raise(s);
        rs[r].sum += __expf(s - rs[r].top);
        qs[r].raise(reverse);
        qs[r].sum += __expf(reverse - qs[r].top);
        xs[r] *= as[r].raise(a);
        const float weight = __expf(a - as[r].top);
        as[r].sum += weight;
        xs[r] += weight * s;
      }
  }
  for (int r = 0; r < 4; ++r) {
    const std::int64_t i = first + place.row(r);
    combine_over_row(rs[r]);
    combine_over_row(qs[r]);
    const float factor = combine_over_row(as[r]), x = sum_over_row(xs[r] * factor);
    if (place.x != 0 || i >= items.n) continue;
    sums.r[i] = rs[r].value();
    sums.q[i] = qs[r].value();
    sums.a[i] = as[r].value();
    sums.x[i] = x / as[r].sum;
  }
}

__global__ void __launch_bounds__(tile_threads)
    targets(Sums sums, const float* text, const float* image, const float* tau, Items items) {
  Memory& memory = shared_as<Memory>();
  const TilePlace place;
  const std::int64_t first = std::int64_t{blockIdx.x} * tile_side;
  const float temperature = temperature_at(tau);
  float cs[4] = {}, ws[4] = {};
  for (std::int64_t other = 0; other < items.n; other += tile_side) {
    const Pairs p = logits(memory, text, image, temperature, first, other, items, true);
    for (int r = 0; r < 4; ++r) {
      const std::int64_t i = first + place.row(r);
      for (int c = 0; c < 4; ++c) {
        const std::int64_t j = other + place.col(c);
        if (i >= items.n || j >= items.n) continue;
        cs[r] += __expf(p.a.at[r][c] - sums.a[j]);
        ws[r] += __expf(p.a.at[r][c] - sums.a[i]) * sums.q[j];
      }
    }
  }
  for (int r = 0; r < 4; ++r) {
    const std::int64_t i = first + place.row(r);
    const float c = sum_over_row(cs[r]), w = sum_over_row(ws[r]);
    if (place.x != 0 || i >= items.n) continue;
    sums.c[i] = c;
    sums.w[i] = w;
  }
}

/// Of one pair, without the factor 1 / 2n: G_ij, G_ji, H_ij and H_ij + H_ji.
struct Slopes {
  float g, g_reverse, h, m;
};
__device__ Slopes slopes(const Sums& sums, std::int64_t i, std::int64_t j, float s, float reverse, float a) {
  const float p = __expf(a - sums.a[i]), p_reverse = __expf(a - sums.a[j]);
  const float u = sums.w[i] - 2 * sums.x[i], u_other = sums.w[j] - 2 * sums.x[j];
  const float h = p * (sums.q[j] - 2 * s - u);
  return {__expf(s - sums.r[i]) + sums.c[j] * __expf(s - sums.q[j]) - 2 * p,
          __expf(reverse - sums.r[j]) + sums.c[i] * __expf(reverse - sums.q[i]) - 2 * p_reverse, h,
          h + p_reverse * (sums.q[i] - 2 * reverse - u_other)};
}

__global__ void __launch_bounds__(tile_threads)
    gradients(float* dtext, float* dimage, Sums sums, const float* text, const float* image, const float* tau,
              bool detach_targets, Items items) {
  Memory& memory = shared_as<Memory>();
  const TilePlace place;
  const std::int64_t first = std::int64_t{blockIdx.x} * tile_side;
  const float temperature = temperature_at(tau);
  const float mean = 1.0f / (2.0f * static_cast<float>(items.n));
  float g_s[4] = {}, h_a[4] = {};
  for (std::int64_t other = 0; other < items.n; other += tile_side) {
    const Pairs p = logits(memory, text, image, temperature, first, other, items, false);
    for (int r = 0; r < 4; ++r) {
      const std::int64_t i = first + place.row(r);
      for (int c = 0; c < 4; ++c) {
        const std::int64_t j = other + place.col(c);
        Slopes slope{};
        if (i < items.n && j < items.n) slope = slopes(sums, i, j, p.s.at[r][c], p.r.at[r][c], p.a.at[r][c]);
        g_s[r] += slope.g * p.s.at[r][c];
        h_a[r] += slope.h * p.a.at[r][c];
        const int row = place.row(r), col = place.col(c);
        memory.tile[0][row][col] = slope.g * mean / temperature;
        memory.tile[1][row][col] = slope.g_reverse * mean / temperature;
        memory.tile[2][row][col] = slope.m * mean * (temperature / 2);
      }
    }
    for (std::int64_t from = 0; from < items.d; from += tile_side) {
      __syncthreads();
      copy_panel(memory.wide[0], tile_side, text, other, from, items);
      copy_panel(memory.wide[1], tile_side, image, other, from, items);
      __syncthreads();
      TilePart to_text{}, to_image{};
      add_rows(to_text, memory.tile[0], memory.wide[1]);
      add_rows(to_image, memory.tile[1], memory.wide[0]);
      if (!detach_targets) {
        add_rows(to_text, memory.tile[2], memory.wide[0]);
        add_rows(to_image, memory.tile[2], memory.wide[1]);
      }
      put_rows(dtext, to_text, first, from, items, other > 0);
      put_rows(dimage, to_image, first, from, items, other > 0);
    }
  }
  for (int r = 0; r < 4; ++r) {
    const std::int64_t i = first + place.row(r);
    const float of_s = sum_over_row(g_s[r]), of_a = sum_over_row(h_a[r]);
    if (place.x != 0 || i >= items.n) continue;
    sums.g_s[i] = of_s * mean;
    sums.h_a[i] = of_a * mean;
  }
}

__global__ void __launch_bounds__(total_threads) total_loss(float* loss, Sums sums, std::int64_t n) {
  const double total = total_of(n, [=](std::int64_t i) {
    return static_cast<double>(sums.r[i]) + static_cast<double>(sums.w[i]) - 2 * static_cast<double>(sums.x[i]);
  });
  if (threadIdx.x == 0) *loss = static_cast<float>(total / (2 * static_cast<double>(n)));
}

/// dL/dtau = (sum H A - sum G S) / tau
__global__ void __launch_bounds__(total_threads)
    total_temperature(float* dtemperature, Sums sums, const float* tau, bool detach_targets, std::int64_t n) {
  const double total = total_of(n, [=](std::int64_t i) {
    return (detach_targets ? 0.0 : static_cast<double>(sums.h_a[i])) - static_cast<double>(sums.g_s[i]);
  });
  if (threadIdx.x == 0) *dtemperature = static_cast<float>(total / static_cast<double>(*tau));
}

}  // namespace

template <>
std::int64_t soft_target_scratch<float>(std::int64_t n, bool, bool, PairRectangles) {
  return scratch_for<Sums>(n);
}

void soft_target_loss(float* loss, const ContrastiveGradients& gradient, const float* text, const float* image,
                      const float* temperature, bool detach_targets, std::int64_t n, std::int64_t d, float* scratch,
                      MatmulPlans&, Stream stream) {
  constexpr const char* name = "soft_target_loss";
  ScratchParts parts(scratch);
  const Sums sums(parts, n);
  const Items items{n, d, in_vectors<float>(d, text, image)};
  const Grid grid{(n + tile_side - 1) / tile_side, {tile_threads}, sizeof(Memory)};
  launch(name, grid, stream, statistics, sums, text, image, temperature, items);
  launch(name, grid, stream, targets, sums, text, image, temperature, items);
  launch(name, total_grid, stream, total_loss, loss, sums, n);
  if (gradient.text == nullptr) return;
  launch(name, grid, stream, gradients, gradient.text, gradient.image, sums, text, image, temperature, detach_targets,
         items);
  launch(name, total_grid, stream, total_temperature, gradient.scale, sums, temperature, detach_targets, n);
}

}  // namespace clip::kernels::cuda
