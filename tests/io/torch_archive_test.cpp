#include "src/io/torch_archive.hpp"

#include "src/io/json.hpp"
#include "tests/support/archive.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/data.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/sanitized.hpp"
#include "tests/support/temporary.hpp"

using namespace clip;
using namespace clip::test;

namespace {

/// Opens a file of these bytes, and reads all that it holds.
void open_bytes(const std::string& bytes) {
  const TemporaryFolder folder;
  const TorchArchive archive = TorchArchive::open(folder.write("x.pt", bytes));
  for (const TensorInfo& tensor : archive.tensors()) archive.read(tensor.name);
}
bool refused(const std::string& bytes, const std::string& part) {
  return throws_with([&] { open_bytes(bytes); }, part);
}
bool pickle_refused(const std::string& pickle, const std::string& part) { return refused(torch_archive(pickle), part); }

/// Either way is fine: what must not happen is a crash, or an exception of another type.
void must_survive(const std::string& bytes) {
  try {
    open_bytes(bytes);
  } catch (const Error&) {
  }
}

std::vector<double> values_of(const Tensor& tensor) {
  std::vector<double> values;
  const auto add = [&]<class T>(T) {
    for (const T value : tensor.to_vector<T>()) values.push_back(static_cast<double>(static_cast<float>(value)));
  };
  switch (tensor.dtype()) {
    case dtype::f32: add(float{}); break;
    case dtype::f16: add(f16{}); break;
    case dtype::bf16: add(bf16{}); break;
    case dtype::i32: add(std::int32_t{}); break;
    case dtype::i64: add(std::int64_t{}); break;
    case dtype::u8: add(std::uint8_t{}); break;
  }
  return values;
}

const std::string good_tensor = pickled_tensor(pickled_storage(4), 0, {2, 2}, {2, 1});

}  // namespace

TEST_CASE("archives of PyTorch hold what PyTorch put in", "[io]") {
  const std::map<std::string, std::string> types{
      {"float32", "F32"}, {"float64", "F64"}, {"float16", "F16"}, {"bfloat16", "BF16"}, {"int64", "I64"},
      {"int32", "I32"},   {"int16", "I16"},   {"int8", "I8"},     {"uint8", "U8"},      {"bool", "BOOL"}};
  const JsonFile expected(test_data("archive/expected.json"));
  CHECK(expected.json()["files"].size() >= 13);
  for (const auto& [file, tensors] : expected.json()["files"].items()) {
    INFO(file);
    const TorchArchive archive = TorchArchive::open(test_data("archive/" + file));
    CHECK(archive.tensors().size() == tensors.size());
    for (const Json& tensor : tensors) {
      const auto name = tensor["name"].get<std::string>();
      INFO(name);
      const auto found = std::find_if(archive.tensors().begin(), archive.tensors().end(),
                                      [&](const TensorInfo& info) { return info.name == name; });
      REQUIRE(found != archive.tensors().end());
      CHECK(found->type == types.at(tensor["type"].get<std::string>()));
      const auto shape = tensor["shape"].get<std::vector<std::int64_t>>();
      CHECK(found->shape == Shape(shape));
      if (found->type == "BOOL" || found->type == "I16" || found->type == "I8") {
        CHECK(throws_with([&] { archive.read(name); }, "'" + name + "'"));
        continue;
      }
      std::vector<double> values;
      for (const Json& value : tensor["values"])
        values.push_back(static_cast<double>(static_cast<float>(value.get<double>())));
      CHECK(values_of(archive.read(name)) == values);
    }
  }
}

TEST_CASE("the archive written by hand here is a good one", "[io]") {
  open_bytes(torch_archive(pickled_dict(good_tensor)));
  open_bytes(torch_archive(pickled_dict(pickled_tensor(pickled_storage(4), 4, {0, 3}, {3, 1}))));
  open_bytes(torch_archive(pickled_dict(pickled_tensor(pickled_storage(4), 3, {1000}, {0}))));
}

