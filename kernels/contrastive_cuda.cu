// InfoNCE and SigLIP, row-owned (kernels/device/pair_tiles.cuh): half of the blocks own texts and walk over images, the
// other half the reverse, each making the logits anew. For the loss and all gradients of InfoNCE 12 n^2 d operations
// (8 would do if tiles were shared), of SigLIP 8 (6), in f32; memory O(n).
//   positives    of each text sum_j P_ij t_i . v_j, and how many
//   statistics   r_i and q_j
//   gradients    a tile of dL/dS in shared memory times the other side's rows, added to the block's own rows
#include <cmath>

#include "kernels/contrastive.hpp"
#include "kernels/device/elementwise.cuh"
#include "kernels/device/pair_tiles.cuh"

namespace clip::kernels::cuda {
namespace {

using Memory = TileMemory<2, 1>;

/// One side of the pairs, as a block sees it: its own rows and the others'.
struct Side {
  const float *own, *other;
  std::int64_t first;  ///< the first of the block's 64 items
  bool texts;
};
__device__ Side side_of_block(const float* text, const float* image, const Items& items) {
  const std::int64_t blocks = (items.n + tile_side - 1) / tile_side, block = blockIdx.x;
  const bool texts = block < blocks;
  return {texts ? text : image, texts ? image : text, (texts ? block : block - blocks) * tile_side, texts};
}

/// Dot products of the block's items and the 64 from `other` on.
__device__ TilePart products(Memory& memory, const Side& side, std::int64_t other, const Items& items) {
  TilePart sum{};
  for (std::int64_t k = 0; k < items.d; k += tile_depth) {
    __syncthreads();
    copy_panel(memory.deep[0], tile_depth, side.own, side.first, k, items);
    copy_panel(memory.deep[1], tile_depth, side.other, other, k, items);
    __syncthreads();
    add_products(sum, memory.deep[0], memory.deep[1]);
  }
  return sum;
}

/// `lse` [2, n]: r, then q.
__global__ void __launch_bounds__(tile_threads)
    info_nce_statistics(float* lse, const float* text, const float* image, LogitScale logit_scale, Items items) {
  Memory& memory = shared_as<Memory>();
  const Side side = side_of_block(text, image, items);
  const TilePlace place;
  const float scale = logit_scale.value();
  Lse sums[4];
  for (std::int64_t other = 0; other < items.n; other += tile_side) {
    const TilePart dots = products(memory, side, other, items);
    for (int r = 0; r < 4; ++r)
      for (int c = 0; c < 4; ++c)
        if (other + place.col(c) < items.n) sums[r].add(scale * dots.at[r][c]);
  }
  for (int r = 0; r < 4; ++r) {
    const std::int64_t i = side.first + place.row(r);
    combine_over_row(sums[r]);
    if (place.x == 0 && i < items.n) lse[(side.texts ? 0 : items.n) + i] = sums[r].value();
  }
}

/// dL/dS of InfoNCE; the same whichever side a block owns.
struct InfoNce {
  const float *lse, *share;
  Ids ids;
  LogitScale logit_scale;
  float mean;  ///< 1 / 2n
  std::int64_t n;
  float scale = 0;
  __device__ void begin() { scale = logit_scale.value(); }

  struct Row {
    const InfoNce& rule;
    float own_lse, share;
    std::int32_t id;
    const float* other_lse;
    __device__ float slope(float dot, std::int64_t j, float&) const {
      const float s = rule.scale * dot, p = rule.ids[j] == id ? share : 0.0f;
      return (__expf(s - own_lse) + __expf(s - other_lse[j]) - 2.0f * p) * rule.mean;
    }
  };
  __device__ Row row(std::int64_t i, bool texts) const {
    return {*this, lse[(texts ? 0 : n) + i], share[i], ids[i], lse + (texts ? n : 0)};
  }
};

/// dL/dS of SigLIP, and the loss.
struct SigLip {
  Ids ids;
  LogitScale logit_scale;
  const float* logit_bias;
  float mean;  ///< 1 / n
  float scale = 0, bias = 0;
  __device__ void begin() {
    scale = logit_scale.value();
    bias = *logit_bias;
  }

