#include "src/io/torch_archive.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "clip/core/error.hpp"
#include "src/io/element_types.hpp"
#include "src/io/safetensors_header.hpp"
#include "src/io/zip.hpp"

namespace clip {
namespace {

using Kind = PickleValue::Kind;

constexpr std::size_t most_names_bytes = std::size_t{1} << 26;
constexpr std::size_t most_entries = std::size_t{1} << 22;  // of all modules; of one named twice, twice

/// A file from before PyTorch 1.6 starts with this number, pickled.
constexpr unsigned char old_magic[] = {0x80, 2,    0x8a, 10,   0x6c, 0xfc, 0x9c, 0x46,
                                       0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, '.'};

bool is_old(const MappedFile& file) {
  const std::span<const std::byte> bytes = file.bytes();
  return bytes.size() >= sizeof old_magic && std::memcmp(bytes.data(), old_magic, sizeof old_magic) == 0;
}

/// The safetensors name of a storage's elements.
std::string_view element_type(std::string_view storage) {
  constexpr std::pair<std::string_view, std::string_view> types[] = {
      {"FloatStorage", "F32"}, {"DoubleStorage", "F64"}, {"HalfStorage", "F16"},  {"BFloat16Storage", "BF16"},
      {"LongStorage", "I64"},  {"IntStorage", "I32"},    {"ShortStorage", "I16"}, {"CharStorage", "I8"},
      {"ByteStorage", "U8"},   {"BoolStorage", "BOOL"}};
  for (const auto& [name, type] : types)
    if (name == storage) return type;
  return {};
}

bool is_dict(const PickleValue& value) { return value.kind == Kind::dict || value.kind == Kind::ordered_dict; }

/// The last value that a dict was given for `key`; null when it has none.
const PickleValue* find(const Pickle& pickle, const PickleValue& dict, std::string_view key) {
  const PickleValue* found = nullptr;
  for (std::size_t i = 0; i < dict.items.size(); i += 2)
    if (const PickleValue& k = pickle.values[dict.items[i]]; k.kind == Kind::text && k.text == key)
      found = &pickle.values[dict.items[i + 1]];
  return found;
}

}  // namespace

bool TorchArchive::is_one(const std::filesystem::path& path) {
  const MappedFile file(path);
  return is_zip(file) || is_old(file);
}

TorchArchive TorchArchive::open(const std::filesystem::path& path) {
  TorchArchive archive{MappedFile(path)};
  const bool old = is_old(archive.file_);
  check(old || is_zip(archive.file_), "torch", quoted(path), " is no archive of torch.save or TorchScript");
  archive.add_tensors(old ? archive.read_old_file() : archive.read_zip_archive());
  return archive;
}

Pickle TorchArchive::read_zip_archive() {
  const std::string shown = quoted(file_.path());
  const std::vector<ZipEntry> entries = read_zip(file_);
  std::map<std::string_view, const ZipEntry*> by_name;
  std::vector<const ZipEntry*> roots;
  const std::string_view pickle_name = "/data.pkl";
  for (const ZipEntry& entry : entries) {
    by_name[entry.name] = &entry;
    if (entry.name.ends_with(pickle_name) && entry.name.find('/') == entry.name.size() - pickle_name.size())
      roots.push_back(&entry);
  }
  check(roots.size() == 1, "torch", shown, " is a zip archive, but not of torch.save: expected one data.pkl, got ",
        roots.size());
  const std::string root = roots[0]->name.substr(0, roots[0]->name.size() - pickle_name.size());
  const auto entry = [&](const std::string& name) {
    const auto found = by_name.find(root + name);
    return found == by_name.end() ? nullptr : found->second;
  };
  if (const ZipEntry* order = entry("/byteorder")) {
    const std::string_view text(reinterpret_cast<const char*>(order->data.data()), order->data.size());
    check(text == "little", "torch", shown, " has the byte order '", printable(text), "', expected little");
  }

  ByteReader reader(roots[0]->data, shown);
  Pickle pickle = read_pickle(reader);
  check(reader.left() == 0, "torch", shown, " has bytes after the end of data.pkl");
  for (const PickleValue& value : pickle.values)
    if (value.kind == Kind::storage) {
      const std::string_view key = pickle.values[value.items[1]].text;
      const ZipEntry* data = entry("/data/" + std::string(key));
      check(data != nullptr && !data->compressed, "torch", shown, " lacks the storage '", printable(key), "'");
      add_storage(pickle, value, data->data);
    }
  return pickle;
}

Pickle TorchArchive::read_old_file() {
  const std::string shown = quoted(file_.path());
  ByteReader reader(file_.bytes(), shown);
  reader.take(sizeof old_magic);
  const Pickle protocol = read_pickle(reader), system = read_pickle(reader);
  const PickleValue& version = protocol.values[protocol.root];
  check(version.kind == Kind::integer && version.integer == 1001, "torch", shown, " has an unknown version");
  const PickleValue& properties = system.values[system.root];
  const PickleValue* little = is_dict(properties) ? find(system, properties, "little_endian") : nullptr;
  check(little != nullptr && little->kind == Kind::boolean && little->integer == 1, "torch", shown,
        " does not say that it is little-endian");

  Pickle pickle = read_pickle(reader);
  const Pickle keys = read_pickle(reader);
  std::map<std::string_view, std::vector<const PickleValue*>> users;  // the storages of a key: a tensor names its own
  for (const PickleValue& value : pickle.values)
    if (value.kind == Kind::storage) users[pickle.values[value.items[1]].text].push_back(&value);
  check(keys.values[keys.root].kind == Kind::list, "torch", shown, " has no list of storages");
  for (const std::uint32_t item : keys.values[keys.root].items) {
    const PickleValue& key = keys.values[item];
    const auto user = key.kind == Kind::text ? users.find(key.text) : users.end();
    check(user != users.end(), "torch", shown, " has a storage that no tensor uses, or one twice");
    const auto elements = reader.number<std::uint64_t>();
    const std::string_view type = pickle.values[user->second[0]->items[0]].text;
    std::uint64_t bytes = 0;
    check(!__builtin_mul_overflow(elements, size_of_element(element_type(type)), &bytes), "torch", shown,
          " has a storage of too many elements");
    const std::span<const std::byte> data = reader.take(bytes);
    for (const PickleValue* storage : user->second) add_storage(pickle, *storage, data);
    users.erase(user);
  }
  check(users.empty(), "torch", shown, " lacks the storage '", users.empty() ? "" : printable(users.begin()->first),
        "'");
  check(reader.left() == 0, "torch", shown, " has bytes after its last storage");
  return pickle;
}

void TorchArchive::add_storage(const Pickle& pickle, const PickleValue& storage, std::span<const std::byte> bytes) {
  const std::string_view type = element_type(pickle.values[storage.items[0]].text);
  const std::string_view key = pickle.values[storage.items[1]].text;
  const auto elements = static_cast<std::uint64_t>(pickle.values[storage.items[2]].integer);
  const auto [at, first] = storages_.try_emplace(key, Storage{type, size_of_element(type), elements, bytes});
  check(first || (at->second.type == type && at->second.elements == elements), "torch", quoted(file_.path()),
        " gives the storage '", printable(key), "' two types or sizes");
  std::uint64_t size = 0;
  check(!__builtin_mul_overflow(elements, at->second.element, &size) && size == bytes.size(), "torch",
        quoted(file_.path()), " says that its storage '", printable(key), "' has ", elements, " elements of ", type,
        ", but it has ", bytes.size(), " bytes");
}

void TorchArchive::add_tensors(const Pickle& pickle) {
  const PickleValue* root = &pickle.values[pickle.root];
  if (is_dict(*root))
    for (const std::string_view key : {"state_dict", "model_state_dict", "model"})
      if (const PickleValue* inner = find(pickle, *root, key); inner != nullptr && is_dict(*inner)) {
        root = inner;
        break;
      }

  // Modules lie in modules, perhaps in themselves; a list of what is still to be seen, last first.
  struct Seen {
    const PickleValue* value;
    std::string name;
  };
  std::vector<Seen> left{{root, ""}};
  std::size_t names_bytes = 0, entries = 0;
  while (!left.empty()) {
    const auto [value, name] = std::move(left.back());
    left.pop_back();
    if (value->kind == Kind::tensor) {
      check(by_name_.emplace(name, tensors_.size()).second, "torch", quoted(file_.path()), " has the tensor '",
            printable(name), "' twice");
      add_tensor(pickle, *value, name);
    }
    const bool module = value->kind == Kind::record && !value->items.empty();
    if (!module && value != root) continue;
    const std::vector<std::uint32_t>& items = module ? pickle.values[value->items[0]].items : value->items;
    if (!module && !is_dict(*value)) break;  // no dict at the top
    for (std::size_t i = items.size(); i >= 2; i -= 2) {
      if (++entries > most_entries)
        fail("torch", quoted(file_.path()), " has more than ", most_entries, " entries in its modules");
      const PickleValue &key = pickle.values[items[i - 2]], &item = pickle.values[items[i - 1]];
      if (key.kind != Kind::text || (item.kind != Kind::tensor && item.kind != Kind::record)) continue;
      std::string path = name.empty() ? std::string(key.text) : name + '.' + std::string(key.text);
      names_bytes += path.size() + 1;
      if (path.size() > longest_tensor_name || names_bytes > most_names_bytes)
        fail("torch", quoted(file_.path()), " has names that are too long: '", printable(path), "'");
      left.push_back({&item, std::move(path)});
    }
  }
  check(!tensors_.empty(), "torch", quoted(file_.path()), " holds no tensors: expected a state_dict or a module");
}

void TorchArchive::add_tensor(const Pickle& pickle, const PickleValue& tensor, const std::string& name) {
  const std::string where = "tensor '" + printable(name) + "' of " + quoted(file_.path());
  const std::string_view key = pickle.values[pickle.values[tensor.items[0]].items[1]].text;
  const Storage& storage = storages_.at(key);
  const std::vector<std::uint32_t>&shape = pickle.values[tensor.items[2]].items,
        &strides = pickle.values[tensor.items[3]].items;
  check(shape.size() == strides.size(), "torch", where, " has ", shape.size(), " extents and ", strides.size(),
        " strides");

  Source source{key, 0, {}};
  std::vector<std::int64_t> extents;
  const std::int64_t offset = pickle.values[tensor.items[1]].integer;
  bool good = offset >= 0, empty = false;
  source.offset = static_cast<std::uint64_t>(offset);
  std::uint64_t last = source.offset, count = 1, bytes = 0;  // the last element of the storage that is used
  for (std::size_t i = 0; i < shape.size(); ++i) {
    const std::int64_t extent = pickle.values[shape[i]].integer, stride = pickle.values[strides[i]].integer;
    std::uint64_t span = 0;
    good = good && extent >= 0 && stride >= 0 &&
           (extent == 0 || (!__builtin_mul_overflow(static_cast<std::uint64_t>(extent - 1),
                                                    static_cast<std::uint64_t>(stride), &span) &&
                            !__builtin_add_overflow(last, span, &last) &&
                            !__builtin_mul_overflow(count, static_cast<std::uint64_t>(extent), &count)));
    empty = empty || extent == 0;
    extents.push_back(extent);
    source.strides.push_back(static_cast<std::uint64_t>(stride));
  }
  good = good && (empty ? source.offset <= storage.elements : last < storage.elements) &&
         count <= static_cast<std::uint64_t>(INT64_MAX) &&
         !__builtin_mul_overflow(empty ? 0 : count, storage.element, &bytes);
  check(good, "torch", where, " reaches beyond its storage '", printable(key), "' of ", storage.elements, " elements");

  // Strides of 0 let few bytes stand for very many.
  const std::uint64_t most = 4 * std::uint64_t{file_.bytes().size()} + (std::uint64_t{1} << 28);
  check(!__builtin_add_overflow(dense_bytes_, bytes, &dense_bytes_) && dense_bytes_ <= most, "torch", where,
        " is a view that repeats its elements too often: more than ", most, " bytes with those before");
  tensors_.push_back({name, std::string(storage.type), Shape(extents), bytes});
  sources_.push_back(std::move(source));
}

Tensor TorchArchive::read(const std::string& name) const {
  const auto found = by_name_.find(name);
  check(found != by_name_.end(), "torch", quoted(file_.path()), " has no tensor '", printable(name), "'");
  const std::size_t i = found->second;
  const TensorInfo& info = tensors_[i];
  const Source& source = sources_[i];
  const Storage& storage = storages_.at(source.storage);
  const std::byte* first = storage.bytes.data() + source.offset * storage.element;
  const int rank = info.shape.rank();
  std::int64_t dense = 1;  // the stride that the dimension would have
  bool is_dense = true;
  for (int d = rank - 1; d >= 0; --d) {
    is_dense = is_dense &&
               (info.shape[d] == 1 || source.strides[static_cast<std::size_t>(d)] == static_cast<std::uint64_t>(dense));
    dense *= info.shape[d];
  }
  if (is_dense || info.bytes == 0) return tensor_of(info, {first, static_cast<std::size_t>(info.bytes)}, file_.path());

  std::vector<std::byte> copy(static_cast<std::size_t>(info.bytes));
  std::int64_t index[Shape::max_rank] = {};
  for (std::byte* out = copy.data(); out < copy.data() + copy.size(); out += storage.element) {
    std::uint64_t from = 0;
    for (int d = 0; d < rank; ++d)
      from += static_cast<std::uint64_t>(index[d]) * source.strides[static_cast<std::size_t>(d)];
    std::memcpy(out, first + from * storage.element, storage.element);
    for (int d = rank - 1; d >= 0 && ++index[d] == info.shape[d]; --d) index[d] = 0;
  }
  return tensor_of(info, copy, file_.path());
}

}  // namespace clip
