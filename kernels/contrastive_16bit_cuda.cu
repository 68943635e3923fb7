// InfoNCE and SigLIP of bf16 and f16 embeddings, on tensor cores (kernels/device/pair_products.cuh). Texts are own
// rows, images the others; logits are in base 2. Pairs are taken rectangle by rectangle:
//   positives    of each text (kernels/device/contrastive.cuh)
//   statistics   4096 x 8192 pairs: log-sum-exps of rows and columns at once, added to r_i and q_j
//   slopes       4096 x 4096 pairs: 2n dL/d(t_i . v_j), rounded to T, in memory: 33.5 MB that stay in an H100's L2.
//                Of SigLIP, which needs no statistics, also the loss
//   products     dT += slopes V and dV += slopes^T T by cuBLASLt, summed in f32 over rectangles
// That is 8 n^2 d operations for the loss and all gradients of InfoNCE, 6 for SigLIP: the fewest there are, as no tile
// is made twice for one use, where row-owned kernels need 12 and 8. It is also why slopes pass through memory rather
// than stay in registers: half of the operations are then cuBLASLt's, which reaches the full rate of a Hopper (wgmma),
// where mma.sync reaches about two thirds, and no register holds sums over d. For n = 32,768 and d = 512 that is 2.2
// TFLOP each here, at 450 TFLOP/s 4.9 ms, and in cuBLASLt, at 700 TFLOP/s 3.1 ms: 8.0 ms, 550 TFLOP/s in all; 65 % of
// 790 is 513. For d = 256, 4.0 ms; exponentials, 4 n^2, are 1.2 ms of the special function units beside that. Slopes
// are 2 n^2 bytes written and 4 n^2 read, 6.4 GB, most of it in L2; the sums of gradients are 16 n d bytes for every
// 4096 items. Memory: O(n d), with 33.5 MB for the slopes. Every sum is made in one order, which depends on n, d and
// the size of shared memory alone.
#include <cmath>

#include "kernels/contrastive.hpp"
#include "kernels/device/pair_products.cuh"
#include "kernels/matmul.hpp"

namespace clip::kernels::cuda {
namespace {

template <class T>
__global__ void __launch_bounds__(32 * most_warps)
    statistics(Parts<Lse> parts, Embeddings<T> x, LogitScale logit_scale, Rectangle area) {
  Lse* const rows = parts.begin<1, T>(area);
  const float scale = logit_scale.value() * log2_e;
  const int lane = static_cast<int>(threadIdx.x);
  each_step<1>(x, area, [&](Products& s, const Place<1>& place) {
    const bool whole = place.whole();
#pragma unroll
    for (int m = 0; m < 8; ++m)
#pragma unroll
      for (int n = 0; n < 4; ++n)
#pragma unroll
        for (int e = 0; e < 4; ++e)
          s.at[m][n][e] = whole || place.has(place.row(m, e), place.column(n, e)) ? s.at[m][n][e] * scale : no_logit;
#pragma unroll
    for (int m = 0; m < 8; ++m)
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        const Lse row = lse_along<AlongRow, 8>([&](int k) { return s.at[m][k / 2][2 * h + k % 2]; });
        if (lane % 4 == m % 4) rows[place.row(m, 2 * h)].add(row);
      }
#pragma unroll
    for (int n = 0; n < 4; ++n)
#pragma unroll
      for (int c = 0; c < 2; ++c) {
        const Lse column = lse_along<AlongColumn, 16>([&](int k) { return s.at[k / 2][n][k % 2 * 2 + c]; });
        if (lane / 4 == 0 && place.column(n, c) < place.others) parts.column(area, place, place.column(n, c)) = column;
      }
  });
  parts.finish<1, T>(area);
}

/// What slopes need of item i.
struct alignas(16) Item {
  float r, q, positive;  ///< base 2; positive = 2 / the number of positives
  std::int32_t id;
};

/// *loss; items from the sums of rows and of columns.
__global__ void __launch_bounds__(total_threads)
    info_nce_total(float* loss, Item* items, const Lse* sums, const float* positive, const float* share, Ids ids,
                   LogitScale logit_scale, std::int64_t n) {
  const float scale = logit_scale.value();
  const double total = total_of(n, [=](std::int64_t i) {
    const Item item{sums[i].value(), sums[n + i].value(), 2 * share[i], ids[i]};
    items[i] = item;
    const float s = scale * positive[i];
    return static_cast<double>(item.r * ln_2 - s) + static_cast<double>(item.q * ln_2 - s);
  });
  if (threadIdx.x == 0) *loss = static_cast<float>(total / (2 * static_cast<double>(n)));
}

/// 2n dL/d(t_i . v_j) of InfoNCE. Totals: of slopes times products.
struct InfoNce {
  const Item* items;
  LogitScale logit_scale;
  float scale = 0;