TEST_CASE("a pickle can name nothing but tensors, and call nothing else", "[io]") {
  const auto dict = pickled_dict;
  CHECK(pickle_refused(dict("cos\nsystem\n(" + pickled_text("true") + "tR"),
                       "GLOBAL of 'os.system', which is not allowed"));
  CHECK(pickle_refused(dict("cposix\nsystem\n)R"), "posix.system"));
  CHECK(pickle_refused(dict("c__builtin__\neval\n)R"), "__builtin__.eval"));
  CHECK(pickle_refused(dict("ctorch\nload\n)R"), "torch.load"));
  CHECK(pickle_refused(dict("ctorch.storage\n_load_from_bytes\n)R"), "torch.storage._load_from_bytes"));
  CHECK(pickle_refused(dict("c__torch__evil\nsystem\n)\x81"), "__torch__evil.system"));
  CHECK(pickle_refused(dict("ctorchvision.models.resnet\nResNet\n)\x81"), "state_dict()"));
  CHECK(pickle_refused(dict("cos\nsys\x1b[31mtem\n)R"), "os.sys\\x1b[31mtem"));
  CHECK(pickle_refused(dict(pickled_text("os") + pickled_text("system") + "\x93)R"), "STACK_GLOBAL of 'os.system'"));
  CHECK(pickle_refused(dict("(cos\nsystem\no"), "os.system"));
  CHECK(pickle_refused(dict("(ios\nsystem\n"), "opcode INST"));
  CHECK(pickle_refused(dict("(" + pickled_text("x") + "o"), "opcode OBJ"));
  CHECK(pickle_refused(dict("\x82\x01"), "opcode EXT1"));
  CHECK(pickle_refused(dict("Pstorage\n"), "opcode PERSID"));
  CHECK(pickle_refused(dict("\xff"), "opcode 0xff"));
  CHECK(pickle_refused(dict("ctorch\nFloatStorage\n)R"), "REDUCE of 'FloatStorage'"));
  CHECK(pickle_refused(dict("c__torch__.a\nB\n)R"), "REDUCE of 'B'"));
  CHECK(pickle_refused(dict("ccollections\nOrderedDict\n)\x81"), "NEWOBJ of 'collections.OrderedDict'"));
  CHECK(pickle_refused(dict("c__torch__.a\nB\n(Nt\x81"), "no arguments"));
  CHECK(pickle_refused(dict("c__torch__.a\nB\n)\x81"
                            "Nb"),
                       "BUILD"));
  CHECK(pickle_refused(dict("c__torch__.a\nB\n)\x81}b}b"), "BUILD"));
  CHECK(pickle_refused(dict("ccollections\nOrderedDict\n)R}" + pickled_text("__class__") + "Nsb"), "BUILD"));
  CHECK(pickle_refused(dict("ccollections\nOrderedDict\n)R}" + pickled_text("_metadata") + "Nsb"), "BUILD"));
  CHECK(pickle_refused(dict("ccollections\nOrderedDict\n)R}b"), "BUILD"));
  CHECK(pickle_refused(dict("}}b"), "BUILD"));
  CHECK(pickle_refused(dict("ccollections\nOrderedDict\n(NtR"), "no arguments of OrderedDict"));
  CHECK(pickle_refused(dict("NNR"), "REDUCE"));
  CHECK(pickle_refused(dict("ctorch._utils\n_rebuild_tensor_v2\n)R"), "six or seven arguments"));
  CHECK(pickle_refused(dict("ctorch._utils\n_rebuild_parameter\n(NNNtR"), "a tensor"));
  CHECK(pickle_refused(dict("(" + pickled_text("module") + "NNNNtQ"), "BINPERSID"));
  CHECK(pickle_refused(dict("NQ"), "persistent id"));
}

