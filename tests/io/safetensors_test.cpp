#include "clip/io/safetensors.hpp"

#include <cstring>
#include <fstream>

#include "tests/support/catch.hpp"
#include "tests/support/check_op.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/temporary.hpp"

using namespace clip;
using namespace clip::test;

namespace {

std::string with_length(const std::string& header, const std::string& data = "") {
  const std::uint64_t length = header.size();
  return std::string(reinterpret_cast<const char*>(&length), 8) + header + data;
}

/// The message of opening a file of these bytes; empty when that works.
std::string error_of(const std::string& bytes) {
  const TemporaryFolder folder;
  try {
    SafeTensors::open(folder.write("x.safetensors", bytes));
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}
void check_refused(const std::string& header, const std::string& data, const std::string& part) {
  const std::string message = error_of(with_length(header, data));
  INFO(header.substr(0, 200));
  CHECK_THAT(message, Catch::Matchers::Contains(part));
  CHECK_THAT(message, Catch::Matchers::Contains("x.safetensors"));
}
std::string entry(const std::string& name, const std::string& type, const std::string& shape,
                  const std::string& offsets) {
  return '"' + name + "\":{\"dtype\":\"" + type + "\",\"shape\":" + shape + ",\"data_offsets\":" + offsets + "}";
}

}  // namespace

TEST_CASE("safetensors come back as they were written", "[io]") {
  const TemporaryFolder folder;
  const std::vector<NamedTensor> tensors{{"bytes", Tensor::of({1, 2, 255}, dtype::u8)},
                                         {"floats \"quoted\"\n", Tensor::of({{1.5, -2}, {3, 4}})},
                                         {"half", Tensor::of({1, 2, 3}, dtype::f16)},
                                         {"brain", Tensor::of({1, 2, 3}, dtype::bf16)},
                                         {"int", Tensor::of({{-7}}, dtype::i32)},
                                         {"long", Tensor::from(std::vector<std::int64_t>{INT64_MIN, 5}, {2})},
                                         {"scalar", Tensor::of(3)},
                                         {"empty", Tensor({0, 4})}};
  save_safetensors(folder / "a.safetensors", tensors, {{"format", "pt"}, {"ü", "\x01"}});
  const SafeTensors file = SafeTensors::open(folder / "a.safetensors");
  CHECK(file.metadata() == std::map<std::string, std::string>{{"format", "pt"}, {"ü", "\x01"}});
  CHECK(file.tensors().size() == tensors.size());
  CHECK(file.tensors()[0].name == "long");
  for (const auto& [name, tensor] : tensors) {
    INFO(name);
    REQUIRE(file.has(name));
    const Tensor read = file.read(name);
    CHECK(read.shape() == tensor.shape());
    CHECK(read.dtype() == tensor.dtype());
    CHECK(file.info(name).bytes == tensor.bytes());
    CHECK(std::memcmp(read.raw(), tensor.raw(), tensor.bytes()) == 0);
  }
  CHECK(!file.has("none"));
  CHECK(throws_with([&] { file.read("no\nne"); }, "a.safetensors' has no tensor 'no\\x0ane'"));
  std::ifstream in(folder / "a.safetensors", std::ios::binary);
  std::uint64_t length = 1;
  in.read(reinterpret_cast<char*>(&length), 8);
  CHECK(length % 8 == 0);
}

TEST_CASE("saving safetensors refuses what could not be read, and keeps the file that was there", "[io]") {
  const TemporaryFolder folder;
  const std::filesystem::path path = folder.write("a.safetensors", "before");
  const auto refused = [&](const std::string& name, const Tensor& tensor, const std::string& part) {
    const std::vector<NamedTensor> two{{"a", Tensor::of(1)}, {name, tensor}};
    CHECK(throws_with([&] { save_safetensors(path, two); }, part));
  };
  refused("a", Tensor::of(1), "'a' twice");
  refused("__metadata__", Tensor::of(1), "no possible name");
  refused(std::string(4097, 'x'), Tensor::of(1), "no possible name");
  refused("", Tensor::of(1), "no possible name");
  refused("b", Tensor(), "undefined");
  refused("\xff", Tensor::of(1), "a.safetensors");
  CHECK(read_file(path) == "before");
  CHECK(std::distance(std::filesystem::directory_iterator(folder.path()), {}) == 1);
}

TEST_CASE("safetensors in any order and of any type are read", "[io]") {
  const TemporaryFolder folder;
  const double d[] = {0.5, -1e300};
  std::string data(reinterpret_cast<const char*>(d), 16);
  data += "\x01\x02\x03";
  const auto path = folder.write("x.safetensors", with_length('{' + entry("b", "BOOL", "[3]", "[16,19]") + "," +
                                                                  entry("e", "F32", "[0]", "[16,16]") + "," +
                                                                  entry("d", "F64", "[2,1]", "[0,16]") + "}   ",
                                                              data));
  const SafeTensors file = SafeTensors::open(path);
  CHECK(file.tensors()[0].name == "d");
  CHECK(file.tensors()[1].name == "e");
  CHECK(file.read("d").to_vector()[0] == 0.5f);
  CHECK(file.read("d").shape() == Shape{2, 1});
  CHECK(file.read("e").numel() == 0);
  CHECK(throws_with([&] { file.read("b"); }, "tensor 'b' of '" + path.string() + "' is BOOL"));
}

TEST_CASE("a header that breaks a rule of the format is refused", "[io]") {
  const std::string good = '{' + entry("a", "F32", "[1]", "[0,4]") + "}";
  CHECK(error_of(with_length(good, "1234")).empty());
  CHECK(error_of(with_length("{}")).empty());
  check_refused('{' + entry("a", "F32", "[2]", "[0,8]") + "}", "1234", "cut off");
  check_refused(good, "12345", "should have 4 bytes");
  check_refused('{' + entry("a", "F32", "[1]", "[4,8]") + "}", "12345678", "start at 0");
  check_refused('{' + entry("a", "U8", "[2]", "[0,2]") + "," + entry("b", "U8", "[2]", "[1,3]") + "}", "123",
                "start at 2");
  check_refused('{' + entry("a", "U8", "[2]", "[0,2]") + "," + entry("b", "U8", "[1]", "[3,4]") + "}", "1234",
                "start at 2");
  check_refused('{' + entry("a", "F32", "[1]", "[4,0]") + "}", "1234", "4 bytes apart");
  check_refused('{' + entry("a", "F32", "[1]", "[0,3]") + "}", "123", "4 bytes apart");
  check_refused('{' + entry("a", "F31", "[1]", "[0,4]") + "}", "1234", "a known dtype, got 'F31'");
  check_refused('{' + entry("a", "F32", "[-1]", "[0,4]") + "}", "1234", "unsigned integers in 'shape', got -1");
  check_refused('{' + entry("a", "F32", "[1.0]", "[0,4]") + "}", "1234", "unsigned integers");
  check_refused('{' + entry("a", "F32", "[true]", "[0,4]") + "}", "1234", "unsigned integers");
  check_refused('{' + entry("a", "F32", "[[1]]", "[0,4]") + "}", "1234", "unsigned integers");
  check_refused('{' + entry("a", "F32", "1", "[0,4]") + "}", "1234", "an array as 'shape'");
  check_refused('{' + entry("a", "F32", "[1]", "[0,4,4]") + "}", "1234", "two 'data_offsets', got 3");
  check_refused('{' + entry("a", "F32", "[1,1,1,1,1,1,1,1,1]", "[0,4]") + "}", "1234", "8 dimensions");
  check_refused('{' + entry("a", "F32", "[4294967296,4294967296]", "[0,0]") + "}", "", "2^63 elements");
  check_refused('{' + entry("a", "F32", "[18446744073709551615]", "[0,4]") + "}", "1234", "2^63 elements");
  check_refused('{' + entry("a", "F32", "[18446744073709551616]", "[0,4]") + "}", "1234", "unsigned integers");
  check_refused('{' + entry("a", "F64", "[4611686018427387904]", "[0,0]") + "}", "", "2^64 bytes");
  check_refused('{' + entry("a", "F32", "[1]", "[0,4]") + "," + entry("a", "F32", "[1]", "[4,8]") + "}", "12345678",
                "'a' twice");
  check_refused("{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", "1234",
                "it twice");
  check_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", "1234", "not all three");
  check_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"more\":1}}", "1234", "got 'more'");
  check_refused("{\"a\":1}", "", "an object");
  check_refused("{\"__metadata__\":{\"a\":1}}", "", "a string in '__metadata__'");
  check_refused("{\"__metadata__\":{\"a\":\"1\",\"a\":\"1\"}}", "", "each key once");
  check_refused("{\"__metadata__\":{},\"__metadata__\":{}}", "", "one '__metadata__'");
  check_refused("{\"__metadata__\":{\"a\":{}}}", "", "a string in '__metadata__'");
  check_refused(std::string("{\"") + std::string(4097, 'n') + "\":{}}", "", "name of 4097 bytes");
  check_refused("{\"\xff\":{}}", "", "not valid JSON");
  check_refused(good + "x", "1234", "not valid JSON");
  check_refused("[]", "", "no JSON object");
  check_refused(" {}", "", "no JSON object");
  check_refused(std::string(1'000'000, '['), "", "no JSON object");
  check_refused(std::string("{\"a\":") + std::string(1'000'000, '['), "", "an object");
}

