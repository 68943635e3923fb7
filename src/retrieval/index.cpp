#include "clip/retrieval/index.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <string>

#include "clip/io/hash.hpp"
#include "clip/io/safetensors.hpp"
#include "clip/ops/cast.hpp"
#include "clip/ops/l2_normalize.hpp"
#include "kernels/top_k.hpp"
#include "src/dispatch.hpp"

namespace clip {
namespace {

constexpr const char* format = "clipcore index 1";

template <class F>
decltype(auto) dispatch_storage(dtype type, F&& f) {
  if (type == dtype::f32) return f.template operator()<float>();
  if (type == dtype::f16) return f.template operator()<f16>();
  fail("index", "expected rows stored as f32 or f16, got ", type);
}

std::string name_of(Metric metric) { return metric == Metric::cosine ? "cosine" : "inner_product"; }

/// Rows as they are compared: f32, for cosine of length 1.
Tensor comparable(const Tensor& rows, Metric metric) {
  const Tensor floats = to(rows.detach(), dtype::f32);
  return metric == Metric::cosine ? l2_normalize(floats) : floats;
}

/// The first of the rows that a search cannot rank, -1 when there is none.
std::int64_t first_unsearchable(const void* data, dtype type, std::int64_t count, std::int64_t cols) {
  return dispatch_storage(
      type, [&]<class T>() { return kernels::cpu::first_unsearchable(static_cast<const T*>(data), count, cols); });
}

void check_finite(const Tensor& rows, const char* what) {
  const std::int64_t bad = first_unsearchable(rows.raw(), rows.dtype(), rows.shape(0), rows.shape(1));
  check(bad < 0, "index", "expected finite ", what, " of finite length in ", rows.dtype(), ", got others in row ", bad);
}

}  // namespace

void Index::hold(const Tensor& rows) {
  const auto owner = std::make_shared<const Tensor>(rows);
  size_ = rows.shape(0);
  dimensions_ = rows.shape(1);
  data_ = owner->raw();
  owner_ = owner;
}

Tensor Index::rows(std::int64_t begin, std::int64_t end) const {
  Tensor copy({end - begin, dimensions_}, storage());
  const std::size_t row_bytes = static_cast<std::size_t>(dimensions_) * size_of(storage());
  if (copy.numel() > 0)
    std::memcpy(copy.mutable_raw(), static_cast<const std::byte*>(data_) + static_cast<std::size_t>(begin) * row_bytes,
                copy.bytes());
  return copy;
}

Index Index::build(const Tensor& embeddings, const IndexOptions& options) {
  check_float(embeddings, "index");
  check(embeddings.rank() == 2 && embeddings.shape(1) >= 1, "index", "expected embeddings [N, D], got ",
        embeddings.shape());
  check(options.storage == dtype::f32 || options.storage == dtype::f16, "index", "expected f32 or f16 as storage, got ",
        options.storage);
  check_finite(to(embeddings.detach(), dtype::f32), "embeddings");  // before lengths hide what is not
  Index index;
  index.options_ = options;
  const Tensor rows = to(comparable(embeddings, options.metric), options.storage);
  index.hold(rows.storage() == embeddings.storage() ? rows.clone() : rows);  // the caller may write to theirs
  check_finite(*std::static_pointer_cast<const Tensor>(index.owner_), "rows");
  return index;
}

void Index::save(const std::filesystem::path& path) const {
  const NamedTensor named{"rows", rows(0, size_)};
  const std::uint64_t hash = content_hash({static_cast<const std::byte*>(named.tensor.raw()), named.tensor.bytes()});
  save_safetensors(path, {&named, 1}, {{"format", format}, {"metric", name_of(metric())}, {"checksum", hex(hash)}});
}

Index Index::load(const std::filesystem::path& path) {
  const auto file = std::make_shared<const SafeTensors>(SafeTensors::open(path));
  const std::map<std::string, std::string>& metadata = file->metadata();
  const auto said = [&](const char* key) {
    const auto at = metadata.find(key);
    return at == metadata.end() ? std::string() : at->second;
  };
  check(said("format") == format && file->has("rows"), "index", quoted(path), " is no index: expected the format '",
        format, "' and a tensor 'rows', got '", printable(said("format")), "'");
  const TensorInfo& info = file->info("rows");
  const bool floats = info.type == "F32";
  check((floats || info.type == "F16") && info.shape.rank() == 2 && info.shape[1] >= 1, "index",
        "expected 'rows' [N, D] of F32 or F16 in ", quoted(path), ", got ", info.type, ' ', info.shape);
  Index index;
  index.options_.storage = floats ? dtype::f32 : dtype::f16;
  index.options_.metric = said("metric") == name_of(Metric::cosine) ? Metric::cosine : Metric::inner_product;
  check(said("metric") == name_of(index.metric()), "index", "expected the metric cosine or inner_product in ",
        quoted(path), ", got '", printable(said("metric")), "'");

  const std::span<const std::byte> bytes = file->bytes("rows");
  check(said("checksum") == hex(content_hash(bytes)), "index", quoted(path),
        " is damaged: its rows are not those that were saved; build the index again");
  check(reinterpret_cast<std::uintptr_t>(bytes.data()) % alignof(float) == 0, "index", "the rows of ", quoted(path),
        " are not aligned: save the index again");
  const std::int64_t bad = first_unsearchable(bytes.data(), index.storage(), info.shape[0], info.shape[1]);
  check(bad < 0, "index", "expected finite rows in ", quoted(path), ", got others in row ", bad);
  index.size_ = info.shape[0];
  index.dimensions_ = info.shape[1];
  index.data_ = bytes.data();
  index.owner_ = file;
  return index;
}

std::vector<Hit> Index::search(const Tensor& query, std::int64_t k) const {
  check_float(query, "search");
  check(query.shape() == Shape{dimensions_}, "search", "expected a query of shape [", dimensions_, "], got ",
        query.shape());
  return search_all(query.detach().view(0, {1, dimensions_}), k).front();
}

std::vector<std::vector<Hit>> Index::search_all(const Tensor& queries, std::int64_t k) const {
  check_float(queries, "search");
  check(queries.rank() == 2 && queries.shape(1) == dimensions_, "search", "expected queries of shape [Q, ", dimensions_,
        "], got ", queries.shape());
  check(k >= 1, "search", "expected k >= 1, got ", k);
  check_finite(to(queries.detach(), dtype::f32), "queries");
  const Tensor compared = comparable(queries, metric());
  if (storage() == dtype::f16)
    for (const float value : std::span(compared.data<float>(), static_cast<std::size_t>(compared.numel())))
      check(std::abs(value) < 32768, "search", "expected queries below 32768 for an index in f16, got ", value);
  const kernels::TopKShape shape{
      .queries = queries.shape(0), .rows = size_, .cols = dimensions_, .k = std::min(k, size_)};
  std::vector<std::vector<Hit>> hits(static_cast<std::size_t>(shape.queries));
  if (shape.k == 0 || shape.queries == 0) return hits;

  const kernels::TopKScratch need = kernels::cpu::top_k_scratch(shape);
  Tensor scratch({need.total()}, dtype::u8), scores({shape.queries, shape.k}),
      indices({shape.queries, shape.k}, dtype::i64);
  float* score = scores.mutable_data<float>();
  std::int64_t* row = indices.mutable_data<std::int64_t>();
  dispatch_storage(storage(), [&]<class T>() {
    kernels::cpu::top_k(score, row, compared.data<float>(), static_cast<const T*>(data_), shape, scratch.mutable_raw(),
                        need.workers);
  });
  for (std::vector<Hit>& found : hits)
    for (std::int64_t rank = 1; rank <= shape.k; ++rank) found.push_back({rank, *score++, *row++});
  return hits;
}

Index Index::subset(std::span<const std::int64_t> chosen) const {
  Tensor part({std::ssize(chosen), dimensions_}, storage());
  const std::size_t row_bytes = static_cast<std::size_t>(dimensions_) * size_of(storage());
  auto* out = static_cast<std::byte*>(part.mutable_raw());
  for (const std::int64_t row : chosen) {
    check(row >= 0 && row < size_, "index", "expected rows from 0 to ", size_ - 1, ", got ", row);
    std::memcpy(out, static_cast<const std::byte*>(data_) + static_cast<std::size_t>(row) * row_bytes, row_bytes);
    out += row_bytes;
  }
  Index index;
  index.options_ = options_;
  index.hold(part);
  return index;
}

Tensor Index::row(std::int64_t row) const {
  check(row >= 0 && row < size_, "index", "expected a row from 0 to ", size_ - 1, ", got ", row);
  const Tensor one = rows(row, row + 1);
  return to(one.view(0, {dimensions_}), dtype::f32);
}

}  // namespace clip
