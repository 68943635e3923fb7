#include "clip/data/batches.hpp"

#include <algorithm>
#include <utility>

#include "clip/core/error.hpp"
#include "clip/core/random.hpp"
#include "clip/ops/embedding.hpp"
#include "clip/ops/gather.hpp"

namespace clip {

Sampler::Sampler(std::vector<std::int32_t> items, const SamplerOptions& options)
    : items_(std::move(items)), options_(options) {
  check(!items_.empty() && options_.batch > 0, "sampler", "expected items and a positive batch, got ", items_.size(),
        " and ", options_.batch);
  check(batches_per_epoch() > 0, "sampler", "all ", items_.size(), " items would be dropped as the last batch of ",
        options_.batch);
  shuffle();
}

std::int64_t Sampler::batches_per_epoch() const {
  const std::int64_t items = std::ssize(items_);
  return options_.drop_last ? items / options_.batch : (items - 1) / options_.batch + 1;
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
  std::vector<std::pair<std::uint64_t, std::int32_t>> keyed;
  const auto epoch = static_cast<std::uint64_t>(position_.epoch);
  for (std::size_t i = 0; i < items_.size(); ++i) {
    // the counter's upper half keeps the epochs apart, and from the streams of Random, where it is 0
    const auto words =
        philox({static_cast<std::uint32_t>(i), 0, static_cast<std::uint32_t>(epoch), 0x5a3f1e00U},
               {static_cast<std::uint32_t>(options_.seed), static_cast<std::uint32_t>(options_.seed >> 32)});
    keyed.emplace_back(std::uint64_t{words[0]} << 32 | words[1], items_[i]);
  }
  std::sort(keyed.begin(), keyed.end());
  for (std::size_t i = 0; i < keyed.size(); ++i) order_[i] = keyed[i].second;
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

Batch batch_of(const Features& features, std::span<const std::int32_t> captions) {
  const Tensor rows = Tensor::from(captions, {std::ssize(captions)});
  const Tensor pictures = gather(features.picture, 0, rows);
  const auto rows_of = [](const Tensor& side, const Tensor& which) {
    return side.defined() ? embedding(side, which) : Tensor();
  };
  return {rows_of(features.text, rows), rows_of(features.image, pictures), pictures};
}

}  // namespace clip
