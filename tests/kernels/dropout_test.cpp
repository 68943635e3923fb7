#include "kernels/dropout.hpp"

#include <vector>

#include "clip/core/random.hpp"
#include "kernels/cpu/philox.hpp"
#include "tests/support/catch.hpp"

using namespace clip;
using namespace clip::kernels;

TEST_CASE("vectorised Philox equals the scalar one bit for bit", "[kernels]") {
  for (const std::uint64_t seed : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{0xfedcba9876543210u}})
    for (const std::uint64_t first : {std::uint64_t{0}, std::uint64_t{0xfffffffeu}, ~std::uint64_t{0} - 5000}) {
      std::vector<std::uint32_t> words(16384);
      std::uint32_t* out = words.data();
      cpu::vectorized(0, 512, [=](std::int64_t begin, std::int64_t end) {
        const cpu::PhiloxStream stream(seed);
        for (std::int64_t i = begin; i < end; ++i) {
          const cpu::PhiloxWords v = stream.words(first + static_cast<std::uint64_t>(8 * i));
          std::memcpy(out + 32 * i, &v, sizeof v);
        }
      });
      int wrong = 0;
      for (std::size_t i = 0; i < words.size(); ++i) wrong += words[i] != philox(seed, first + i / 4)[i % 4];
      CHECK(wrong == 0);
    }
}

TEST_CASE("dropout drops the words below p 2^32, exactly", "[kernels]") {
  CHECK(dropout_threshold(0.5f) == std::uint64_t{1} << 31);
  CHECK(dropout_threshold(1.0f) == std::uint64_t{1} << 32);
  CHECK(dropout_threshold(1e-30f) == 1);
  CHECK(dropout_threshold(0x1.000002p-20f) == 4097);  // 4096 + 2^-11, rounded up
}

TEST_CASE("dropout's mask depends on neither threads nor alignment", "[kernels][threads]") {
  constexpr std::int64_t n = 200'003;
  const std::vector<float> x(static_cast<std::size_t>(n), 3.0f);
  const int before = num_threads();
  const auto dropped = [&](int threads, std::ptrdiff_t shift) {
    set_num_threads(threads);
    std::vector<float> y(static_cast<std::size_t>(n + shift));
    cpu::dropout(y.data() + shift, x.data(), {.p = 0.4f, .seed = 11, .offset = 12}, n);
    y.erase(y.begin(), y.begin() + shift);
    return y;
  };
  const std::vector<float> one = dropped(1, 0);
  for (const int threads : {1, 2, 5})
    for (const std::ptrdiff_t shift : {0, 1, 7}) CHECK(dropped(threads, shift) == one);
  set_num_threads(before);
  int wrong = 0;
  for (std::size_t i = 0; i < one.size(); ++i)
    wrong += one[i] != (philox(11, 12 + i / 4)[i % 4] >= dropout_threshold(0.4f) ? 3.0f * (1.0f / 0.6f) : 0.0f);
  CHECK(wrong == 0);
}
