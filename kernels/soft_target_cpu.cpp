// Logits are walked in pairs of blocks (I, J), I <= J, of three tiles with one layout: S_ij, R_ij = S_ji, and A_ij,
// which is symmetric and so made once. What a tile says of its rows it also says, read by columns with S and R
// exchanged, of the items of J. Three walks: statistics of S and A; what depends on all of P; gradients. Together 18
// n^2 d operations (14 with targets detached), 6 of them for the loss alone. Large logits enter as differences to their
// row's largest only.
//
// Items that have little in common have targets far below what f32 keeps beside the P_ii: rows of LayerNorm point
// anywhere, so A_ii = 256 tau at d = 256 while the other A_ij lie around 0. A pair of blocks whose P are all below
// e^-`negligible` is marked in the first walk and its A left out of all others: 12 n^2 d operations where all are.
#include "kernels/contrastive.hpp"
#include "kernels/cpu/contrastive_blocks.hpp"

namespace clip::kernels::cpu {
namespace {

/// Running log-sum-exp of each item: the largest so far, and the sum of e^(x - top); `finish` leaves its logarithm.
struct Sums {
  float *top, *sum;

  void clear(std::int64_t n) const {
    std::fill_n(top, n, -__builtin_inff());
    std::fill_n(sum, n, 0.0f);
  }
  void finish(std::int64_t n) const {
    for (std::int64_t i = 0; i < n; ++i) sum[i] = std::log(sum[i]);
  }
  /// Adds x [n] to item i's; returns what a sum before has to be multiplied by.
  CLIP_INLINE float add(std::int64_t i, const float* x, std::int64_t n) const {
    const float now = std::max(top[i], row_max(x, n)), factor = std::exp(top[i] - now);
    sum[i] = sum[i] * factor + row_sum_exp(x, n, now);
    top[i] = now;
    return factor;
  }
  template <class Count>
  CLIP_INLINE f32x16 exp_from_item(f32x16 x, std::int64_t i, Count count) const {
    return exp_nonpositive((x - load(top + i, count)) - load(sum + i, count));
  }
  CLIP_INLINE LogSumExp operator[](std::int64_t i) const { return {top[i], sum[i]}; }
};

/// Of each item i: r, q, a as in contrastive.hpp; x = sum_j P_ij (r's top - S_ij); c; w = sum_j P_ij (q_j - mean of q).
struct Items {
  Sums r, q, a;
  float *x, *c, *w, *q_centred;
};

constexpr float negligible = 40;  // e^-40 is a billionth of the rounding of 1

/// Items first .. first + rows of the rows, and of the columns, of the tiles s, r, a.
struct Pair {
  std::int64_t row, rows, col, cols;
  float *s, *r, *a;
  float* far;  // 1 where its P are negligible, else 0
  bool diagonal() const { return row == col; }
  bool has_targets() const { return *far == 0; }
};

template <class F>
void for_pairs(std::int64_t n, float* tiles, float* far, const F& f) {
  const std::int64_t step = soft_target_block(n), tile = step * step;
  for (std::int64_t i = 0; i < n; i += step)
    for (std::int64_t j = i; j < n; j += step)
      f(Pair{i, std::min(step, n - i), j, std::min(step, n - j), tiles, tiles + tile, tiles + 2 * tile, far++});
}

/// f(first column, end) of the tile's columns, shared by the threads.
template <class F>
void for_column_ranges(const Pair& pair, const F& f) {
  parallel_for(pair.cols, std::max<std::int64_t>(1, elements_per_thread / pair.rows), f, lanes);
}
template <class F>
void for_tile_rows(const Pair& pair, const F& f) {
  parallel_rows(pair.rows, pair.cols, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) f(pair.row + row, row * pair.cols);
  });
}

/// Tops of A start at A_ii, which is most often the largest and tells early what is negligible.
void start_at_diagonal(const Items& items, const float* both, std::int64_t n, std::int64_t k) {
  parallel_rows(n, k, [=](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) items.a.top[i] = dot(both + i * k, both + i * k, k);
  });
}

/// Whether all e^(A_ij - top) are negligible, for rows and for columns. Scratch: the rows' items.w.
void mark_far(const Pair& pair, const Items& items) {
  *pair.far = 0;
  if (pair.diagonal()) return;
  float* const largest = items.w + pair.row;
  for_tile_rows(
      pair, [=](std::int64_t i, std::int64_t at)
                __attribute__((always_inline)) { items.w[i] = row_max(pair.a + at, pair.cols); });
  const float *const rows = items.a.top + pair.row, *const cols = items.a.top + pair.col;
  const float top = std::min(*std::min_element(rows, rows + pair.rows), *std::min_element(cols, cols + pair.cols));
  if (*std::max_element(largest, largest + pair.rows) < top - negligible) *pair.far = 1;
  std::fill_n(largest, pair.rows, 0.0f);
}

