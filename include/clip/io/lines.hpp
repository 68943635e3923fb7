#pragma once
#include <filesystem>
#include <string>
#include <vector>

namespace clip {

/// The lines of a text file, without their ends (LF or CRLF) and without a byte-order mark. Throws, naming the line, on
/// one that is not valid UTF-8.
std::vector<std::string> read_lines(const std::filesystem::path& path);

}  // namespace clip
