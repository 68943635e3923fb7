#pragma once
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "clip/image/image.hpp"

namespace clip {

/// A picture that a package holds, and what the package says of it.
struct Clipart {
  std::string name;                   ///< of the file to be written, without suffix
  std::string title;                  ///< what it shows; empty where nobody says
  std::vector<std::string> keywords;  ///< other words for it
  std::string folder;                 ///< the kind of thing it is: "fruit, food"
  std::string concept_name;           ///< pictures of one concept never part: variants of a drawing share it
  std::function<Image()> read;
};

/// How many pictures each rule left out.
using LeftOut = std::map<std::string, std::size_t>;

/// The packages' contents below `packages`, as `dpkg -x` unpacks them; sorted by name. What rules leave out is counted.
/// Throws where a package is missing or is not what it should be.
class Words;
std::vector<Clipart> read_openclipart(const std::filesystem::path& packages, const Words& english, LeftOut& left_out);
std::vector<Clipart> read_emoji(const std::filesystem::path& packages, LeftOut& left_out);
/// Empty where the package is not there: it is under the GPL, and may be left away.
std::vector<Clipart> read_stamps(const std::filesystem::path& packages, LeftOut& left_out);

}  // namespace clip
