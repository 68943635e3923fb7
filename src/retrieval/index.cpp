#include "clip/retrieval/index.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

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
  if (type == dtype::u8) return f.template operator()<std::uint8_t>();
  fail("index", "expected f32, f16 or u8 as storage, got ", type);
}

std::string name_of(Metric metric) { return metric == Metric::cosine ? "cosine" : "inner_product"; }

/// Rows as they are compared: f32, for cosine of length 1.
Tensor comparable(const Tensor& rows, Metric metric) {
  const Tensor floats = to(rows.detach(), dtype::f32);
  return metric == Metric::cosine ? l2_normalize(floats) : floats;
}

/// Rows f32 as bytes and factors.
std::pair<Tensor, Tensor> quantized(const Tensor& rows) {
  const std::int64_t count = rows.shape(0), cols = rows.shape(1);
  std::pair<Tensor, Tensor> result{Tensor(rows.shape(), dtype::u8), Tensor({count})};
  const float* in = rows.data<float>();
  auto* out = result.first.mutable_data<std::uint8_t>();
  auto* factors = result.second.mutable_data<float>();
#pragma omp parallel for
  for (std::int64_t r = 0; r < count; ++r) {
    const std::span row(in + r * cols, static_cast<std::size_t>(cols));
    float largest = 0;
    for (const float x : row) largest = std::max(largest, std::abs(x));
    factors[r] = largest / 127;
    for (std::size_t i = 0; i < row.size(); ++i)
      out[r * cols + static_cast<std::int64_t>(i)] =
          static_cast<std::uint8_t>(largest > 0 ? 128 + std::lrint(127 * (row[i] / largest)) : 128);
  }
  return result;
}

/// The first of the rows that a search cannot rank, -1 when there is none. Of bytes, `factors` tell.
std::int64_t first_unsearchable(const void* data, const Tensor& factors, dtype type, std::int64_t count,
                                std::int64_t cols) {
  return dispatch_storage(type, [&]<class T>() -> std::int64_t {
    if constexpr (std::is_same_v<T, std::uint8_t>) {
      for (std::int64_t r = 0; r < count; ++r)
        if (const float largest = 128 * factors.data<float>()[r];
            !std::isfinite(largest * largest * static_cast<float>(cols)))
          return r;
      return -1;
    } else {
      return kernels::cpu::first_unsearchable(static_cast<const T*>(data), count, cols);
    }
  });
}

void check_finite(const Tensor& rows, const char* what) {
  const std::int64_t bad = first_unsearchable(rows.raw(), {}, rows.dtype(), rows.shape(0), rows.shape(1));
  check(bad < 0, "index", "expected finite ", what, " of finite length in ", rows.dtype(), ", got others in row ", bad);
}

}  // namespace

void Index::hold(const Tensor& rows) {
  const auto owner = std::make_shared<const Tensor>(rows);
  device_ = rows.device();
  size_ = rows.shape(0);
  dimensions_ = rows.shape(1);
  data_ = owner->raw();
  owner_ = owner;
}

Tensor Index::rows(std::int64_t begin, std::int64_t end) const {
  Tensor copy({end - begin, dimensions_}, storage());
  const std::size_t row_bytes = static_cast<std::size_t>(dimensions_) * size_of(storage());
  if (copy.numel() > 0)
    copy_bytes(copy.mutable_raw(), {},
               static_cast<const std::byte*>(data_) + static_cast<std::size_t>(begin) * row_bytes, device_,
               copy.bytes());
  return copy;
}

Index Index::to(const Device& device) const {
  if (device == device_) return *this;
  Index index;
  index.options_ = options_;
  if (factors_.defined()) index.factors_ = clip::to(factors_, device);
  index.hold(clip::to(rows(0, size_), device));
  return index;
}

