#include "clip/retrieval/index.hpp"

#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>

#include "clip/io/file.hpp"
#include "clip/io/safetensors.hpp"
#include "clip/ops/cast.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/check_op.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/temporary.hpp"

namespace {

using namespace clip;
using namespace clip::test;

std::vector<std::int64_t> rows_of(const std::vector<Hit>& hits) {
  std::vector<std::int64_t> rows;
  for (const Hit& hit : hits) {
    CHECK(hit.rank == std::ssize(rows) + 1);
    rows.push_back(hit.row);
  }
  return rows;
}

TEST_CASE("an index ranks by cosine or by the inner product", "[index]") {
  const Tensor rows = Tensor::of({{1, 0}, {10, 10}, {0, 3}, {0, 0}, {-1, 0}, {2, 0}});
  for (const dtype storage : {dtype::f32, dtype::f16, dtype::u8}) {
    const Index cosine = Index::build(rows, {.storage = storage});
    const std::vector<Hit> hits = cosine.search(Tensor::of({3, 0}), 9);
    CHECK(rows_of(hits) == std::vector<std::int64_t>{0, 5, 1, 2, 3, 4});
    CHECK(hits[0].score == Approx(1));
    CHECK(hits[2].score == Approx(std::sqrt(0.5)).margin(storage == dtype::f16 ? 5e-4 : 1e-6).epsilon(0));
    CHECK(hits[5].score == Approx(-1));
    const Index product = Index::build(rows, {.metric = Metric::inner_product, .storage = storage});
    CHECK(rows_of(product.search(Tensor::of({1, 0.5}), 3)) == std::vector<std::int64_t>{1, 5, 2});
    CHECK(product.search(Tensor::of({1, 0.5}), 3)[2].score == Approx(1.5));
    CHECK(product.row(1).to_vector()[1] == Approx(10));
  }
  const Index bf16_rows = Index::build(to(rows, dtype::bf16));
  CHECK(rows_of(bf16_rows.search(Tensor::of({3, 0}, dtype::bf16), 2)) == std::vector<std::int64_t>{0, 5});
}

TEST_CASE("an index keeps its rows when those it was built of change", "[index]") {
  Tensor rows = Tensor::of({{1, 2}});
  const Index index = Index::build(rows, {.metric = Metric::inner_product});
  rows.fill(7);
  CHECK(index.row(0).to_vector() == std::vector<float>{1, 2});
}

TEST_CASE("rows of an index in u8 are within half of their factor", "[index]") {
  const Array numbers = random_array({50, 67}, -3, 2);
  Array scaled = numbers;
  for (std::int64_t i = 0; i < 67; ++i) scaled[7 * 67 + i] = 0;
  for (std::int64_t i = 0; i < 67; ++i) scaled[8 * 67 + i] *= 1e-39;  // below the normal numbers
  const Tensor rows = to_tensor(scaled), query = to_tensor(random_array({67}, -1, 1, 1));
  const Index index = Index::build(rows, {Metric::inner_product, dtype::u8});
  for (std::int64_t r = 0; r < 50; ++r) {
    const std::vector<float> row = rows.view(r * 67, {67}).to_vector(), stored = index.row(r).to_vector();
    float largest = 0, error = 0;
    for (std::size_t i = 0; i < row.size(); ++i) {
      largest = std::max(largest, std::abs(row[i]));
      error = std::max(error, std::abs(row[i] - stored[i]));
    }
    CHECK(error <= 0.5001f * largest / 127 + 1e-44f);
  }
  for (const Hit& hit : index.search(query, 50)) {
    double score = 0;
    for (std::int64_t i = 0; i < 67; ++i)
      score += double{query.to_vector()[static_cast<std::size_t>(i)]} *
               double{index.row(hit.row).to_vector()[static_cast<std::size_t>(i)]};
    CHECK(hit.score == Approx(score).margin(1e-5));
  }
}

TEST_CASE("queries are searched together as they are alone", "[index]") {
  const dtype storage = GENERATE(dtype::f16, dtype::u8);
  const Tensor rows = to_tensor(random_array({500, 24})), queries = to_tensor(random_array({7, 24}, -1, 1, 1));
  const Index index = Index::build(rows, {.storage = storage});
  const std::vector<std::vector<Hit>> all = index.search_all(queries, 11);
  REQUIRE(all.size() == 7);
  for (std::int64_t q = 0; q < 7; ++q) {
    const std::vector<Hit> one = index.search(queries.view(q * 24, {24}), 11), &same = all[static_cast<std::size_t>(q)];
    REQUIRE(one.size() == 11);
    for (std::size_t i = 0; i < 11; ++i) {
      CHECK(one[i].row == same[i].row);
      CHECK(one[i].score == same[i].score);
      CHECK(one[i].rank == same[i].rank);
    }
  }
  CHECK(index.search_all(Tensor({0, 24}), 3).empty());
}

TEST_CASE("an index may be empty, and a subset of another", "[index]") {
  const Index empty = Index::build(Tensor({0, 3}));
  CHECK(empty.search(Tensor::of({1, 2, 3}), 5).empty());
  CHECK(empty.search_all(zeros({2, 3}), 5).size() == 2);
  const Index index = Index::build(Tensor::of({{1, 0}, {0, 1}, {1, 1}}));
  for (const dtype storage : {dtype::f32, dtype::u8}) {
    const Index all = Index::build(Tensor::of({{1, 0}, {0, 1}, {9, 9}}), {Metric::inner_product, storage});
    const Index part = all.subset(std::vector<std::int64_t>{2, 1});
    CHECK(part.size() == 2);
    CHECK(rows_of(part.search(Tensor::of({-1, 1.5}), 2)) == std::vector<std::int64_t>{0, 1});
    CHECK(part.row(0).to_vector()[0] == Approx(9));
  }
  CHECK(throws_with([&] { index.subset(std::vector<std::int64_t>{3}); }, "expected rows from 0 to 2, got 3"));
}

TEST_CASE("an index on any device finds the same", "[index]") {
  Array numbers = random_array({40, 19}, -3, 3), asked = random_array({3, 19}, -3, 3, 1);
  for (Array* array : {&numbers, &asked})
    for (double& value : array->values) value = std::round(value);  // exact scores, often equal
  const TemporaryFolder folder;
  for (const Device& device : devices())
    for (const dtype storage : {dtype::f32, dtype::f16, dtype::u8}) {
      INFO(device << ", " << storage);
      const Index here = Index::build(to_tensor(numbers), {Metric::inner_product, storage});
      const Index there = Index::build(to_tensor(numbers, dtype::f32, device), {Metric::inner_product, storage});
      CHECK(there.device() == device);
      const auto expected = here.search_all(to_tensor(asked), 12);
      const auto found = there.search_all(to_tensor(asked, dtype::f32, device), 12);
      REQUIRE(found.size() == 3);
      for (std::size_t q = 0; q < 3; ++q) {
        CHECK(rows_of(found[q]) == rows_of(expected[q]));
        for (std::size_t i = 0; i < 12; ++i) CHECK(found[q][i].score == Approx(expected[q][i].score).epsilon(1e-6));
      }
      const Tensor query = to_tensor(asked).view(0, {19});  // on the CPU
      CHECK(rows_of(there.search(query, 12)) == rows_of(expected[0]));
      CHECK(rows_of(there.subset(std::vector<std::int64_t>{7, 3}).search(query, 2)) ==
            rows_of(here.subset(std::vector<std::int64_t>{7, 3}).search(query, 2)));
      CHECK(there.row(5).to_vector() == here.row(5).to_vector());
      there.save(folder / "index");
      CHECK(rows_of(Index::load(folder / "index").to(device).search(query, 12)) == rows_of(expected[0]));
    }
}

TEST_CASE("an index is saved, mapped and the same", "[index]") {
  const TemporaryFolder folder;
  const Tensor rows = to_tensor(random_array({100, 19})), query = to_tensor(random_array({19}, -1, 1, 1));
  for (const dtype storage : {dtype::f32, dtype::f16, dtype::u8})
    for (const Metric metric : {Metric::cosine, Metric::inner_product}) {
      const Index index = Index::build(rows, {metric, storage});
      index.save(folder / "index");
      const Index loaded = Index::load(folder / "index");
      CHECK(loaded.size() == 100);
      CHECK(loaded.dimensions() == 19);
      CHECK(loaded.metric() == metric);
      CHECK(loaded.storage() == storage);
      CHECK(rows_of(loaded.search(query, 100)) == rows_of(index.search(query, 100)));
      CHECK(loaded.row(99).to_vector() == index.row(99).to_vector());
      index.save(folder / "index");  // over the mapped one, which stays as it was
      CHECK(rows_of(loaded.search(query, 100)) == rows_of(index.search(query, 100)));
    }
  Index::build(Tensor({0, 3})).save(folder / "index");
  CHECK(Index::load(folder / "index").size() == 0);
  CHECK(throws_with([&] { Index::build(rows).save(folder / "none/index"); }, "cannot write"));
}

TEST_CASE("an index that is damaged or none at all is refused", "[index]") {
  const dtype storage = GENERATE(dtype::f32, dtype::u8);
  const TemporaryFolder folder;
  const Tensor query = Tensor::of({1, 2, 3});
  Index::build(to_tensor(random_array({5, 3})), {.storage = storage}).save(folder / "index");
  const std::string good = read_file(folder / "index");
  const std::vector<std::int64_t> rows = rows_of(Index::load(folder / "index").search(query, 5));
  std::int64_t accepted = 0;
  for (std::size_t bit = 0; bit < 8 * good.size(); ++bit) {
    std::string bad = good;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << (bit % 8)));
    folder.write("bad", bad);
    try {
      const std::vector<std::int64_t> found = rows_of(Index::load(folder / "bad").search(query, 5));
      CHECK(found == rows);
      ++accepted;  // NUL for a space, in the padding of the header
    } catch (const Error& e) {
      CHECK(std::string(e.what()).find("bad") != std::string::npos);
    }
  }
  CHECK(accepted < 64);
  for (std::size_t size = 0; size < good.size(); ++size) {
    folder.write("bad", good.substr(0, size));
    CHECK_THROWS_AS(Index::load(folder / "bad"), Error);
  }

  const auto refuse = [&](const Tensor& tensor, const std::string& metric, const std::string& message) {
    const NamedTensor named{"rows", tensor};
    save_safetensors(folder / "bad", {&named, 1},
                     {{"format", "clipcore index 1"}, {"metric", metric}, {"checksum", "0"}});
    CHECK(throws_with([&] { Index::load(folder / "bad"); }, message));
  };
  refuse(Tensor({2, 2}, dtype::i32), "cosine", "expected 'rows' [N, D] of F32, F16 or U8");
  refuse(Tensor::of({1, 2}), "cosine", "expected 'rows' [N, D] of F32, F16 or U8");
  refuse(Tensor({2, 0}), "cosine", "expected 'rows' [N, D] of F32, F16 or U8");
  refuse(Tensor::of({{1, 2}}), "l2", "expected the metric cosine or inner_product");
  refuse(Tensor::of({{1, 2}}), "cosine", "is damaged");
  refuse(Tensor({1, 2}, dtype::u8), "cosine", "expected 'factors' [1] of F32");
  const NamedTensor other{"weight", Tensor::of({{1, 2}})};
  save_safetensors(folder / "bad", {&other, 1});
  CHECK(throws_with([&] { Index::load(folder / "bad"); }, "is no index"));
}