void add_row_statistics(const Pair& pair, const Items& items) {
  const bool targets = pair.has_targets();
  for_tile_rows(
      pair, [=](std::int64_t i, std::int64_t at) __attribute__((always_inline)) {
        const float top_before = items.r.top[i], weight_before = items.a.sum[i];
        items.r.add(i, pair.s + at, pair.cols);
        items.q.add(i, pair.r + at, pair.cols);
        const float r_top = items.r.top[i];
        const float moved = weight_before == 0 ? 0 : items.x[i] + weight_before * (r_top - top_before);
        if (!targets) {
          items.x[i] = moved;
          return;
        }
        const float factor = items.a.add(i, pair.a + at, pair.cols), a_top = items.a.top[i];
        items.x[i] = moved * factor + sum_of(
                                          pair.cols,
                                          [=](f32x16 a, f32x16 s) __attribute__((always_inline)) {
                                            return exp_nonpositive(a - a_top) * (r_top - s);
                                          },
                                          pair.a + at, pair.s + at);
      });
}

/// The same of the columns' items, whose S is R and the other way round.
void add_column_statistics(const Pair& pair, const Items& all) {
  const bool targets = pair.has_targets();
  const Items items{{all.r.top + pair.col, all.r.sum + pair.col},
                    {all.q.top + pair.col, all.q.sum + pair.col},
                    {all.a.top + pair.col, all.a.sum + pair.col},
                    all.x + pair.col,
                    nullptr,
                    nullptr,
                    nullptr};
  for_column_ranges(pair, [=](std::int64_t begin, std::int64_t end) {
    constexpr std::int64_t most = 512;
    alignas(64) float r_before[most], q_before[most], a_before[most];
    const std::int64_t count = end - begin;
    std::copy_n(items.r.top + begin, count, r_before);
    std::copy_n(items.q.top + begin, count, q_before);
    std::copy_n(items.a.top + begin, count, a_before);
    for (std::int64_t row = 0; row < pair.rows; ++row)
      for_vectors(
          count, [=](std::int64_t k, auto lanes_used) __attribute__((always_inline)) {
            const std::int64_t j = begin + k, at = row * pair.cols + j;
            const auto raise = [=](float* top, const float* x) __attribute__((always_inline)) {
              store(top + j, max(load(top + j, lanes_used), load(x + at, lanes_used)), lanes_used);
            };
            raise(items.r.top, pair.r);
            raise(items.q.top, pair.s);
            if (targets) raise(items.a.top, pair.a);
          });
    for_vectors(
        count, [&](std::int64_t k, auto lanes_used) __attribute__((always_inline)) {
          const std::int64_t j = begin + k;
          const auto factor = [&](const float* before, const float* top) __attribute__((always_inline)) {
            return exp_nonpositive(load(before + k, lanes_used) - load(top + j, lanes_used));
          };
          const f32x16 weight = load(items.a.sum + j, lanes_used), a_factor = factor(a_before, items.a.top);
          const f32x16 moved = load(items.x + j, lanes_used) +
                               weight * (load(items.r.top + j, lanes_used) - load(r_before + k, lanes_used));
          store(items.x + j, weight == 0.0f ? splat(0) : moved * a_factor, lanes_used);
          store(items.a.sum + j, weight * a_factor, lanes_used);
          store(items.r.sum + j, load(items.r.sum + j, lanes_used) * factor(r_before, items.r.top), lanes_used);
          store(items.q.sum + j, load(items.q.sum + j, lanes_used) * factor(q_before, items.q.top), lanes_used);
        });
    for (std::int64_t row = 0; row < pair.rows; ++row)
      for_vectors(
          count, [=](std::int64_t k, auto lanes_used) __attribute__((always_inline)) {
            const std::int64_t j = begin + k, at = row * pair.cols + j;
            const f32x16 below = load(items.r.top + j, lanes_used) - load(pair.r + at, lanes_used);
            const auto add = [=](float* sums, f32x16 v) __attribute__((always_inline)) {
              store(sums + j, load(sums + j, lanes_used) + v, lanes_used);
            };
            add(items.r.sum, exp_nonpositive(-below));
            add(items.q.sum, exp_nonpositive(load(pair.s + at, lanes_used) - load(items.q.top + j, lanes_used)));
            if (!targets) return;
            const f32x16 p = exp_nonpositive(load(pair.a + at, lanes_used) - load(items.a.top + j, lanes_used));
            add(items.a.sum, p);
            add(items.x, p * below);
          });
  });
}

