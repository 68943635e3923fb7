// Matrix products are oneDNN's, on blocks of all columns; between them a row, which lies in the cache, is passed over a
// few times. The soft-target loss costs 6 n^2 d operations for itself, and 18 (detached: 10) more for its gradients, of
// which 6 repeat the logits; where there is one block, these are kept.
#include "kernels/contrastive.hpp"

#include "kernels/cpu/contrastive_blocks.hpp"

namespace clip::kernels::cpu {
namespace {

LogSumExp* take_sums(Scratch& memory, std::int64_t n) { return reinterpret_cast<LogSumExp*>(memory.take(2 * n)); }

/// [a | b] factor: rows of both beside each other, so that one product makes a a^T + b b^T.
void join_rows(float* y, const float* a, const float* b, float factor, std::int64_t n, std::int64_t d) {
  parallel_rows(n, 2 * d, [=](std::int64_t begin, std::int64_t end) {
    const auto scaled = [=](f32x16 v) __attribute__((always_inline)) { return v * factor; };
    for (std::int64_t i = begin; i < end; ++i) {
      map(y + i * 2 * d, 0, d, false, scaled, a + i * d);
      map(y + i * 2 * d + d, 0, d, false, scaled, b + i * d);
    }
  });
}

/// Replaces a row's A by P.
CLIP_INLINE void to_probabilities(float* row, LogSumExp lse, std::int64_t n) {
  map(
      row, 0, n, false, [=](f32x16 v) __attribute__((always_inline)) { return exp_from(v, lse); }, row);
}

/// One row: S becomes G, and, where the gradient goes through the targets, P becomes H, which does not change when a
/// constant is added to all of q_j - 2 S_ij: the row's largest S is, so that what is left is small where P is not.
CLIP_INLINE void to_gradients(float* s, float* p, LogSumExp r, const ColumnSums& columns, bool detached, float scale,
                              std::int64_t n) {
  const float *const top = columns.top, *const log_sum = columns.log_sum, *const weight = columns.weight;
  const auto slope = [=](f32x16 from_row, f32x16 from_column, f32x16 pv, f32x16 c) __attribute__((always_inline)) {
    return (exp_nonpositive(from_row - r.log_sum) + c * exp_nonpositive(from_column) - 2.0f * pv) * scale;
  };
  const float u = detached ? 0
                           : sum_of(
                                 n,
                                 [=](f32x16 pv, f32x16 sv, f32x16 m, f32x16 l)
                                     __attribute__((always_inline)) { return pv * ((l - (sv - m)) - (sv - r.top)); },
                                 p, s, top, log_sum);
  for_vectors(
      n, [=](std::int64_t j, auto count) __attribute__((always_inline)) {
        const f32x16 sv = load(s + j, count), pv = load(p + j, count);
        const f32x16 from_row = sv - r.top, from_column = (sv - load(top + j, count)) - load(log_sum + j, count);
        store(s + j, slope(from_row, from_column, pv, load(weight + j, count)), count);
        if (!detached) store(p + j, pv * (-from_column - from_row - u) * scale, count);
      });
}

}  // namespace

void soft_target_loss(float* loss, const ContrastiveGradients& gradients, const float* text, const float* image,
                      float temperature, bool detach_targets, std::int64_t n, std::int64_t d, float* scratch) {
  const bool wanted = gradients.text != nullptr;
  const float root = std::sqrt(temperature / 2), scale = 1.0f / (2.0f * static_cast<float>(n));
  const std::int64_t block_size = contrastive_block_rows(n) * n;
  Scratch memory(scratch);
  float *const s = memory.take(block_size), *const p = memory.take(block_size);
  const ColumnSums columns{memory.take(n), memory.take(n), memory.take(n), memory.take(n)};
  LogSumExp *const r = take_sums(memory, n), *const a = take_sums(memory, n);
  float* const losses = memory.take(n);
  float *const scaled_text = memory.take(n * d), *const both = memory.take(2 * n * d);
  scale_rows(scaled_text, text, 1.0f / temperature, n * d);
  join_rows(both, text, image, root, n, d);

  const auto logits = [&](const RowBlock& block) {
    block_logits(s, block, scaled_text, image, d);
    block_logits(p, block, both, both, 2 * d);
  };
  columns.clear(n);
  for_blocks(n, [&](const RowBlock& block) {
    logits(block);
    for_rows(
        block, [=](std::int64_t i, std::int64_t at) __attribute__((always_inline)) {
          r[i] = row_log_sum_exp(s + at, block.n);
          a[i] = row_log_sum_exp(p + at, block.n);
          to_probabilities(p + at, a[i], block.n);
          const float top = r[i].top;
          losses[i] = r[i].log_sum +
                      sum_of(
                          block.n, [=](f32x16 pv, f32x16 sv) __attribute__((always_inline)) { return pv * (top - sv); },
                          p + at, s + at);
        });
    columns.add(block, s, p);
  });
  columns.finish(n);
  double total = 0;
  for (std::int64_t i = 0; i < n; ++i)
    total += static_cast<double>(losses[i]) + static_cast<double>(columns.weight[i] * columns.log_sum[i]) +
             static_cast<double>(columns.below[i]);
  *loss = static_cast<float>(total / (2 * static_cast<double>(n)));
  if (!wanted) return;

  float* const dboth = detach_targets ? nullptr : memory.take(2 * n * d);
  for_blocks(n, [&](const RowBlock& block) {
    const bool again = !one_block(n);
    if (again) logits(block);
    for_rows(
        block, [=](std::int64_t i, std::int64_t at) __attribute__((always_inline)) {
          if (again) to_probabilities(p + at, a[i], block.n);
          to_gradients(s + at, p + at, r[i], columns, detach_targets, scale, block.n);
        });
    const bool later = block.first > 0;
    block_product(gradients.text, block, s, image, d, false);
    block_product_transposed(gradients.image, block, s, scaled_text, d, later);
    if (detach_targets) return;
    block_product_transposed(dboth, block, p, both, 2 * d, later);
    block_product(dboth, block, p, both, 2 * d, true);
  });
  const auto tau = static_cast<double>(temperature);
  double dtau = -dot_rows(text, gradients.text, n, d, losses) / (tau * tau);
  if (!detach_targets) dtau += dot_rows(both, dboth, n, 2 * d, losses) / (2 * tau);
  *gradients.scale = static_cast<float>(dtau);
  parallel_rows(n, 2 * d, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      float *const dt = gradients.text + i * d, *const dv = gradients.image + i * d;
      map(
          dt, 0, d, false, [=](f32x16 v) __attribute__((always_inline)) { return v * (1.0f / temperature); }, dt);
      if (detach_targets) continue;
      const auto add = [=](f32x16 v, f32x16 more) __attribute__((always_inline)) { return v + more * root; };
      map(dt, 0, d, false, add, dt, dboth + i * 2 * d);
      map(dv, 0, d, false, add, dv, dboth + i * 2 * d + d);
    }
  });
}

namespace {

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

CLIP_INLINE f32x16 only(f32x16 v, AllLanes) { return v; }
CLIP_INLINE f32x16 only(f32x16 v, std::int64_t count) { return first_lanes(v, count); }

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
