// Matrix products are oneDNN's, on blocks of all columns; between them a row, which lies in the cache, is passed over a
// few times. Where there is one block, its logits are kept for the gradients.
#include "kernels/contrastive.hpp"

#include "kernels/cpu/contrastive_blocks.hpp"

namespace clip::kernels::cpu {
namespace {

LogSumExp* take_sums(Scratch& memory, std::int64_t n) { return reinterpret_cast<LogSumExp*>(memory.take(2 * n)); }

/// 1 where the ids agree, else 0.
CLIP_INLINE f32x16 same_id(const std::int32_t* ids, std::int32_t id, AllLanes) {
  i32x16 v;
  std::memcpy(&v, ids, sizeof v);
  return v == id ? splat(1) : splat(0);
}
CLIP_INLINE f32x16 same_id(const std::int32_t* ids, std::int32_t id, std::int64_t count) {
  f32x16 v = {};
  for (std::int64_t j = 0; j < count; ++j) v[j] = ids[j] == id ? 1.0f : 0.0f;
  return v;
}

/// dT = s G V from G V; d loss / d log s = sum of t dT.
void finish_scaled(const ContrastiveGradients& gradients, const float* text, float scale, std::int64_t n,
                   std::int64_t d, float* row_sums) {
  scale_rows(gradients.text, gradients.text, scale, n * d);
  *gradients.scale = static_cast<float>(dot_rows(text, gradients.text, n, d, row_sums));
}

}  // namespace

void info_nce(float* loss, const ContrastiveGradients& gradients, const float* text, const float* image, float scale,
              const std::int32_t* ids, const float* share, std::int64_t n, std::int64_t d, float* scratch) {
  const float mean = 1.0f / (2.0f * static_cast<float>(n));
  Scratch memory(scratch);
  float* const s = memory.take(contrastive_block_rows(n) * n);
  const ColumnSums columns{memory.take(n), memory.take(n)};
  LogSumExp* const r = take_sums(memory, n);
  float *const losses = memory.take(n), *const positive = memory.take(n);
  float* const scaled_text = memory.take(n * d);
  scale_rows(scaled_text, text, scale, n * d);

  columns.clear(n);
  for_blocks(n, [&](const RowBlock& block) {
    block_logits(s, block, scaled_text, image, d);
    for_rows(
        block, [=](std::int64_t i, std::int64_t at) __attribute__((always_inline)) {
          r[i] = row_log_sum_exp(s + at, block.n);
          f32x16 positives = {};
          for_vectors(
              block.n, [&](std::int64_t j, auto count) __attribute__((always_inline)) {
                positives += same_id(ids + j, ids[i], count) * load(s + at + j, count);
              });
          positive[i] = sum(positives) * share[i];
          losses[i] = r[i].log_sum + (r[i].top - positive[i]);
        });
    columns.add(block, s);
  });
  columns.finish(n);
  double total = 0;
  for (std::int64_t i = 0; i < n; ++i)
    total += static_cast<double>(losses[i]) + static_cast<double>(columns.log_sum[i] + (columns.top[i] - positive[i]));
  *loss = static_cast<float>(total / (2 * static_cast<double>(n)));
  if (gradients.text == nullptr) return;

  for_blocks(n, [&](const RowBlock& block) {
    if (!one_block(n)) block_logits(s, block, scaled_text, image, d);
    for_rows(
        block, [=](std::int64_t i, std::int64_t at) __attribute__((always_inline)) {
          for_vectors(
              block.n, [=](std::int64_t j, auto count) __attribute__((always_inline)) {
                const f32x16 v = load(s + at + j, count);
                const f32x16 p = same_id(ids + j, ids[i], count) * share[i];
                const f32x16 from_column = (v - load(columns.top + j, count)) - load(columns.log_sum + j, count);
                store(s + at + j, (exp_from(v, r[i]) + exp_nonpositive(from_column) - 2.0f * p) * mean, count);
              });
        });
    block_product(gradients.text, block, s, image, d, false);
    block_product_transposed(gradients.image, block, s, scaled_text, d, block.first > 0);
  });
  finish_scaled(gradients, text, scale, n, d, losses);
}

void siglip_loss(float* loss, const ContrastiveGradients& gradients, const float* text, const float* image, float scale,
                 float bias, const std::int32_t* ids, std::int64_t n, std::int64_t d, float* scratch) {
  const float mean = 1.0f / static_cast<float>(n);
  Scratch memory(scratch);
  float* const s = memory.take(contrastive_block_rows(n) * n);
  float *const losses = memory.take(n), *const slopes = memory.take(n);
  float* const scaled_text = memory.take(n * d);
  scale_rows(scaled_text, text, scale, n * d);
  for_blocks(n, [&](const RowBlock& block) {
    block_logits(s, block, scaled_text, image, d);
    for_rows(
        block, [=](std::int64_t i, std::int64_t at) __attribute__((always_inline)) {
          f32x16 row_loss = {}, row_slope = {};
          for_vectors(
              block.n, [&](std::int64_t j, auto count) __attribute__((always_inline)) {
                // with w = -z S: log(1 + e^w) = max(w, 0) + log(1 + e^-|w|), and its slope is sigmoid(w)
                const f32x16 sign = 1.0f - 2.0f * same_id(ids + j, ids[i], count);
                const f32x16 w = sign * (load(s + at + j, count) + bias);
                const f32x16 e = exp_nonpositive(-abs(w)), above = 1.0f + e;
                const f32x16 log1p =
                    above == 1.0f ? e : log(above) * (e / (above - 1.0f));  // the rounding of 1 + e cancels
                const f32x16 slope = sign * (w < 0.0f ? e : splat(1)) / above * mean;
                row_loss += only(max(w, splat(0)) + log1p, count);
                row_slope += only(slope, count);
                store(s + at + j, slope, count);
              });
          losses[i] = sum(row_loss);
          slopes[i] = sum(row_slope);
        });
    if (gradients.text == nullptr) return;
    block_product(gradients.text, block, s, image, d, false);
    block_product_transposed(gradients.image, block, s, scaled_text, d, block.first > 0);
  });
  double total = 0, slope = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    total += static_cast<double>(losses[i]);
    slope += static_cast<double>(slopes[i]);
  }
  *loss = static_cast<float>(total / static_cast<double>(n));
  if (gradients.text == nullptr) return;
  *gradients.bias = static_cast<float>(slope);
  finish_scaled(gradients, text, scale, n, d, losses);
}

}  // namespace clip::kernels::cpu
