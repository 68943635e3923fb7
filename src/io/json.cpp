#include "src/io/json.hpp"

#include <cmath>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "clip/core/error.hpp"
#include "clip/io/file.hpp"

namespace clip {

Json parse_json(std::string_view text, const std::filesystem::path& file, int max_depth) {
  std::vector<std::set<std::string>> keys;  // of the objects we are in
  const auto watch = [&](int depth, Json::parse_event_t event, Json& value) {
    check(depth < max_depth, "json", quoted(file), " is nested deeper than ", max_depth, " levels");
    if (event == Json::parse_event_t::object_start) keys.emplace_back();
    if (event == Json::parse_event_t::object_end) keys.pop_back();
    if (event == Json::parse_event_t::key) {
      auto key = value.get<std::string>();
      check(!keys.back().contains(key), "json", quoted(file), " has the key '", printable(key), "' twice");
      keys.back().insert(std::move(key));
    }
    return true;
  };
  try {
    return Json::parse(text, watch);
  } catch (const Json::exception& e) {
    fail("json", quoted(file), " is not valid JSON: ", printable(e.what()));
  }
}

std::string shown(const Json& value) { return printable(value.dump(-1, ' ', false, Json::error_handler_t::replace)); }

JsonFile::JsonFile(const std::filesystem::path& path)
    : path_(path), object_(parse_json(read_file(path, 1 << 26), path)) {
  check(object_.is_object(), "json", "expected an object in ", quoted(path), ", got ", object_.type_name());
}

void JsonFile::wrong(const std::string& key, const std::string& expected) const {
  fail("config", "expected ", expected, " for '", prefix_, key, "' in ", quoted(path_), ", got ",
       object_.contains(key) ? shown(object_[key]) : "nothing");
}

std::int64_t JsonFile::integer(const std::string& key, std::int64_t lowest, std::int64_t highest) const {
  const bool whole = has(key) && object_[key].is_number_integer() &&
                     !(object_[key].is_number_unsigned() && object_[key].get<std::uint64_t>() > INT64_MAX);
  const std::int64_t value = whole ? object_[key].get<std::int64_t>() : 0;
  if (!whole || value < lowest || value > highest)
    wrong(key, "an integer from " + std::to_string(lowest) + " to " + std::to_string(highest));
  return value;
}
std::int64_t JsonFile::integer(const std::string& key, std::int64_t lowest, std::int64_t highest,
                               std::int64_t fallback) const {
  return has(key) ? integer(key, lowest, highest) : fallback;
}
double JsonFile::number(const std::string& key, double fallback) const {
  if (!has(key)) return fallback;
  if (!object_[key].is_number() || !std::isfinite(object_[key].get<double>())) wrong(key, "a number");
  return object_[key].get<double>();
}
bool JsonFile::boolean(const std::string& key, bool fallback) const {
  if (!has(key)) return fallback;
  if (!object_[key].is_boolean()) wrong(key, "true or false");
  return object_[key].get<bool>();
}
std::string JsonFile::text(const std::string& key) const {
  if (!has(key) || !object_[key].is_string()) wrong(key, "a text");
  return object_[key].get<std::string>();
}
std::string JsonFile::text(const std::string& key, const std::string& fallback) const {
  return has(key) ? text(key) : fallback;
}

}  // namespace clip
