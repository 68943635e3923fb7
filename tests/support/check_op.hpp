#pragma once
// One harness for every op: values against a double-precision reference, gradients against central differences of it.
#include <functional>
#include <string>
#include <vector>

#include "clip/core/tensor.hpp"

namespace clip::test {

/// A dense array in double precision: what references compute with.
struct Array {
  Shape shape;
  std::vector<double> values;

  explicit Array(const Shape& s = {}) : shape(s), values(static_cast<std::size_t>(s.numel())) {}
  double& operator[](std::int64_t i) { return values[static_cast<std::size_t>(i)]; }
  double operator[](std::int64_t i) const { return values[static_cast<std::size_t>(i)]; }
};

/// Numbers in [low, high] from a fixed seed that `salt` varies.
Array random_array(const Shape& shape, double low = -1, double high = 1, std::uint64_t salt = 0);

Tensor to_tensor(const Array& values, dtype type = dtype::f32, const Device& device = {});
Array to_array(const Tensor& tensor);

using Op = std::function<Tensor(const std::vector<Tensor>&)>;
using Reference = std::function<Array(const std::vector<Array>&)>;

struct Tolerance {
  double f32 = 2e-6;       ///< largest |error| / max(1, largest |reference|) of values
  double bf16 = 8e-3;      ///< the same in bf16, on inputs rounded first: 2 units in the last place
  double gradient = 2e-4;  ///< of gradients in f32, against differences in double
  double bf16_gradient = 3e-2;
};

struct CheckOptions {
  Tolerance tolerance = {};
  std::vector<bool> differentiable = {};  ///< which inputs have gradients; all when empty
  bool bf16 = true;                       ///< run in bf16 too
  int samples = 24;                       ///< gradient elements compared, for each input
};

/// Runs `op` on `inputs` in f32 and bf16, and compares the output with `reference`, and the gradient of a random
/// weighting of the output, with respect to every input, with central differences of `reference`.
void check_op(const std::string& name, const Op& op, const Reference& reference, const std::vector<Array>& inputs,
              const CheckOptions& options = {});

/// The devices tests run on: the CPU, and a GPU where there is one; says once on stderr when there is none.
const std::vector<Device>& devices();

/// Awkward lengths: none, one, around a vector's width, and none of its multiples.
inline const std::vector<std::int64_t> awkward = {0, 1, 2, 15, 16, 17, 63, 64, 65, 127, 1000};

}  // namespace clip::test
