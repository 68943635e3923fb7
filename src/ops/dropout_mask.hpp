#pragma once
#include "clip/core/random.hpp"
#include "kernels/dropout.hpp"

namespace clip {

/// Takes `words` numbers for a mask that is used on `device`. Throws where the stream's place is on another.
inline kernels::DropoutMask dropout_mask(float p, Random& random, std::int64_t words, const Device& device,
                                         const char* op) {
  kernels::DropoutMask mask{.p = p, .seed = random.seed()};
  if (random.base().defined()) {
    check(random.base().device() == device && device.is_cuda(), op, "expected a random stream placed on ", device,
          ", got one on ", random.base().device());
    check(random.base().numel() == 1, op, "expected a place of one i64 number, got ", random.base().shape());
    mask.base = random.base().data<std::int64_t>();
  }
  mask.offset = random.reserve(words);
  return mask;
}

}  // namespace clip