TEST_CASE("a safetensors file cut anywhere, or with any bit flipped in its header, is an error or still consistent",
          "[io]") {
  const std::string header = '{' + entry("a", "F32", "[2,1]", "[0,8]") + "," + entry("b", "U8", "[3]", "[8,11]") + "}";
  const std::string whole = with_length(header, "12345678abc");
  for (std::size_t length = 0; length < whole.size(); ++length) {
    INFO(length);
    CHECK(!error_of(whole.substr(0, length)).empty());
  }
  for (std::size_t bit = 0; bit < 8 * (8 + header.size()); ++bit) {
    std::string flipped = whole;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
    error_of(flipped);  // must neither crash nor throw anything else
  }
  const std::string lengths[] = {std::string(8, '\xff'), std::string(7, '\xff') + "\x7f"};
  for (const std::string& length : lengths) CHECK(!error_of(length + header).empty());
}

TEST_CASE("a sharded model opens as one", "[io]") {
  const TemporaryFolder folder;
  const std::vector<NamedTensor> first{{"a", Tensor::of({1, 2})}, {"b", Tensor::of({3})}},
      second{{"c", Tensor::of({4, 5})}};
  save_safetensors(folder / "model-1.safetensors", first, {{"format", "pt"}});
  save_safetensors(folder / "model-2.safetensors", second);
  const auto with_map = [&](const std::string& map) {
    folder.write("model.safetensors.index.json",
                 std::string("{\"metadata\":{\"total_size\":20},\"weight_map\":").append(map).append("}"));
    return SafeTensors::open(folder.path());
  };
  const SafeTensors model =
      with_map(R"({"a":"model-1.safetensors","b":"model-1.safetensors","c":"model-2.safetensors"})");
  CHECK(model.tensors().size() == 3);
  CHECK(model.metadata().at("format") == "pt");
  CHECK(model.read("c").to_vector() == std::vector<float>{4, 5});
  CHECK(model.read("b").to_vector() == std::vector<float>{3});

  const auto refused = [&](const std::string& map, const std::string& part) {
    CHECK(throws_with([&] { with_map(map); }, part));
  };
  refused(R"({"a":"../model-1.safetensors"})", "name of a file in the same folder for 'a'");
  refused(R"({"a":"/etc/passwd"})", "name of a file");
  refused(R"({"a":"sub/model.safetensors"})", "name of a file");
  refused(R"({"a":".."})", "name of a file");
  refused(R"({"a":"."})", "name of a file");
  refused(R"({"a":""})", "name of a file");
  refused(R"({"a":"model-1.safetensors\u0000"})", "name of a file");
  refused(R"({"a":"model.safetensors.index.json"})", "name of a file");
  refused(R"({"a":1})", "name of a file");
  refused(R"([])", "weight_map");
  refused(R"({})", "expected an object of tensor and file names for 'weight_map'");
  refused(R"({"a":"missing.safetensors"})", "missing.safetensors");
  refused(R"({"a":"model-1.safetensors"})", "has a tensor 'b' that");
  refused(R"({"a":"model-1.safetensors","b":"model-1.safetensors","d":"model-1.safetensors"})", "places 3 tensors");
  refused(R"({"a":"model-1.safetensors","b":"model-2.safetensors","c":"model-2.safetensors"})", "does not place there");
  CHECK(throws_with([&] { SafeTensors::open(folder / "none"); }, "none"));
  const TemporaryFolder empty;
  CHECK(throws_with([&] { SafeTensors::open(empty.path()); }, "weights_convert"));
}

TEST_CASE("a header of very many tensors is read in moments, and one more than allowed is refused", "[io]") {
  std::string header = "{";
  for (int i = 0; i < 100'001; ++i)
    header += std::string(i == 0 ? "" : ",").append(entry(std::to_string(i), "F32", "[0]", "[0,0]"));
  check_refused(header + "}", "", "more than 100000 tensors");
  header.resize(header.rfind(",\"100000\""));
  CHECK(error_of(with_length(header + "}")).empty());
}
