#include "kernels/permute.hpp"
#include "tests/support/device_array.hpp"

using namespace clip;
using namespace clip::test;
namespace cuda = clip::kernels::cuda;

namespace {

/// Elements of the size of E, each with a value of its own as far as that goes.
template <class E>
void check_permute(const std::vector<std::int64_t>& extents, const std::vector<int>& dims, std::int64_t shift) {
  const auto rank = extents.size();
  std::array<std::int64_t, 8> extent{}, stride{};
  std::array<int, 8> order{};
  std::int64_t count = 1;
  for (std::size_t d = rank; d-- > 0; count *= extents[d]) extent[d] = extents[d], stride[d] = count;
  std::copy(dims.begin(), dims.end(), order.begin());
  std::vector<E> x, expected;
  for (std::int64_t i = 0; i < count; ++i)
    x.push_back(static_cast<E>(static_cast<std::uint64_t>(i) * 0x0101010101010108u));
  for (std::int64_t i = 0; i < count; ++i) {
    std::int64_t rest = i, from = 0;
    for (std::size_t d = rank; d-- > 0;) {
      const auto source = static_cast<std::size_t>(order[d]);
      from += rest % extent[source] * stride[source];
      rest /= extent[source];
    }
    expected.push_back(x[static_cast<std::size_t>(from)]);
  }
  DeviceArray<E> xs(x, shift), y(count, shift);
  cuda::permute(y.data(), xs.data(), sizeof(E), static_cast<int>(rank), extent, order, nullptr);
  std::string text;
  for (std::size_t d = 0; d < rank; ++d)
    text += ' ' + std::to_string(extents[d]) + " (" + std::to_string(dims[d]) + ')';
  INFO("extents (and order)" << text << ", elements of " << sizeof(E) << " bytes, shifted by " << shift);
  CHECK(same_bits(y.read(), expected));
}

template <class E>
void check_permutes() {
  for (const std::int64_t shift : {0, 1}) {
    check_permute<E>({2, 5, 3, 32}, {0, 2, 1, 3}, shift);  // runs, whole vectors where nothing is shifted
    check_permute<E>({2, 3, 7}, {1, 0, 2}, shift);
    check_permute<E>({70, 65}, {1, 0}, shift);
    check_permute<E>({2, 3, 31, 41}, {0, 2, 3, 1}, shift);  // channels last and back
    check_permute<E>({2, 31, 41, 3}, {0, 3, 1, 2}, shift);
    check_permute<E>({2, 3, 4, 5, 6}, {4, 2, 0, 3, 1}, shift);
  }
}

}  // namespace

TEST_CASE("CUDA permute", "[kernels][cuda]") {
  if (!have_device()) return;
  check_permutes<std::uint8_t>();
  check_permutes<std::uint16_t>();
  check_permutes<std::uint32_t>();
  check_permutes<std::uint64_t>();
  check_permute<std::uint32_t>({}, {}, 0);
  check_permute<std::uint32_t>({1, 1}, {1, 0}, 0);
  check_permute<std::uint32_t>({4, 0, 3}, {2, 0, 1}, 0);
  check_permute<std::uint32_t>({2, 3, 4}, {0, 1, 2}, 0);
  check_permute<std::uint16_t>({1500, 2}, {1, 0}, 0);
  check_permute<std::uint16_t>({2, 1500}, {1, 0}, 0);
}