  __device__ void begin() { scale = logit_scale.value(); }
  __device__ Item item(std::int64_t i) const { return items[i]; }
  __device__ float slope(float dot, const Item& row, const Item& column, Floats<totals_of_block>& totals) const {
    const float s = __fmul_rn(dot, scale * log2_e);  // as it was for the sums, not contracted with what comes next
    const float p = exp2_approximately(s - row.r) + exp2_approximately(s - column.q);
    const float slope = scale * (row.id == column.id ? p - row.positive : p);
    totals[0] += slope * dot;
    return slope;
  }
};

/// n dL/d(t_i . v_j) of SigLIP. Totals: of losses, of slopes of the bias, and of slopes times products.
struct SigLip {
  Ids ids;
  LogitScale logit_scale;
  const float* logit_bias;
  float scale = 0, bias = 0;

  __device__ void begin() {
    scale = logit_scale.value();
    bias = *logit_bias;
  }
  __device__ std::int32_t item(std::int64_t i) const { return ids[i]; }
  __device__ float slope(float dot, std::int32_t i, std::int32_t j, Floats<totals_of_block>& totals) const {
    const float sign = i == j ? -1.0f : 1.0f, w = sign * (scale * dot + bias);
    const Softplus of_pair(w, exp2_approximately(-fabsf(w) * log2_e));
    const float slope = sign * __fdividef(of_pair.above, of_pair.below);
    totals[0] += of_pair.value;
    totals[1] += slope;
    totals[2] += slope * scale * dot;
    return slope * scale;
  }
};

/// g [owns, others]; null for the totals alone.
template <class T, class Rule>
__global__ void __launch_bounds__(32 * most_warps)
    slopes(T* g, double* totals, bool fresh, Embeddings<T> x, Rule rule, Rectangle area) {
  rule.begin();
  Floats<totals_of_block> sums{};
  each_step<1>(x, area, [&](Products& dots, const Place<1>& place) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {  // of the columns: what is known of all would not fit into registers
      decltype(rule.item(0)) columns[4];
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        const int column = place.column(2 * half + k / 2, k % 2);
        if (column < place.others) columns[k] = rule.item(place.other + column);
      }
      std::int64_t at = (place.own - area.own + place.row(0, 0)) * area.others() + (place.other - area.other);
#pragma unroll
      for (int m = 0; m < 8; ++m)
#pragma unroll
        for (int h = 0; h < 2; ++h, at += 8 * area.others()) {
          const int row = place.row(m, 2 * h);
          if (row >= place.owns) continue;
          const auto of_row = rule.item(place.own + row);
#pragma unroll
          for (int n = 0; n < 2; ++n) {
            const int column = place.column(2 * half + n, 0);
            float pair[2] = {};
#pragma unroll
            for (int c = 0; c < 2; ++c)
              if (column + c < place.others)
                pair[c] = rule.slope(dots.at[m][2 * half + n][2 * h + c], of_row, columns[2 * n + c], sums);
            if (g != nullptr && column < place.others)
              store_pair(g + at, column, area.other_end - place.other, pair[0], pair[1]);
          }
        }
    }
  });
  add_totals(totals, sums, fresh);
}

/// How many own blocks a rectangle has at most.
std::int64_t own_blocks(std::int64_t rows) { return (rows + block_rows - 1) / block_rows; }

