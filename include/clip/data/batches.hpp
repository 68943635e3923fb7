#pragma once
// In which order a model sees the captions, and the rows of features that belong to them.
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <span>
#include <vector>

#include "clip/core/tensor.hpp"

namespace clip {

struct SamplerOptions {
  std::int64_t batch = 32;
  std::uint64_t seed = 0;
  bool shuffle = true;     ///< anew in each epoch
  bool drop_last = false;  ///< leave out the last batch of an epoch when it is smaller
};

/// A place in the endless sequence of epochs: with it a sampler goes on where another was.
struct SamplerPosition {
  std::int64_t epoch = 0, batch = 0;  ///< both counted from 0
  bool operator==(const SamplerPosition&) const = default;
};

/// Batches of items, each item, or one of each group, once in an epoch. The order follows from seed and epoch alone
/// (Philox numbers by item, sorted), so it is the same for every number of threads, and on every machine.
class Sampler {
 public:
  /// With `groups`, one for each item, an epoch has one item of each group, drawn anew. Throws when there are no items,
  /// when all batches would be dropped, on another number of groups, and on groups without shuffling.
  explicit Sampler(std::vector<std::int32_t> items, const SamplerOptions& options = {},
                   std::vector<std::int32_t> groups = {});

  std::int64_t batches_per_epoch() const;
  /// In an epoch.
  std::int64_t items() const { return count_; }
  /// The batch that `next` will give; its `batch` is batches_per_epoch() at an epoch's end.
  const SamplerPosition& position() const { return position_; }
  /// Throws unless it is a place within an epoch or at its end.
  void seek(const SamplerPosition& position);

  /// The next batch, until the epoch ends: then nothing, once, and the next epoch begins. The items stay valid until
  /// the next epoch.
  std::optional<std::span<const std::int32_t>> next();

 private:
  void shuffle();

  std::vector<std::int32_t> items_, groups_, order_;
  std::int64_t count_;
  SamplerOptions options_;
  SamplerPosition position_;
};

/// What frozen encoders made of a data set. Without one, its side is undefined.
struct Features {
  Tensor text;     ///< [captions, D of the text encoder]
  Tensor image;    ///< [pictures, D of the image encoder]
  Tensor picture;  ///< i32 [captions]: the picture of each caption
};

/// Pairs of a caption and its picture.
struct Batch {
  Tensor text, image;  ///< [N, …], undefined where the features are
  Tensor picture;      ///< i32 [N], tells which pairs show the same picture
};

/// The rows of these captions and of their pictures, whose numbers are i32 or i64 [N] on the features' device. Throws
/// on indices out of range.
Batch batch_of(const Features& features, const Tensor& captions, const Tensor& pictures);
/// The same, with the pictures that `features` names.
Batch batch_of(const Features& features, std::span<const std::int32_t> captions);

}  // namespace clip
