#include "clip/text/tokens.hpp"

#include <algorithm>
#include <limits>
#include <numeric>

#include "clip/core/error.hpp"

namespace clip {

Tokens Tokens::pack(std::span<const std::vector<std::int32_t>> texts, const Device& device) {
  std::vector<std::int32_t> ids, positions, offsets = {0};
  std::size_t total = 0, longest = 0;
  for (const auto& text : texts) {
    total += text.size();
    longest = std::max(longest, text.size());
  }
  check(total <= std::numeric_limits<std::int32_t>::max(), "tokens",
        "expected at most 2^31 - 1 tokens in a batch, got ", total);
  ids.reserve(total);
  positions.resize(total);
  for (const auto& text : texts) {
    std::iota(positions.begin() + offsets.back(), positions.begin() + offsets.back() + std::ssize(text), 0);
    ids.insert(ids.end(), text.begin(), text.end());
    offsets.push_back(static_cast<std::int32_t>(ids.size()));
  }
  const Shape rows{static_cast<std::int64_t>(total)};
  return {.ids = Tensor::from(ids, rows, device),
          .offsets = Tensor::from(offsets, {std::ssize(offsets)}, device),
          .positions = Tensor::from(positions, rows, device),
          .longest = static_cast<std::int64_t>(longest)};
}

Tokens Tokens::rounded(std::int64_t most) const {
  const std::int64_t step = std::min<std::int64_t>(64, most), total = (ids.numel() / step + 1) * step;
  const auto extended = [](const Tensor& list, std::int64_t size, std::int64_t value) {
    Tensor longer = full({size}, static_cast<double>(value), list.dtype(), list.device());
    longer.view(0, list.shape()).copy_from(list);
    return longer;
  };
  check(longest <= most, "tokens", "expected texts of at most ", most, " tokens, got one of ", longest);
  return {.ids = extended(ids, total, 0),
          .offsets = extended(offsets, offsets.numel() + 1, total),
          .positions = extended(positions, total, 0),
          .longest = std::min(most, (std::max<std::int64_t>(longest, 1) + step - 1) / step * step),
          .ends = ends.defined() ? extended(ends, ends.numel() + 1, total - 1) : Tensor()};
}

Tensor Tokens::padded(std::int32_t pad_id, std::int64_t length) const {
  if (length == 0) length = longest;
  check(longest <= length, "tokens", "expected texts of at most ", length, " tokens, got one of ", longest);
  Tensor rectangle = full({count(), length}, pad_id, dtype::i32);
  if (count() == 0) return rectangle;
  const auto id = ids.to_vector<std::int32_t>(), begin = offsets.to_vector<std::int32_t>();
  auto* row = rectangle.mutable_data<std::int32_t>();
  for (std::size_t i = 0; i + 1 < begin.size(); ++i, row += length) {
    const std::int32_t from = begin[i], to = begin[i + 1];
    check(from >= 0 && from <= to && to <= std::ssize(id) && to - from <= length, "tokens",
          "expected offsets that rise within the ", id.size(), " ids, by at most ", length, ", got ", from, " and ", to,
          " for text ", i);
    std::copy(id.begin() + from, id.begin() + to, row);
  }
  return rectangle;
}

}  // namespace clip
