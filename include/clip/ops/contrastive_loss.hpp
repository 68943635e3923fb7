#pragma once
// Contrastive losses of N pairs: row i of `text` belongs to row i of `image`, both [N, D], f32 or bf16. All are f32
// scalars, computed in blocks of rows: memory is O(N D), never N x N. Gradients are made together with the loss while
// autograd records, and are of the inputs' type. bf16 is widened to f32 on the CPU; a GPU multiplies it as it is, and
// only what gradients are sums of is rounded to bf16. All throw unless both sides have one shape [N, D] with N, D >= 1,
// one dtype and device.
//
// On a GPU nothing is read by the CPU: temperature, logit_scale and logit_bias may change between replays of a graph.
// So where the CPU would throw because of their values, the loss is NaN on a GPU, but for a logit_bias that is
// infinite.
#include "clip/core/tensor.hpp"

namespace clip {

struct ContrastiveOptions {
  float temperature = 1;
  bool detach_targets = false;  ///< whether the targets count as constants; otherwise gradients flow through them too
};

/// The loss of the book's recipe: with logits S = text image^T / t and targets P = softmax of each row of
/// A = t (image image^T + text text^T) / 2, the mean over i of (CE(S[i, :], P[i, :]) + CE(S[:, i], P[:, i])) / 2.
/// Note that t divides the logits but multiplies the targets. Throws unless t > 0 and finite.
Tensor soft_target_loss(const Tensor& text, const Tensor& image, const ContrastiveOptions& options = {});
/// The same with a temperature that can be learnt: f32, one element.
Tensor soft_target_loss(const Tensor& text, const Tensor& image, const Tensor& temperature,
                        bool detach_targets = false);

/// Largest value of `info_nce`'s logit_scale: e^s stays at most 100, as in CLIP.
inline constexpr float max_logit_scale = 4.6051702f;

/// Symmetric cross-entropy of the logits e^s text image^T (Radford et al. 2021), for rows of length 1; s = logit_scale,
/// f32, one element. Pairs with the same id (captions of one picture) are all each other's positives: the target of row
/// i, and of column i, is uniform over the j with ids[j] = ids[i]. Without `ids` only the diagonal is positive. A scale
/// above `max_logit_scale` counts as that, and gets no gradient that would raise it further. Throws also unless `ids`
/// is i32 [N], on any device, and on the CPU unless the scale is finite.
Tensor info_nce(const Tensor& text, const Tensor& image, const Tensor& logit_scale, const Tensor& ids = {});

/// Sum over all pairs of log(1 + exp(-z (e^s text_i . image_j + b))) / N with z = 1 for positives, -1 for others (Zhai
/// et al. 2023, "Sigmoid loss for language image pre-training"); s = logit_scale and b = logit_bias, f32, one element
/// each. Positives and errors are as in `info_nce`.
Tensor siglip_loss(const Tensor& text, const Tensor& image, const Tensor& logit_scale, const Tensor& logit_bias,
                   const Tensor& ids = {});

}  // namespace clip