/// What gradients are made of, and the sums over all pairs.
template <class T>
struct SlopeMemory {
  T* slopes;  ///< null where gradients are not wanted
  double* totals;
  SlopeMemory(ScratchParts& parts, std::int64_t n, bool gradients, PairRectangles sizes) {
    const std::int64_t rows = std::min(n, sizes.rows);
    slopes = gradients ? parts.take<T>(rows * rows) : nullptr;
    totals = parts.take<double>(most_splits<1> * own_blocks(rows) * totals_of_block);
  }
};
template <class T>
struct InfoNceMemory {
  SlopeMemory<T> slope;
  Lse* sums;  ///< of rows, then of columns
  Item* items;
  float *positive, *share;
  Parts<Lse> parts;
  InfoNceMemory(ScratchParts& memory, std::int64_t n, bool gradients, PairRectangles sizes)
      : slope(memory, n, gradients, sizes),
        sums(memory.take<Lse>(2 * n)),
        items(memory.take<Item>(n)),
        positive(memory.take<float>(n)),
        share(memory.take<float>(n)) {
    const std::int64_t rows = std::min(n, sizes.rows);
    parts.own = memory.take<Lse>(most_splits<1> * rows);
    parts.other = memory.take<Lse>(own_blocks(rows) * std::min(n, sizes.wide));
  }
};

template <class T>
Embeddings<T> embeddings(const T* text, const T* image, std::int64_t n, std::int64_t d) {
  return {text, image, n, d, in_vectors<T>(d, text, image)};
}

/// Slopes, rectangle by rectangle, and from them the gradients of texts and images. Returns how many blocks have
/// totals.
template <class T, class Rule>
std::int64_t put_slopes(const char* name, const ContrastiveGradients& gradient, const SlopeMemory<T>& memory,
                        const Embeddings<T>& x, const Rule& rule, float factor, std::int64_t rectangle,
                        MatmulPlans& plans, Stream stream) {
  T* const g = memory.slopes;
  std::int64_t blocks = 0;
  each_range(0, x.n, rectangle, [&](std::int64_t i, std::int64_t i_end) {
    each_range(0, x.n, rectangle, [&](std::int64_t j, std::int64_t j_end) {
      Rectangle area{i, i_end, j, j_end};
      const Grid grid = grid_of<T, 1>(area, x.d);
      if (i + j == 0) blocks = grid.blocks;  // no rectangle has more
      launch(name, grid, stream, slopes<T, Rule>, g, memory.totals, i + j == 0, x, rule, area);
      if (g == nullptr) return;
      matmul_f32(gradient.text + i * x.d, g, x.image + j * x.d, {.m = area.owns(), .n = x.d, .k = area.others()},
                 factor, j > 0, plans);
      matmul_f32(gradient.image + j * x.d, g, x.text + i * x.d,
                 {.m = area.others(), .n = x.d, .k = area.owns(), .transpose_a = true}, factor, i > 0, plans);
    });
  });
  return blocks;
}

}  // namespace

template <class T>
std::int64_t info_nce_scratch(std::int64_t n, bool gradients, PairRectangles sizes) {
  return scratch_for<InfoNceMemory<T>>(n, gradients, sizes);
}
template <class T>
std::int64_t siglip_scratch(std::int64_t n, bool gradients, PairRectangles sizes) {
  return scratch_for<SlopeMemory<T>>(n, gradients, sizes);
}

