#include "examples/support/pictures.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <string_view>

#include "clip/core/error.hpp"
#include "clip/io/file.hpp"
#include "clip/io/lines.hpp"
#include "src/io/folder.hpp"

namespace clip {
namespace {

namespace fs = std::filesystem;

bool looks_like_picture(const fs::path& path) {
  static constexpr std::array<std::string_view, 9> suffixes = {".jpg", ".jpeg", ".png", ".bmp", ".gif",
                                                               ".pnm", ".ppm",  ".pgm", ".webp"};
  std::string suffix = path.extension().string();
  for (char& c : suffix) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return !path.filename().string().starts_with('.') &&
         std::find(suffixes.begin(), suffixes.end(), suffix) != suffixes.end();
}

}  // namespace

std::vector<fs::path> list_pictures(const fs::path& path) {
  std::vector<fs::path> files;
  if (is_folder(path)) {
    for (const fs::path& file : list_folder(path))
      if (looks_like_picture(file)) files.push_back(file);
    check(!files.empty(), "images", "expected pictures (.jpg .jpeg .png .bmp .gif …) in the folder ", quoted(path),
          ", got none");
  } else {
    for (const std::string& line : read_lines(path))
      if (!line.empty()) files.push_back(path.parent_path() / line);
    check(!files.empty(), "images", "expected paths of pictures, one a line, in ", quoted(path), ", got none");
  }
  for (const fs::path& file : files)
    check(file.string().find('\n') == std::string::npos, "images", "expected names without line breaks, got ",
          quoted(file));
  return files;
}

}  // namespace clip
