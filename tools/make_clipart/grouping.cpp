#include "tools/make_clipart/grouping.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <utility>

#include "clip/image/resize.hpp"
#include "clip/io/hash.hpp"

namespace clip {
namespace {

constexpr float near_identical = 0.98F;

/// Sets that grow together; each is known by the least of its members.
class Sets {
 public:
  explicit Sets(std::size_t count) : parent_(count) { std::iota(parent_.begin(), parent_.end(), std::size_t{0}); }
  std::size_t of(std::size_t i) {
    while (parent_[i] != i) i = parent_[i] = parent_[parent_[i]];
    return i;
  }
  void join(std::size_t a, std::size_t b) {
    a = of(a);
    b = of(b);
    parent_[std::max(a, b)] = std::min(a, b);
  }

 private:
  std::vector<std::size_t> parent_;
};

/// Pairs of thumbnails that show nearly the same.
std::vector<std::pair<std::size_t, std::size_t>> twins(std::span<const Thumbnail> thumbnails) {
  std::vector<std::pair<std::size_t, std::size_t>> pairs;
#pragma omp parallel for schedule(dynamic, 16)
  for (std::size_t i = 0; i < thumbnails.size(); ++i)
    for (std::size_t j = 0; j < i; ++j) {
      const float *a = thumbnails[i].values.data(), *b = thumbnails[j].values.data();
      float dot[16] = {};
      for (std::size_t k = 0; k < thumbnails[i].values.size(); k += 16)
        for (std::size_t l = 0; l < 16; ++l) dot[l] += a[k + l] * b[k + l];
      if (std::accumulate(dot, dot + 16, 0.F) > near_identical)
#pragma omp critical
        pairs.emplace_back(i, j);
    }
  return pairs;
}

}  // namespace

Thumbnail thumbnail_of(const Image& image) {
  const Image small = resize(to_rgb(image, {255, 255, 255}), {Thumbnail::side, Thumbnail::side}, Filter::bilinear);
  Thumbnail t{{small.pixels.begin(), small.pixels.end()}, false};
  const auto count = static_cast<float>(t.values.size());
  const float mean = std::accumulate(t.values.begin(), t.values.end(), 0.F) / count;
  for (float& value : t.values) value -= mean;
  const float length = std::sqrt(std::inner_product(t.values.begin(), t.values.end(), t.values.begin(), 0.F));
  t.blank = length < 2 * std::sqrt(count);  // a standard deviation of 2 in 255
  for (float& value : t.values) value = t.blank ? 0 : value / length;
  return t;
}

std::vector<Split> split_groups(std::span<const std::string> names, std::span<const std::string> concepts,
                                std::span<const Thumbnail> thumbnails) {
  Sets sets(names.size());
  std::map<std::string, std::size_t> by_concept;
  for (std::size_t i = 0; i < names.size(); ++i) sets.join(i, by_concept.emplace(concepts[i], i).first->second);
  for (const auto& [a, b] : twins(thumbnails)) sets.join(a, b);

  std::map<std::size_t, std::size_t> sizes;  // of the groups
  for (std::size_t i = 0; i < names.size(); ++i) ++sizes[sets.of(i)];
  std::vector<std::pair<std::uint64_t, std::size_t>> order;
  for (const auto& [group, size] : sizes) order.emplace_back(content_hash(names[group]), group);
  std::sort(order.begin(), order.end());

  std::map<std::size_t, Split> split_of;
  std::size_t tested = 0, validated = 0;
  for (const auto& [hash, group] : order) {
    const bool small = sizes[group] <= std::max<std::size_t>(names.size() / 100, 4);
    Split& split = split_of[group] = Split::train;
    if (small && tested * 10 < names.size()) {
      split = Split::test;
      tested += sizes[group];
    } else if (small && validated * 40 < names.size()) {
      split = Split::val;
      validated += sizes[group];
    }
  }
  std::vector<Split> splits;
  for (std::size_t i = 0; i < names.size(); ++i) splits.push_back(split_of[sets.of(i)]);
  return splits;
}

}  // namespace clip
