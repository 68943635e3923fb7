#include "src/io/folder.hpp"

#include <algorithm>
#include <string>
#include <system_error>

#include "clip/core/error.hpp"
#include "clip/io/file.hpp"

namespace clip {
namespace {

namespace fs = std::filesystem;

fs::file_status status_of(const fs::path& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  check(status.type() != fs::file_type::none, "read", "cannot open ", quoted(path), ": ", error.message());
  return status;
}

}  // namespace

bool is_there(const fs::path& path) { return fs::exists(status_of(path)); }
bool is_folder(const fs::path& path) { return fs::is_directory(status_of(path)); }

void make_folder(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path, error);
  check(!error, "write", "cannot make the folder ", quoted(path), ": ", error.message());
}

std::vector<fs::path> list_folder(const fs::path& folder) {
  std::vector<fs::path> paths;
  std::error_code error;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error))
    paths.push_back(at->path());
  check(!error, "read", "cannot list the folder ", quoted(folder), ": ", error.message());
  std::sort(paths.begin(), paths.end());
  return paths;
}

std::vector<fs::path> files_below(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const fs::path& path : list_folder(folder)) {
    if (path.filename().string().starts_with('.')) continue;
    const fs::file_status status = status_of(path);
    if (fs::is_regular_file(status)) files.push_back(path);
    std::error_code error;
    if (!fs::is_directory(status) || fs::is_symlink(path, error)) continue;  // a link may lead back here
    const std::vector<fs::path> inner = files_below(path);
    files.insert(files.end(), inner.begin(), inner.end());
  }
  return files;
}

}  // namespace clip
