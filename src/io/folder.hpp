#pragma once
// Folders, and what is in them. Whatever the system refuses is an Error that names the path.
#include <filesystem>
#include <vector>

namespace clip {

/// Whether a path leads to something, and whether that is a folder. Throws where it cannot be told, as in a folder that
/// may not be entered.
bool is_there(const std::filesystem::path& path);
bool is_folder(const std::filesystem::path& path);

/// Makes a folder, and those above it, where they are missing.
void make_folder(const std::filesystem::path& path);

/// The paths of all that a folder holds, sorted.
std::vector<std::filesystem::path> list_folder(const std::filesystem::path& folder);

/// The paths of the files in a folder and in those it holds, sorted; without those whose name, or a folder's, begins
/// with a dot.
std::vector<std::filesystem::path> files_below(const std::filesystem::path& folder);

}  // namespace clip
