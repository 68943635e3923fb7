#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "clip/core/tensor.hpp"

namespace clip {

/// How well queries find what belongs to them in a gallery. A query's rank is that of its best correct item: 1 + the
/// number of wrong items that score at least as much, so a tie counts against it.
struct Recall {
  std::int64_t queries = 0, gallery = 0;
  double r1 = 0, r5 = 0, r10 = 0;  ///< fractions of the queries of rank <= 1, 5, 10
  double median_rank = 0;          ///< the mean of the middle two, of an even number
};

/// The rank of each query [Q, D] in the gallery [N, D], f32 or bf16, by cosine similarity. `correct[q]` are the rows of
/// the gallery that belong to query q, at least one. Exact; takes memory for ranks, not for Q x N scores. Throws on
/// values that are not finite and on rows that do not exist.
std::vector<std::int64_t> ranks(const Tensor& queries, const Tensor& gallery,
                                std::span<const std::vector<std::int64_t>> correct);

/// Of those ranks in a gallery of that size. All zero without queries.
Recall recall(std::span<const std::int64_t> ranks, std::int64_t gallery);

/// Captions and pictures that search each other.
struct RetrievalRecall {
  Recall text_to_image, image_to_text;
};
/// Caption i belongs to picture `picture_of[i]`, a row of `images`; several may. From pictures all their captions are
/// correct; pictures without one are in the gallery, but no queries.
RetrievalRecall retrieval_recall(const Tensor& texts, const Tensor& images, std::span<const std::int64_t> picture_of);

}  // namespace clip
