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

std::string index_of(std::string_view rows, bool half) {
  const std::size_t row_bytes = half ? 6 : 12;
  rows = rows.substr(0, rows.size() / row_bytes * row_bytes);
  std::string header = R"({"__metadata__":{"format":"clipcore index 1","metric":"cosine","checksum":")" +
                       hex(content_hash(rows)) + R"("},"rows":{"dtype":")" + (half ? "F16" : "F32") + R"(","shape":[)" +
                       std::to_string(rows.size() / row_bytes) + R"(,3],"data_offsets":[0,)" +
                       std::to_string(rows.size()) + "]}}";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  const std::uint64_t length = header.size();
  return std::string(reinterpret_cast<const char*>(&length), sizeof length) + header + std::string(rows);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  search(bytes);
  search(index_of(bytes, false));
  search(index_of(bytes, true));
  return 0;
}
