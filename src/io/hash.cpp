#include "clip/io/hash.hpp"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>
#include <exception>
#include <thread>

#include "clip/core/error.hpp"
#include "clip/io/file.hpp"
#include "src/io/folder.hpp"

namespace clip {
namespace {

constexpr std::uint64_t prime1 = 0x9E3779B185EBCA87u, prime2 = 0xC2B2AE3D27D4EB4Fu, prime3 = 0x165667B19E3779F9u,
                        prime4 = 0x85EBCA77C2B2AE63u, prime5 = 0x27D4EB2F165667C5u;

/// Files are read by more threads than there are cores: they wait for the disk.
constexpr std::size_t readers = 8;

/// Takes a little-endian integer from the front.
template <class Integer>
std::uint64_t take(std::span<const std::byte>& bytes) {
  Integer value;
  std::memcpy(&value, bytes.data(), sizeof value);
  bytes = bytes.subspan(sizeof value);
  return value;
}
std::uint64_t mix(std::uint64_t lane, std::uint64_t input) { return std::rotl(lane + input * prime2, 31) * prime1; }

}  // namespace

std::uint64_t content_hash(std::span<const std::byte> bytes, std::uint64_t seed) {
  const std::uint64_t length = bytes.size();
  std::uint64_t hash = seed + prime5;
  if (length >= 32) {
    std::uint64_t a = seed + prime1 + prime2, b = seed + prime2, c = seed, d = seed - prime1;
    while (bytes.size() >= 32) {
      a = mix(a, take<std::uint64_t>(bytes));
      b = mix(b, take<std::uint64_t>(bytes));
      c = mix(c, take<std::uint64_t>(bytes));
      d = mix(d, take<std::uint64_t>(bytes));
    }
    hash = std::rotl(a, 1) + std::rotl(b, 7) + std::rotl(c, 12) + std::rotl(d, 18);
    for (const std::uint64_t lane : {a, b, c, d}) hash = (hash ^ mix(0, lane)) * prime1 + prime4;
  }
  hash += length;
  while (bytes.size() >= 8) hash = std::rotl(hash ^ mix(0, take<std::uint64_t>(bytes)), 27) * prime1 + prime4;
  if (bytes.size() >= 4) hash = std::rotl(hash ^ take<std::uint32_t>(bytes) * prime1, 23) * prime2 + prime3;
  while (!bytes.empty()) hash = std::rotl(hash ^ take<std::uint8_t>(bytes) * prime5, 11) * prime1;
  hash = (hash ^ hash >> 33) * prime2;
  hash = (hash ^ hash >> 29) * prime3;
  return hash ^ hash >> 32;
}

std::string hex(std::uint64_t hash) {
  std::string text;
  for (int shift = 60; shift >= 0; shift -= 4) text += "0123456789abcdef"[hash >> shift & 15];
  return text;
}

std::vector<std::uint64_t> hash_files(std::span<const std::filesystem::path> files, bool skip_bad) {
  std::vector<std::uint64_t> hashes(files.size());
  std::vector<std::exception_ptr> errors(files.size());
  std::atomic<std::size_t> next{0};
  {
    std::vector<std::jthread> threads;
    for (std::size_t t = 0; t < std::min(readers, files.size()); ++t)
      threads.emplace_back([&] {
        for (std::size_t i; (i = next.fetch_add(1)) < files.size();) try {
            hashes[i] = content_hash(read_file(files[i]));
          } catch (const Error&) {
            hashes[i] = content_hash(files[i].native(), 1);
            if (!skip_bad) errors[i] = std::current_exception();
          } catch (...) {
            errors[i] = std::current_exception();
          }
      });
  }
  for (const std::exception_ptr& error : errors)
    if (error) std::rethrow_exception(error);
  return hashes;
}

std::uint64_t hash_folder(const std::filesystem::path& folder) {
  check(is_folder(folder), "hash", "expected a folder, got ", quoted(folder));
  std::string all;
  for (const std::filesystem::path& file : files_below(folder))  // mapped: weights may be larger than memory
    all += file.lexically_relative(folder).generic_string() + '\0' + hex(content_hash(MappedFile(file).bytes()));
  return content_hash(all);
}

}  // namespace clip