template <class T>
void info_nce(float* loss, const ContrastiveGradients& gradient, const T* text, const T* image, const float* log_scale,
              float most, const std::int32_t* ids, std::int64_t n, std::int64_t d, float* scratch, MatmulPlans& plans,
              Stream stream, PairRectangles sizes) {
  constexpr const char* name = "info_nce";
  ScratchParts all_memory(scratch);
  const InfoNceMemory<T> memory(all_memory, n, gradient.text != nullptr, sizes);
  const Parts<Lse>& parts = memory.parts;
  const Embeddings<T> x = embeddings(text, image, n, d);
  const LogitScale scale{log_scale, most};

  launch(name, positives_grid(n), stream, positives<T>, memory.positive, memory.share, text, image, Ids{ids}, n, d);
  each_range(0, n, sizes.rows, [&](std::int64_t i, std::int64_t i_end) {
    each_range(0, n, sizes.wide, [&](std::int64_t j, std::int64_t j_end) {
      Rectangle area{i, i_end, j, j_end};
      const Grid grid = grid_of<T, 1>(area, d, sizeof(Lse));
      launch(name, grid, stream, statistics<T>, parts, x, scale, area);
      const Addition<Lse> rows{memory.sums + i, parts.own, area.owns(), area.splits, j == 0};
      const Addition<Lse> columns{memory.sums + n + j, parts.other, area.others(), grid.blocks / area.splits, i == 0};
      launch(name, items_grid(rows.count + columns.count), stream, add_parts<Lse>, rows, columns);
    });
  });
  launch(name, total_grid, stream, info_nce_total, loss, memory.items, memory.sums, memory.positive, memory.share,
         Ids{ids}, scale, n);
  if (gradient.text == nullptr) return;
  const double mean = 1 / (2 * static_cast<double>(n));
  const std::int64_t all = put_slopes(name, gradient, memory.slope, x, InfoNce{memory.items, scale},
                                      static_cast<float>(mean), sizes.rows, plans, stream);
  launch(name, total_grid, stream, scaled_total<double>, gradient.scale, memory.slope.totals, totals_of_block, mean,
         all);
}

template <class T>
void siglip_loss(float* loss, const ContrastiveGradients& gradient, const T* text, const T* image,
                 const float* log_scale, const float* bias, const std::int32_t* ids, std::int64_t n, std::int64_t d,
                 float* scratch, MatmulPlans& plans, Stream stream, PairRectangles sizes) {
  constexpr const char* name = "siglip_loss";
  const double mean = 1 / static_cast<double>(n);
  ScratchParts all_memory(scratch);
  const SlopeMemory<T> memory(all_memory, n, gradient.text != nullptr, sizes);
  const std::int64_t all =
      put_slopes(name, gradient, memory, embeddings(text, image, n, d), SigLip{{ids}, {log_scale, HUGE_VALF}, bias},
                 static_cast<float>(mean), sizes.rows, plans, stream);
  const auto put_total = [&](float* y, int which) {
    launch(name, total_grid, stream, scaled_total<double>, y, memory.totals + which, totals_of_block, mean, all);
  };
  put_total(loss, 0);
  if (gradient.text == nullptr) return;
  put_total(gradient.bias, 1);
  put_total(gradient.scale, 2);
}

template std::int64_t info_nce_scratch<bf16>(std::int64_t, bool, PairRectangles);
template std::int64_t info_nce_scratch<f16>(std::int64_t, bool, PairRectangles);
template std::int64_t siglip_scratch<bf16>(std::int64_t, bool, PairRectangles);
template std::int64_t siglip_scratch<f16>(std::int64_t, bool, PairRectangles);
template void info_nce(float*, const ContrastiveGradients&, const bf16*, const bf16*, const float*, float,
                       const std::int32_t*, std::int64_t, std::int64_t, float*, MatmulPlans&, Stream, PairRectangles);
template void info_nce(float*, const ContrastiveGradients&, const f16*, const f16*, const float*, float,
                       const std::int32_t*, std::int64_t, std::int64_t, float*, MatmulPlans&, Stream, PairRectangles);
template void siglip_loss(float*, const ContrastiveGradients&, const bf16*, const bf16*, const float*, const float*,
                          const std::int32_t*, std::int64_t, std::int64_t, float*, MatmulPlans&, Stream,
                          PairRectangles);
template void siglip_loss(float*, const ContrastiveGradients&, const f16*, const f16*, const float*, const float*,
                          const std::int32_t*, std::int64_t, std::int64_t, float*, MatmulPlans&, Stream,
                          PairRectangles);

}  // namespace clip::kernels::cuda
