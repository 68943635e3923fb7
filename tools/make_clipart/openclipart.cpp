// openclipart-png has the pictures, openclipart-svg, file by file, what is known of them: RDF in the SVG's metadata.
#include <algorithm>
#include <cstring>
#include <map>
#include <pugixml.hpp>

#include "clip/core/error.hpp"
#include "clip/io/file.hpp"
#include "tools/make_clipart/cleaning.hpp"

namespace clip {
namespace {

namespace fs = std::filesystem;

struct Description {
  fs::path picture, folder;
  std::string title, author;
  std::vector<std::string> keywords;
  bool linked = false;  // to a picture elsewhere, which the PNG then lacks
};

/// The element's name without its prefix, which differs from file to file.
bool is(const pugi::xml_node& node, const char* name) {
  const char* colon = std::strchr(node.name(), ':');
  return std::strcmp(colon == nullptr ? node.name() : colon + 1, name) == 0;
}
pugi::xml_node first(const pugi::xml_node& from, const char* name) {
  return from.find_node([&](const pugi::xml_node& node) { return is(node, name); });
}

Description describe(const fs::path& svg) {
  const std::string text = read_file(svg, std::uint64_t{1} << 28);
  pugi::xml_document document;
  const pugi::xml_parse_result parsed = document.load_buffer(text.data(), text.size());
  check(parsed, "make_clipart", quoted(svg), " is not valid XML: ", parsed.description());
  Description d;
  const pugi::xml_node work = first(document, "Work");
  for (const pugi::xml_node& node : work.children()) {
    if (is(node, "title")) d.title = node.text().get();
    if (is(node, "creator")) d.author = first(node, "title").text().get();
    if (is(node, "subject"))
      for (const pugi::xml_node& item : first(node, "Bag").children()) d.keywords.emplace_back(item.text().get());
  }
  d.linked = !!document.find_node([](const pugi::xml_node& node) {
    const std::string_view target = node.attribute("xlink:href").value();
    return is(node, "image") && !target.starts_with("data:");
  });
  return d;
}

}  // namespace

std::vector<Clipart> read_openclipart(const fs::path& packages, const Words& english, LeftOut& left_out) {
  const fs::path root = packages / "usr/share/openclipart";
  for (const char* part : {"png", "svg"})
    check(fs::is_directory(root / part), "make_clipart", "expected ", quoted(root / part), ": unpack openclipart-",
          part, " into ", quoted(packages));
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(root / "png"))
    if (entry.is_symlink())
      ++left_out["a symlink to another"];
    else if (entry.is_regular_file() && entry.path().extension() == ".png")
      files.push_back(entry.path());
  std::sort(files.begin(), files.end());

  std::vector<Description> descriptions;
  std::map<std::string, int> title_count;
  for (const fs::path& file : files) {
    const fs::path relative = fs::relative(file, root / "png");
    if (const char* why = series_of(relative.parent_path().string())) {
      ++left_out[why];
      continue;
    }
    const fs::path svg = (root / "svg" / relative).replace_extension(".svg");
    if (!fs::exists(svg)) {
      ++left_out["nothing said of it"];
      continue;
    }
    Description d = describe(svg);
    d.picture = file;
    d.folder = relative.parent_path();
    ++title_count[d.title];
    descriptions.push_back(std::move(d));
  }

  // More pictures of one title than that are told apart by their files' names, where those are English, or only by
  // them.
  constexpr int series = 3, collection = 12;
  std::vector<Clipart> pictures;
  for (const Description& d : descriptions) {
    if (d.linked) {
      ++left_out["shows \"Linked Image Not Found\""];
      continue;
    }
    Clipart c;
    c.name = flat_name("openclipart", fs::relative(d.picture, root / "png"));
    const std::string name = title_of_stem(d.picture.stem().string(), d.author), stem = english.apart(name);
    c.concept_name = "openclipart " + (name.empty() ? c.name : name);
    const bool says_nothing = is_collection(d.title) || title_count[d.title] > collection;
    std::string own = says_nothing ? "" : clean_title(d.title);
    if (title_count[d.title] > series && english.know(stem) && !same_words(own, stem)) own = stem;
    const bool flag = is_flags(d.folder.string());  // of places, whose names are no English words
    c.title = english.know(own) || (flag && !own.empty()) ? own : english.know(stem) || flag ? stem : "";
    if (flag) c.title = flag_of(c.title);
    for (const std::string& keyword : clean_keywords(d.keywords))
      if (english.know(keyword)) c.keywords.push_back(keyword);
    c.folder = folder_words(d.folder);
    c.read = [file = d.picture] { return read_image(file); };
    pictures.push_back(std::move(c));
  }

  // A name in English, or keywords that few share, one of which is not only its folder's: "party, recreation" says
  // nothing of a balloon.
  std::map<std::vector<std::string>, int> keyword_count;
  for (const Clipart& c : pictures)
    if (c.title.empty()) ++keyword_count[c.keywords];
  left_out["neither an English name nor keywords of its own"] = std::erase_if(pictures, [&](const Clipart& c) {
    const auto adds = [&](const std::string& keyword) { return adds_to_folder(keyword, c.folder); };
    return c.title.empty() && (c.keywords.size() < 2 || keyword_count[c.keywords] > series ||
                               std::none_of(c.keywords.begin(), c.keywords.end(), adds));
  });
  return pictures;
}

}  // namespace clip
