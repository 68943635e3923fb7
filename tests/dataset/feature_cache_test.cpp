#include "clip/data/feature_cache.hpp"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <string>
#include <thread>
#include <vector>

#include "clip/core/error.hpp"
#include "clip/io/file.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/temporary.hpp"

namespace clip {
namespace {

using namespace clip::test;
namespace fs = std::filesystem;
using Hashes = std::vector<std::uint64_t>;

constexpr std::uint64_t far = 0xf000000000000000u;  // hashes do not fit into a signed integer

/// An encoder whose features tell which hash they belong to, and that counts its work.
struct Encoder {
  explicit Encoder(const Hashes& of) : hashes(of) {}
  Hashes hashes;
  std::vector<std::size_t> calls;
  std::size_t stop_after = std::numeric_limits<std::size_t>::max();

  Tensor operator()(std::span<const std::size_t> items) {
    if (calls.size() == stop_after) fail("test", "interrupted");
    calls.push_back(items.size());
    Tensor rows({std::ssize(items), 3});
    float* out = rows.mutable_data<float>();
    for (const std::size_t item : items)
      for (int d = 0; d < 3; ++d) *out++ = static_cast<float>(hashes[item] % 100000) + 0.25f * static_cast<float>(d);
    return rows;
  }
  std::size_t total() const {
    std::size_t sum = 0;
    for (const std::size_t call : calls) sum += call;
    return sum;
  }
};
Hashes some_hashes(std::size_t count) {
  Hashes hashes;
  for (std::size_t i = 0; i < count; ++i) hashes.push_back(far + i * 7);
  return hashes;
}
bool right(const Tensor& rows, const Hashes& hashes) {
  Encoder fresh(hashes);
  std::vector<std::size_t> all(hashes.size());
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = i;
  return rows.to_vector() == fresh(all).to_vector();
}
/// The files that hold rows, in all keys' folders.
std::vector<fs::path> parts(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.path().extension() == ".safetensors") files.push_back(entry.path());
  return files;
}
FeatureCache::Encode use(Encoder& encoder) {
  return [&](std::span<const std::size_t> items) { return encoder(items); };
}

TEST_CASE("features are made once", "[feature_cache]") {
  const TemporaryFolder folder;
  const Hashes hashes = some_hashes(1200);
  Encoder encoder(hashes);
  {
    FeatureCache cache(folder / "cache", "model a");
    CHECK(cache.missing(hashes).size() == 1200);
    CHECK(right(cache.rows(hashes, use(encoder)), hashes));
    CHECK(encoder.calls == std::vector<std::size_t>{512, 512, 176});
    CHECK(right(cache.rows(hashes, use(encoder)), hashes));
    CHECK(cache.size() == 1200);
  }
  FeatureCache cache(folder / "cache", "model a");
  CHECK(cache.size() == 1200);
  CHECK(cache.missing(hashes).empty());
  CHECK(right(cache.rows(hashes, use(encoder)), hashes));
  CHECK(encoder.total() == 1200);
  CHECK(parts(folder.path()).size() == 3);
}

TEST_CASE("another content or key has other rows", "[feature_cache]") {
  const TemporaryFolder folder;
  const Hashes before{1, 2, 2, 3, 1}, after{1, 9, 3};
  Encoder first(before), changed(after), other(before);
  FeatureCache cache(folder.path(), "a");
  CHECK(right(cache.rows(before, use(first)), before));
  CHECK(first.total() == 3);  // 1, 2 and 3
  CHECK(right(cache.rows(after, use(changed)), after));
  CHECK(changed.total() == 1);
  FeatureCache second(folder.path(), "b");
  CHECK(second.size() == 0);
  CHECK(right(second.rows(before, use(other)), before));
  CHECK(other.total() == 3);
  CHECK(FeatureCache(folder.path(), "a").size() == 4);  // untouched
}

TEST_CASE("an interrupted run goes on where it stopped", "[feature_cache]") {
  const TemporaryFolder folder;
  const Hashes hashes = some_hashes(2000);
  Encoder interrupted(hashes), rest(hashes);
  interrupted.stop_after = 2;
  {
    FeatureCache cache(folder.path(), "a");
    CHECK(throws_with([&] { cache.rows(hashes, use(interrupted)); }, "interrupted"));
  }
  FeatureCache cache(folder.path(), "a");
  CHECK(cache.size() == 1024);
  CHECK(right(cache.rows(hashes, use(rest)), hashes));
  CHECK(rest.total() == 2000 - 1024);
}

TEST_CASE("damaged files are noticed, whatever byte it is, and made again", "[feature_cache]") {
  const TemporaryFolder folder;
  const Hashes hashes = some_hashes(5);
  Encoder encoder(hashes);
  FeatureCache(folder.path(), "a").rows(hashes, use(encoder));
  const fs::path part = parts(folder.path()).at(0);
  const std::string good = read_file(part);
  std::size_t unnoticed = 0;
  for (std::size_t i = 0; i <= good.size(); ++i) {
    std::string bad = good;
    if (i < good.size())
      bad[i] = static_cast<char>(bad[i] ^ 1 << i % 8);
    else
      bad.resize(bad.size() / 2);
    write_file(part, bad);
    std::string warning;
    const FeatureCache cache(folder.path(), "a", [&](const std::string& why) { warning += why; });
    if (cache.size() == 5) {
      ++unnoticed;  // a byte that says nothing: then the rows must be right
      Encoder none(hashes);
      CHECK(right(FeatureCache(cache).rows(hashes, use(none)), hashes));
      CHECK(none.total() == 0);
    } else {
      REQUIRE(cache.size() == 0);
      REQUIRE(warning.find("features are made again") == 0);
      REQUIRE(warning.find(part.filename().string()) != std::string::npos);
      REQUIRE(parts(folder.path()).empty());
    }
  }
  CHECK(unnoticed < 40);  // of the copy of the key, and of padding
  Encoder again(hashes);
  CHECK(right(FeatureCache(folder.path(), "a").rows(hashes, use(again)), hashes));
  CHECK(again.total() == 5);
}

TEST_CASE("rows with a NaN are handed on, not kept", "[feature_cache]") {
  const TemporaryFolder folder;
  const Hashes hashes{4, 5, 6};
  const auto encode = [](std::span<const std::size_t> items) {
    Tensor rows({std::ssize(items), 2});
    rows.fill(1);
    for (std::size_t i = 0; i < items.size(); ++i)
      if (items[i] == 1) rows.mutable_data<float>()[2 * i + 1] = std::numeric_limits<float>::quiet_NaN();
    return rows;
  };
  const std::vector<float> rows = FeatureCache(folder.path(), "a").rows(hashes, encode).to_vector();
  CHECK(rows[0] == 1);
  CHECK(rows[2] == 1);
  CHECK(std::isnan(rows[3]));
  CHECK(rows[5] == 1);
  CHECK(FeatureCache(folder.path(), "a").missing(hashes) == std::vector<std::size_t>{1});
}

TEST_CASE("other dtypes are kept as they are", "[feature_cache]") {
  const TemporaryFolder folder;
  const Hashes hashes{4, 5};
  const auto encode = [](std::span<const std::size_t>) { return Tensor::of({{1, 2}, {3, 4}}, dtype::bf16); };
  FeatureCache(folder.path(), "a").rows(hashes, encode);
  const Tensor rows = FeatureCache(folder.path(), "a").rows(hashes, encode);
  CHECK(rows.dtype() == dtype::bf16);
  CHECK(rows.to_vector<bf16>()[3] == bf16(4));
}

TEST_CASE("what an encoder must not give is refused", "[feature_cache]") {
  const TemporaryFolder folder;
  FeatureCache cache(folder.path(), "a");
  const auto gives = [&](const Shape& shape, std::uint64_t hash) {
    return
        [&cache, shape, hash] { cache.rows(Hashes{hash}, [&](std::span<const std::size_t>) { return zeros(shape); }); };
  };
  CHECK(throws_with(gives({2, 3}, 1), "expected 1 rows of features, got [2, 3]"));
  CHECK(throws_with(gives({3}, 1), "expected 1 rows"));
  gives({1, 3}, 1)();
  CHECK(throws_with(gives({1, 4}, 2), "expected features of 3 f32"));
  CHECK(throws_with([&] { cache.rows(Hashes{}, {}); }, "got none"));
  CHECK(throws_with([&] { FeatureCache(folder.write("file", ""), "a"); }, "cannot make the folder"));
}

/// Fills the cache in another process.
pid_t fill(const fs::path& folder, const Hashes& hashes, int milliseconds_a_part) {
  const pid_t child = ::fork();
  if (child != 0) return child;
  Encoder encoder(hashes);
  FeatureCache(folder, "a").rows(hashes, [&](std::span<const std::size_t> items) {
    std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds_a_part));
    return encoder(items);
  });
  ::_exit(0);
}

