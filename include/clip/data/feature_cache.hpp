#pragma once
// What a frozen encoder made of each picture or text, kept on disk so that it is computed once.
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "clip/core/tensor.hpp"

namespace clip {

/// Rows of features by the hash of what was encoded (`hash_files`, `content_hash`), under a key that says how: hash of
/// the model's folder (`hash_folder`: weights, tokenizer and preprocessing), dtype, and whatever else decides the
/// values. What changes has another hash or key, so no row is ever stale.
///
/// Every 512 rows become a file of their own, written durably; an interruption loses at most the rows of the file
/// in the making. Files have checksums: of a damaged one the rows are made again. Several processes may use one folder:
/// each sees what was there when it opened it, and at worst computes what another does too.
class FeatureCache {
 public:
  /// Makes the features of these items: [items.size(), D], always of the same dtype and D. May throw, to stop: what was
  /// saved before stays.
  using Encode = std::function<Tensor(std::span<const std::size_t> items)>;

  /// Opens the cache, made when it is not there. `warn` hears of damaged files. Throws when the folder cannot be
  /// written.
  FeatureCache(const std::filesystem::path& folder, const std::string& key,
               const std::function<void(const std::string&)>& warn = {});

  /// Items whose rows are not there; of several with one hash the first.
  std::vector<std::size_t> missing(std::span<const std::uint64_t> hashes) const;

  /// A row for each item, [hashes.size(), D]: from the cache, or else from `encode`, called with at most 512 missing
  /// items at a time, in their order. A row that holds a NaN (a picture that could not be read) is handed on, not
  /// kept. Throws when there are no hashes, or when `encode` gives other than it should.
  Tensor rows(std::span<const std::uint64_t> hashes, const Encode& encode);

  /// Rows that are there.
  std::size_t size() const { return places_.size(); }

 private:
  struct Place {
    std::size_t part;
    std::int64_t row;
  };
  void read(const std::filesystem::path& file);
  void add(const std::vector<std::uint64_t>& hashes, const Tensor& features);
  void write(const std::vector<std::uint64_t>& hashes, const Tensor& features) const;

  std::filesystem::path folder_;
  std::string key_;
  std::shared_ptr<void> lock_;  // shared by all who use the folder
  std::vector<Tensor> parts_;
  std::unordered_map<std::uint64_t, Place> places_;
};

}  // namespace clip
