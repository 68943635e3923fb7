// Any bytes as the settings of every kind of model folder.
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "clip/core/error.hpp"
#include "clip/image/preprocess.hpp"
#include "clip/io/safetensors.hpp"
#include "clip/models/bert.hpp"
#include "clip/models/resnet.hpp"
#include "tests/fuzz/memory_file.hpp"

namespace {

using namespace clip;

template <class F>
void refuse_or_read(const F& read) {
  try {
    read();
  } catch (const Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // Links to a file in memory: writing real ones would take most of the time.
  static test::MemoryFile memory;
  static const std::filesystem::path folder = [] {
    auto path = std::filesystem::temp_directory_path() / ("clipcore-fuzz-config-" + std::to_string(::getpid()));
    std::filesystem::remove_all(path);
    std::filesystem::create_directories(path);
    for (const char* name : {"config.json", "preprocessor_config.json", "model.safetensors.index.json"})
      std::filesystem::create_symlink(memory.with(""), path / name);
    return path;
  }();
  memory.with({reinterpret_cast<const char*>(data), size});
  refuse_or_read([] { BertConfig::read(folder); });
  refuse_or_read([] { ResNetConfig::read(folder); });
  refuse_or_read([] { Preprocessor::load(folder); });
  refuse_or_read([] { SafeTensors::open(folder); });
  return 0;
}
