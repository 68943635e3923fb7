#pragma once
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "clip/core/tensor.hpp"

namespace clip {

/// The tokens of a batch of texts, packed: one text after another, without padding.
struct Tokens {
  Tensor ids;        ///< i32 [T]
  Tensor offsets;    ///< i32 [B + 1]: text i has the tokens offsets[i] to before offsets[i + 1]
  Tensor positions;  ///< i32 [T]: of each token in its text
  std::int64_t longest = 0;
  Tensor ends =
      {};  ///< i32 [B]: the row of each text's end token, once `ClipText::cut` has found it; goes with ids and offsets

  /// Throws on more than 2^31 - 1 tokens.
  static Tokens pack(std::span<const std::vector<std::int32_t>> texts, const Device& device = {});

  /// How many texts.
  std::int64_t count() const { return offsets.defined() ? offsets.numel() - 1 : 0; }
  /// The ids as a rectangle i32 [B, length] on the CPU, filled up with `pad_id`; as long as the longest text unless
  /// given. Throws when a text is longer, and on offsets that do not rise within the ids.
  Tensor padded(std::int32_t pad_id, std::int64_t length = 0) const;
  /// The same texts and behind them one of 1 to 64 zeros, or to `most`, if a text has no more tokens than that. Then
  /// the numbers of all tokens and, within `most`, of the longest text's are multiples of 64, so that other batches
  /// often have the same shapes, as `Graphs` likes it.
  Tokens rounded(std::int64_t most) const;
};

}  // namespace clip
