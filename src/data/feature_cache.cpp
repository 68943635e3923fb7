#include "clip/data/feature_cache.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <sstream>
#include <unordered_set>
#include <utility>

#include "clip/core/error.hpp"
#include "clip/io/file.hpp"
#include "clip/io/hash.hpp"
#include "clip/io/safetensors.hpp"
#include "clip/ops/cast.hpp"
#include "src/io/folder.hpp"

namespace clip {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t rows_of_part = 512;

/// Holds a lock on the folder together with all others who use it. Who finds it free first removes what killed
/// processes left half written.
std::shared_ptr<void> lock_folder(const fs::path& folder) {
  const fs::path path = folder / "lock";
  const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  check(file >= 0, "feature cache", "cannot write ", quoted(path), ": ", std::strerror(errno));
  std::shared_ptr<void> lock(nullptr, [file](void*) { ::close(file); });
  std::error_code harmless;  // what cannot be removed is not read either
  if (::flock(file, LOCK_EX | LOCK_NB) == 0)
    for (const fs::path& left : list_folder(folder))
      if (left.filename().string().find(".tmp-") != std::string::npos) fs::remove(left, harmless);
  check(::flock(file, LOCK_SH) == 0, "feature cache", "cannot lock ", quoted(path), ": ", std::strerror(errno));
  return lock;
}

std::span<const std::byte> bytes_of(const Tensor& tensor) {
  return {static_cast<const std::byte*>(tensor.raw()), tensor.bytes()};
}

/// Of all that a part holds, its dtype included: [rows, D] and the hash of each row's item.
std::string checksum(const std::string& key, const Tensor& hashes, const Tensor& features) {
  std::ostringstream text;
  text << key << '\n' << features.dtype();
  for (const Tensor* tensor : {&hashes, &features}) text << tensor->shape() << hex(content_hash(bytes_of(*tensor)));
  return hex(content_hash(text.str()));
}

bool has_nan(const Tensor& row) {
  const Tensor values = to(row, dtype::f32);
  const float* const data = values.data<float>();
  return std::any_of(data, data + values.numel(), [](float value) { return std::isnan(value); });
}

}  // namespace

FeatureCache::FeatureCache(const fs::path& folder, const std::string& key,
                           const std::function<void(const std::string&)>& warn)
    : folder_(folder / hex(content_hash(key))), key_(key) {
  make_folder(folder_);
  lock_ = lock_folder(folder_);
  for (const fs::path& file : list_folder(folder_)) try {
      if (file.extension() == ".safetensors") read(file);
    } catch (const Error& e) {
      if (warn) warn("features are made again: " + std::string(e.what()));
      std::error_code harmless;
      fs::remove(file, harmless);
    }
}

void FeatureCache::read(const fs::path& path) {
  const SafeTensors file = SafeTensors::open(path);
  const Tensor hashes = file.read("hashes"), features = file.read("features");
  const auto said = file.metadata().find("checksum");
  check(said != file.metadata().end() && said->second == checksum(key_, hashes, features), "feature cache",
        quoted(path), " is damaged: its checksum is wrong");
  const auto values = hashes.to_vector<std::int64_t>();
  add({values.begin(), values.end()}, features);
}

void FeatureCache::add(const std::vector<std::uint64_t>& hashes, const Tensor& features) {
  check(parts_.empty() || (parts_[0].dtype() == features.dtype() && parts_[0].shape(1) == features.shape(1)),
        "feature cache", "expected features of ", parts_.empty() ? features.shape(1) : parts_[0].shape(1), " ",
        parts_.empty() ? features.dtype() : parts_[0].dtype(), " like those in ", quoted(folder_), ", got ",
        features.shape(1), " ", features.dtype(), ": the key must tell them apart");
  for (std::size_t i = 0; i < hashes.size(); ++i)
    places_.emplace(hashes[i], Place{parts_.size(), static_cast<std::int64_t>(i)});
  parts_.push_back(features);
}

void FeatureCache::write(const std::vector<std::uint64_t>& hashes, const Tensor& features) const {
  const std::vector<std::int64_t> values(hashes.begin(), hashes.end());
  const std::vector<NamedTensor> tensors{{"hashes", Tensor::from(values, {std::ssize(values)})},
                                         {"features", features}};
  const std::string sum = checksum(key_, tensors[0].tensor, features);
  save_safetensors(folder_ / (sum + ".safetensors"), tensors, {{"checksum", sum}, {"key", key_}});
}

std::vector<std::size_t> FeatureCache::missing(std::span<const std::uint64_t> hashes) const {
  std::vector<std::size_t> items;
  std::unordered_set<std::uint64_t> seen;
  for (std::size_t i = 0; i < hashes.size(); ++i)
    if (!places_.contains(hashes[i]) && seen.insert(hashes[i]).second) items.push_back(i);
  return items;
}

Tensor FeatureCache::rows(std::span<const std::uint64_t> hashes, const Encode& encode) {
  check(!hashes.empty(), "feature cache", "expected items to give rows of, got none");
  const std::vector<std::size_t> items = missing(hashes);
  std::unordered_map<std::uint64_t, Tensor> unkept;
  for (std::size_t at = 0; at < items.size(); at += rows_of_part) {
    const std::span<const std::size_t> some = std::span(items).subspan(at, std::min(items.size() - at, rows_of_part));
    const Tensor made = to(encode(some).detach(), Device{});
    check(made.rank() == 2 && made.shape(0) == std::ssize(some), "feature cache", "expected ", some.size(),
          " rows of features, got ", made.shape());
    std::vector<std::uint64_t> kept;
    Tensor features({made.shape(0), made.shape(1)}, made.dtype());
    const std::size_t row_bytes = made.bytes() / some.size();
    auto* const to_row = static_cast<std::byte*>(features.mutable_raw());
    for (std::size_t i = 0; i < some.size(); ++i) {
      const Tensor row = made.view(static_cast<std::int64_t>(i) * made.shape(1), {made.shape(1)});
      if (has_nan(row)) {
        unkept[hashes[some[i]]] = row;
      } else {
        std::memcpy(to_row + kept.size() * row_bytes, row.raw(), row_bytes);
        kept.push_back(hashes[some[i]]);
      }
    }
    if (kept.empty()) continue;
    features = features.view(0, {std::ssize(kept), made.shape(1)});
    add(kept, features);
    write(kept, features);
  }

  const auto row_of = [&](std::uint64_t hash) {
    const auto place = places_.find(hash);
    if (place == places_.end()) return unkept.at(hash);
    const Tensor& part = parts_[place->second.part];
    return part.view(place->second.row * part.shape(1), {part.shape(1)});
  };
  const Tensor first = row_of(hashes[0]);
  Tensor all({std::ssize(hashes), first.numel()}, first.dtype());
  auto* out = static_cast<std::byte*>(all.mutable_raw());
  for (const std::uint64_t hash : hashes) {
    const Tensor row = row_of(hash);
    check(row.bytes() == first.bytes(), "feature cache", "expected rows of ", first.numel(), ", got ", row.numel());
    std::memcpy(out, row.raw(), row.bytes());
    out += row.bytes();
  }
  return all;
}

}  // namespace clip
