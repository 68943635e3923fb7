#pragma once
#include <filesystem>
#include <string>
#include <variant>
#include <vector>

#include "clip/io/safetensors.hpp"
#include "src/io/torch_archive.hpp"

namespace clip {

/// Weights in whatever format they come.
class WeightsFile {
 public:
  /// Opens a safetensors file, the index of a sharded model, a PyTorch archive, or a folder with one of them under the
  /// name that Hugging Face gives it. Makes every check, and copies no tensor.
  static WeightsFile open(const std::filesystem::path& path);

  const std::vector<TensorInfo>& tensors() const;
  Tensor read(const std::string& name) const;
  /// The file itself, and what it is: "a safetensors file".
  const std::filesystem::path& path() const { return path_; }
  const std::string& format() const { return format_; }

 private:
  WeightsFile(std::filesystem::path path, std::string format, std::variant<SafeTensors, TorchArchive> content)
      : path_(std::move(path)), format_(std::move(format)), content_(std::move(content)) {}

  std::filesystem::path path_;
  std::string format_;
  std::variant<SafeTensors, TorchArchive> content_;
};

}  // namespace clip