TEST_CASE("a malformed pickle is refused", "[io]") {
  CHECK(pickle_refused("", "cut off"));
  CHECK(pickle_refused("\x80\x02", "cut off"));
  CHECK(pickle_refused("\x80\x01N.", "protocol"));
  CHECK(pickle_refused("\x80\x02.", "one value"));
  CHECK(pickle_refused("\x80\x02NN.", "one value"));
  CHECK(pickle_refused("\x80\x02(N.", "one value"));
  CHECK(pickle_refused("\x80\x02N.N", "bytes after the end"));
  CHECK(pickle_refused("\x80\x02}s.", "more values"));
  CHECK(pickle_refused("\x80\x02}Nu.", "a mark"));
  CHECK(pickle_refused("\x80\x02}(Nu.", "as many keys as values"));
  CHECK(pickle_refused("\x80\x02](\x85.", "more values"));  // nothing above the mark
  CHECK(pickle_refused("\x80\x02}Na.", "a list"));
  CHECK(pickle_refused(std::string("\x80\x02h\x00.", 5), "remembered before"));
  CHECK(pickle_refused("\x80\x02q", "cut off"));
  CHECK(pickle_refused("\x80\x02X\xff\xff\xff\xff", "cut off"));
  CHECK(
      pickle_refused("\x80\x02"
                     "cos",
                     "no end of the line"));
  CHECK(pickle_refused("\x80\x02N.", "holds no tensors"));
  CHECK(pickle_refused("\x80\x02}.", "holds no tensors"));
  CHECK(pickle_refused(pickled_dict(good_tensor + "s" + pickled_text("a") + good_tensor), "'a' twice"));
}

