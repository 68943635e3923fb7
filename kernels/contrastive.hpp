#pragma once
// Contrastive losses of n pairs, text [n, d] and image [n, d], with their gradients, without a matrix [n, n]: rows of
// logits are made in blocks, [contrastive_block_rows(n), n] at a time, and made again for the gradients where there is
// more than one block. Scratch is O(n (d + rows)), all f32. Sums over a row or a column are made in an order of their
// own, so results depend at most on how a matrix product splits its sums among threads.
//
// With LSE = log-sum-exp, r_i = LSE_j S_ij and q_j = LSE_i S_ij:
//
//   soft targets   S = T V^T / tau,  A = tau (V V^T + T T^T) / 2,  P = row-softmax(A),  x_i = sum_j P_ij S_ij
//                  L = mean_i (CE(S_i., P_i.) + CE(S_.i, P_.i)) / 2 = (sum_i r_i + sum_j c_j q_j - 2 sum_i x_i) / 2n
//                  with c_j = sum_i P_ij;    dL/dS = G = (exp(S - r) + c exp(S - q) - 2 P) / 2n
//                  dL/dA = H = P (q_j - 2 S_ij - u_i) / 2n,  u_i = sum_j P_ij (q_j - 2 S_ij)
//                  dT = G V / tau + (tau / 2) (H + H^T) T,   dV = G^T T / tau + (tau / 2) (H + H^T) V
//   InfoNCE        S = s T V^T,  P_ij = 1 / count(id_i) where id_i = id_j, else 0: the same loss with c = 1
//   SigLIP         S = s T V^T + b,  L = sum_ij log(1 + exp(-z_ij S_ij)) / n,  z_ij = 1 where id_i = id_j, else -1
#include <cstdint>

#include "kernels/stream.hpp"

namespace clip::kernels {

/// Rows of a block: all where the matrix of logits is small, else about 256.
constexpr std::int64_t contrastive_block_rows(std::int64_t n) {
  if (n <= 1024) return n;
  const std::int64_t blocks = (n + 255) / 256;
  return (n + blocks - 1) / blocks;
}

/// Sides of the square tiles of the soft-target loss.
constexpr std::int64_t soft_target_block(std::int64_t n) {
  if (n <= 1024) return n;
  const std::int64_t blocks = (n + 511) / 512;
  return (n + blocks - 1) / blocks;
}

/// Pairs (I, J), I <= J, of such blocks.
constexpr std::int64_t soft_target_pairs(std::int64_t n) {
  const std::int64_t blocks = (n + soft_target_block(n) - 1) / soft_target_block(n);
  return blocks * (blocks + 1) / 2;
}

/// Where the gradients go; `text` null for the loss alone.
struct ContrastiveGradients {
  float *text = nullptr, *image = nullptr;  ///< [n, d]
  float* scale = nullptr;                   ///< of the temperature tau (soft targets) or of log s
  float* bias = nullptr;                    ///< SigLIP's b
};

/// f32 elements of scratch that the losses need.
constexpr std::int64_t soft_target_scratch(std::int64_t n, std::int64_t d, bool gradients, bool detach_targets) {
  return 3 * soft_target_block(n) * soft_target_block(n) + (gradients && !detach_targets ? 5 : 3) * n * d + 10 * n +
         soft_target_pairs(n);
}
constexpr std::int64_t info_nce_scratch(std::int64_t n, std::int64_t d) {
  return contrastive_block_rows(n) * n + n * d + 6 * n;
}
constexpr std::int64_t siglip_scratch(std::int64_t n, std::int64_t d) {
  return contrastive_block_rows(n) * n + n * d + 2 * n;
}

}  // namespace clip::kernels

namespace clip::kernels::cpu {

/// With `detach_targets` P counts as constant: H = 0.
void soft_target_loss(float* loss, const ContrastiveGradients& gradients, const float* text, const float* image,
                      float temperature, bool detach_targets, std::int64_t n, std::int64_t d, float* scratch);

/// `ids` [n] and `share` [n] = 1 / count(id).
void info_nce(float* loss, const ContrastiveGradients& gradients, const float* text, const float* image, float scale,
              const std::int32_t* ids, const float* share, std::int64_t n, std::int64_t d, float* scratch);

void siglip_loss(float* loss, const ContrastiveGradients& gradients, const float* text, const float* image, float scale,
                 float bias, const std::int32_t* ids, std::int64_t n, std::int64_t d, float* scratch);

}  // namespace clip::kernels::cpu