  struct Row {
    const SigLip& rule;
    std::int32_t id;
    __device__ float slope(float dot, std::int64_t j, float& loss) const {
      const float sign = rule.ids[j] == id ? -1.0f : 1.0f, w = sign * (rule.scale * dot + rule.bias);
      const Softplus of_pair(w, expf(-fabsf(w)));
      loss += of_pair.value;
      return sign * of_pair.above / of_pair.below * rule.mean;
    }
  };
  __device__ Row row(std::int64_t i, bool) const { return {*this, ids[i]}; }
};

/// Of each text: the sum of its losses, of the slopes, and of slopes times logits without bias; null where not wanted.
struct RowSums {
  float *loss, *slope, *product;
};

template <class Rule>
__global__ void __launch_bounds__(tile_threads)
    gradients(float* dtext, float* dimage, RowSums row_sums, const float* text, const float* image, Rule rule,
              Items items) {
  Memory& memory = shared_as<Memory>();
  const Side side = side_of_block(text, image, items);
  const TilePlace place;
  rule.begin();
  float* const out = side.texts ? dtext : dimage;
  float losses[4] = {}, slopes[4] = {}, with_products[4] = {};
  for (std::int64_t other = 0; other < items.n; other += tile_side) {
    const TilePart dots = products(memory, side, other, items);
#pragma unroll
    for (int r = 0; r < 4; ++r) {
      const std::int64_t i = side.first + place.row(r);
#pragma unroll
      for (int c = 0; c < 4; ++c) {
        const std::int64_t j = other + place.col(c);
        float slope = 0;
        if (i < items.n && j < items.n) slope = rule.row(i, side.texts).slope(dots.at[r][c], j, losses[r]);
        slopes[r] += slope;
        with_products[r] += slope * rule.scale * dots.at[r][c];
        memory.tile[0][place.row(r)][place.col(c)] = slope * rule.scale;
      }
    }
    if (out == nullptr) continue;
    for (std::int64_t from = 0; from < items.d; from += tile_side) {
      __syncthreads();
      copy_panel(memory.wide[0], tile_side, side.other, other, from, items);
      __syncthreads();
      TilePart sum{};
      add_rows(sum, memory.tile[0], memory.wide[0]);
      put_rows(out, sum, side.first, from, items, other > 0);
    }
  }
#pragma unroll
  for (int r = 0; r < 4; ++r) {
    const std::int64_t i = side.first + place.row(r);
    warp_sum<16>(losses[r], slopes[r], with_products[r]);
    if (!side.texts || place.x != 0 || i >= items.n) continue;
    if (row_sums.loss != nullptr) row_sums.loss[i] = losses[r];
    if (row_sums.slope != nullptr) row_sums.slope[i] = slopes[r];
    if (row_sums.product != nullptr) row_sums.product[i] = with_products[r];
  }
}

__global__ void __launch_bounds__(total_threads)
    info_nce_total(float* loss, const float* lse, const float* positive, LogitScale logit_scale, std::int64_t n) {
  const float scale = logit_scale.value();
  const double total = total_of(n, [=](std::int64_t i) {
    const float s = scale * positive[i];
    return static_cast<double>(lse[i] - s) + static_cast<double>(lse[n + i] - s);
  });
  if (threadIdx.x == 0) *loss = static_cast<float>(total / (2 * static_cast<double>(n)));
}

__global__ void __launch_bounds__(1)
    limited_scale_gradient(float* y, const float* gradient, const float* dloss, LogitScale logit_scale) {
  const float g = *gradient * *dloss;
  *y = *logit_scale.log >= logit_scale.most ? (g < 0 ? 0 : g) : g;  // NaN stays
}

struct TimesNumber {
  const float* number;
  template <int N>
  __device__ Floats<N> operator()(std::int64_t, Floats<N> x) const {
    for (int e = 0; e < N; ++e) x[e] *= *number;
    return x;
  }
};

struct InfoNceMemory {
  float *lse, *positive, *share, *product;
  InfoNceMemory(ScratchParts& parts, std::int64_t n)
      : lse(parts.take<float>(2 * n)),
        positive(parts.take<float>(n)),
        share(parts.take<float>(n)),
        product(parts.take<float>(n)) {}
};
struct SigLipMemory {
  RowSums sums;
  SigLipMemory(ScratchParts& parts, std::int64_t n)
      : sums{parts.take<float>(n), parts.take<float>(n), parts.take<float>(n)} {}
};

Items items_of(const float* text, const float* image, std::int64_t n, std::int64_t d) {
  return {n, d, in_vectors<float>(d, text, image)};
}
Grid both_sides(std::int64_t n) { return {2 * ((n + tile_side - 1) / tile_side), {tile_threads}, sizeof(Memory)}; }

}  // namespace

template <>
std::int64_t info_nce_scratch<float>(std::int64_t n, bool, PairRectangles) {
  return scratch_for<InfoNceMemory>(n);
}
template <>
std::int64_t siglip_scratch<float>(std::int64_t n, bool, PairRectangles) {
  return scratch_for<SigLipMemory>(n);
}

void info_nce(float* loss, const ContrastiveGradients& gradient, const float* text, const float* image,
              const float* log_scale, float most, const std::int32_t* ids, std::int64_t n, std::int64_t d,
              float* scratch, MatmulPlans&, Stream stream) {
  constexpr const char* name = "info_nce";
  ScratchParts parts(scratch);
  const InfoNceMemory memory(parts, n);
  const Items items = items_of(text, image, n, d);
  const LogitScale scale{log_scale, most};
  launch(name, positives_grid(n), stream, positives<float>, memory.positive, memory.share, text, image, Ids{ids}, n, d);
  launch(name, both_sides(n), stream, info_nce_statistics, memory.lse, text, image, scale, items);
  launch(name, total_grid, stream, info_nce_total, loss, memory.lse, memory.positive, scale, n);
  if (gradient.text == nullptr) return;
  const InfoNce rule{memory.lse, memory.share, {ids}, scale, 1.0f / (2.0f * static_cast<float>(n)), n};
  launch(name, both_sides(n), stream, gradients<InfoNce>, gradient.text, gradient.image,
         RowSums{nullptr, nullptr, memory.product}, text, image, rule, items);
  launch(name, total_grid, stream, scaled_total<float>, gradient.scale, memory.product, 1, 1.0, n);
}

void info_nce_scale_gradient(float* y, const float* gradient, const float* dloss, const float* log_scale, float most,
                             Stream stream) {
  launch("info_nce", {1, {1}}, stream, limited_scale_gradient, y, gradient, dloss, LogitScale{log_scale, most});
}

template <class T>
void scaled_gradient(T* y, const float* gradient, const float* dloss, std::int64_t n, Stream stream) {
  elementwise("contrastive_loss", stream, TimesNumber{dloss}, n, y, gradient);
}
template void scaled_gradient(float*, const float*, const float*, std::int64_t, Stream);
template void scaled_gradient(bf16*, const float*, const float*, std::int64_t, Stream);
template void scaled_gradient(f16*, const float*, const float*, std::int64_t, Stream);

void siglip_loss(float* loss, const ContrastiveGradients& gradient, const float* text, const float* image,
                 const float* log_scale, const float* bias, const std::int32_t* ids, std::int64_t n, std::int64_t d,
                 float* scratch, MatmulPlans&, Stream stream) {
  constexpr const char* name = "siglip_loss";
  ScratchParts parts(scratch);
  const RowSums sums = SigLipMemory(parts, n).sums;
  const SigLip rule{{ids}, {log_scale, HUGE_VALF}, bias, 1.0f / static_cast<float>(n)};
  Grid grid = both_sides(n);
  if (gradient.text == nullptr) grid.blocks /= 2;  // the texts' alone
  launch(name, grid, stream, gradients<SigLip>, gradient.text, gradient.image, sums, text, image, rule,
         items_of(text, image, n, d));
  const auto put_total = [&](float* y, const float* x, double factor) {
    launch(name, total_grid, stream, scaled_total<float>, y, x, 1, factor, n);
  };
  put_total(loss, sums.loss, 1 / static_cast<double>(n));
  if (gradient.text == nullptr) return;
  put_total(gradient.scale, sums.product, 1);
  put_total(gradient.bias, sums.slope, 1);
}

}  // namespace clip::kernels::cuda
