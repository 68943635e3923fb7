#include "kernels/gather.hpp"
#include "tests/support/device_array.hpp"

using namespace clip;
using namespace clip::test;
namespace cuda = clip::kernels::cuda;

namespace {

const kernels::GatherShape shapes[] = {{3, 5, 4, 7},   {40, 9, 1, 1}, {1, 6, 300, 1},
                                       {2, 3, 2, 300}, {2, 4, 0, 3},  {0, 4, 2, 3}};

template <class I>
std::vector<I> some_indices(const kernels::GatherShape& s) {
  std::vector<I> index;
  for (std::int64_t i = 0; i < s.outer * s.m * s.inner; ++i)
    index.push_back(static_cast<I>(philox(3, static_cast<std::uint64_t>(i))[0] % s.n));
  return index;
}

/// The element of x [outer, n, inner] that y's i-th comes from.
template <class I>
std::size_t source(std::int64_t i, const std::vector<I>& index, const kernels::GatherShape& s) {
  return static_cast<std::size_t>((i / (s.m * s.inner) * s.n + index[static_cast<std::size_t>(i)]) * s.inner +
                                  i % s.inner);
}

template <class E, class I>
void check_forward() {
  for (const kernels::GatherShape& s : shapes) {
    std::vector<E> x, expected;
    for (std::int64_t i = 0; i < s.outer * s.n * s.inner; ++i)
      x.push_back(static_cast<E>(static_cast<std::uint64_t>(i) * 0x0101010101010108u));
    const auto index = some_indices<I>(s);
    for (std::int64_t i = 0; i < std::ssize(index); ++i) expected.push_back(x[source(i, index, s)]);
    DeviceArray<E> xs(x, 1), y(std::ssize(index), 1);
    DeviceArray<I> indices(index, 1);
    cuda::gather_forward(y.data(), xs.data(), indices.data(), sizeof(E), s, nullptr);
    INFO("[" << s.outer << ", " << s.n << " of which " << s.m << ", " << s.inner << "], " << sizeof(E) << " bytes");
    CHECK(same_bits(y.read(), expected));
  }
}

template <class T, class I>
void check_backward() {
  for (const kernels::GatherShape& s : shapes) {
    const auto index = some_indices<I>(s);
    const auto dy = random_values<T>(std::ssize(index), -1, 1, 1);
    std::vector<float> expected(static_cast<std::size_t>(s.outer * s.n * s.inner));
    for (std::int64_t i = 0; i < std::ssize(index); ++i)
      expected[source(i, index, s)] += static_cast<float>(dy[static_cast<std::size_t>(i)]);
    DeviceArray<T> dys(dy, 1);
    DeviceArray<float> dx(std::ssize(expected), 1);
    DeviceArray<I> indices(index, 1);
    cuda::gather_backward(dx.data(), dys.data(), indices.data(), s, nullptr);
    INFO("[" << s.outer << ", " << s.n << " of which " << s.m << ", " << s.inner << "]");
    CHECK(same_bits(dx.read(), expected));  // added in the order of k
  }
}

}  // namespace

TEST_CASE("CUDA gather", "[kernels][cuda]") {
  if (!have_device()) return;
  check_forward<std::uint8_t, std::int32_t>();
  check_forward<std::uint16_t, std::int64_t>();
  check_forward<std::uint32_t, std::int32_t>();
  check_forward<std::uint64_t, std::int64_t>();
  check_backward<float, std::int64_t>();
  check_backward<bf16, std::int32_t>();
  check_backward<f16, std::int32_t>();
  check_backward<f16, std::int64_t>();
}
