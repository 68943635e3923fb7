#include "clip/retrieval/recall.hpp"

#include <algorithm>
#include <cstring>
#include <limits>

#include "clip/ops/cast.hpp"
#include "clip/ops/l2_normalize.hpp"
#include "kernels/top_k.hpp"
#include "src/dispatch.hpp"

namespace clip {
namespace {

/// f32 rows of length 1.
Tensor unit_rows(const Tensor& rows, const char* what) {
  check_float(rows, "recall");
  check(rows.rank() == 2 && rows.shape(1) >= 1, "recall", "expected ", what, " [N, D], got ", rows.shape());
  const Tensor floats = to(rows.detach(), dtype::f32);
  const std::int64_t bad = kernels::cpu::first_unsearchable(floats.data<float>(), rows.shape(0), rows.shape(1));
  check(bad < 0, "recall", "expected finite ", what, " of finite length, got others in row ", bad);
  return l2_normalize(floats);
}

double median(std::vector<std::int64_t> values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + std::ssize(values) / 2;
  std::nth_element(values.begin(), middle, values.end());
  const auto upper = static_cast<double>(*middle);
  if (values.size() % 2 == 1) return upper;
  return (upper + static_cast<double>(*std::max_element(values.begin(), middle))) / 2;
}

}  // namespace

std::vector<std::int64_t> ranks(const Tensor& queries, const Tensor& gallery,
                                std::span<const std::vector<std::int64_t>> correct) {
  const Tensor q = unit_rows(queries, "queries"), items = unit_rows(gallery, "gallery");
  const kernels::TopKShape shape{.queries = q.shape(0), .rows = items.shape(0), .cols = q.shape(1)};
  check(items.shape(1) == shape.cols, "recall", "expected queries and gallery of one size, got ", queries.shape(),
        " and ", gallery.shape());
  check(std::ssize(correct) == shape.queries, "recall", "expected the correct items of ", shape.queries,
        " queries, got those of ", correct.size());

  // Of each query the score of its best correct item, and how many correct ones have that score.
  std::vector<float> best(correct.size());
  std::vector<std::int64_t> equal(correct.size()), found(correct.size());
  for (std::size_t i = 0; i < correct.size(); ++i) {
    check(!correct[i].empty(), "recall", "expected a correct item for query ", i, ", got none");
    best[i] = -std::numeric_limits<float>::infinity();
    std::vector<std::int64_t> rows = correct[i];
    std::sort(rows.begin(), rows.end());
    rows.erase(std::unique(rows.begin(), rows.end()), rows.end());
    for (const std::int64_t row : rows) {
      check(row >= 0 && row < shape.rows, "recall", "expected correct items from 0 to ", shape.rows - 1, " for query ",
            i, ", got ", row);
      const float score = kernels::cpu::score_of(q.data<float>() + static_cast<std::int64_t>(i) * shape.cols,
                                                 items.data<float>() + row * shape.cols, shape.cols);
      if (score > best[i]) equal[i] = 0;
      if (score >= best[i]) ++equal[i];
      best[i] = std::max(best[i], score);
    }
  }
  if (correct.empty()) return found;
  const kernels::TopKScratch need = kernels::cpu::top_k_scratch(shape);
  Tensor scratch({need.total()}, dtype::u8);
  kernels::cpu::count_at_least(found.data(), best.data(), q.data<float>(), items.data<float>(), shape,
                               scratch.mutable_raw(), need.workers);
  for (std::size_t i = 0; i < found.size(); ++i) found[i] += 1 - equal[i];
  return found;
}

Recall recall(std::span<const std::int64_t> ranks, std::int64_t gallery) {
  Recall result{.queries = std::ssize(ranks), .gallery = gallery};
  const auto within = [&](std::int64_t k) {
    const auto hits = std::count_if(ranks.begin(), ranks.end(), [k](std::int64_t rank) { return rank <= k; });
    return ranks.empty() ? 0 : static_cast<double>(hits) / static_cast<double>(ranks.size());
  };
  result.r1 = within(1);
  result.r5 = within(5);
  result.r10 = within(10);
  result.median_rank = median({ranks.begin(), ranks.end()});
  return result;
}

RetrievalRecall retrieval_recall(const Tensor& texts, const Tensor& images, std::span<const std::int64_t> picture_of) {
  check_float(texts, "recall");
  check_float(images, "recall");
  check(texts.rank() == 2 && images.rank() == 2 && texts.shape(0) == std::ssize(picture_of), "recall",
        "expected texts [", picture_of.size(), ", D] and images [N, D], got ", texts.shape(), " and ", images.shape());
  std::vector<std::vector<std::int64_t>> pictures, captions(static_cast<std::size_t>(images.shape(0)));
  for (const std::int64_t picture : picture_of) {
    check(picture >= 0 && picture < images.shape(0), "recall", "expected pictures from 0 to ", images.shape(0) - 1,
          ", got ", picture);
    captions[static_cast<std::size_t>(picture)].push_back(std::ssize(pictures));
    pictures.push_back({picture});
  }

  // Pictures with captions, as queries.
  const auto asked = std::count_if(captions.begin(), captions.end(), [](const auto& of) { return !of.empty(); });
  Tensor queries({asked, images.shape(1)}, images.dtype());
  const std::size_t row_bytes = static_cast<std::size_t>(images.shape(1)) * size_of(images.dtype());
  const auto* row = static_cast<const std::byte*>(images.raw());
  auto* out = static_cast<std::byte*>(queries.mutable_raw());
  for (const auto& of : captions) {
    if (!of.empty()) out = static_cast<std::byte*>(std::memcpy(out, row, row_bytes)) + row_bytes;
    row += row_bytes;
  }
  std::erase_if(captions, [](const auto& of) { return of.empty(); });
  return {recall(ranks(texts, images, pictures), images.shape(0)),
          recall(ranks(queries, texts, captions), texts.shape(0))};
}

}  // namespace clip