TEST_CASE("an index refuses what it cannot rank", "[index]") {
  const Index index = Index::build(Tensor::of({{1, 0}, {0, 1}}));
  CHECK(throws_with([&] { index.search(Tensor::of({NAN, 0}), 1); }, "[index] expected finite queries"));
  CHECK(throws_with([&] { index.search(Tensor::of({INFINITY, 0}), 1); }, "expected finite queries"));
  CHECK(throws_with([&] { index.search(Tensor::of({1, 2, 3}), 1); }, "expected a query of shape [2], got [3]"));
  CHECK(throws_with([&] { index.search_all(Tensor::of({1, 2}), 1); }, "expected queries of shape [Q, 2], got [2]"));
  CHECK(throws_with([&] { index.search(Tensor::of({1, 2}), 0); }, "expected k >= 1, got 0"));
  CHECK(throws_with([&] { index.search(Tensor::of({1, 2}, dtype::i32), 1); }, "expected f32 or bf16"));
  const Index half = Index::build(Tensor::of({{1, 0}, {0, 1}}), {Metric::inner_product, dtype::f16});
  CHECK(half.search(Tensor::of({-32767, 1}), 1)[0].score == 1);
  CHECK(throws_with([&] { half.search(Tensor::of({-32768, 1}), 1); }, "expected queries below 32768"));
  CHECK(throws_with([] { Index::build(Tensor::of({{1, 2}, {NAN, 1}})); }, "expected finite embeddings"));
  CHECK(throws_with([] { Index::build(Tensor::of({{1e20, 1}})); }, "expected finite embeddings"));
  CHECK(throws_with(
      [] {
        Index::build(Tensor::of({{1e6, 1}}), {Metric::inner_product, dtype::f16});
      },
      "expected finite rows of finite length in f16, got others in row 0"));
  CHECK(throws_with([] { Index::build(Tensor::of({1, 2})); }, "expected embeddings [N, D], got [2]"));
  CHECK(throws_with([] { Index::build(Tensor::of({{1}}), {.storage = dtype::bf16}); }, "expected f32, f16 or u8"));
}

}  // namespace