/// Adds to c and w of rows and columns. Off the diagonal it overwrites the tiles a and s by P_ij and P_ji.
void add_target_sums(const Pair& pair, const Items& items) {
  const bool both = !pair.diagonal();
  for_tile_rows(
      pair, [=](std::int64_t i, std::int64_t at) __attribute__((always_inline)) {
        const LogSumExp a = items.a[i];
        f32x16 w = {}, c = {};
        for_vectors(
            pair.cols, [&](std::int64_t j, auto count) __attribute__((always_inline)) {
              const f32x16 v = load(pair.a + at + j, count);
              const f32x16 p = only(exp_from(v, a), count);
              const f32x16 pt = only(items.a.exp_from_item(v, pair.col + j, count), count);
              w += p * load(items.q_centred + pair.col + j, count);
              c += pt;
              if (!both) return;
              store(pair.a + at + j, p, count);
              store(pair.s + at + j, pt, count);
            });
        items.w[i] += sum(w);
        items.c[i] += sum(c);
      });
  if (!both) return;
  for_column_ranges(pair, [=](std::int64_t begin, std::int64_t end) {
    float *const c = items.c + pair.col, *const w = items.w + pair.col;
    for (std::int64_t row = 0; row < pair.rows; ++row) {
      const float *const p = pair.a + row * pair.cols, *const pt = pair.s + row * pair.cols;
      const float q = items.q_centred[pair.row + row];
      map(
          c, begin, end, false, [](f32x16 u, f32x16 v) __attribute__((always_inline)) { return u + v; }, c, p);
      map(
          w, begin, end, false, [=](f32x16 u, f32x16 v) __attribute__((always_inline)) { return u + v * q; }, w, pt);
    }
  });
}

/// Replaces S by G, R by G^T and, unless targets are detached or negligible, A by H + H^T.
void to_gradients(const Pair& pair, const Items& items, bool detached, float scale) {
  const bool targets = pair.has_targets();
  for_tile_rows(
      pair, [=](std::int64_t i, std::int64_t at) __attribute__((always_inline)) {
        const LogSumExp ri = items.r[i], qi = items.q[i], ai = items.a[i];
        const float ci = items.c[i], q_i = items.q_centred[i], ui = items.w[i] + 2 * items.x[i];
        for_vectors(
            pair.cols, [=](std::int64_t col, auto count) __attribute__((always_inline)) {
              const std::int64_t j = pair.col + col;
              const f32x16 s = load(pair.s + at + col, count), r = load(pair.r + at + col, count);
              const f32x16 cj = load(items.c + j, count);
              const f32x16 g = exp_from(s, ri) + cj * items.q.exp_from_item(s, j, count);
              const f32x16 gt = items.r.exp_from_item(r, j, count) + ci * exp_from(r, qi);
              if (!targets) {
                store(pair.s + at + col, g * scale, count);
                store(pair.r + at + col, gt * scale, count);
                return;
              }
              const f32x16 a = load(pair.a + at + col, count);
              const f32x16 p = exp_from(a, ai), pt = items.a.exp_from_item(a, j, count);
              store(pair.s + at + col, (g - 2.0f * p) * scale, count);
              store(pair.r + at + col, (gt - 2.0f * pt) * scale, count);
              if (detached) return;
              const f32x16 uj = load(items.w + j, count) + 2.0f * load(items.x + j, count);
              const f32x16 h = p * (load(items.q_centred + j, count) + 2.0f * (ri.top - s) - ui);
              const f32x16 ht = pt * (q_i + 2.0f * (load(items.r.top + j, count) - r) - uj);
              store(pair.a + at + col, (h + ht) * scale, count);
            });
      });
}

/// y [rows, cols] = a's rows times the transpose of b's columns' items; a and b are [n, k].
void tile_logits(float* y, const Pair& pair, const float* a, const float* b, std::int64_t k) {
  matmul(y, a + pair.row * k, b + pair.col * k,
         MatmulShape{.m = pair.rows, .n = pair.cols, .k = k, .transpose_b = true});
}
/// The rows' part of y (+)= tile b.
void rows_product(float* y, const Pair& pair, const float* tile, const float* b, std::int64_t k, bool accumulate) {
  matmul(y + pair.row * k, tile, b + pair.col * k, MatmulShape{.m = pair.rows, .n = k, .k = pair.cols},
         {.accumulate = accumulate});
}
/// The columns' part of y += tile^T b.
void columns_product(float* y, const Pair& pair, const float* tile, const float* b, std::int64_t k) {
  matmul(y + pair.col * k, tile, b + pair.row * k,
         MatmulShape{.m = pair.cols, .n = k, .k = pair.rows, .transpose_a = true}, {.accumulate = true});
}

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

}  // namespace

