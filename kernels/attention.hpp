#pragma once
// Scaled dot-product attention without a [queries, keys] matrix in memory (FlashAttention: Dao et al., 2022).
//   s_ij = scale q_i . k_j;   y_i = sum_j p_ij v_j with p_ij = e^(s_ij - lse_i), lse_i = log sum_j e^(s_ij)
//   delta_i = dy_i . y_i;     ds_ij = p_ij (dy_i . v_j - delta_i)
//   dq_i = scale sum_j ds_ij k_j;   dk_j = scale sum_i ds_ij q_i;   dv_j = sum_i p_ij dy_i
// over the keys j that query i sees. With dropout, y_i = sum_j m_ij p_ij v_j where m is 0 or 1 / (1 - p), and likewise
// dv_j = sum_i m_ij p_ij dy_i and ds_ij = p_ij (m_ij dy_i . v_j - delta_i). A query that sees none has y = 0, lse =
// infinity (so that its p vanish) and no gradients. Arithmetic in f32; T = float or bf16, on the GPU also f16, where p
// and ds are rounded to T before they are multiplied. Results do not depend on the number of threads.
#include <cstdint>

#include "kernels/dropout.hpp"

namespace clip::kernels {

/// q, y [sequences, queries, heads, dim]; k, v [sequences, keys, heads, dim]; or, with offsets, k, v and, where
/// `queries_packed`, q and y [rows, heads, dim], where sequence s has the rows offsets[s] to offsets[s + 1] - 1.
struct AttentionShape {
  std::int64_t sequences, heads, dim;
  std::int64_t queries, keys;             // of each sequence; with offsets, of the longest
  const std::int32_t* offsets = nullptr;  // [sequences + 1]
  bool queries_packed = false;
  const std::uint8_t* mask = nullptr;  // [sequences, keys], without offsets: 0 hides a key
  bool causal = false;                 // query i sees no keys after i
  float scale = 1;
  DropoutMask dropout =
      {};  // row r, head h and key j have word j % 4 of block offset + (r heads + h) row_blocks + j / 4
  constexpr std::int64_t row_blocks() const { return (keys + 3) / 4; }
};

/// A number of workers, and floats of scratch for each. A kernel runs `workers` at a time; how many changes no result.
struct AttentionScratch {
  std::int64_t workers, floats;
  std::int64_t total() const { return workers * floats; }
};

namespace cpu {

AttentionScratch attention_forward_scratch(const AttentionShape& shape);
AttentionScratch attention_backward_scratch(const AttentionShape& shape);

/// `lse` is [sequences, queries, heads], or [rows, heads].
template <class T>
void attention_forward(T* y, float* lse, const T* q, const T* k, const T* v, const AttentionShape& shape,
                       float* scratch, std::int64_t workers);
/// Where dq, dk or dv are null, they are not computed.
template <class T>
void attention_backward(T* dq, T* dk, T* dv, const T* dy, const T* q, const T* k, const T* v, const T* y,
                        const float* lse, const AttentionShape& shape, float* scratch, std::int64_t workers);

}  // namespace cpu

namespace cuda {

/// `shape` points into the GPU's memory.
template <class T>
void attention_forward(T* y, float* lse, const T* q, const T* k, const T* v, const AttentionShape& shape,
                       Stream stream);
/// `delta` is scratch of the size of `lse`. Where dq, dk or dv are null, they are not computed.
template <class T>
void attention_backward(T* dq, T* dk, T* dv, const T* dy, const T* q, const T* k, const T* v, const T* y,
                        const float* lse, const AttentionShape& shape, float* delta, Stream stream);

}  // namespace cuda
}  // namespace clip::kernels
