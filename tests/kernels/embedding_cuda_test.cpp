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

}  // namespace

TEST_CASE("CUDA embedding", "[kernels][cuda]") {
  if (!have_device()) return;
  for (const std::int64_t shift : {0, 4, 2})
    for (const std::int64_t row_bytes : {0, 16, 1040, 20, 6}) {
      check_rows<std::int32_t>(11, row_bytes, shift);
      check_rows<std::int64_t>(0, row_bytes, shift);
      check_rows<std::int64_t>(3, row_bytes, shift);
    }
}
