#include "clip/data/batches.hpp"

#include <algorithm>
#include <cstdint>
#include <map>
#include <numeric>
#include <set>
#include <vector>

#include "tests/support/catch.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/temporary.hpp"

namespace clip {
namespace {

using test::throws_with;
using Items = std::vector<std::int32_t>;

Items some_items(int count) {
  Items items(static_cast<std::size_t>(count));
  std::iota(items.begin(), items.end(), 100);
  return items;
}
/// The batches until the epoch ends.
std::vector<Items> epoch_of(Sampler& sampler) {
  std::vector<Items> batches;
  while (const auto batch = sampler.next()) batches.emplace_back(batch->begin(), batch->end());
  return batches;
}
Items flat(const std::vector<Items>& batches) {
  Items all;
  for (const Items& batch : batches) all.insert(all.end(), batch.begin(), batch.end());
  return all;
}

TEST_CASE("an epoch visits every item once, in another order than the next", "[batches]") {
  Sampler sampler(some_items(103), {.batch = 10, .seed = 5});
  const std::vector<Items> first = epoch_of(sampler), second = epoch_of(sampler);
  CHECK(sampler.position() == SamplerPosition{2, 0});
  CHECK(first.size() == 11);
  CHECK(first.back().size() == 3);
  Items sorted = flat(first);
  CHECK(sorted != some_items(103));
  CHECK(sorted != flat(second));
  std::sort(sorted.begin(), sorted.end());
  CHECK(sorted == some_items(103));
  Items other = flat(second);
  std::sort(other.begin(), other.end());
  CHECK(other == some_items(103));
  Sampler again(some_items(103), {.batch = 7, .seed = 5}), different(some_items(103), {.batch = 10, .seed = 6});
  CHECK(flat(epoch_of(again)) == flat(first));  // the batch does not change the order
  CHECK(flat(epoch_of(different)) != flat(first));
}

TEST_CASE("every place is about as likely for every item", "[batches]") {
  Sampler sampler(some_items(10), {.batch = 10, .seed = 1});
  std::vector<int> first(10), last(10);
  for (int epoch = 0; epoch < 2000; ++epoch) {
    const Items order = flat(epoch_of(sampler));
    ++first[static_cast<std::size_t>(order.front() - 100)];
    ++last[static_cast<std::size_t>(order.back() - 100)];
  }
  for (std::size_t i = 0; i < 10; ++i) {  // 200 each, standard deviation 13
    CHECK(std::abs(first[i] - 200) < 65);
    CHECK(std::abs(last[i] - 200) < 65);
  }
}

TEST_CASE("the last batch may be left out, and the order kept", "[batches]") {
  Sampler dropping(some_items(25), {.batch = 10, .shuffle = false, .drop_last = true});
  CHECK(dropping.batches_per_epoch() == 2);
  Items all = some_items(25);
  all.resize(20);
  CHECK(flat(epoch_of(dropping)) == all);
  Sampler exact(some_items(20), {.batch = 10, .shuffle = false});
  CHECK(exact.batches_per_epoch() == 2);
  CHECK(throws_with([] { Sampler(some_items(5), {.batch = 10, .drop_last = true}); }, "would be dropped"));
  CHECK(throws_with([] { Sampler({}, {}); }, "expected items"));
  CHECK(throws_with([] { Sampler(some_items(5), {.batch = 0}); }, "expected items"));
}

TEST_CASE("a sampler goes on where another stopped", "[batches]") {
  const SamplerOptions options{.batch = 10, .seed = 9};
  Sampler whole(some_items(42), options);
  std::vector<Items> expected;
  std::vector<SamplerPosition> places;
  for (int step = 0; step < 18; ++step) {  // three epochs of five batches and an end
    places.push_back(whole.position());
    const auto batch = whole.next();
    expected.push_back(batch ? Items(batch->begin(), batch->end()) : Items());
  }
  CHECK(whole.position() == SamplerPosition{3, 0});
  for (std::size_t from = 0; from < places.size(); ++from) {
    Sampler resumed(some_items(42), options);
    resumed.seek(places[from]);
    for (std::size_t step = from; step < expected.size(); ++step) {
      const auto batch = resumed.next();
      REQUIRE((batch ? Items(batch->begin(), batch->end()) : Items()) == expected[step]);
    }
  }
  CHECK(throws_with([&] { whole.seek({0, 6}); }, "expected a batch from 0 to 5, got 6 of epoch 0"));
  CHECK(throws_with([&] { whole.seek({-1, 0}); }, "epoch -1"));
}

TEST_CASE("an epoch has one item of each group", "[batches]") {
  constexpr std::int32_t groups = 60;
  Items items, group_of;
  for (std::int32_t group = 0; group < groups; ++group)
    for (std::int32_t i = 0; i <= group % 5; ++i) {  // of 1 to 5
      items.push_back(100 * group + i);
      group_of.push_back(group);
    }
  Sampler sampler(items, {.batch = 16, .seed = 3}, group_of), again(items, {.batch = 7, .seed = 3}, group_of);
  CHECK(sampler.items() == groups);
  CHECK(sampler.batches_per_epoch() == 4);
  std::map<std::int32_t, int> seen;
  double place_of_large = 0;
  constexpr int epochs = 200;
  for (int epoch = 0; epoch < epochs; ++epoch) {
    const Items order = flat(epoch_of(sampler));
    REQUIRE(order.size() == groups);
    CHECK(flat(epoch_of(again)) == order);
    std::set<std::int32_t> distinct;
    for (std::size_t i = 0; i < order.size(); ++i) {
      distinct.insert(order[i] / 100);
      ++seen[order[i]];
      if (order[i] / 100 % 5 == 4) place_of_large += static_cast<double>(i) / (epochs * groups / 5);
    }
    CHECK(distinct.size() == groups);
  }
  CHECK(seen.size() == items.size());
  for (std::int32_t i = 0; i < 5; ++i) CHECK(seen[400 + i] == Approx(epochs / 5).margin(20));
  CHECK(place_of_large == Approx((groups - 1) / 2.).margin(2));  // no earlier than the others
  CHECK(throws_with([&] { Sampler({1, 2}, {.shuffle = false}, {1, 1}); }, "not shuffled"));
  CHECK(throws_with([&] { Sampler(items, {}, {1, 2}); }, "expected a group for each of"));
}

TEST_CASE("the order is the same everywhere", "[batches]") {
  Sampler sampler(some_items(8), {.batch = 8, .seed = 7});
  // computed in Python, with a Philox that gives Random123's known answers
  CHECK(flat(epoch_of(sampler)) == Items{105, 100, 106, 107, 101, 104, 103, 102});
  CHECK(flat(epoch_of(sampler)) == Items{105, 100, 103, 106, 101, 102, 107, 104});
}

TEST_CASE("a batch holds the features of captions and of their pictures", "[batches]") {
  const Features features{Tensor::of({{0, 1}, {2, 3}, {4, 5}}), Tensor::of({{10, 11, 12}, {20, 21, 22}}),
                          Tensor::of({0, 1, 1}, dtype::i32)};
  const Items captions{2, 0};
  const Batch batch = batch_of(features, captions);
  CHECK(batch.text.to_vector() == std::vector<float>{4, 5, 0, 1});
  CHECK(batch.image.to_vector() == std::vector<float>{20, 21, 22, 10, 11, 12});
  CHECK(batch.picture.to_vector<std::int32_t>() == Items{1, 0});
  const Items wrong{3};
  CHECK_THROWS_AS(batch_of(features, wrong), Error);
}

}  // namespace
}  // namespace clip
