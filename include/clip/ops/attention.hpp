#pragma once
#include <cstdint>
#include <optional>

#include "clip/core/random.hpp"
#include "clip/core/tensor.hpp"

namespace clip {

struct AttentionOptions {
  bool causal = false;              ///< query i sees the keys j <= i only; needs as many queries as keys
  Tensor mask = {};                 ///< u8 [N, Lk]: 0 hides a key (padding) from every query of its sequence
  Tensor offsets = {};              ///< i32 [S + 1]: packed sequences, s from row offsets[s] to before offsets[s + 1]
  std::int64_t longest = 0;         ///< no packed sequence is longer; without it a GPU's offsets are waited for
  std::optional<float> scale = {};  ///< of the dot products; 1 / sqrt(D) unless given
  float dropout = 0;                ///< probability of dropping what a query takes from a key
  Random* random = nullptr;         ///< where dropout takes its numbers; without it nothing is dropped
};

/// Scaled dot-product attention, softmax(scale q k^T) v for each sequence and head (Vaswani et al., "Attention is all
/// you need", 2017), of f32 or bf16, computed in f32. q [N, Lq, H, D], k and v [N, Lk, H, D] give [N, Lq, H, D]; a
/// reshape of [N, L, H * D] is free. With `offsets` sequences of different lengths lie one after another, without
/// padding: q, k, v and the result are [T, H, D]; or k and v are, and q and the result [S, L, H, D], as many queries
/// for each sequence. A query that sees no key gives zeros. Memory grows with the lengths, not with their product.
/// Throws on other shapes and dtypes, on offsets that don't start at 0, ascend by at most `longest` and end at T (on a
/// GPU, with `longest`, the next wait for it does), on a mask together with offsets, when the mask or the offsets are
/// not on q's device, and unless 0 <= dropout < 1.
Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionOptions& options = {});

}  // namespace clip
