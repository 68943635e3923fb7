#pragma once
// JSON from files, with errors that name file and key. Sources only: nlohmann's header costs 1.6 s in each.
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>

namespace clip {

using Json = nlohmann::json;  // sorted keys: the ordered one takes quadratic time in the keys of an object

/// Parses one JSON text. Throws, naming `file`, on bad syntax, a key that occurs twice in an object, nesting deeper
/// than `max_depth`, and numbers out of range.
Json parse_json(std::string_view text, const std::filesystem::path& file, int max_depth = 64);

/// A value as error messages show it.
std::string shown(const Json& value);

/// A JSON object read from a file, for settings.
class JsonFile {
 public:
  /// Throws unless the file holds an object.
  explicit JsonFile(const std::filesystem::path& path);
  /// An object within a file, whose keys messages show with this prefix.
  JsonFile(std::filesystem::path path, Json object, std::string prefix)
      : path_(std::move(path)), object_(std::move(object)), prefix_(std::move(prefix)) {}

  bool has(const std::string& key) const { return object_.contains(key) && !object_[key].is_null(); }
  /// The key's value; throws, naming file and key, when it is missing, of another type or out of range. With a
  /// `fallback`, that stands for a missing or null one.
  std::int64_t integer(const std::string& key, std::int64_t lowest, std::int64_t highest) const;
  std::int64_t integer(const std::string& key, std::int64_t lowest, std::int64_t highest, std::int64_t fallback) const;
  double number(const std::string& key, double fallback) const;
  bool boolean(const std::string& key, bool fallback) const;
  std::string text(const std::string& key) const;
  std::string text(const std::string& key, const std::string& fallback) const;

  const Json& json() const { return object_; }
  const std::filesystem::path& path() const { return path_; }
  /// Throws `Error` about `key` of this file.
  [[noreturn]] void wrong(const std::string& key, const std::string& expected) const;

 private:
  std::filesystem::path path_;
  Json object_;
  std::string prefix_;
};

}  // namespace clip