TEST_CASE("a pickle nested very deeply, or very long, costs neither stack nor memory", "[io]") {
  const auto repeat = [](const std::string& text, std::size_t times) {
    std::string all;
    for (std::size_t i = 0; i < times; ++i) all += text;
    return all;
  };
  constexpr std::size_t depth = shorter(800'000);
  CHECK(pickle_refused("\x80\x02" + repeat("]", depth) + repeat("a", depth - 1) + ".", "holds no tensors"));
  CHECK(pickle_refused("\x80\x02N" + repeat("\x85", depth) + ".", "holds no tensors"));
  if (!sanitized) {  // which takes a minute
    CHECK(pickle_refused("\x80\x02" + repeat("]", 1'000'001), "more than 1000000 values"));
    CHECK(pickle_refused("\x80\x02" + repeat("(", 1'000'001), "more than 1000000 values"));
    CHECK(pickle_refused("\x80\x02Nq\x01" + repeat("h\x01", 1'000'001), "more than 1000000 values"));
  }
  // A module that contains itself, and modules that each contain the next one twice.
  const std::string module = "c__torch__\nM\n)\x81", a = pickled_text("a"), b = pickled_text("b");
  CHECK(pickle_refused("\x80\x02" + module + "q\x01}" + a + "h\x01sb.", "names that are too long"));
  std::string tower = module;
  for (char level = 1; level < 100; ++level) {
    const std::string key(1, level);
    tower = std::string(module)
                .append("}")
                .append(a)
                .append(tower)
                .append("q" + key + "s")
                .append(b)
                .append("h" + key + "sb");
  }
  CHECK(pickle_refused("\x80\x02" + tower + ".", "names that are too long"));
}

TEST_CASE("a tensor beyond its storage is refused before anything is allocated", "[io]") {
  const auto tensor = [](std::int64_t offset, const std::vector<std::int64_t>& shape,
                         const std::vector<std::int64_t>& strides) {
    return pickled_dict(pickled_tensor(pickled_storage(4), offset, shape, strides));
  };
  const std::int64_t huge = INT64_MAX;
  CHECK(pickle_refused(tensor(1, {2, 2}, {2, 1}), "tensor 'a' of"));
  CHECK(pickle_refused(tensor(0, {5}, {1}), "beyond its storage '0' of 4 elements"));
  CHECK(pickle_refused(tensor(4, {1}, {1}), "beyond"));
  CHECK(pickle_refused(tensor(5, {0}, {1}), "beyond"));
  CHECK(pickle_refused(tensor(-1, {1}, {1}), "beyond"));
  CHECK(pickle_refused(tensor(0, {2}, {-1}), "beyond"));
  CHECK(pickle_refused(tensor(0, {-2}, {1}), "beyond"));
  CHECK(pickle_refused(tensor(0, {2}, {huge}), "beyond"));
  CHECK(pickle_refused(tensor(huge, {2}, {huge}), "beyond"));
  CHECK(pickle_refused(tensor(0, {huge, 4}, {0, 0}), "beyond"));
  CHECK(pickle_refused(tensor(0, {huge, 0, 4}, {1, 1, 1}), "beyond"));
  CHECK(pickle_refused(tensor(0, {huge}, {0}), "beyond"));
  CHECK(pickle_refused(tensor(0, {std::int64_t{1} << 40}, {0}), "repeats its elements too often"));
  CHECK(pickle_refused(tensor(0, {2}, {1, 1}), "1 extents and 2 strides"));
  CHECK(pickle_refused(tensor(0, {1, 1, 1, 1, 1, 1, 1, 1, 1}, {1, 1, 1, 1, 1, 1, 1, 1, 1}), "at most 8 extents"));
  const auto storage = [](const std::string& pickle) { return pickled_dict(pickled_tensor(pickle, 0, {1}, {1})); };
  CHECK(pickle_refused(storage(pickled_storage(5)), "has 5 elements of F32, but it has 16 bytes"));
  CHECK(pickle_refused(storage(pickled_storage(huge)), "elements of F32"));
  CHECK(pickle_refused(storage(pickled_storage(-1)), "a number of elements"));
  CHECK(pickle_refused(storage(pickled_storage(4, "FloatStorage", "1")), "lacks the storage '1'"));
  CHECK(pickle_refused(storage(pickled_storage(4, "FloatStorage", "../version")), "lacks the storage"));
  CHECK(pickle_refused(storage(pickled_storage(4, "OddStorage")), "torch.OddStorage"));
  CHECK(
      pickle_refused(pickled_dict("(" + pickled_storage(4) + pickled_storage(2, "DoubleStorage") + "t"), "two types"));
}

TEST_CASE("a zip archive that is not as PyTorch writes it is refused", "[io]") {
  const std::string pickle = pickled_dict(good_tensor), storage(16, '\1');
  const auto with = [&](const ZipFile& odd) {
    return zip_archive({{.name = "x/data.pkl", .data = pickle}, {.name = "x/data/0", .data = storage}, odd});
  };
  open_bytes(with({.name = "x/fine", .data = "fine"}));
  CHECK(refused(with({.name = "x/data/0", .data = storage}), "'x/data/0' in"));
  for (const std::string name : {"/etc/passwd", "x/../y", "..", "x/..", "x\\y", "", "x//y", "x/", "./x", "c:x"})
    CHECK(refused(with({.name = name, .data = ""}), "no name"));
  CHECK(refused(with({.name = std::string("x\0y", 3), .data = ""}), "no name"));
  CHECK(refused(with({.name = "x/y", .data = "1", .local_name = "x/z"}), "contradicts"));
  CHECK(refused(with({.name = "x/y", .data = "1", .method = 0, .local_method = 8}), "contradicts"));
  CHECK(refused(with({.name = "x/y", .data = "1", .method = 8}), "compressed"));
  open_bytes(with({.name = "x/code/y.py", .data = "1", .method = 8}));
  CHECK(refused(with({.name = "x/y", .data = "1", .flags = 1}), "encrypted"));
  CHECK(refused(with({.name = "x/y", .data = "1", .flags = 0, .local_flags = 8}), "contradicts"));
  CHECK(refused(with({.name = "x/y", .data = "1", .crc = 5}), "checksum is wrong"));
  CHECK(refused(with({.name = "x/y", .data = "1", .local_crc = 5}), "contradicts"));
  CHECK(refused(with({.name = "x/y", .data = "1", .size = 2}), "overlaps"));
  CHECK(refused(with({.name = "x/y", .data = "1", .size = 1, .local_size = 0}), "contradicts"));
  CHECK(refused(with({.name = "x/y", .data = "1", .move_back = 1}), "overlaps"));
  CHECK(refused(with({.name = "x/y", .data = "1", .move_back = 1000}), "does not have"));
  const std::uint32_t crc = crc32(std::as_bytes(std::span("1", 1)));
  const ZipFile described{.name = "x/y", .data = "1", .flags = 8, .local_crc = 0, .local_size = 0};
  const auto descriptor = [&](std::uint32_t c, std::uint32_t size) {
    ZipFile file = described;
    file.after = "PK\x07\x08" + little(c, 4) + little(size, 4) + little(size, 4);
    return with(file);
  };
  open_bytes(descriptor(crc, 1));
  CHECK(refused(descriptor(crc + 1, 1), "data descriptor that contradicts"));
  CHECK(refused(descriptor(crc, 2), "data descriptor that contradicts"));
  CHECK(refused(with(described), "no data descriptor"));

  CHECK(refused(zip_archive({{.name = "x/data/0", .data = storage}}), "expected one data.pkl, got 0"));
  CHECK(refused(with({.name = "y/data.pkl", .data = pickle}), "expected one data.pkl, got 2"));
  CHECK(refused(torch_archive(pickle, storage, "big"), "byte order 'big'"));
  const std::string whole = torch_archive(pickle);
  CHECK(refused(whole + "x", "end record"));
  CHECK(refused(whole.substr(0, whole.size() - 30), "end record"));
  CHECK(refused("PK\x03\x04", "end record"));
  CHECK(refused("", "no archive of torch.save"));
  CHECK(refused("\x80\x02}.", "no archive of torch.save"));
}

TEST_CASE("a file of the old format with parts missing or twice is refused", "[io]") {
  const std::string start = std::string("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.", 15);
  const std::string version = "\x80\x02M\xe9\x03.", system = "\x80\x02}" + pickled_text("little_endian") + "\x88s.";
  const std::string pickle = pickled_dict(good_tensor), keys = "\x80\x02]" + pickled_text("0") + "a.";
  const std::string data = little(4, 8) + std::string(16, '\1');
  open_bytes(start + version + system + pickle + keys + data);
  CHECK(refused(start + "\x80\x02M\xea\x03." + system + pickle + keys + data, "unknown version"));
  CHECK(refused(start + version + "\x80\x02}" + pickled_text("little_endian") + "\x89s." + pickle + keys + data,
                "little-endian"));
  CHECK(refused(start + version + "\x80\x02N." + pickle + keys + data, "little-endian"));
  CHECK(refused(start + version + system + pickle + "\x80\x02N." + data, "no list"));
  CHECK(refused(start + version + system + pickle + "\x80\x02].", "lacks the storage '0'"));
  CHECK(refused(start + version + system + pickle + "\x80\x02]" + pickled_text("1") + "a." + data, "no tensor uses"));
  CHECK(refused(start + version + system + pickle + "\x80\x02]" + pickled_text("0") + "a" + pickled_text("0") + "a." +
                    data + data,
                "or one twice"));
  CHECK(refused(start + version + system + pickle + keys + little(3, 8) + std::string(12, '\1'), "has 4 elements"));
  CHECK(refused(start + version + system + pickle + keys + little(UINT64_MAX, 8), "too many elements"));
  CHECK(refused(start + version + system + pickle + keys + data + "x", "bytes after"));
  CHECK(refused(start + version + system +
                    "\x80\x02"
                    "cos\nsystem\n)R." +
                    keys + data,
                "os.system"));
}

TEST_CASE("archives cut off anywhere are errors, and with any bit flipped no crash", "[io]") {
  for (const std::string file : {"views.zip.pt", "types.old.pt"}) {
    const std::string whole = read_file(test_data("archive/" + file));
    for (std::size_t length = 0; length < whole.size(); ++length)
      if (!refused(whole.substr(0, length), "x.pt")) FAIL(file << " cut to " << length);
    for (std::size_t bit = 0; bit < 8 * whole.size(); bit += sanitized ? 37 : 11) {
      std::string flipped = whole;
      flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
      must_survive(flipped);
    }
  }
}
