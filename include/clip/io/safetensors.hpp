#pragma once
// The safetensors format (https://huggingface.co/docs/safetensors): a JSON header, then the tensors' bytes.
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "clip/core/tensor.hpp"
#include "clip/io/file.hpp"

namespace clip {

/// What a file of weights says of a tensor.
struct TensorInfo {
  std::string name;
  std::string type;  ///< as the file calls it: "F32", "BF16", "I64" …
  Shape shape;
  std::uint64_t bytes = 0;
};

/// Tensors of one safetensors file, or of a model sharded over several: memory-mapped, and checked whole when opened. A
/// value whose copies share the mappings.
class SafeTensors {
 public:
  /// Opens a `.safetensors` file, the `.safetensors.index.json` of a sharded model, or a folder that holds
  /// `model.safetensors` or its index. Throws, naming file and tensor, on whatever the format does not allow: also gaps
  /// and overlaps, more than 8 dimensions, 100,000 tensors, or names of 4,096 bytes.
  static SafeTensors open(const std::filesystem::path& path);

  /// In the order of their bytes; of a sharded model, shard after shard.
  const std::vector<TensorInfo>& tensors() const { return tensors_; }
  bool has(std::string_view name) const { return find(name) != tensors_.size(); }
  /// Throws when there is none of that name.
  const TensorInfo& info(std::string_view name) const { return tensors_[index(name)]; }
  /// A copy on the CPU; F64 becomes f32. Throws when there is none of that name, and on types that have no dtype here.
  Tensor read(std::string_view name) const;
  /// The tensor's bytes in the mapped file, for as long as this or a copy lives. Throws when there is none of that
  /// name.
  std::span<const std::byte> bytes(std::string_view name) const;
  /// The header's `__metadata__`; of a sharded model, that of its first shard.
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  /// What was opened: the file, or the index.
  const std::filesystem::path& path() const { return path_; }

 private:
  static SafeTensors open_file(const std::filesystem::path& path);
  static SafeTensors open_shards(const std::filesystem::path& index);
  void sort_names();
  std::size_t find(std::string_view name) const;
  std::size_t index(std::string_view name) const;

  std::filesystem::path path_;
  std::vector<MappedFile> files_;
  std::vector<TensorInfo> tensors_;
  std::vector<const std::byte*> data_;  // beside tensors_
  std::vector<std::uint32_t> by_name_;  // indices into tensors_
  std::map<std::string, std::string> metadata_;
};

struct NamedTensor {
  std::string name;
  Tensor tensor;
};

/// Writes a safetensors file durably: on an error, what was at `path` is still there. Wide element types come first, so
/// that every tensor is aligned, the first to 64 bytes; among equals the order is the caller's. Throws on a name twice,
/// an empty or too long one, or one that is no UTF-8.
void save_safetensors(const std::filesystem::path& path, std::span<const NamedTensor> tensors,
                      const std::map<std::string, std::string>& metadata = {});

}  // namespace clip
