#include "kernels/indices.hpp"

#include <limits>
#include <new>

#include "tests/support/device_array.hpp"

using namespace clip;
using namespace clip::test;
namespace cuda = clip::kernels::cuda;

namespace {

/// Where kernels note faults.
struct PinnedFaults {
  IndexFaults* faults = nullptr;
  PinnedFaults() {
    void* memory = nullptr;
    REQUIRE(cudaMallocHost(&memory, sizeof(IndexFaults)) == cudaSuccess);
    faults = new (memory) IndexFaults;
  }
  ~PinnedFaults() { cudaFreeHost(faults); }
  PinnedFaults(const PinnedFaults&) = delete;
  PinnedFaults& operator=(const PinnedFaults&) = delete;

  /// The positions noted, in ascending order, when kernels are done.
  std::vector<std::int64_t> positions() const {
    REQUIRE(cudaStreamSynchronize(nullptr) == cudaSuccess);
    std::vector<std::int64_t> all;
    for (const IndexFault& fault : faults->of_thread)
      if (fault.check.op != nullptr) all.push_back(fault.position);
    std::sort(all.begin(), all.end());
    CHECK((faults->any != 0) == !all.empty());
    return all;
  }
};

template <class I>
void check_copy(std::int64_t count, std::int64_t limit, const std::vector<std::int64_t>& bad) {
  INFO(count << " indices below " << limit);
  std::vector<I> indices, expected;
  for (std::int64_t i = 0; i < count; ++i) indices.push_back(static_cast<I>(i * 7 % limit));
  expected = indices;
  for (std::size_t b = 0; b < bad.size(); ++b) {
    indices[static_cast<std::size_t>(bad[b])] = b % 2 == 0 ? static_cast<I>(limit) : std::numeric_limits<I>::min();
    expected[static_cast<std::size_t>(bad[b])] = 0;
  }
  DeviceArray<I> from(indices), to(count);
  const PinnedFaults pinned;
  const IndexCheck check{"some_op", {"ids"}, {count}};
  cuda::check_indices(to.data(), from.data(), count, limit, check, pinned.faults, nullptr);
  CHECK(same_bits(to.read(), expected));
  CHECK(pinned.positions() == bad);
  for (const IndexFault& fault : pinned.faults->of_thread) {
    if (fault.check.op == nullptr) continue;
    CHECK(std::string(fault.check.op) == "some_op");
    CHECK(std::string(fault.check.expected.data()) == "ids");
    CHECK(fault.check.shape == Shape{count});
    CHECK(fault.value == std::int64_t{indices[static_cast<std::size_t>(fault.position)]});
  }
}

void check_offsets(const std::vector<std::int32_t>& offsets, std::int64_t rows, std::int64_t longest,
                   const std::vector<std::int64_t>& bad) {
  const auto count = static_cast<std::int64_t>(offsets.size());
  std::vector<std::int32_t> expected;
  for (const std::int32_t at : offsets)
    expected.push_back(static_cast<std::int32_t>(std::min(std::max(std::int64_t{at}, std::int64_t{0}), rows)));
  DeviceArray<std::int32_t> from(offsets), to(count);
  const PinnedFaults pinned;
  cuda::check_offsets(to.data(), from.data(), count, rows, longest, {"some_op", {"offsets"}, {count}}, pinned.faults,
                      nullptr);
  CHECK(same_bits(to.read(), expected));
  CHECK(pinned.positions() == bad);
}

}  // namespace

TEST_CASE("CUDA indices are copied and what is outside is noted", "[kernels][cuda]") {
  if (!have_device()) return;
  check_copy<std::int32_t>(0, 5, {});
  check_copy<std::int64_t>(1, 1, {});
  check_copy<std::int32_t>(1, 3, {0});
  check_copy<std::int64_t>(300, 17, {0, 3, 255, 256, 299});
  check_copy<std::int32_t>(9001, 1000, {4097, 9000});
  check_copy<std::int64_t>(9001, 1000, {});
}

TEST_CASE("CUDA: of what a thread finds outside it keeps the first", "[kernels][cuda]") {
  if (!have_device()) return;
  std::vector<std::int32_t> indices(10000, 0);
  for (const std::size_t i : {2u, 2u + IndexFaults::threads, 2u + 2 * IndexFaults::threads}) indices[i] = -1;
  DeviceArray<std::int32_t> from(indices), to(10000);
  const PinnedFaults pinned;
  for (int again = 0; again < 2; ++again)
    cuda::check_indices(to.data(), from.data(), 10000, 1, {"op", {"ids"}, {10000}}, pinned.faults, nullptr);
  CHECK(pinned.positions() == std::vector<std::int64_t>{2});
}

TEST_CASE("CUDA offsets of packed sequences", "[kernels][cuda]") {
  if (!have_device()) return;
  check_offsets({0}, 0, 1, {});
  check_offsets({0}, 5, 5, {0});
  check_offsets({1, 5}, 5, 5, {0});
  check_offsets({0, 3, 3, 8}, 8, 5, {});
  check_offsets({0, 3, 3, 8}, 8, 4, {3});
  check_offsets({0, 3, 2, 8}, 8, 6, {2});
  check_offsets({0, 3, 7}, 8, 5, {2});
  check_offsets({0, 9, 8}, 8, 9, {2});
  check_offsets({-2, 3, 8}, 8, 5, {0});
}
