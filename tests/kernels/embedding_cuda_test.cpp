#include "kernels/embedding.hpp"
#include "tests/support/device_array.hpp"

using namespace clip;
using namespace clip::test;
namespace cuda = clip::kernels::cuda;

namespace {

template <class I>
void check_rows(std::int64_t rows, std::int64_t row_bytes, std::int64_t shift) {
  INFO(rows << " rows of " << row_bytes << " bytes, " << shift << " past an aligned address");
  constexpr std::int64_t entries = 5;
  std::vector<std::uint8_t> table;
  for (std::int64_t i = 0; i < entries * row_bytes; ++i) table.push_back(static_cast<std::uint8_t>(i * 37 % 251));
  std::vector<I> ids;
  std::vector<std::uint8_t> expected;
  for (std::int64_t r = 0; r < rows; ++r) {
    ids.push_back(static_cast<I>(r * 3 % entries));
    const auto begin = table.begin() + static_cast<std::ptrdiff_t>(ids.back()) * row_bytes;
    expected.insert(expected.end(), begin, begin + row_bytes);
  }
  DeviceArray<std::uint8_t> tables(table, shift), y(rows * row_bytes, shift);
  DeviceArray<I> device_ids(ids);
  cuda::embedding_forward(y.data(), tables.data(), device_ids.data(), rows, row_bytes, nullptr);
  CHECK(same_bits(y.read(), expected));
}

template <class T, class I>
void check_sums(std::int64_t entries, std::int64_t rows, std::int64_t cols, std::int64_t shift) {
  INFO(rows << " rows of " << cols << " to " << entries << " entries");
  std::vector<I> ids;
  for (std::int64_t r = 0; r < rows; ++r)  // every third is the last entry, as padding may be
    ids.push_back(static_cast<I>(r % 3 == 0 ? entries - 1 : philox(3, static_cast<std::uint64_t>(r))[0] % entries));
  const auto gradient = random_values<T>(rows * cols, -1, 1, 1);
  DeviceArray<T> dy(gradient, shift), dtable(entries * cols, shift);
  DeviceArray<I> device_ids(ids);
  DeviceArray<std::int64_t> scratch(cuda::embedding_scratch(entries, rows));
  cuda::embedding_backward(dtable.data(), dy.data(), device_ids.data(), entries, rows, cols, scratch.data(), nullptr);
  std::vector<float> sums(static_cast<std::size_t>(entries * cols));
  for (std::int64_t i = 0; i < rows * cols; ++i)
    sums[static_cast<std::size_t>(std::int64_t{ids[static_cast<std::size_t>(i / cols)]} * cols + i % cols)] +=
        static_cast<float>(gradient[static_cast<std::size_t>(i)]);
  std::vector<T> expected;
  for (const float sum : sums) expected.push_back(T(sum));
  CHECK(same_bits(dtable.read(), expected));  // added in the rows' order
  scratch.read();
}

}  // namespace

TEST_CASE("CUDA embedding, backward", "[kernels][cuda]") {
  if (!have_device()) return;
  check_sums<float, std::int32_t>(1, 1, 1, 0);
  check_sums<float, std::int64_t>(7, 50, 12, 1);
  check_sums<bf16, std::int32_t>(1500, 2500, 16, 0);
  check_sums<float, std::int32_t>(40, 3000, 5, 0);
  check_sums<bf16, std::int64_t>(3, 0, 1032, 0);
  check_sums<f16, std::int32_t>(150, 1100, 24, 0);
  check_sums<f16, std::int64_t>(9, 70, 13, 1);
}

TEST_CASE("CUDA embedding", "[kernels][cuda]") {
  if (!have_device()) return;
  for (const std::int64_t shift : {0, 4, 2})
    for (const std::int64_t row_bytes : {0, 16, 1040, 20, 6}) {
      check_rows<std::int32_t>(11, row_bytes, shift);
      check_rows<std::int64_t>(0, row_bytes, shift);
      check_rows<std::int64_t>(3, row_bytes, shift);
    }
}
