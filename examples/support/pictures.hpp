#pragma once
// Lists of pictures, as programs take them.
#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

namespace clip {

/// The pictures that `path` names: those of a folder (not of folders in it), sorted by name; or the paths in a text
/// file, one a line, relative ones from the file's folder, empty lines left out. Throws when there are none.
std::vector<std::filesystem::path> list_pictures(const std::filesystem::path& path);

}  // namespace clip
