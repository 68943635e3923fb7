#pragma once
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <vector>

#include "clip/core/tensor.hpp"

namespace clip {

/// What ranks rows: the dot product with the query, or that of both at length 1.
enum class Metric { cosine, inner_product };

struct IndexOptions {
  Metric metric = Metric::cosine;
  /// Or f16: half the memory and time, rows rounded to 11 bits. Or u8: a quarter of the memory; each row's largest
  /// number becomes 127, and the others whole numbers.
  dtype storage = dtype::f32;
};

struct Hit {
  std::int64_t rank;  ///< from 1
  float score;
  std::int64_t row;
};

/// Embeddings to search in, exactly: every row is looked at. Scores are computed in f32 from the stored rows and depend
/// on query and row only, so results are the same for any batch of queries and number of threads; on a GPU scores are
/// rounded otherwise. A value whose copies share the rows.
class Index {
 public:
  /// Of `embeddings` [N, D], f32 or bf16, N >= 0, D >= 1, on their device; for cosine they are brought to length 1
  /// (rows of zeros score 0). Throws on NaN and infinity, also where f16 or a squared length in f32 cannot hold what
  /// was given.
  static Index build(const Tensor& embeddings, const IndexOptions& options = {});
  /// Maps what `save` wrote, on the CPU. Throws on any other file, and when its bytes are not those that were saved.
  static Index load(const std::filesystem::path& path);
  /// Writes one safetensors file, durably: `rows` [N, D], of u8 also `factors` f32 [N], so that a number is
  /// (byte - 128) * factor; and the metric and a checksum in its metadata.
  void save(const std::filesystem::path& path) const;

  /// The best `k` rows for `query` [D], the best first, of equal ones the lower row; all rows when there are fewer.
  /// Throws unless k >= 1, and on a query of another size or with values that are not finite or, for rows
  /// in f16, not below 32768.
  std::vector<Hit> search(const Tensor& query, std::int64_t k) const;
  /// The same for each row of `queries` [Q, D], in one pass over the index.
  std::vector<std::vector<Hit>> search_all(const Tensor& queries, std::int64_t k) const;

  /// The same rows on `device`, which is then where they are searched, for queries from any device.
  Index to(const Device& device) const;
  /// A copy with the given rows only, in that order. Throws when there is no such row.
  Index subset(std::span<const std::int64_t> rows) const;
  /// A stored row as f32 [D], on the CPU.
  Tensor row(std::int64_t row) const;

  std::int64_t size() const { return size_; }
  std::int64_t dimensions() const { return dimensions_; }
  Metric metric() const { return options_.metric; }
  dtype storage() const { return options_.storage; }
  const Device& device() const { return device_; }

 private:
  Index() = default;
  void hold(const Tensor& rows);
  Tensor rows(std::int64_t begin, std::int64_t end) const;

  IndexOptions options_;
  Device device_;
  std::int64_t size_ = 0, dimensions_ = 0;
  std::shared_ptr<const void> owner_;  // of what `data_` points to: a tensor or a mapped file
  const void* data_ = nullptr;
  Tensor factors_;  // f32 [N], of rows in u8
};

}  // namespace clip
