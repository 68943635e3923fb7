#pragma once
// Which pictures are trained on, which choose the model, and which it is judged by.
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace clip {

enum class Split : std::uint8_t { train, val, test };
const char* name_of(Split split);

struct SplitShares {
  double val = 0.1, test = 0.1;  ///< the rest is for training
};

/// The split of each name, decided by a hash of seed and name: the lowest `test` of them are tested on, the next `val`
/// validated on. Neither order nor repetition of names matters. A share that is not zero gets a name at least. Throws
/// unless the shares are in [0, 1) and leave a name to train on.
std::vector<Split> split_by_name(std::span<const std::string> names, std::uint64_t seed,
                                 const SplitShares& shares = {});

/// The split of the book's recipe: a fifth of the caption rows, whatever their picture, validates; exactly those that
/// NumPy's `seed(42)` and `choice(rows, rows // 5, replace=False)` give. Pictures leak from training to validation.
std::vector<Split> split_as_book(std::size_t rows, std::uint32_t seed = 42);

}  // namespace clip
