#include "tests/support/check_op.hpp"

#include <algorithm>
#include <cmath>
#include <iostream>
#include <optional>

#include "clip/autograd.hpp"
#include "clip/core/random.hpp"
#include "clip/ops/cast.hpp"
#include "tests/support/catch.hpp"

namespace clip::test {

Array random_array(const Shape& shape, double low, double high, std::uint64_t salt) {
  Array a(shape);
  for (std::int64_t i = 0; i < shape.numel(); ++i) {
    const std::uint32_t word = philox(salt * 7919 + 17, static_cast<std::uint64_t>(i))[0];
    a[i] = static_cast<float>(low + (high - low) * (word * 0x1p-32));
  }
  return a;
}

Tensor to_tensor(const Array& values, dtype type, const Device& device) {
  const std::vector<float> floats(values.values.begin(), values.values.end());
  return to(to(Tensor::from(floats, values.shape), type), device);
}

Array to_array(const Tensor& tensor) {
  Array a(tensor.shape());
  const std::vector<float> floats = to(to(tensor.detach(), Device::cpu()), dtype::f32).to_vector<float>();
  a.values.assign(floats.begin(), floats.end());
  return a;
}

const std::vector<Device>& devices() {
  // never destroyed: cuDNN's parts, which it loads at its first use, end before what was made earlier
  static const std::vector<Device>& found = *new std::vector<Device>([] {
    std::vector<Device> list{Device::cpu()};
    if (Device::cuda_count() > 0)
      list.push_back(Device::cuda());
    else
      std::cerr << "note: no usable GPU: tests run on the CPU only\n";
    return list;
  }());
  return found;
}

namespace {

/// Largest |a - b| over max(1, largest |b|); infinite where one is NaN and the other not.
double error_between(const Array& a, const Array& b) {
  double worst = 0, scale = 1;
  for (std::size_t i = 0; i < b.values.size(); ++i) {
    const double x = a.values[i], y = b.values[i];
    if (std::isfinite(y)) scale = std::max(scale, std::abs(y));
    const bool equal = x == y || (std::isnan(x) && std::isnan(y));
    if (!equal) worst = std::isfinite(x - y) ? std::max(worst, std::abs(x - y)) : HUGE_VAL;
  }
  return worst / scale;
}

double dot(const Array& a, const Array& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.values.size(); ++i) sum += a.values[i] * b.values[i];
  return sum;
}

/// The same elements as a view one element into a storage: no kernel may count on more alignment than an element's.
Tensor misaligned(const Tensor& t) {
  Tensor view = Tensor({t.numel() + 1}, t.dtype(), t.device()).view(1, t.shape());
  view.copy_from(t);
  return view;
}

/// What the reference says of inputs, the same for every device.
struct Expected {
  Array values;
  std::vector<std::optional<Array>> differences;  // of each input, where they were asked for
};

void check_values(const Op& op, const Reference& reference, const std::vector<Array>& inputs, dtype type,
                  const Device& device, const CheckOptions& options, std::optional<Expected>& known) {
  const bool low = type == dtype::bf16;
  std::vector<Tensor> tensors;
  std::vector<Array> rounded;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    Tensor t = to_tensor(inputs[i], type, device);
    if (t.numel() % 2 == 1) t = misaligned(t);
    rounded.push_back(to_array(t));
    if (options.differentiable.empty() || options.differentiable[i]) t.requires_grad();
    tensors.push_back(t);
  }
  const Tensor y = op(tensors);
  if (!known) known = Expected{reference(rounded), std::vector<std::optional<Array>>(inputs.size())};
  REQUIRE(y.shape() == known->values.shape);
  REQUIRE(y.dtype() == type);
  CHECK(error_between(to_array(y), known->values) <= (low ? options.tolerance.bf16 : options.tolerance.f32));
  if (!y.needs_grad()) return;

  const Tensor weights = to_tensor(random_array(y.shape(), -1, 1, 99), type, device);
  const Array rounded_weights = to_array(weights);
  backward(y, weights);
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (!tensors[i].needs_grad()) continue;
    INFO("gradient of input " << i);
    if (inputs[i].values.empty()) {
      if (tensors[i].grad().defined()) CHECK(tensors[i].grad().shape() == inputs[i].shape);
      continue;
    }
    REQUIRE(tensors[i].grad().defined());
    const Array grad = to_array(tensors[i].grad());
    const auto n = static_cast<std::int64_t>(inputs[i].values.size());
    const Shape samples{std::min<std::int64_t>(n, options.samples)};
    const auto place = [&](std::int64_t k) {
      return n <= options.samples ? k : philox(5, static_cast<std::uint64_t>(k))[0] % n;
    };
    std::optional<Array>& differences = known->differences[i];
    if (!differences) {
      differences.emplace(samples);
      for (std::int64_t k = 0; k < samples[0]; ++k) {
        constexpr double step = 1e-5;
        std::vector<Array> moved = rounded;
        moved[i][place(k)] += step;
        const double above = dot(reference(moved), rounded_weights);
        moved[i][place(k)] -= 2 * step;
        const double below = dot(reference(moved), rounded_weights);
        (*differences)[k] = (above - below) / (2 * step);
      }
    }
    Array sampled(samples);
    for (std::int64_t k = 0; k < samples[0]; ++k) sampled[k] = grad[place(k)];
    CHECK(error_between(sampled, *differences) <= (low ? options.tolerance.bf16_gradient : options.tolerance.gradient));
  }
}

}  // namespace

void check_op(const std::string& name, const Op& op, const Reference& reference, const std::vector<Array>& inputs,
              const CheckOptions& options) {
  for (const dtype type : {dtype::f32, dtype::bf16}) {
    if (type == dtype::bf16 && !options.bf16) continue;
    std::optional<Expected> expected;
    for (const Device& device : devices()) {
      INFO(name << " in " << type << " on " << device);
      for (const Array& input : inputs) INFO("input " << input.shape);
      check_values(op, reference, inputs, type, device, options, expected);
    }
  }
}

}  // namespace clip::test
