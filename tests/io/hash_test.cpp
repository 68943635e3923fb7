#include "clip/io/hash.hpp"

#include <filesystem>
#include <string>
#include <vector>

#include "clip/io/file.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/temporary.hpp"

namespace clip {
namespace {

using namespace clip::test;
namespace fs = std::filesystem;

TEST_CASE("content is hashed as XXH64 has it", "[hash]") {
  // tests/reference: Python's xxhash 4.1.0, xxh64 without and with the seed 0x9E3779B97F4A7C15
  const auto bytes = [](int count) {
    std::string text;
    for (int i = 0; i < count; ++i) text += static_cast<char>(i);
    return text;
  };
  std::string long_text;
  for (int i = 0; i < 1000; ++i) long_text += static_cast<char>(i * 7 % 251);
  const std::vector<std::tuple<std::string, const char*, const char*>> expected{
      {"", "ef46db3751d8e999", "c4349fc93c010000"},        {"a", "d24ec4f1a98c6e5b", "9a7c6d2ea45568c9"},
      {"abc", "44bc2cf5ad770999", "2ed0f59d6b43ac8b"},     {bytes(31), "c346d2b59b4d8ee1", "f3da6d05709c035d"},
      {bytes(32), "cbf59c5116ff32b4", "a1c89217e9d50750"}, {bytes(100), "6ac1e58032166597", "3b97d91eba03e785"},
      {long_text, "023fd2ed1ff957d5", "1a642e5b087d6d75"}};
  for (const auto& [text, plain, seeded] : expected) {
    CHECK(hex(content_hash(text)) == plain);
    CHECK(hex(content_hash(text, 0x9E3779B97F4A7C15u)) == seeded);
    CHECK(content_hash(("x" + text).substr(1)) == content_hash(text));
  }
}

TEST_CASE("files are hashed by content", "[hash][threads]") {
  const TemporaryFolder folder;
  std::vector<fs::path> files;
  for (int i = 0; i < 100; ++i)
    files.push_back(folder.write(std::to_string(i), std::string(static_cast<std::size_t>(i % 50), 'x')));
  const std::vector<std::uint64_t> hashes = hash_files(files);
  for (std::size_t i = 0; i < 100; ++i) CHECK(hashes[i] == content_hash(std::string(i % 50, 'x')));
  CHECK(hash_files({}).empty());
  files[37] = folder / "gone";
  files[90] = folder.path();
  CHECK(throws_with([&] { hash_files(files); }, "gone"));
  const std::vector<std::uint64_t> rest = hash_files(files, true);
  CHECK((rest[36] == hashes[36] && rest[37] != hashes[37] && rest[37] != rest[90]));
}

TEST_CASE("a folder's hash tells every change in it", "[hash]") {
  const TemporaryFolder folder;
  folder.write("a", "1");
  fs::create_directory(folder / "sub");
  folder.write("sub/b", "2");
  const std::uint64_t first = hash_folder(folder.path());
  folder.write(".hidden", "x");
  CHECK(hash_folder(folder.path()) == first);
  folder.write("sub/b", "3");
  const std::uint64_t second = hash_folder(folder.path());
  CHECK(second != first);
  fs::rename(folder / "sub/b", folder / "sub/c");
  CHECK(hash_folder(folder.path()) != second);
  folder.write("sub/c", "2");
  fs::rename(folder / "sub/c", folder / "sub/b");
  CHECK(hash_folder(folder.path()) == first);
  fs::create_directory(folder / ".cache");
  folder.write(".cache/x", "4");
  CHECK(hash_folder(folder.path()) == first);
  CHECK(hash_folder(folder / "") == first);
  CHECK(throws_with([&] { hash_folder(folder / "a"); }, "expected a folder"));
}

}  // namespace
}  // namespace clip
