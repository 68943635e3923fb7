#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numbers>

#include "clip/core/error.hpp"
#include "clip/train/optimizer.hpp"

namespace clip {

/// Lowers the rates when a loss stops falling, as torch's scheduler of this name does (mode min, relative threshold, no
/// cooldown): after more than `patience` epochs that are not better than the best by `threshold`, every group's rate is
/// multiplied by `factor`. Its state is `best` and `bad_epochs`; the rates are the optimizer's.
struct ReduceLROnPlateau {
  double factor = 0.1;
  std::int64_t patience = 10;
  double threshold = 1e-4;
  double min_lr = 0;

  double best = std::numeric_limits<double>::infinity();
  std::int64_t bad_epochs = 0;

  /// Takes in an epoch's loss. Returns whether the rates were due to be lowered; changes below 1e-8 are left out.
  bool step(double loss, AdamW& optimizer) {
    check(factor > 0 && factor < 1, "ReduceLROnPlateau", "expected a factor in (0, 1), got ", factor);
    if (loss < best * (1 - threshold)) {
      best = loss;
      bad_epochs = 0;
    } else {
      ++bad_epochs;
    }
    if (bad_epochs <= patience) return false;
    bad_epochs = 0;
    for (std::size_t group = 0; group < optimizer.groups(); ++group) {
      const double before = optimizer.lr(group), after = std::max(before * factor, min_lr);
      if (before - after > 1e-8) optimizer.set_lr(after, group);
    }
    return true;
  }
};

/// A factor for the rates: rises linearly to 1 over the first `warmup` steps, then falls as half a cosine to `floor` at
/// step `total`, and stays there (Loshchilov and Hutter 2017, without restarts).
struct WarmupCosine {
  std::int64_t warmup = 0, total = 1;
  double floor = 0;

  /// Of step 0, 1, …; step k of a warm-up of w gives (k + 1) / w.
  double operator()(std::int64_t step) const {
    check(warmup >= 0 && total >= warmup, "WarmupCosine", "expected 0 <= warmup <= total steps, got ", warmup, " and ",
          total);
    if (step < warmup) return static_cast<double>(step + 1) / static_cast<double>(warmup);
    if (step >= total) return floor;
    const double done = static_cast<double>(step - warmup) / static_cast<double>(total - warmup);
    return floor + (1 - floor) * (1 + std::cos(std::numbers::pi * done)) / 2;
  }
};

}  // namespace clip
