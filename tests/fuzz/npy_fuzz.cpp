// Any bytes as a .npy file, and as a header with nothing after it.
#include "clip/core/error.hpp"
#include "clip/io/npy.hpp"
#include "tests/fuzz/memory_file.hpp"

namespace {

using namespace clip;

void read(std::string_view bytes) {
  static test::MemoryFile memory;
  try {
    const Tensor tensor = read_npy(memory.with(bytes));
    if (tensor.bytes() > bytes.size()) __builtin_trap();
  } catch (const Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  read(bytes);
  const std::string header = bytes.substr(0, 0xffff);
  read(std::string("\x93NUMPY\x01\x00", 8) + static_cast<char>(header.size() & 0xff) +
       static_cast<char>(header.size() >> 8) + header);
  return 0;
}
