#include "clip/retrieval/recall.hpp"

#include <algorithm>
#include <cmath>

#include "tests/support/catch.hpp"
#include "tests/support/check_op.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/temporary.hpp"

namespace {

using namespace clip;
using namespace clip::test;

/// The rank of a query's best correct item, from a sorted list of all cosines in double.
std::int64_t reference_rank(const Array& queries, const Array& gallery, std::int64_t query,
                            const std::vector<std::int64_t>& correct) {
  const std::int64_t size = queries.shape[1];
  std::vector<std::pair<double, std::int64_t>> items;
  for (std::int64_t r = 0; r < gallery.shape[0]; ++r) {
    double dot = 0, length = 0;
    for (std::int64_t i = 0; i < size; ++i) {
      dot += queries[query * size + i] * gallery[r * size + i];
      length += gallery[r * size + i] * gallery[r * size + i];
    }
    items.emplace_back(-dot / std::sqrt(length), r);
  }
  std::sort(items.begin(), items.end());
  const auto first = std::find_if(items.begin(), items.end(), [&](const auto& item) {
    return std::find(correct.begin(), correct.end(), item.second) != correct.end();
  });
  return first - items.begin() + 1;
}

TEST_CASE("recall counts every correct item, in both directions", "[recall]") {
  const Array texts = random_array({203, 12}, -1, 1, 1), images = random_array({61, 12}, -1, 2, 2);
  std::vector<std::int64_t> picture_of;
  for (std::int64_t i = 0; i < 203; ++i) picture_of.push_back(i * i % 59);  // not every picture has a caption
  std::vector<std::int64_t> to_image, to_text;
  for (std::int64_t i = 0; i < 203; ++i)
    to_image.push_back(reference_rank(texts, images, i, {picture_of[static_cast<std::size_t>(i)]}));
  for (std::int64_t picture = 0; picture < 61; ++picture) {
    std::vector<std::int64_t> captions;
    for (std::int64_t i = 0; i < 203; ++i)
      if (picture_of[static_cast<std::size_t>(i)] == picture) captions.push_back(i);
    if (!captions.empty()) to_text.push_back(reference_rank(images, texts, picture, captions));
  }
  REQUIRE(to_text.size() < 61);

  const auto compare = [](const Recall& r, const std::vector<std::int64_t>& expected, std::int64_t gallery) {
    const auto share = [&](std::int64_t k) {
      return static_cast<double>(std::count_if(expected.begin(), expected.end(), [&](auto x) { return x <= k; })) /
             static_cast<double>(expected.size());
    };
    CHECK(r.queries == std::ssize(expected));
    CHECK(r.gallery == gallery);
    CHECK(r.r1 == share(1));
    CHECK(r.r5 == share(5));
    CHECK(r.r10 == share(10));
    std::vector<std::int64_t> sorted = expected;
    std::sort(sorted.begin(), sorted.end());
    const std::size_t n = sorted.size();
    CHECK(r.median_rank == static_cast<double>(sorted[(n - 1) / 2] + sorted[n / 2]) / 2);
    CHECK(r.r10 > r.r1);
  };
  for (const Device& device : devices()) {
    INFO(device);
    const RetrievalRecall found =
        retrieval_recall(to_tensor(texts, dtype::f32, device), to_tensor(images, dtype::f32, device), picture_of);
    compare(found.text_to_image, to_image, 61);
    compare(found.image_to_text, to_text, 203);
  }
}

TEST_CASE("a tie with a wrong item counts against the query", "[recall]") {
  const Device device = devices().back();
  const Tensor gallery = Tensor::of({{1, 0}, {2, 0}, {0, 1}, {3, 0}, {0, -1}}, dtype::f32, device);
  const Tensor query = Tensor::of({{5, 0}}, dtype::f32, device);
  const auto rank = [&](std::vector<std::int64_t> correct) {
    return ranks(query, gallery, std::vector<std::vector<std::int64_t>>{std::move(correct)})[0];
  };
  CHECK(rank({0}) == 3);     // 1 and 3 score as much
  CHECK(rank({0, 3}) == 2);  // one wrong item scores as much
  CHECK(rank({0, 1, 3}) == 1);
  CHECK(rank({3, 3, 2}) == 3);  // named twice, it is still one item
  CHECK(rank({4}) == 5);
}

TEST_CASE("medians and recalls of given ranks", "[recall]") {
  const Recall some = recall(std::vector<std::int64_t>{1, 5, 6, 11}, 20);
  CHECK(some.r1 == 0.25);
  CHECK(some.r5 == 0.5);
  CHECK(some.r10 == 0.75);
  CHECK(some.median_rank == 5.5);
  CHECK(recall(std::vector<std::int64_t>{9, 1, 3}, 20).median_rank == 3);
  const Recall none = recall({}, 20);
  CHECK(none.queries == 0);
  CHECK(none.r10 == 0);
  CHECK(none.median_rank == 0);
}

TEST_CASE("recall refuses what cannot be", "[recall]") {
  const Tensor two = Tensor::of({{1, 0}, {0, 1}});
  const auto of = [](std::vector<std::vector<std::int64_t>> correct) { return correct; };
  CHECK(throws_with([&] { ranks(two, two, of({{0}, {2}})); }, "from 0 to 1 for query 1, got 2"));
  CHECK(throws_with([&] { ranks(two, two, of({{0}, {}})); }, "expected a correct item for query 1"));
  CHECK(throws_with([&] { ranks(two, two, of({{0}})); }, "of 2 queries, got those of 1"));
  CHECK(throws_with([&] { ranks(two, Tensor::of({{1}}), of({{0}, {0}})); }, "of one size"));
  CHECK(throws_with([&] { ranks(Tensor::of({{NAN, 1}}), two, of({{0}})); }, "expected finite queries"));
  for (const Device& device : devices())
    CHECK(throws_with(
        [&] {
          ranks(two, Tensor::of({{1, 0}, {1e30, 1}}, dtype::f32, device), of({{0}, {1}}));
        },
        "expected finite gallery of finite length, got others in row 1"));
  CHECK(throws_with([&] { retrieval_recall(two, two, std::vector<std::int64_t>{0, 2}); }, "expected pictures from 0"));
}

}  // namespace