TEST_CASE("kill -9 at any moment loses at most one part", "[feature_cache]") {
  const TemporaryFolder folder;
  const Hashes hashes = some_hashes(4096);
  int killed = 0;
  std::size_t before = 0;
  for (int round = 0; round < 30; ++round) {
    const pid_t child = fill(folder.path(), hashes, 1);
    std::this_thread::sleep_for(std::chrono::microseconds(500 + 997 * (round % 7)));
    ::kill(child, SIGKILL);
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    killed += WIFSIGNALED(status);
    const FeatureCache cache(folder.path(), "a", [](const std::string& why) { FAIL(why); });
    REQUIRE(cache.size() >= before);
    REQUIRE(cache.size() % 512 == 0);
    before = cache.size();
  }
  CHECK(killed > 0);
  for (const auto& entry : fs::recursive_directory_iterator(folder.path()))
    CHECK(entry.path().filename().string().find("tmp") == std::string::npos);
  Encoder encoder(hashes);
  CHECK(right(FeatureCache(folder.path(), "a").rows(hashes, use(encoder)), hashes));
}

TEST_CASE("two processes may fill one cache", "[feature_cache]") {
  const TemporaryFolder folder;
  const Hashes hashes = some_hashes(3000), shifted(hashes.begin() + 700, hashes.end());
  const std::vector<pid_t> children{fill(folder.path(), hashes, 1), fill(folder.path(), shifted, 1),
                                    fill(folder.path(), hashes, 1)};
  for (const pid_t child : children) {
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status));
  }
  Encoder none(hashes);
  FeatureCache cache(folder.path(), "a", [](const std::string& why) { FAIL(why); });
  CHECK(right(cache.rows(hashes, use(none)), hashes));
  CHECK(none.total() == 0);
}

}  // namespace
}  // namespace clip
