#pragma once
#include <filesystem>
#include <string>

namespace clip::test {

/// A file of tests/data.
inline std::filesystem::path test_data(const std::string& name) { return std::filesystem::path(CLIP_TEST_DATA) / name; }

}  // namespace clip::test
