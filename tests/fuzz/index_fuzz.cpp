// Any bytes as a file, and as the rows of an index whose checksum is right.
#include <algorithm>
#include <cmath>
#include <string>

#include "clip/io/hash.hpp"
#include "clip/retrieval/index.hpp"
#include "tests/fuzz/memory_file.hpp"

namespace {

using namespace clip;

void search(std::string_view bytes) {
  static test::MemoryFile memory;
  try {
    const Index index = Index::load(memory.with(bytes));
    if (index.dimensions() > 1 << 20) return;  // an empty one: a query would only take memory
    const std::vector<Hit> hits = index.search(ones({index.dimensions()}), 3);
    if (std::ssize(hits) != std::min<std::int64_t>(3, index.size())) __builtin_trap();
    for (const Hit& hit : hits)
      if (hit.row < 0 || hit.row >= index.size() || !std::isfinite(hit.score)) __builtin_trap();
  } catch (const Error&) {
  }
}

/// Rows of three numbers of `size` bytes; those of one byte have a factor before all rows.
std::string index_of(std::string_view bytes, std::size_t size) {
  const std::size_t factor = size == 1 ? 4 : 0, count = bytes.size() / (3 * size + factor);
  bytes = bytes.substr(0, count * (3 * size + factor));
  const std::string_view factors = bytes.substr(0, count * factor), rows = bytes.substr(factors.size());
  const std::uint64_t hash = factor > 0 ? content_hash(factors, content_hash(rows)) : content_hash(rows);
  const auto tensor = [](const std::string& name, const char* type, const std::string& shape, std::size_t begin,
                         std::size_t end) {
    return ",\"" + name + R"(":{"dtype":")" + type + R"(","shape":[)" + shape + R"(],"data_offsets":[)" +
           std::to_string(begin) + ',' + std::to_string(end) + "]}";
  };
  const std::string n = std::to_string(count);
  std::string header = R"({"__metadata__":{"format":"clipcore index 1","metric":"cosine","checksum":")" + hex(hash) +
                       "\"}" + (factor > 0 ? tensor("factors", "F32", n, 0, factors.size()) : "") +
                       tensor("rows",
                              size == 1   ? "U8"
                              : size == 2 ? "F16"
                                          : "F32",
                              n + ",3", factors.size(), bytes.size()) +
                       "}";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  const std::uint64_t length = header.size();
  return std::string(reinterpret_cast<const char*>(&length), sizeof length) + header + std::string(bytes);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  search(bytes);
  for (const std::size_t number : {1U, 2U, 4U}) search(index_of(bytes, number));
  return 0;
}
