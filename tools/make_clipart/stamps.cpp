// tuxpaint-stamps-default: pictures, each beside a text file whose first line says what it is, in English.
#include <algorithm>

#include "clip/io/file.hpp"
#include "clip/io/lines.hpp"
#include "tools/make_clipart/cleaning.hpp"

namespace clip {

namespace fs = std::filesystem;

std::vector<Clipart> read_stamps(const fs::path& packages, LeftOut& left_out) {
  const fs::path root = packages / "usr/share/tuxpaint/stamps";
  std::vector<Clipart> pictures;
  if (!fs::is_directory(root)) return pictures;
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    const fs::path file = entry.path(), text = fs::path(file).replace_extension(".txt"),
                   relative = fs::relative(file, root);
    if (file.extension() == ".svg") ++left_out["a stamp in SVG"];
    if (file.extension() != ".png") continue;
    const std::vector<std::string> lines = fs::exists(text) ? read_lines(text) : std::vector<std::string>{};
    Clipart c;
    if (!lines.empty()) c.title = clean_title(lines.front());
    if (c.title.empty()) {
      ++left_out["nothing said of it"];
      continue;
    }
    c.name = flat_name("stamp", relative);
    c.folder = folder_words(relative.parent_path());
    c.concept_name = "stamp " + title_of_stem(relative.stem().string(), "");
    c.read = [file] { return read_image(file); };
    pictures.push_back(std::move(c));
  }
  std::sort(pictures.begin(), pictures.end(), [](const Clipart& a, const Clipart& b) { return a.name < b.name; });
  return pictures;
}

}  // namespace clip
