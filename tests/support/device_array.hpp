#pragma once
// What tests of CUDA kernels share. They are compiled twice: with the host executor's <cuda_runtime.h> and with CUDA's.
#include <cuda_runtime.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <iostream>
#include <vector>

#include "clip/core/dtype.hpp"
#include "clip/core/error.hpp"
#include "clip/core/random.hpp"
#include "tests/support/catch.hpp"

namespace clip::test {

/// Whether there is something to run kernels on; says once on stderr what, or that there is nothing.
inline bool have_device() {
  static const bool found = [] {
    int count = 0;
    cudaDeviceProp properties{};
    const bool some = cudaGetDeviceCount(&count) == cudaSuccess && count > 0 &&
                      cudaGetDeviceProperties(&properties, 0) == cudaSuccess;
    if (some)
      std::cerr << "note: kernels run on " << properties.name << "\n";
    else
      std::cerr << "note: no usable GPU: its kernels are not tested\n";
    return some;
  }();
  return found;
}

/// Elements in the device's memory: between guards that nobody may write to, or, under AddressSanitizer, in a block of
/// memory of exactly their size. What is not given is NaN.
template <class T>
class DeviceArray {
 public:
  /// `shift` elements past an address that is a multiple of 256.
  explicit DeviceArray(std::int64_t count, std::int64_t shift = 0)
      : count_(static_cast<std::size_t>(count)), before_(static_cast<std::size_t>(shift) * sizeof(T) + guard) {
    const std::vector<unsigned char> ones(before_ + bytes() + guard, 0xff);
    call(cudaMalloc(&memory_, ones.size()));
    call(cudaMemcpy(memory_, ones.data(), ones.size(), cudaMemcpyHostToDevice));
  }
  explicit DeviceArray(const std::vector<T>& values, std::int64_t shift = 0)
      : DeviceArray(static_cast<std::int64_t>(values.size()), shift) {
    call(cudaMemcpy(data(), values.data(), bytes(), cudaMemcpyHostToDevice));
  }
  ~DeviceArray() { cudaFree(memory_); }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;

  T* data() { return reinterpret_cast<T*>(memory_ + before_); }
  /// What kernels have left there; fails when they have written outside.
  std::vector<T> read() const {
    std::vector<unsigned char> all(before_ + bytes() + guard);
    call(cudaMemcpy(all.data(), memory_, all.size(), cudaMemcpyDeviceToHost));
    const auto written = [](unsigned char byte) { return byte != 0xff; };
    const auto begin = all.begin() + static_cast<std::ptrdiff_t>(before_);
    const auto end = begin + static_cast<std::ptrdiff_t>(bytes());
    CHECK(std::none_of(all.begin(), begin, written));
    CHECK(std::none_of(end, all.end(), written));
    std::vector<T> values(count_);
    if (count_ > 0) std::memcpy(static_cast<void*>(values.data()), &*begin, bytes());
    return values;
  }

 private:
#ifdef CLIP_ADDRESS_SANITIZER
  static constexpr std::size_t guard = 0;
#else
  static constexpr std::size_t guard = 256;
#endif
  static void call(cudaError_t status) { check(status == cudaSuccess, "cuda", cudaGetErrorString(status)); }
  std::size_t bytes() const { return count_ * sizeof(T); }

  std::size_t count_, before_;
  unsigned char* memory_ = nullptr;
};

/// Numbers in [low, high] from a fixed seed that `salt` varies, rounded to T.
template <class T>
std::vector<T> random_values(std::int64_t count, double low, double high, std::uint64_t salt) {
  std::vector<T> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = T(static_cast<float>(low + (high - low) * (philox(salt, i)[0] * 0x1p-32)));
  return values;
}

/// The same numbers in double, which references compute in.
template <class T>
std::vector<double> widened(const std::vector<T>& values) {
  std::vector<double> wide;
  for (const T& value : values) wide.push_back(static_cast<double>(static_cast<float>(value)));
  return wide;
}

/// Largest |a - b| / max(1, |b|); infinite where one is not finite and they differ.
template <class T>
double worst_error(const std::vector<T>& a, const std::vector<double>& b) {
  REQUIRE(a.size() == b.size());
  double worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const auto x = static_cast<double>(static_cast<float>(a[i]));
    if (x == b[i] || (std::isnan(x) && std::isnan(b[i]))) continue;
    worst = std::isfinite(x - b[i]) ? std::max(worst, std::abs(x - b[i]) / std::max(1.0, std::abs(b[i]))) : HUGE_VAL;
  }
  return worst;
}

/// Whether every bit is the same.
template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

/// Half a unit in the last place of T at 1, and what f32 arithmetic adds.
template <class T>
constexpr double rounding = (dtype_of<T> == dtype::bf16  ? 0x1p-8
                             : dtype_of<T> == dtype::f16 ? 0x1p-11
                                                         : 0) +
                            4e-6;

/// f.operator()<T>() for each type kernels compute in.
template <class F>
void for_each_type(const F& f) {
  const auto named = [&]<class T>() {
    INFO("element type " << name_of(dtype_of<T>));
    f.template operator()<T>();
  };
  named.template operator()<float>();
  named.template operator()<bf16>();
  named.template operator()<f16>();
}

/// f.operator()<T>(rows, cols, shift) for each type and awkward shapes: one warp to a row and several, whole vectors
/// and not, rows longer than registers hold, and memory that is not aligned.
template <class F>
void for_each_rows(const F& f) {
  for_each_type([&]<class T>() {
    struct Case {
      std::int64_t rows, cols, shift;
    };
    for (const Case& c : {Case{0, 8, 0},
                          {3, 0, 0},
                          {1, 1, 0},
                          {5, 7, 0},
                          {6, 64, 0},
                          {9, 256, 0},
                          {3, 264, 1},
                          {2, 1000, 0},
                          {2, 1032, 0},
                          {1, 4097, 0},
                          {1, 33000, 0}}) {
      INFO("[" << c.rows << ", " << c.cols << "], " << c.shift << " elements past an aligned address");
      f.template operator()<T>(c.rows, c.cols, c.shift);
    }
  });
}

}  // namespace clip::test
