#pragma once
// What a search found, as one picture to look at.
#include <filesystem>
#include <string>
#include <vector>

namespace clip {

struct GridPicture {
  std::filesystem::path path;
  double score = 0;
  std::string caption;
  std::string mark;  ///< a word that sets the picture apart, such as "unseen"; none when empty
};

struct Grid {
  std::string title;                  ///< the query
  std::string note;                   ///< in small print under it
  std::filesystem::path query;        ///< a picture shown beside the title, if any
  std::vector<GridPicture> pictures;  ///< the best first: they get ranks from 1
};

/// Draws the grid as a PNG file. Transparent pictures are shown on white. Throws on one that cannot be read, unless
/// `skip_bad`, which leaves its place empty.
void write_grid(const std::filesystem::path& path, const Grid& grid, bool skip_bad = false);

}  // namespace clip
