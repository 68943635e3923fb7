// Any bytes as a checkpoint. Those that pass have the checksums they should.
#include "clip/train/checkpoint.hpp"
#include "tests/fuzz/memory_file.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static clip::test::MemoryFile memory;
  try {
    clip::load_checkpoint(memory.with({reinterpret_cast<const char*>(data), size}));
  } catch (const clip::Error&) {
  }
  return 0;
}
