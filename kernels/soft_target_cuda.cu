// The soft-target loss (kernels/contrastive.hpp), row-owned (kernels/device/pair_tiles.cuh): a block owns 64 items,
// texts and images alike, and walks over all others three times, making of each 64 x 64 pairs S_ij, R_ij = S_ji and
// A_ij:
//   statistics   r_i from S, q_i from R, a_i and x_i = sum_j P_ij S_ij from A and S
//   targets      c_i = sum_j P_ji and w_i = sum_j P_ij q_j, from A
//   gradients    G_ij from S, G_ji from R, M_ij = H_ij + H_ji from all three, times the rows of both sides
// 28 n^2 d operations in f32 where 18 would do if tiles were shared; memory O(n).
//
// A batch of few pairs would be the work of one such block or two: with d = 256 that is 65 us of multiplications on one
// of an H100's SMs, even for 32 pairs. Up to `few_pairs` the logits are in memory, 128 KB of them at most:
//   few_logits      a warp has a pair: S_ij and A_ij
//   few_statistics  one block, 16 threads an item: what `statistics` and `targets` make, and the loss
//   few_gradients   a block has an item: its weights of all others, then its gradients, a thread for each column
// which is 14 n^2 d operations on as many SMs as there are, and reads rows from L2: 24 n^2 d bytes, 6 MB for 32 pairs
// of 256 dimensions, 1.1 us at 5.5 TB/s.
#include <cmath>

#include "kernels/contrastive.hpp"
#include "kernels/device/pair_tiles.cuh"

namespace clip::kernels::cuda {
namespace {

using Memory = TileMemory<4, 3>;
constexpr std::int64_t few_pairs = 128;
constexpr int few_threads = 256;

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

/// Of an item, over those others that a thread has.
struct ItemStatistics {
  Lse r, q, a;
  float x = 0;

