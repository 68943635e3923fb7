#include "clip/io/safetensors.hpp"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>

#include "clip/ops/cast.hpp"
#include "src/io/element_types.hpp"
#include "src/io/folder.hpp"
#include "src/io/json.hpp"
#include "src/io/safetensors_header.hpp"

namespace clip {
namespace {

constexpr std::uint64_t longest_header = 100'000'000;

/// Integers of the file are little-endian, as everything this library runs on.
std::uint64_t read_u64(const std::byte* bytes) {
  std::uint64_t value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

}  // namespace

SafeTensors SafeTensors::open(const std::filesystem::path& path) {
  if (!is_folder(path)) return path.extension() == ".json" ? open_shards(path) : open_file(path);
  for (const char* name : {"model.safetensors", "model.safetensors.index.json"})
    if (is_there(path / name)) return open(path / name);
  fail("safetensors", "no model.safetensors or model.safetensors.index.json in ", quoted(path),
       "; weights_convert makes one of other formats");
}

SafeTensors SafeTensors::open_file(const std::filesystem::path& path) {
  SafeTensors file;
  file.path_ = path;
  const std::span<const std::byte> bytes = file.files_.emplace_back(path).bytes();
  check(bytes.size() >= 8, "safetensors", quoted(path), " has ", bytes.size(),
        " bytes: too few for a safetensors file");
  const std::uint64_t length = read_u64(bytes.data());
  check(length <= longest_header && length <= bytes.size() - 8, "safetensors", quoted(path), " of ", bytes.size(),
        " bytes announces a header of ", length, ": it is cut off, or no safetensors file");

  const std::span<const std::byte> data = bytes.subspan(8 + static_cast<std::size_t>(length));
  SafeTensorsHeader header = parse_safetensors_header(
      {reinterpret_cast<const char*>(bytes.data()) + 8, static_cast<std::size_t>(length)}, data.size(), path);
  file.metadata_ = std::move(header.metadata);
  file.tensors_.reserve(header.tensors.size());
  file.data_.reserve(header.tensors.size());
  for (SafeTensorsHeader::Entry& entry : header.tensors) {
    file.tensors_.push_back(std::move(entry.info));
    file.data_.push_back(data.data() + entry.begin);
  }
  file.sort_names();
  return file;
}

SafeTensors SafeTensors::open_shards(const std::filesystem::path& index) {
  const JsonFile json(index);
  if (!json.has("weight_map") || !json.json()["weight_map"].is_object() || json.json()["weight_map"].empty())
    json.wrong("weight_map", "an object of tensor and file names");
  std::map<std::string, std::size_t> shards;  // how many tensors each should have
  for (const auto& [name, shard] : json.json()["weight_map"].items()) {
    const std::string file = shard.is_string() ? shard.get<std::string>() : "";
    const bool plain = !file.empty() && file.find_first_of(std::string_view("/\\\0", 3)) == std::string::npos &&
                       file.find("..") == std::string::npos && file != "." && !file.ends_with(".json");
    check(plain, "safetensors", "expected the name of a file in the same folder for '", printable(name), "' in ",
          quoted(index), ", got ", printable(shard.dump(-1, ' ', false, Json::error_handler_t::replace)));
    ++shards[file];
  }

  SafeTensors all;
  all.path_ = index;
  for (const auto& [name, count] : shards) {
    SafeTensors part = open_file(index.parent_path() / name);
    for (const TensorInfo& tensor : part.tensors_) {
      const auto& map = json.json()["weight_map"];
      const auto entry = map.find(tensor.name);
      check(entry != map.end() && *entry == name, "safetensors", quoted(part.path_), " has a tensor '",
            printable(tensor.name), "' that ", quoted(index), " does not place there");
    }
    check(part.tensors_.size() == count, "safetensors", quoted(index), " places ", count, " tensors in ",
          quoted(part.path_), ", which has ", part.tensors_.size());
    if (all.files_.empty()) all.metadata_ = std::move(part.metadata_);
    all.files_.push_back(part.files_.front());
    all.data_.insert(all.data_.end(), part.data_.begin(), part.data_.end());
    std::move(part.tensors_.begin(), part.tensors_.end(), std::back_inserter(all.tensors_));
  }
  all.sort_names();
  return all;
}

void SafeTensors::sort_names() {
  by_name_.resize(tensors_.size());
  std::iota(by_name_.begin(), by_name_.end(), 0u);
  std::sort(by_name_.begin(), by_name_.end(), [this](auto a, auto b) { return tensors_[a].name < tensors_[b].name; });
  const auto twice = std::adjacent_find(by_name_.begin(), by_name_.end(),
                                        [this](auto a, auto b) { return tensors_[a].name == tensors_[b].name; });
  if (twice != by_name_.end())
    fail("safetensors", quoted(path_), " has the tensor '", printable(tensors_[*twice].name), "' twice");
}

std::size_t SafeTensors::find(std::string_view name) const {
  const auto at = std::lower_bound(by_name_.begin(), by_name_.end(), name,
                                   [this](auto i, std::string_view wanted) { return tensors_[i].name < wanted; });
  return at != by_name_.end() && tensors_[*at].name == name ? *at : tensors_.size();
}

std::size_t SafeTensors::index(std::string_view name) const {
  const std::size_t at = find(name);
  check(at != tensors_.size(), "safetensors", quoted(path_), " has no tensor '", printable(name), "'");
  return at;
}

Tensor SafeTensors::read(std::string_view name) const { return tensor_of(info(name), bytes(name), path_); }

std::span<const std::byte> SafeTensors::bytes(std::string_view name) const {
  const std::size_t at = index(name);
  return {data_[at], static_cast<std::size_t>(tensors_[at].bytes)};
}

void save_safetensors(const std::filesystem::path& path, std::span<const NamedTensor> tensors,
                      const std::map<std::string, std::string>& metadata) {
  std::vector<const NamedTensor*> order;
  for (const NamedTensor& tensor : tensors) {
    const std::string& name = tensor.name;
    check(tensor.tensor.defined() && !name.empty() && name.size() <= longest_tensor_name && name != "__metadata__",
          "safetensors", "cannot write tensor '", printable(tensor.name), "' to ", quoted(path),
          tensor.tensor.defined() ? ": no possible name" : ": it is undefined");
    order.push_back(&tensor);
  }
  std::stable_sort(order.begin(), order.end(), [](const NamedTensor* a, const NamedTensor* b) {
    return size_of(a->tensor.dtype()) > size_of(b->tensor.dtype());
  });

  Json header = Json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  std::uint64_t end = 0;
  for (const NamedTensor* named : order) {
    const Tensor& tensor = named->tensor;
    const std::uint64_t begin = std::exchange(end, end + tensor.bytes());
    const std::vector<std::int64_t> shape(tensor.shape().begin(), tensor.shape().end());
    const Json entry = {{"dtype", element_type_of(tensor.dtype())}, {"shape", shape}, {"data_offsets", {begin, end}}};
    check(header.emplace(named->name, entry).second, "safetensors", "cannot write tensor '", printable(named->name),
          "' twice to ", quoted(path));
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const Json::exception& e) {
    fail("safetensors", "cannot write ", quoted(path), ": ", printable(e.what()));
  }
  text.resize((sizeof(std::uint64_t) + text.size() + 63) / 64 * 64 - sizeof(std::uint64_t), ' ');
  check(text.size() <= longest_header, "safetensors", "cannot write ", quoted(path), ": its header would have ",
        text.size(), " bytes, more than ", longest_header);
  const std::uint64_t length = text.size();
  NewFile file(path);
  file.write(std::as_bytes(std::span(&length, 1)));
  file.write(text);
  for (const NamedTensor* named : order) {
    const Tensor host = to(named->tensor.detach(), Device{});
    file.write({static_cast<const std::byte*>(host.raw()), host.bytes()});
  }
  file.commit();
}

}  // namespace clip
