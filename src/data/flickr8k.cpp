#include "clip/data/flickr8k.hpp"

#include <algorithm>
#include <array>
#include <set>
#include <sstream>
#include <unordered_map>
#include <utility>

#include "clip/core/error.hpp"
#include "clip/io/file.hpp"
#include "src/data/listing.hpp"
#include "src/io/folder.hpp"

namespace clip {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t largest_file = std::uint64_t{1} << 30;

struct SplitFile {
  const char* name;
  Split split;
};
constexpr std::array<SplitFile, 3> split_files{{{"Flickr_8k.trainImages.txt", Split::train},
                                                {"Flickr_8k.devImages.txt", Split::val},
                                                {"Flickr_8k.testImages.txt", Split::test}}};

/// Reads the split files if they are there: all three, or none.
void read_split_files(Listing& listing, const fs::path& folder) {
  std::string missing;
  std::size_t found = 0;
  for (const SplitFile& file : split_files)
    if (is_there(folder / file.name))
      ++found;
    else
      missing.append(missing.empty() ? "" : ", ").append(file.name);
  if (found == 0) return;
  check(missing.empty(), "flickr8k", "expected all three split files in ", quoted(folder),
        " or none, but missing: ", missing);
  for (const SplitFile& file : split_files)
    list_split(listing, read_file(folder / file.name, largest_file), folder / file.name, file.split);
}

Listing read_listing(const fs::path& folder, fs::path& file) {
  const auto has = [&](const char* name) { return is_there(file = folder / name); };
  if (has("dataset_flickr8k.json")) return list_karpathy(read_file(file, largest_file), file);
  Listing listing;
  if (has("Flickr8k.token.txt"))
    listing = list_tokens(read_file(file, largest_file), file);
  else if (has("captions.txt") || has("captions.csv"))
    listing = list_kaggle(read_file(file, largest_file), file);
  else
    fail("flickr8k", "no captions in ", quoted(folder),
         ": expected captions.txt, Flickr8k.token.txt or dataset_flickr8k.json");
  read_split_files(listing, folder);
  return listing;
}

/// Where the picture is; empty when nowhere.
fs::path find_picture(const fs::path& folder, const std::string& name) {
  std::error_code ignored;
  for (const char* place : {"Images", "Flicker8k_Dataset", ""})
    if (fs::path path = folder / place / name; fs::is_regular_file(path, ignored)) return path;
  return {};
}

}  // namespace

std::string message(const Problem& problem) {
  return quoted(problem.file) + (problem.line > 0 ? " line " + std::to_string(problem.line) : "") + ": " + problem.what;
}

std::string Captions::summary() const {
  std::ostringstream text;
  text << pictures.size() << " pictures with " << captions.size() << " captions";
  const auto say = [&](std::size_t count, const char* what) {
    if (count > 0) text << "; " << count << ' ' << what;
  };
  say(unreadable_rows, "unreadable rows");
  say(missing_pictures.size(), "missing pictures");
  say(unlisted_pictures, "pictures in no split");
  say(duplicate_captions, "duplicate captions");
  say(duplicate_pictures, "pictures listed twice");
  return text.str();
}

Captions read_flickr8k(const fs::path& folder, const Flickr8kOptions& options) {
  check(is_folder(folder), "flickr8k", "expected a folder, got ", quoted(folder));
  Captions data;
  Listing listing = read_listing(folder, data.file);
  data.fixed_split = !listing.splits.empty();
  data.problems = std::move(listing.problems);
  data.unreadable_rows = listing.unreadable_rows;
  data.duplicate_pictures = listing.duplicate_pictures;
  check(!listing.rows.empty(), "flickr8k", "no caption in ", quoted(data.file), " can be read",
        data.problems.empty() ? "" : ": " + message(data.problems.front()));

  // All names, so that who is in which split does not depend on which pictures are there.
  std::unordered_map<std::string, std::int32_t> index;
  std::vector<std::string> names;
  for (const Listing::Row& row : listing.rows)
    if (index.emplace(row.picture, static_cast<std::int32_t>(names.size())).second) names.push_back(row.picture);
  std::vector<Split> splits(names.size());
  if (!data.fixed_split) splits = split_by_name(names, options.seed, options.shares);

  for (std::size_t i = 0; i < names.size(); ++i) {
    std::int32_t& place = index[names[i]];
    place = -1;
    if (data.fixed_split) {
      const auto split = listing.splits.find(names[i]);
      if (split == listing.splits.end()) {
        ++data.unlisted_pictures;
        continue;
      }
      splits[i] = split->second;
    }
    fs::path path = find_picture(folder, names[i]);
    if (path.empty()) {
      data.missing_pictures.push_back(names[i]);
      continue;
    }
    place = static_cast<std::int32_t>(data.pictures.size());
    data.pictures.push_back({names[i], std::move(path), splits[i]});
  }
  check(!data.pictures.empty(), "flickr8k", "found none of the ", names.size(), " pictures that ", quoted(data.file),
        " names, such as '", printable(names.front()), "': expected them in ", quoted(folder / "Images"), ", ",
        quoted(folder / "Flicker8k_Dataset"), " or ", quoted(folder));

  std::set<std::pair<std::int32_t, std::string_view>> seen;
  for (const Listing::Row& row : listing.rows) {
    const std::int32_t picture = index[row.picture];
    if (picture < 0) continue;
    if (!options.keep_duplicates && !seen.emplace(picture, row.caption).second)
      ++data.duplicate_captions;
    else
      data.captions.push_back({row.caption, picture});
  }
  return data;
}

std::vector<std::int32_t> captions_of(const Captions& data, Split split) {
  std::vector<std::int32_t> captions;
  for (std::size_t i = 0; i < data.captions.size(); ++i)
    if (data.pictures[static_cast<std::size_t>(data.captions[i].picture)].split == split)
      captions.push_back(static_cast<std::int32_t>(i));
  return captions;
}

Captions limited(const Captions& data, std::size_t pictures) {
  if (pictures >= data.pictures.size()) return data;
  std::array<std::size_t, 3> left{};  // of each split
  for (const Picture& picture : data.pictures) ++left[static_cast<std::size_t>(picture.split)];
  for (std::size_t& count : left)
    if (count > 0) count = std::max<std::size_t>(count * pictures / data.pictures.size(), 1);

  Captions some = data;
  some.pictures.clear();
  some.captions.clear();
  std::vector<std::int32_t> index(data.pictures.size(), -1);
  for (std::size_t i = 0; i < data.pictures.size(); ++i)
    if (std::size_t& count = left[static_cast<std::size_t>(data.pictures[i].split)]; count > 0) {
      --count;
      index[i] = static_cast<std::int32_t>(some.pictures.size());
      some.pictures.push_back(data.pictures[i]);
    }
  for (const Caption& caption : data.captions)
    if (const std::int32_t picture = index[static_cast<std::size_t>(caption.picture)]; picture >= 0)
      some.captions.push_back({caption.text, picture});
  return some;
}

}  // namespace clip
