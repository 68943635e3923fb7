#include "src/io/safetensors_header.hpp"

#include <algorithm>
#include <limits>
#include <utility>

#include "clip/core/error.hpp"
#include "clip/io/file.hpp"
#include "src/io/element_types.hpp"
#include "src/io/json.hpp"

namespace clip {
namespace {

constexpr std::size_t most_tensors = 100'000;  // ten times what the largest models have

/// Takes the parser's events one by one: a document of so many tensors would cost far more as a tree. The format has
/// three levels, so anything deeper is already wrong.
class HeaderReader : public Json::json_sax_t {
 public:
  explicit HeaderReader(const std::filesystem::path& file) : file_(quoted(file)) {}

  SafeTensorsHeader header;

  bool start_object(std::size_t) override {
    if (level_ == Level::file) {
      level_ = Level::header;
    } else if (level_ == Level::header && name_ == "__metadata__") {
      if (std::exchange(has_metadata_, true)) wrong("one '__metadata__'", "two");
      level_ = Level::metadata;
    } else if (level_ == Level::header) {
      check(header.tensors.size() < most_tensors, "safetensors", file_, " has more than ", most_tensors, " tensors");
      header.tensors.emplace_back().info.name = name_;
      seen_ = {};
      level_ = Level::tensor;
    } else {
      wrong(wanted(), "an object");
    }
    return true;
  }
  bool end_object() override {
    if (level_ == Level::tensor) {
      if (!seen_.type || !seen_.shape || !seen_.offsets) wrong("'dtype', 'shape' and 'data_offsets'", "not all three");
      finish(header.tensors.back());
    }
    level_ = level_ == Level::header ? Level::file : Level::header;
    return true;
  }
  bool key(std::string& text) override {
    if (level_ == Level::header) {
      check(text.size() <= longest_tensor_name, "safetensors", file_, " has a name of ", text.size(),
            " bytes, more than ", longest_tensor_name, ": '", printable(text), "'");
      name_ = std::move(text);
      return true;
    }
    key_ = std::move(text);
    if (level_ == Level::metadata) {
      check(header.metadata.size() < most_tensors, "safetensors", file_, " has too much '__metadata__'");
      return true;
    }
    bool& seen = key_ == "dtype" ? seen_.type : key_ == "shape" ? seen_.shape : seen_.offsets;
    if (key_ != "dtype" && key_ != "shape" && key_ != "data_offsets")
      wrong("'dtype', 'shape' or 'data_offsets'", "'" + printable(key_) + "'");
    if (std::exchange(seen, true)) wrong("'" + key_ + "' once", "it twice");
    return true;
  }
  bool string(std::string& text) override {
    if (level_ == Level::metadata) {
      if (!header.metadata.emplace(key_, std::move(text)).second)
        wrong("each key once", "'" + printable(key_) + "' twice");
    } else if (level_ == Level::tensor && key_ == "dtype") {
      if (size_of_element(text) == 0) wrong("a known dtype", "'" + printable(text) + "'");
      header.tensors.back().info.type = std::move(text);
    } else {
      wrong(wanted(), "a string");
    }
    return true;
  }
  bool start_array(std::size_t) override {
    if (level_ != Level::tensor || key_ == "dtype") wrong(wanted(), "an array");
    numbers_.clear();
    level_ = Level::numbers;
    return true;
  }
  bool end_array() override {
    level_ = Level::tensor;
    SafeTensorsHeader::Entry& entry = header.tensors.back();
    if (key_ == "data_offsets") {
      if (numbers_.size() != 2) wrong("two 'data_offsets'", std::to_string(numbers_.size()));
      entry.begin = numbers_[0];
      entry.end = numbers_[1];
    } else {
      entry.info.shape = checked_shape();
    }
    return true;
  }
  bool number_unsigned(std::uint64_t value) override {
    if (level_ != Level::numbers) wrong(wanted(), "a number");
    if (numbers_.size() == Shape::max_rank) wrong("at most 8 dimensions", "more");
    numbers_.push_back(value);
    return true;
  }
  bool number_integer(std::int64_t value) override { wrong(wanted(), std::to_string(value)); }
  bool number_float(double, const std::string& text) override { wrong(wanted(), printable(text)); }
  bool null() override { wrong(wanted(), "null"); }
  bool boolean(bool value) override { wrong(wanted(), value ? "true" : "false"); }
  bool binary(Json::binary_t&) override { wrong(wanted(), "binary data"); }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception& e) override {
    fail("safetensors", "the header of ", file_, " is not valid JSON: ", printable(e.what()));
  }