void soft_target_loss(float* loss, const ContrastiveGradients& gradients, const float* text, const float* image,
                      float temperature, bool detach_targets, std::int64_t n, std::int64_t d, float* scratch) {
  const bool single = soft_target_block(n) == n;
  const float root = std::sqrt(temperature / 2);
  Scratch memory(scratch);
  float* const tiles = memory.take(3 * soft_target_block(n) * soft_target_block(n));
  const auto sums = [&] {
    float *const top = memory.take(n), *const sum = memory.take(n);
    return Sums{top, sum};
  };
  const Items items{sums(), sums(), sums(), memory.take(n), memory.take(n), memory.take(n), memory.take(n)};
  float* const far = memory.take(soft_target_pairs(n));
  float *const scaled_text = memory.take(n * d), *const both = memory.take(2 * n * d);
  scale_rows(scaled_text, text, 1.0f / temperature, n * d);
  join_rows(both, text, image, root, n, d);

  for (const Sums* s : {&items.r, &items.q, &items.a}) s->clear(n);
  for (float* values : {items.x, items.c, items.w}) std::fill_n(values, n, 0.0f);
  start_at_diagonal(items, both, n, 2 * d);
  const auto logits = [&](const Pair& pair) {
    tile_logits(pair.s, pair, scaled_text, image, d);
    tile_logits(pair.r, pair, image, scaled_text, d);
  };
  const auto target_logits = [&](const Pair& pair) { tile_logits(pair.a, pair, both, both, 2 * d); };
  for_pairs(n, tiles, far, [&](const Pair& pair) {
    logits(pair);
    target_logits(pair);
    mark_far(pair, items);
    add_row_statistics(pair, items);
    if (!pair.diagonal()) add_column_statistics(pair, items);
  });
  double q_mean = 0;
  for (std::int64_t i = 0; i < n; ++i) items.x[i] /= items.a.sum[i];
  for (const Sums* s : {&items.r, &items.q, &items.a}) s->finish(n);
  for (std::int64_t i = 0; i < n; ++i)
    q_mean += (static_cast<double>(items.q.top[i]) + static_cast<double>(items.q.sum[i])) / static_cast<double>(n);
  const auto q_centre = static_cast<float>(q_mean);
  for (std::int64_t i = 0; i < n; ++i) items.q_centred[i] = (items.q.top[i] - q_centre) + items.q.sum[i];
  for_pairs(n, tiles, far, [&](const Pair& pair) {
    if (!pair.has_targets()) return;
    if (!single) target_logits(pair);
    add_target_sums(pair, items);
  });
  double total = 0;
  for (std::int64_t i = 0; i < n; ++i)
    total += (static_cast<double>(items.r.sum[i]) + 2 * static_cast<double>(items.x[i])) +
             (static_cast<double>(items.w[i]) + (static_cast<double>(q_centre) - static_cast<double>(items.r.top[i])));
  *loss = static_cast<float>(total / (2 * static_cast<double>(n)));
  if (gradients.text == nullptr) return;

  float* const dboth = detach_targets ? nullptr : memory.take(2 * n * d);
  if (!single) {
    std::fill_n(gradients.text, n * d, 0.0f);
    std::fill_n(gradients.image, n * d, 0.0f);
    if (!detach_targets) std::fill_n(dboth, 2 * n * d, 0.0f);
  }
  for_pairs(n, tiles, far, [&](const Pair& pair) {
    const bool moves_targets = !detach_targets && pair.has_targets();
    if (!single) {
      logits(pair);
      if (pair.has_targets()) target_logits(pair);
    }
    to_gradients(pair, items, detach_targets, 1.0f / (2.0f * static_cast<float>(n)));
    rows_product(gradients.text, pair, pair.s, image, d, !single);
    rows_product(gradients.image, pair, pair.r, scaled_text, d, !single);
    if (moves_targets) rows_product(dboth, pair, pair.a, both, 2 * d, !single);
    if (pair.diagonal()) return;
    columns_product(gradients.text, pair, pair.r, image, d);
    columns_product(gradients.image, pair, pair.s, scaled_text, d);
    if (moves_targets) columns_product(dboth, pair, pair.a, both, 2 * d);
  });
  const auto tau = static_cast<double>(temperature);
  double dtau = -dot_rows(text, gradients.text, n, d, items.x) / (tau * tau);
  if (!detach_targets) dtau += dot_rows(both, dboth, n, 2 * d, items.x) / (2 * tau);
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

}  // namespace clip::kernels::cpu
