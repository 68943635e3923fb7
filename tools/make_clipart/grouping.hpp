#pragma once
// Which pictures must not be parted by a split, because one would give the other away.
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "clip/data/split.hpp"
#include "clip/image/image.hpp"

namespace clip {

/// A picture small enough to be compared with all others.
struct Thumbnail {
  static constexpr int side = 16;
  std::vector<float> values;  ///< [side * side * 3], on white, less their mean, of length 1; zeros when blank
  bool blank = false;         ///< of one colour, on white
};
Thumbnail thumbnail_of(const Image& image);

/// The split of each picture: of whole groups, a tenth of the pictures to test with, a fortieth to validate with,
/// decided by a hash of each group's first name. Pictures of one concept are a group, and those whose thumbnails
/// correlate by more than 0.98, and with them what either is grouped with. Groups of more than a hundredth of all, and
/// of more than 4, are trained on.
std::vector<Split> split_groups(std::span<const std::string> names, std::span<const std::string> concepts,
                                std::span<const Thumbnail> thumbnails);

}  // namespace clip