  __device__ void add(float s, float reverse, float target) {
    r.add(s);
    q.add(reverse);
    x *= a.raise(target);
    const float weight = __expf(target - a.top);
    a.sum += weight;
    x += weight * s;
  }
  /// Called by 16 threads, of which the first writes what all have found of item i.
  __device__ void finish(const Sums& sums, std::int64_t i, bool writes) {
    combine_over_row(r);
    combine_over_row(q);
    x *= combine_over_row(a);
    warp_sum<16>(x);
    if (!writes) return;
    sums.r[i] = r.value();
    sums.q[i] = q.value();
    sums.a[i] = a.value();
    sums.x[i] = x / a.sum;
  }
};

__global__ void __launch_bounds__(tile_threads)
    statistics(Sums sums, const float* text, const float* image, const float* tau, Items items) {
  Memory& memory = shared_as<Memory>();
  const TilePlace place;
  const std::int64_t first = std::int64_t{blockIdx.x} * tile_side;
  const float temperature = temperature_at(tau);
  ItemStatistics of_row[4];
  for (std::int64_t other = 0; other < items.n; other += tile_side) {
    const Pairs p = logits(memory, text, image, temperature, first, other, items, false);
    for (int r = 0; r < 4; ++r)
      for (int c = 0; c < 4; ++c)
        if (other + place.col(c) < items.n) of_row[r].add(p.s.at[r][c], p.r.at[r][c], p.a.at[r][c]);
  }
  for (int r = 0; r < 4; ++r) {
    const std::int64_t i = first + place.row(r);
    of_row[r].finish(sums, i, place.x == 0 && i < items.n);
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
    warp_sum<16>(cs[r], ws[r]);
    if (place.x != 0 || i >= items.n) continue;
    sums.c[i] = cs[r];
    sums.w[i] = ws[r];
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
    warp_sum<16>(g_s[r], h_a[r]);
    if (place.x != 0 || i >= items.n) continue;
    sums.g_s[i] = g_s[r] * mean;
    sums.h_a[i] = h_a[r] * mean;
  }
}

__device__ void write_loss(float* loss, const Sums& sums, std::int64_t n) {
  const double total = total_of(n, [=](std::int64_t i) {
    return static_cast<double>(sums.r[i]) + static_cast<double>(sums.w[i]) - 2 * static_cast<double>(sums.x[i]);
  });
  if (threadIdx.x == 0) *loss = static_cast<float>(total / (2 * static_cast<double>(n)));
}

__global__ void __launch_bounds__(total_threads) total_loss(float* loss, Sums sums, std::int64_t n) {
  write_loss(loss, sums, n);
}

/// dL/dtau = (sum H A - sum G S) / tau
__global__ void __launch_bounds__(total_threads)
    total_temperature(float* dtemperature, Sums sums, const float* tau, bool detach_targets, std::int64_t n) {
  const double total = total_of(n, [=](std::int64_t i) {
    return (detach_targets ? 0.0 : static_cast<double>(sums.h_a[i])) - static_cast<double>(sums.g_s[i]);
  });
  if (threadIdx.x == 0) *dtemperature = static_cast<float>(total / static_cast<double>(*tau));
}

/// S and A of few pairs; [n, n] each.
struct FewLogits {
  float *s, *a;
  FewLogits(ScratchParts& parts, std::int64_t n) {
    for (float** matrix : {&s, &a}) *matrix = parts.take<float>(n <= few_pairs ? n * n : 0);
  }
};

struct SoftTargetMemory {
  Sums sums;
  FewLogits few;
  SoftTargetMemory(ScratchParts& parts, std::int64_t n) : sums(parts, n), few(parts, n) {}
};

__global__ void __launch_bounds__(few_threads) few_logits(FewLogits logits, const float* text, const float* image,
                                                          const float* tau, std::int64_t n, std::int64_t d) {
  const std::int64_t pair = std::int64_t{blockIdx.x} * blockDim.y + threadIdx.y, i = pair / n, j = pair % n;
  if (i >= n) return;
  float s = 0, a = 0;
#pragma unroll 4
  for (std::int64_t k = threadIdx.x; k < d; k += 32) {
    const float t = text[i * d + k], v = image[i * d + k], other_t = text[j * d + k], other_v = image[j * d + k];
    s += t * other_v;
    a += t * other_t + v * other_v;
  }
  warp_sum(s, a);
  if (threadIdx.x != 0) return;
  const float temperature = temperature_at(tau);
  logits.s[pair] = s * (1.0f / temperature);
  logits.a[pair] = a * (temperature / 2);
}

/// One block.
__global__ void __launch_bounds__(total_threads)
    few_statistics(float* loss, Sums sums, FewLogits logits, std::int64_t n) {
  constexpr int together = total_threads / 16;
  const std::int64_t x = threadIdx.x % 16, own = threadIdx.x / 16;
  for (std::int64_t first = 0; first < n; first += together) {  // all threads: their shuffles are of whole warps
    const std::int64_t i = first + own;
    ItemStatistics item;
    for (std::int64_t j = x; i < n && j < n; j += 16)
      item.add(logits.s[i * n + j], logits.s[j * n + i], logits.a[i * n + j]);
    item.finish(sums, i, x == 0 && i < n);
  }
  __syncthreads();
  for (std::int64_t first = 0; first < n; first += together) {
    const std::int64_t i = first + own;
    float c = 0, w = 0;
    for (std::int64_t j = x; i < n && j < n; j += 16) {
      const float a = logits.a[i * n + j];
      c += __expf(a - sums.a[j]);
      w += __expf(a - sums.a[i]) * sums.q[j];
    }
    warp_sum<16>(c, w);
    if (x != 0 || i >= n) continue;
    sums.c[i] = c;
    sums.w[i] = w;
  }
  __syncthreads();
  write_loss(loss, sums, n);
}

/// What an item's gradients are made of: the weights of all others' rows.
struct FewWeights {
  float of_image[few_pairs], of_text[few_pairs], of_targets[few_pairs];
};

__global__ void __launch_bounds__(few_threads)
    few_gradients(float* dtext, float* dimage, Sums sums, FewLogits logits, const float* text, const float* image,
                  const float* tau, bool detach_targets, std::int64_t n, std::int64_t d) {
  FewWeights& weights = shared_as<FewWeights>();
  const std::int64_t i = blockIdx.x;
  const float mean = 1.0f / (2.0f * static_cast<float>(n)), temperature = temperature_at(tau);
  if (threadIdx.y == 0) {
    float g_s = 0, h_a = 0;
    for (std::int64_t j = threadIdx.x; j < n; j += 32) {
      const float s = logits.s[i * n + j], a = logits.a[i * n + j];
      const Slopes slope = slopes(sums, i, j, s, logits.s[j * n + i], a);
      g_s += slope.g * s;
      h_a += slope.h * a;
      weights.of_image[j] = slope.g * mean / temperature;
      weights.of_text[j] = slope.g_reverse * mean / temperature;
      weights.of_targets[j] = detach_targets ? 0.0f : slope.m * mean * (temperature / 2);
    }
    warp_sum(g_s, h_a);
    if (threadIdx.x == 0) {
      sums.g_s[i] = g_s * mean;
      sums.h_a[i] = h_a * mean;
    }
  }
  __syncthreads();
  for (std::int64_t k = threadIdx.y * 32 + threadIdx.x; k < d; k += few_threads) {
    float to_text = 0, to_image = 0;
#pragma unroll 8
    for (std::int64_t j = 0; j < n; ++j) {
      const float t = text[j * d + k], v = image[j * d + k], of_targets = weights.of_targets[j];
      to_text += weights.of_image[j] * v + of_targets * t;
      to_image += weights.of_text[j] * t + of_targets * v;
    }
    dtext[i * d + k] = to_text;
    dimage[i * d + k] = to_image;
  }
}

}  // namespace

template <>
std::int64_t soft_target_scratch<float>(std::int64_t n, bool, bool, PairRectangles) {
  return scratch_for<SoftTargetMemory>(n);
}

void soft_target_loss(float* loss, const ContrastiveGradients& gradient, const float* text, const float* image,
                      const float* temperature, bool detach_targets, std::int64_t n, std::int64_t d, float* scratch,
                      MatmulPlans&, Stream stream) {
  constexpr const char* name = "soft_target_loss";
  ScratchParts parts(scratch);
  const auto [sums, logits] = SoftTargetMemory(parts, n);
  const Items items{n, d, in_vectors<float>(d, text, image)};
  const Grid grid{(n + tile_side - 1) / tile_side, {tile_threads}, sizeof(Memory)};
  const bool few = n <= few_pairs;
  if (few) {
    launch(name, {(n * n + few_threads / 32 - 1) / (few_threads / 32), {32, few_threads / 32}}, stream, few_logits,
           logits, text, image, temperature, n, d);
    launch(name, total_grid, stream, few_statistics, loss, sums, logits, n);
  } else {
    launch(name, grid, stream, statistics, sums, text, image, temperature, items);
    launch(name, grid, stream, targets, sums, text, image, temperature, items);
    launch(name, total_grid, stream, total_loss, loss, sums, n);
  }
  if (gradient.text == nullptr) return;
  if (few)
    launch(name, {n, {32, few_threads / 32}, sizeof(FewWeights)}, stream, few_gradients, gradient.text, gradient.image,
           sums, logits, text, image, temperature, detach_targets, n, d);
  else
    launch(name, grid, stream, gradients, gradient.text, gradient.image, sums, text, image, temperature, detach_targets,
           items);
  launch(name, total_grid, stream, total_temperature, gradient.scale, sums, temperature, detach_targets, n);
}

}  // namespace clip::kernels::cuda
