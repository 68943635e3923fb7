#pragma once
// What torch.save and TorchScript write, read without Python: zip archives, and the single files from before
// PyTorch 1.6.
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "clip/io/safetensors.hpp"
#include "src/io/pickle.hpp"

namespace clip {

/// The tensors of an archive: those of its `state_dict`, `model_state_dict` or `model` where it has one of these, else
/// those at its top; of a TorchScript archive those of all modules, named by their paths. What else it holds is
/// skipped.
class TorchArchive {
 public:
  /// Reads and checks all but the elements of the tensors. Throws, naming file and tensor, on whatever is damaged or
  /// would run code.
  static TorchArchive open(const std::filesystem::path& path);
  /// Whether the file starts as one of the two formats does.
  static bool is_one(const std::filesystem::path& path);

  /// In the order in which they were saved; types are called as in safetensors.
  const std::vector<TensorInfo>& tensors() const { return tensors_; }
  /// A dense copy on the CPU; F64 becomes f32. Throws when there is none of that name, and on types that have no dtype
  /// here.
  Tensor read(const std::string& name) const;

 private:
  struct Storage {
    std::string_view type;  // of its elements
    std::size_t element = 0;
    std::uint64_t elements = 0;
    std::span<const std::byte> bytes;
  };
  struct Source {
    std::string_view storage;
    std::uint64_t offset = 0;  // elements
    std::vector<std::uint64_t> strides;
  };
  explicit TorchArchive(const MappedFile& file) : file_(file) {}
  Pickle read_zip_archive();
  Pickle read_old_file();
  void add_storage(const Pickle& pickle, const PickleValue& storage, std::span<const std::byte> bytes);
  void add_tensors(const Pickle& pickle);
  void add_tensor(const Pickle& pickle, const PickleValue& tensor, const std::string& name);

  MappedFile file_;
  std::map<std::string_view, Storage> storages_;
  std::vector<TensorInfo> tensors_;
  std::vector<Source> sources_;  // beside tensors_
  std::map<std::string, std::size_t, std::less<>> by_name_;
  std::uint64_t dense_bytes_ = 0;
};

}  // namespace clip
