// Any bytes as an archive, and as the pickle of a good one, zipped and of the old format: checksums would keep a fuzzer
// from ever changing a zipped pickle.
#include "clip/core/error.hpp"
#include "src/io/torch_archive.hpp"
#include "tests/fuzz/memory_file.hpp"
#include "tests/support/archive.hpp"

namespace {

using namespace clip;

void read(std::string_view bytes) {
  static test::MemoryFile memory;
  try {
    const TorchArchive archive = TorchArchive::open(memory.with(bytes));
    std::uint64_t total = 0;
    for (const TensorInfo& tensor : archive.tensors()) {
      total += tensor.bytes;
      try {
        if (tensor.bytes <= 1 << 16 && archive.read(tensor.name).shape() != tensor.shape) __builtin_trap();
      } catch (const Error&) {  // a type that has no dtype here
      }
    }
    if (total > 4 * bytes.size() + (1u << 28)) __builtin_trap();
  } catch (const Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  const bool whole = bytes.starts_with("PK") || bytes.starts_with("\x80\x02\x8a\x0a\x6c");
  if (whole) {
    read(bytes);
    return 0;
  }
  read(test::torch_archive(bytes));
  read(test::old_archive(bytes));
  return 0;
}