namespace clip::kernels::cuda {

// The numbers tau, log s and b are in the GPU's memory. Where the CPU's losses would refuse them, these are NaN.
// `log_scale` counts as `most` where it is more; `ids` null says that no pair but (i, i) is positive. Gradients are
// f32.
//
// f32 is computed row-owned, on the ordinary cores (contrastive_cuda.cu, soft_target_cuda.cu): slow, but what others
// are compared with. T = bf16 and f16 go to the tensor cores (contrastive_16bit_cuda.cu, soft_target_16bit_cuda.cu),
// and so do slopes of the logits, rounded to T: where (1 + c_j) / tau, tau log n or s is above 65504, gradients in f16
// may not be finite, though the loss is.

/// In 16 bits pairs are taken in rectangles: `rows` squared, where what gradients are made of is in memory, and `rows`
/// times `wide`, of which only sums are left.
struct PairRectangles {
  std::int64_t rows = 4096, wide = 8192;
};

/// f32 elements of scratch that each loss needs, for T f32 or of 16 bits.
template <class T>
std::int64_t info_nce_scratch(std::int64_t n, bool gradients, PairRectangles sizes = {});
template <class T>
std::int64_t siglip_scratch(std::int64_t n, bool gradients, PairRectangles sizes = {});
template <class T>
std::int64_t soft_target_scratch(std::int64_t n, bool gradients, bool detach_targets, PairRectangles sizes = {});
template <>
std::int64_t info_nce_scratch<float>(std::int64_t n, bool gradients, PairRectangles sizes);
template <>
std::int64_t siglip_scratch<float>(std::int64_t n, bool gradients, PairRectangles sizes);
template <>
std::int64_t soft_target_scratch<float>(std::int64_t n, bool gradients, bool detach_targets, PairRectangles sizes);

class MatmulPlans;

void info_nce(float* loss, const ContrastiveGradients& gradients, const float* text, const float* image,
              const float* log_scale, float most, const std::int32_t* ids, std::int64_t n, std::int64_t d,
              float* scratch, MatmulPlans& plans, Stream stream);

/// *y = *gradient * *dloss, of log s; not below 0, which would raise it, where it is at its limit.
void info_nce_scale_gradient(float* y, const float* gradient, const float* dloss, const float* log_scale, float most,
                             Stream stream);

/// y[i] = gradient[i] * *dloss, rounded once to T = float, bf16 or f16.
template <class T>
void scaled_gradient(T* y, const float* gradient, const float* dloss, std::int64_t n, Stream stream);

void siglip_loss(float* loss, const ContrastiveGradients& gradients, const float* text, const float* image,
                 const float* log_scale, const float* bias, const std::int32_t* ids, std::int64_t n, std::int64_t d,
                 float* scratch, MatmulPlans& plans, Stream stream);

void soft_target_loss(float* loss, const ContrastiveGradients& gradients, const float* text, const float* image,
                      const float* temperature, bool detach_targets, std::int64_t n, std::int64_t d, float* scratch,
                      MatmulPlans& plans, Stream stream);

template <class T>
void info_nce(float* loss, const ContrastiveGradients& gradients, const T* text, const T* image, const float* log_scale,
              float most, const std::int32_t* ids, std::int64_t n, std::int64_t d, float* scratch, MatmulPlans& plans,
              Stream stream, PairRectangles sizes = {});

template <class T>
void siglip_loss(float* loss, const ContrastiveGradients& gradients, const T* text, const T* image,
                 const float* log_scale, const float* bias, const std::int32_t* ids, std::int64_t n, std::int64_t d,
                 float* scratch, MatmulPlans& plans, Stream stream, PairRectangles sizes = {});

template <class T>
void soft_target_loss(float* loss, const ContrastiveGradients& gradients, const T* text, const T* image,
                      const float* temperature, bool detach_targets, std::int64_t n, std::int64_t d, float* scratch,
                      MatmulPlans& plans, Stream stream, PairRectangles sizes = {});

}  // namespace clip::kernels::cuda