 private:
  enum class Level { file, header, metadata, tensor, numbers };

  std::string wanted() const {
    switch (level_) {
      case Level::file:
      case Level::header: return "an object";
      case Level::metadata: return "a string in '__metadata__'";
      case Level::tensor: return key_ == "dtype" ? "a string as dtype" : "an array as '" + key_ + "'";
      case Level::numbers: return "unsigned integers in '" + key_ + "'";
    }
    return {};
  }
  [[noreturn]] void wrong(const std::string& expected, const std::string& got) const {
    fail("safetensors", "expected ", expected, ", got ", got, " (tensor '", printable(name_), "' of ", file_, ")");
  }

  Shape checked_shape() const {
    std::int64_t extents[Shape::max_rank], count = 1;
    for (std::size_t i = 0; i < numbers_.size(); ++i) {
      const std::uint64_t extent = numbers_[i];
      if (extent > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()) ||
          (extent > 0 && __builtin_mul_overflow(count, static_cast<std::int64_t>(extent), &count)))
        wrong("fewer than 2^63 elements", "more");
      extents[i] = static_cast<std::int64_t>(extent);
    }
    return Shape(std::span(extents, numbers_.size()));
  }

  /// What needs the tensor's keys together.
  void finish(SafeTensorsHeader::Entry& entry) const {
    const auto elements = static_cast<std::uint64_t>(entry.info.shape.numel());
    if (__builtin_mul_overflow(elements, size_of_element(entry.info.type), &entry.info.bytes))
      wrong("fewer than 2^64 bytes", "more");
    if (entry.end < entry.begin || entry.end - entry.begin != entry.info.bytes)
      wrong("'data_offsets' " + std::to_string(entry.info.bytes) + " bytes apart",
            std::to_string(entry.begin) + " and " + std::to_string(entry.end));
  }

  std::string file_, name_, key_;
  Level level_ = Level::file;
  struct {
    bool type = false, shape = false, offsets = false;
  } seen_;
  bool has_metadata_ = false;
  std::vector<std::uint64_t> numbers_;
};

}  // namespace

SafeTensorsHeader parse_safetensors_header(std::string_view text, std::uint64_t data_bytes,
                                           const std::filesystem::path& file) {
  check(text.starts_with('{'), "safetensors", quoted(file), " is no safetensors file: its header is no JSON object");
  HeaderReader reader(file);
  Json::sax_parse(text.data(), text.data() + text.size(), &reader);
  SafeTensorsHeader header = std::move(reader.header);

  std::stable_sort(header.tensors.begin(), header.tensors.end(),
                   [](const auto& a, const auto& b) { return a.begin != b.begin ? a.begin < b.begin : a.end < b.end; });
  std::uint64_t expected = 0;
  for (const auto& entry : header.tensors) {
    check(entry.begin == expected, "safetensors", "expected the bytes of tensor '", printable(entry.info.name), "' of ",
          quoted(file), " to start at ", expected, ", where the one before ends, got ", entry.begin);
    expected = entry.end;
  }
  check(expected == data_bytes, "safetensors", quoted(file), " should have ", expected,
        " bytes of tensors after its header, but has ", data_bytes,
        expected > data_bytes ? ": it is cut off, fetch it again" : "");
  return header;
}

}  // namespace clip