Index Index::build(const Tensor& embeddings, const IndexOptions& options) {
  check_float(embeddings, "index", Kernels::cpu_and_cuda);
  check(embeddings.rank() == 2 && embeddings.shape(1) >= 1, "index", "expected embeddings [N, D], got ",
        embeddings.shape());
  dispatch_storage(options.storage, []<class T>() {});
  if (embeddings.device().is_cuda())
    return build(clip::to(embeddings.detach(), Device::cpu()), options).to(embeddings.device());
  check_finite(clip::to(embeddings.detach(), dtype::f32), "embeddings");  // before lengths hide what is not
  Index index;
  index.options_ = options;
  const Tensor compared = comparable(embeddings, options.metric);
  if (options.storage == dtype::u8) {
    const auto [rows, factors] = quantized(compared);
    const std::int64_t bad = first_unsearchable(rows.raw(), factors, dtype::u8, rows.shape(0), rows.shape(1));
    check(bad < 0, "index", "expected embeddings whose length is finite also in bytes, got others in row ", bad);
    index.factors_ = factors;
    index.hold(rows);
    return index;
  }
  const Tensor rows = clip::to(compared, options.storage);
  index.hold(rows.storage() == embeddings.storage() ? rows.clone() : rows);  // the caller may write to theirs
  check_finite(rows, "rows");
  return index;
}

void Index::save(const std::filesystem::path& path) const {
  std::vector<NamedTensor> all = {{"rows", rows(0, size_)}};
  if (factors_.defined()) all.push_back({"factors", clip::to(factors_, Device::cpu())});
  std::uint64_t hash = 0;
  for (const NamedTensor& named : all)
    hash = content_hash({static_cast<const std::byte*>(named.tensor.raw()), named.tensor.bytes()}, hash);
  save_safetensors(path, all, {{"format", format}, {"metric", name_of(metric())}, {"checksum", hex(hash)}});
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
  const std::map<std::string, dtype> types = {{"F32", dtype::f32}, {"F16", dtype::f16}, {"U8", dtype::u8}};
  check(types.contains(info.type) && info.shape.rank() == 2 && info.shape[1] >= 1, "index",
        "expected 'rows' [N, D] of F32, F16 or U8 in ", quoted(path), ", got ", info.type, ' ', info.shape);
  Index index;
  index.options_.storage = types.at(info.type);
  index.options_.metric = said("metric") == name_of(Metric::cosine) ? Metric::cosine : Metric::inner_product;
  check(said("metric") == name_of(index.metric()), "index", "expected the metric cosine or inner_product in ",
        quoted(path), ", got '", printable(said("metric")), "'");

  const std::span<const std::byte> bytes = file->bytes("rows");
  std::uint64_t hash = content_hash(bytes);
  if (index.storage() == dtype::u8) {
    check(file->has("factors") && file->info("factors").type == "F32" &&
              file->info("factors").shape == Shape{info.shape[0]},
          "index", "expected 'factors' [", info.shape[0], "] of F32 in ", quoted(path));
    index.factors_ = file->read("factors");
    hash = content_hash(file->bytes("factors"), hash);
  }
  check(said("checksum") == hex(hash), "index", quoted(path),
        " is damaged: its rows are not those that were saved; build the index again");
  check(reinterpret_cast<std::uintptr_t>(bytes.data()) % alignof(float) == 0, "index", "the rows of ", quoted(path),
        " are not aligned: save the index again");
  const std::int64_t bad =
      first_unsearchable(bytes.data(), index.factors_, index.storage(), info.shape[0], info.shape[1]);
  check(bad < 0, "index", "expected finite rows in ", quoted(path), ", got others in row ", bad);
  index.size_ = info.shape[0];
  index.dimensions_ = info.shape[1];
  index.data_ = bytes.data();
  index.owner_ = file;
  return index;
}

std::vector<Hit> Index::search(const Tensor& query, std::int64_t k) const {
  check_float(query, "search", Kernels::cpu_and_cuda);
  check(query.shape() == Shape{dimensions_}, "search", "expected a query of shape [", dimensions_, "], got ",
        query.shape());
  return search_all(query.detach().view(0, {1, dimensions_}), k).front();
}

