// Any bytes as the settings of every kind of model folder.
#include <filesystem>

#include "clip/core/error.hpp"
#include "clip/image/preprocess.hpp"
#include "clip/io/safetensors.hpp"
#include "clip/models/bert.hpp"
#include "clip/models/clip.hpp"
#include "clip/models/resnet.hpp"
#include "src/models/sentence_modules.hpp"
#include "tests/fuzz/memory_file.hpp"
#include "tests/support/temporary.hpp"

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
  static const test::TemporaryFolder temporary;
  static const std::filesystem::path folder = [] {
    std::filesystem::create_directory(temporary / "1_Pooling");
    temporary.write("1_Pooling/modules.json", R"([{"path": "", "type": ".Pooling"}])");
    for (const char* name : {"config.json", "preprocessor_config.json", "model.safetensors.index.json", "modules.json",
                             "1_Pooling/config.json"})
      std::filesystem::create_symlink(memory.with(""), temporary / name);
    return temporary.path();
  }();
  memory.with({reinterpret_cast<const char*>(data), size});
  refuse_or_read([] { BertConfig::read(folder); });
  refuse_or_read([] { ClipConfig::read(folder); });
  refuse_or_read([] { ResNetConfig::read(folder); });
  refuse_or_read([] { Preprocessor::load(folder); });
  refuse_or_read([] { SafeTensors::open(folder); });
  refuse_or_read([] { read_sentence_modules(folder); });
  refuse_or_read([] { read_sentence_modules(folder / "1_Pooling"); });
  return 0;
}
