#include "clip/models/clip_guide.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "clip/autograd.hpp"
#include "clip/core/error.hpp"
#include "clip/ops/arithmetic.hpp"
#include "clip/ops/cast.hpp"
#include "clip/ops/matmul.hpp"
#include "clip/ops/permute.hpp"
#include "clip/ops/reduce.hpp"
#include "clip/ops/view.hpp"

namespace clip {
namespace {

/// Keys' cubic convolution with a = -1/2 and its support, and the triangle: Pillow's filters.
double weight_of(Filter filter, double x) {
  x = std::abs(x);
  if (filter == Filter::bilinear) return x < 1 ? 1 - x : 0;
  if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
  return x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
}

/// [size, out]: the weights with which each of `out` samples, from `first` on, of a row resized to `resized` takes the
/// `length` samples from `begin` on of a row of `size`.
Tensor weights_of(Filter filter, std::int64_t size, std::int64_t begin, std::int64_t length, std::int64_t resized,
                  std::int64_t first, std::int64_t out) {
  const double step = static_cast<double>(length) / static_cast<double>(resized), stretch = std::max(step, 1.0);
  const double support = (filter == Filter::bilinear ? 1 : 2) * stretch;
  Tensor weights = zeros({size, out});
  float* const w = weights.mutable_data<float>();
  for (std::int64_t i = 0; i < out; ++i) {
    const double centre = (static_cast<double>(i + first) + 0.5) * step;
    const auto from = std::max<std::int64_t>(static_cast<std::int64_t>(std::floor(centre - support + 0.5)), 0);
    const auto until = std::min(static_cast<std::int64_t>(std::floor(centre + support + 0.5)), length);
    double sum = 0;
    for (std::int64_t k = from; k < until; ++k)
      sum += weight_of(filter, (static_cast<double>(k) + 0.5 - centre) / stretch);
    for (std::int64_t k = from; k < until; ++k)
      w[(begin + k) * out + i] =
          static_cast<float>(weight_of(filter, (static_cast<double>(k) + 0.5 - centre) / stretch) / sum);
  }
  return weights;
}

}  // namespace

ClipGuide::ClipGuide(const ClipEncoder& encoder, const std::string& prompt) : encoder_(encoder) {
  const NoGrad guard;
  prompt_ = encoder.embed_texts({&prompt, 1});
}

Tensor ClipGuide::score(const Tensor& pictures, const Part& part) const {
  check(pictures.rank() == 4 && pictures.shape(3) == 3 && pictures.numel() > 0 && pictures.dtype() == dtype::f32,
        "clip_guide", "expected pictures f32 [N, H, W, 3], got ", pictures.dtype(), ' ', pictures.shape());
  const std::int64_t height = pictures.shape(1), width = pictures.shape(2);
  const Part window = part.width == 0 ? Part{0, 0, width, height} : part;
  check(window.x >= 0 && window.y >= 0 && window.width > 0 && window.height > 0 && window.x + window.width <= width &&
            window.y + window.height <= height,
        "clip_guide", "expected a part of ", width, " x ", height, ", got ", window.width, " x ", window.height, " at ",
        window.x, ", ", window.y);
  const Preprocessing& s = encoder_.preprocess.settings();
  check(s.filter == Filter::bicubic || s.filter == Filter::bilinear, "clip_guide",
        "expected the model's preprocessing to resize with a bicubic or bilinear filter");
  const auto [resized, crop] =
      encoder_.preprocess.placement({static_cast<int>(window.width), static_cast<int>(window.height)});
  check(resized.width >= crop.width && resized.height >= crop.height, "clip_guide",
        "expected pictures resized to at least ", crop.width, " x ", crop.height, ", got ", resized.width, " x ",
        resized.height);
  const Device& device = pictures.device();
  const Tensor columns = weights_of(s.filter, width, window.x, window.width, resized.width, crop.left, crop.width);
  const Tensor rows = weights_of(s.filter, height, window.y, window.height, resized.height, crop.top, crop.height);
  Tensor x = matmul(permute(pictures, {0, 3, 1, 2}), to(columns, device));  // [N, 3, H, out]
  x = matmul(permute(x, {0, 1, 3, 2}), to(rows, device));                   // [N, 3, out, out], columns first
  x = permute(x, {0, 3, 2, 1});
  std::vector<float> scales, shifts;
  for (std::size_t c = 0; c < 3; ++c) {
    scales.push_back(static_cast<float>(255 * s.rescale) / s.std[c]);
    shifts.push_back(-s.mean[c] / s.std[c]);
  }
  x = x * Tensor::from(scales, {3}, device) + Tensor::from(shifts, {3}, device);
  return sum(encoder_.embed_images(x) * prompt_, {1});
}

ClipGuide::Gradient ClipGuide::gradient(const Tensor& pictures) const {
  const Tensor leaf = pictures.detach().clone().requires_grad();
  const Tensor scores = score(leaf);
  backward(sum(scores));
  return {scores.detach(), leaf.grad()};
}

}  // namespace clip
