#pragma once
// Pictures with captions, in any of the three layouts in which Flickr8k goes around.
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "clip/data/split.hpp"

namespace clip {

struct Picture {
  std::string name;  ///< of the file, as the data set says
  std::filesystem::path path;
  Split split = Split::train;
};

struct Caption {
  std::string text;
  std::int32_t picture = 0;  ///< an index of `Captions::pictures`
};

/// A row that could not be read.
struct Problem {
  std::filesystem::path file;
  std::size_t line = 0;  ///< counted from 1; 0 for JSON, where `what` says which entry it is
  std::string what;
};
/// `'captions.txt' line 7: expected 2 fields, got 1`.
std::string message(const Problem& problem);

struct Captions {
  std::filesystem::path file;     ///< where the captions stand
  bool fixed_split = false;       ///< by the data set's own files, not by seed
  std::vector<Picture> pictures;  ///< in the order in which the file first names them
  std::vector<Caption> captions;  ///< in the file's order; every picture has one at least
  std::vector<Problem> problems;  ///< the first 1,000
  std::size_t unreadable_rows = 0;
  std::vector<std::string> missing_pictures;  ///< named, but not there: left out with their captions
  std::size_t duplicate_captions = 0;         ///< the same text again for the same picture: left out
  std::size_t duplicate_pictures = 0;         ///< listed again (Karpathy's JSON, split files): taken together
  std::size_t unlisted_pictures = 0;          ///< in none of the split files: left out

  /// What was found and what left out, in one line.
  std::string summary() const;
};

struct Flickr8kOptions {
  std::uint64_t seed = 0;  ///< of the split, where the files do not fix it
  SplitShares shares = {};
  bool keep_duplicates = false;  ///< captions that occur twice stay, as in the book's recipe
};

/// Reads the data set in `folder`: `dataset_flickr8k.json` (Karpathy; it says each picture's split), else
/// `Flickr8k.token.txt` (`name.jpg#0<TAB>caption`), else `captions.txt` or `captions.csv` (CSV with columns `image` and
/// `caption` in any place, others ignored). `Flickr_8k.trainImages.txt`, `….devImages.txt` and `….testImages.txt` fix
/// the split of the latter two, otherwise names and seed decide. Pictures are looked for in `Images/`, then
/// `Flicker8k_Dataset/`, then in `folder`. Rows that cannot be read are left out and reported; throws when none can,
/// when all pictures are missing, and on a picture's name that holds `/` or `..`.
Captions read_flickr8k(const std::filesystem::path& folder, const Flickr8kOptions& options = {});

/// The indices of the captions whose pictures are in a split.
std::vector<std::int32_t> captions_of(const Captions& data, Split split);
/// About `pictures` of the pictures with their captions: of each split its share, but one at least.
Captions limited(const Captions& data, std::size_t pictures);

}  // namespace clip
