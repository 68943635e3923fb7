// Any bytes as a file, and as a header with nothing after it.
#include "clip/io/safetensors.hpp"
#include "clip/io/weight_names.hpp"
#include "tests/fuzz/memory_file.hpp"

namespace {

using namespace clip;

void read(std::string_view bytes) {
  static test::MemoryFile memory;
  try {
    const SafeTensors file = SafeTensors::open(memory.with(bytes));
    std::uint64_t total = 0;
    for (const TensorInfo& tensor : file.tensors()) {
      total += tensor.bytes;
      try {
        if (file.read(tensor.name).shape() != tensor.shape) __builtin_trap();
      } catch (const Error&) {  // a type that has no dtype here
      }
    }
    if (total > bytes.size()) __builtin_trap();
    const WeightNames names = weight_names(file.tensors(), "fuzz");
    if (names.mapped.size() + names.left_out.size() != file.tensors().size()) __builtin_trap();
  } catch (const Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  read(bytes);
  const std::uint64_t length = size;
  read(std::string(reinterpret_cast<const char*>(&length), sizeof length) + bytes);
  return 0;
}
