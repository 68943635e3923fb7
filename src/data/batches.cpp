#include "clip/data/batches.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "clip/core/error.hpp"
#include "clip/core/random.hpp"
#include "clip/ops/cast.hpp"
#include "clip/ops/embedding.hpp"
#include "clip/ops/gather.hpp"

namespace clip {

Sampler::Sampler(std::vector<std::int32_t> items, const SamplerOptions& options, std::vector<std::int32_t> groups)
    : items_(std::move(items)),
      groups_(std::move(groups)),
      count_(groups_.empty() ? std::ssize(items_) : std::ssize(std::set(groups_.begin(), groups_.end()))),
      options_(options) {
  check(groups_.empty() || groups_.size() == items_.size(), "sampler", "expected a group for each of ", items_.size(),
        " items, got ", groups_.size());
  check(!items_.empty() && options_.batch > 0, "sampler", "expected items and a positive batch, got ", items_.size(),
        " and ", options_.batch);
  check(batches_per_epoch() > 0, "sampler", "all ", count_, " items would be dropped as the last batch of ",
        options_.batch);
  check(options_.shuffle || groups_.empty(), "sampler", "expected no groups where items are not shuffled, got ",
        groups_.size());
  shuffle();
}

std::int64_t Sampler::batches_per_epoch() const {
  return options_.drop_last ? count_ / options_.batch : (count_ - 1) / options_.batch + 1;
}

void Sampler::seek(const SamplerPosition& position) {
  check(position.epoch >= 0 && position.batch >= 0 && position.batch <= batches_per_epoch(), "sampler",
        "expected a batch from 0 to ", batches_per_epoch(), ", got ", position.batch, " of epoch ", position.epoch);
  position_ = position;
  shuffle();
}

void Sampler::shuffle() {
  order_ = items_;
  if (!options_.shuffle) return;
  using Keyed = std::pair<std::uint64_t, std::int32_t>;
  std::vector<Keyed> keyed;
  std::map<std::int32_t, std::pair<Keyed, std::uint64_t>> chosen;  // of a group the item of the least key, and another
  const auto epoch = static_cast<std::uint64_t>(position_.epoch);
  for (std::size_t i = 0; i < items_.size(); ++i) {
    // the counter's upper half keeps the epochs apart, and from the streams of Random, where it is 0
    const auto words =
        philox({static_cast<std::uint32_t>(i), 0, static_cast<std::uint32_t>(epoch), 0x5a3f1e00U},
               {static_cast<std::uint32_t>(options_.seed), static_cast<std::uint32_t>(options_.seed >> 32)});
    const Keyed item(std::uint64_t{words[0]} << 32 | words[1], items_[i]);
    if (groups_.empty()) {
      keyed.push_back(item);
      continue;
    }
    const std::pair next(item, std::uint64_t{words[2]} << 32 | words[3]);  // else large groups would come early
    const auto [at, inserted] = chosen.emplace(groups_[i], next);
    if (!inserted) at->second = std::min(at->second, next);
  }
  for (const auto& [group, item] : chosen) keyed.emplace_back(item.second, item.first.second);
  std::sort(keyed.begin(), keyed.end());
  order_.clear();
  for (const auto& [key, item] : keyed) order_.push_back(item);
}

std::optional<std::span<const std::int32_t>> Sampler::next() {
  if (position_.batch == batches_per_epoch()) {
    position_ = {position_.epoch + 1, 0};
    shuffle();
    return std::nullopt;
  }
  const std::int64_t first = position_.batch++ * options_.batch;
  const std::int64_t count = std::min(options_.batch, std::ssize(order_) - first);
  return std::span<const std::int32_t>(order_).subspan(static_cast<std::size_t>(first),
                                                       static_cast<std::size_t>(count));
}

Batch batch_of(const Features& features, const Tensor& captions, const Tensor& pictures) {
  const auto rows = [](const Tensor& side, const Tensor& which) {
    return side.defined() ? embedding(side, which) : Tensor();
  };
  return {rows(features.text, captions), rows(features.image, pictures), pictures};
}

Batch batch_of(const Features& features, std::span<const std::int32_t> captions) {
  const Tensor rows = Tensor::from(captions, {std::ssize(captions)});
  const Tensor& some = features.text.defined() ? features.text : features.image;
  const Device device = some.defined() ? some.device() : Device::cpu();
  return batch_of(features, to(rows, device), to(gather(features.picture, 0, rows), device));
}

}  // namespace clip
