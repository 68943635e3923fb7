#include "tools/weights_convert/weights_file.hpp"

#include <algorithm>

#include "clip/core/error.hpp"
#include "src/io/folder.hpp"

namespace clip {

WeightsFile WeightsFile::open(const std::filesystem::path& path) {
  if (is_folder(path)) {
    for (const char* name : {"model.safetensors", "model.safetensors.index.json", "pytorch_model.bin"})
      if (is_there(path / name)) return open(path / name);
    fail("weights_convert", "no model.safetensors, model.safetensors.index.json or pytorch_model.bin in ",
         quoted(path));
  }
  if (path.extension() == ".json") return {path, "a sharded model", SafeTensors::open(path)};
  if (TorchArchive::is_one(path)) return {path, "a PyTorch archive", TorchArchive::open(path)};
  check(path.extension() == ".safetensors" || !is_there(path), "weights_convert", quoted(path),
        " is neither an archive of torch.save or TorchScript nor a .safetensors file");
  return {path, "a safetensors file", SafeTensors::open(path)};
}

const std::vector<TensorInfo>& WeightsFile::tensors() const {
  return std::visit([](const auto& file) -> const std::vector<TensorInfo>& { return file.tensors(); }, content_);
}

Tensor WeightsFile::read(const std::string& name) const {
  return std::visit([&](const auto& file) { return file.read(name); }, content_);
}

}  // namespace clip
