#pragma once
// What tests/reference/models.py wrote, and how near to it a result is.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <string>

#include "clip/io/safetensors.hpp"
#include "clip/ops/cast.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/data.hpp"

namespace clip::test {

inline SafeTensors golden(const std::string& name) {
  return SafeTensors::open(test_data("models/" + name + ".safetensors"));
}

/// How a tensor differs from its reference as a whole.
struct Difference {
  double relative = 0;  ///< largest |error| / largest |reference|
  double cosine = 1;
};
inline Difference compare(const Tensor& result, const Tensor& reference) {
  REQUIRE(result.shape() == reference.shape());
  const auto x = to(result.detach(), dtype::f32).to_vector(), y = reference.to_vector();
  double error = 0, largest = 0, xy = 0, xx = 0, yy = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double a = x[i], b = y[i];
    error = std::isfinite(a) ? std::max(error, std::abs(a - b)) : INFINITY;
    largest = std::max(largest, std::abs(b));
    xy += a * b;
    xx += a * a;
    yy += b * b;
  }
  return {error / std::max(largest, 1e-30), xy / std::sqrt(std::max(xx * yy, 1e-60))};
}

}  // namespace clip::test