std::vector<std::vector<Hit>> Index::search_all(const Tensor& queries, std::int64_t k) const {
  check_float(queries, "search", Kernels::cpu_and_cuda);
  check(queries.rank() == 2 && queries.shape(1) == dimensions_, "search", "expected queries of shape [Q, ", dimensions_,
        "], got ", queries.shape());
  check(k >= 1, "search", "expected k >= 1, got ", k);
  const Tensor here = clip::to(queries.detach(), Device::cpu());
  check_finite(clip::to(here, dtype::f32), "queries");
  const Tensor compared = comparable(here, metric());
  if (storage() == dtype::f16)
    for (const float value : std::span(compared.data<float>(), static_cast<std::size_t>(compared.numel())))
      check(std::abs(value) < 32768, "search", "expected queries below 32768 for an index in f16, got ", value);
  const kernels::TopKShape shape{
      .queries = queries.shape(0), .rows = size_, .cols = dimensions_, .k = std::min(k, size_)};
  std::vector<std::vector<Hit>> hits(static_cast<std::size_t>(shape.queries));
  if (shape.k == 0 || shape.queries == 0) return hits;

  const Tensor asked = clip::to(compared, device_);
  Tensor scores({shape.queries, shape.k}, dtype::f32, device_), indices(scores.shape(), dtype::i64, device_);
  float* const score = scores.mutable_data<float>();
  std::int64_t* const row = indices.mutable_data<std::int64_t>();
  const float* const factors = factors_.defined() ? factors_.data<float>() : nullptr;
  dispatch_storage(storage(), [&]<class T>() {
    const T* const stored = static_cast<const T*>(data_);
    on_device(
        device_, "search",
        [&] {
          const kernels::TopKScratch need = kernels::cpu::top_k_scratch(shape);
          Tensor scratch({need.total()}, dtype::u8);
          kernels::cpu::top_k(score, row, asked.data<float>(), stored, factors, shape, scratch.mutable_raw(),
                              need.workers);
        },
        [&](auto stream) {
          Tensor scratch({kernels::cuda::top_k_scratch(shape)}, dtype::u8, device_);
          kernels::cuda::top_k(score, row, asked.data<float>(), stored, factors, shape, scratch.mutable_raw(), stream);
        });
  });
  const std::vector<float> best = scores.to_vector();
  const auto rows = indices.to_vector<std::int64_t>();
  std::size_t next = 0;
  for (std::vector<Hit>& found : hits)
    for (std::int64_t rank = 1; rank <= shape.k; ++rank, ++next) found.push_back({rank, best[next], rows[next]});
  return hits;
}

Index Index::subset(std::span<const std::int64_t> chosen) const {
  if (device_.is_cuda()) return to(Device::cpu()).subset(chosen).to(device_);
  Tensor part({std::ssize(chosen), dimensions_}, storage());
  const std::size_t row_bytes = static_cast<std::size_t>(dimensions_) * size_of(storage());
  auto* out = static_cast<std::byte*>(part.mutable_raw());
  std::vector<float> factors;
  for (const std::int64_t row : chosen) {
    check(row >= 0 && row < size_, "index", "expected rows from 0 to ", size_ - 1, ", got ", row);
    std::memcpy(out, static_cast<const std::byte*>(data_) + static_cast<std::size_t>(row) * row_bytes, row_bytes);
    out += row_bytes;
    if (factors_.defined()) factors.push_back(factors_.data<float>()[row]);
  }
  Index index;
  index.options_ = options_;
  if (factors_.defined()) index.factors_ = Tensor::from(factors, {std::ssize(factors)});
  index.hold(part);
  return index;
}

Tensor Index::row(std::int64_t row) const {
  check(row >= 0 && row < size_, "index", "expected a row from 0 to ", size_ - 1, ", got ", row);
  const Tensor one = rows(row, row + 1);
  if (!factors_.defined()) return clip::to(one.view(0, {dimensions_}), dtype::f32);
  const float factor = factors_.view(row, {1}).to_vector()[0];
  Tensor numbers({dimensions_});
  const std::uint8_t* const in = one.data<std::uint8_t>();
  float* const out = numbers.mutable_data<float>();
  for (std::int64_t i = 0; i < dimensions_; ++i) out[i] = static_cast<float>(in[i] - 128) * factor;
  return numbers;
}

}  // namespace clip
