#include "clip/retrieval/recall.hpp"

#include <algorithm>
#include <limits>

#include "clip/ops/cast.hpp"
#include "clip/ops/embedding.hpp"
#include "clip/ops/l2_normalize.hpp"
#include "kernels/top_k.hpp"
#include "src/dispatch.hpp"

namespace clip {
namespace {

/// Of the rows of f32, the first whose squared length is not finite; -1 when there is none.
std::int64_t first_unsearchable(const Tensor& rows) {
  Tensor first({}, dtype::i64, rows.device());
  std::int64_t* const out = first.mutable_data<std::int64_t>();
  const float* const data = rows.data<float>();
  on_device(
      rows.device(), "recall", [&] { *out = kernels::cpu::first_unsearchable(data, rows.shape(0), rows.shape(1)); },
      [&](auto stream) {
        Tensor scratch({kernels::cuda::unsearchable_blocks}, dtype::i64, rows.device());
        kernels::cuda::first_unsearchable(out, data, rows.shape(0), rows.shape(1), scratch.mutable_data<std::int64_t>(),
                                          stream);
      });
  return first.item<std::int64_t>();
}

/// f32 rows of length 1.
Tensor unit_rows(const Tensor& rows, const char* what) {
  check_float(rows, "recall", Kernels::cpu_and_cuda);
  check(rows.rank() == 2 && rows.shape(1) >= 1, "recall", "expected ", what, " [N, D], got ", rows.shape());
  const Tensor floats = to(rows.detach(), dtype::f32);
  const std::int64_t bad = first_unsearchable(floats);
  check(bad < 0, "recall", "expected finite ", what, " of finite length, got others in row ", bad);
  return l2_normalize(floats);
}

/// The scores of pairs of a query and an item, one after the other in `pairs`.
std::vector<float> scores_of(const std::vector<std::int64_t>& pairs, const Tensor& queries, const Tensor& items) {
  const std::int64_t count = std::ssize(pairs) / 2, cols = queries.shape(1);
  const Device& device = queries.device();
  const Tensor numbers = Tensor::from(pairs, {2 * count}, device);
  const auto* const pair = numbers.data<std::int64_t>();
  Tensor scores({count}, dtype::f32, device);
  float* const out = scores.mutable_data<float>();
  const float *const q = queries.data<float>(), *const x = items.data<float>();
  on_device(
      device, "recall",
      [&] {
        for (std::int64_t i = 0; i < count; ++i)
          out[i] = kernels::cpu::score_of(q + pair[2 * i] * cols, x + pair[2 * i + 1] * cols, cols);
      },
      [&](auto stream) { kernels::cuda::scores_of(out, pair, count, q, x, cols, stream); });
  return scores.to_vector();
}

/// For each query, how many items score at least as much as its `least`.
std::vector<std::int64_t> count_at_least(const std::vector<float>& least, const Tensor& queries, const Tensor& items,
                                         const kernels::TopKShape& shape) {
  const Device& device = queries.device();
  const Tensor bounds = Tensor::from(least, {shape.queries}, device);
  Tensor counts({shape.queries}, dtype::i64, device);
  auto* const out = counts.mutable_data<std::int64_t>();
  const float *const bound = bounds.data<float>(), *const q = queries.data<float>(), *const x = items.data<float>();
  on_device(
      device, "recall",
      [&] {
        const kernels::TopKScratch need = kernels::cpu::top_k_scratch(shape);
        Tensor scratch({need.total()}, dtype::u8);
        kernels::cpu::count_at_least(out, bound, q, x, shape, scratch.mutable_raw(), need.workers);
      },
      [&](auto stream) {
        Tensor scratch({kernels::cuda::top_k_scratch(shape)}, dtype::u8, device);
        kernels::cuda::count_at_least(out, bound, q, x, shape, scratch.mutable_raw(), stream);
      });
  return counts.to_vector<std::int64_t>();
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
  check(q.device() == items.device(), "recall", "expected queries and gallery on one device, got ", q.device(), " and ",
        items.device());
  check(std::ssize(correct) == shape.queries, "recall", "expected the correct items of ", shape.queries,
        " queries, got those of ", correct.size());

  // Of each query the score of its best correct item, and how many correct ones have that score.
  std::vector<std::int64_t> pairs;
  for (std::size_t i = 0; i < correct.size(); ++i) {
    check(!correct[i].empty(), "recall", "expected a correct item for query ", i, ", got none");
    std::vector<std::int64_t> rows = correct[i];
    std::sort(rows.begin(), rows.end());
    rows.erase(std::unique(rows.begin(), rows.end()), rows.end());
    for (const std::int64_t row : rows) {
      check(row >= 0 && row < shape.rows, "recall", "expected correct items from 0 to ", shape.rows - 1, " for query ",
            i, ", got ", row);
      pairs.insert(pairs.end(), {static_cast<std::int64_t>(i), row});
    }
  }
  if (correct.empty()) return {};
  std::vector<float> best(correct.size(), -std::numeric_limits<float>::infinity());
  std::vector<std::int64_t> equal(correct.size());
  auto pair = pairs.begin();
  for (const float score : scores_of(pairs, q, items)) {
    const auto i = static_cast<std::size_t>(*pair);
    pair += 2;
    if (score > best[i]) equal[i] = 0;
    if (score >= best[i]) ++equal[i];
    best[i] = std::max(best[i], score);
  }
  std::vector<std::int64_t> found = count_at_least(best, q, items, shape);
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
  check_float(texts, "recall", Kernels::cpu_and_cuda);
  check_float(images, "recall", Kernels::cpu_and_cuda);
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
  std::vector<std::int64_t> asked;
  for (std::size_t i = 0; i < captions.size(); ++i)
    if (!captions[i].empty()) asked.push_back(static_cast<std::int64_t>(i));
  const Tensor queries = embedding(images.detach(), Tensor::from(asked, {std::ssize(asked)}, images.device()));
  std::erase_if(captions, [](const auto& of) { return of.empty(); });
  return {recall(ranks(texts, images, pictures), images.shape(0)),
          recall(ranks(queries, texts, captions), texts.shape(0))};
}

}  // namespace clip
