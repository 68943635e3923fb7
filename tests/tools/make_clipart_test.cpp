// Runs make_clipart on small packages of our own.
#include <map>
#include <set>
#include <sstream>

#include "clip/data/flickr8k.hpp"
#include "clip/image/write_png.hpp"
#include "clip/io/file.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/run_program.hpp"
#include "tests/support/temporary.hpp"
#include "tools/make_clipart/cleaning.hpp"

using namespace clip;
using namespace clip::test;

namespace {

namespace fs = std::filesystem;

/// A picture like no other: noise from its number.
Image picture(unsigned number, int side = 24) {
  Image image{side, side, Colors::rgba, false, {}};
  for (int i = 0; i < side * side * 4; ++i) {
    number = number * 1664525 + 1013904223;
    image.pixels.push_back(i % 4 == 3 ? 255 : static_cast<std::uint8_t>(number >> 24));
  }
  return image;
}

void put(const fs::path& path, const std::string& content) {
  fs::create_directories(path.parent_path());
  write_file(path, content);
}
void put(const fs::path& path, const Image& image) {
  fs::create_directories(path.parent_path());
  write_png(path, image);
}

std::string svg(const std::string& title, const std::string& keywords, const std::string& more = "") {
  std::string items;
  for (std::size_t at = 0; at < keywords.size();) {
    const std::size_t end = std::min(keywords.find(',', at), keywords.size());
    items += "<rdf:li>" + keywords.substr(at, end - at) + "</rdf:li>";
    at = end + 1;
  }
  return "<svg xmlns:xlink='x'><metadata><rdf:RDF><cc:Work><dc:title>" + title +
         "</dc:title><dc:creator><cc:Agent><dc:title>Jo "
         "Painter</dc:title></cc:Agent></dc:creator><dc:subject><rdf:Bag>" +
         items + "</rdf:Bag></dc:subject></cc:Work></rdf:RDF></metadata>" + more + "</svg>";
}

/// Big-endian numbers.
struct Bytes {
  std::string text;
  Bytes& u8(unsigned v) { return text += static_cast<char>(v), *this; }
  Bytes& u16(unsigned v) { return u8(v >> 8 & 255).u8(v & 255); }
  Bytes& u32(unsigned v) { return u16(v >> 16).u16(v & 0xFFFF); }
  Bytes& add(const std::string& more) { return text += more, *this; }
};

/// A font with a glyph for each of the first three characters (1F34E and 1F9D1 joined to 1F34E, glyphs 1 to 3), and a
/// picture for glyphs 1 and 3.
std::string font(const std::string& apple, const std::string& cook) {
  Bytes cmap;
  cmap.u16(0).u16(1).u16(3).u16(10).u32(12);
  cmap.u16(12).u16(0).u32(52).u32(0).u32(3);
  cmap.u32(0x200D).u32(0x200D).u32(4).u32(0x1F34E).u32(0x1F34E).u32(1).u32(0x1F9D1).u32(0x1F9D1).u32(2);
  Bytes gsub;
  gsub.u32(0x10000).u16(0).u16(0).u16(10);  // scripts and features are not needed; lookups
  gsub.u16(1).u16(4);                       // one, at 4
  gsub.u16(4).u16(0).u16(1).u16(8);         // ligatures, one part, at 8
  gsub.u16(1).u16(8).u16(1).u16(14);        // coverage at 8, one set, at 14
  gsub.u16(1).u16(1).u16(2);                // coverage: glyph 2
  gsub.u16(1).u16(4);                       // one ligature, at 4
  gsub.u16(3).u16(3).u16(4).u16(1);         // gives glyph 3, three parts: 2, 4, 1
  Bytes cbdt;
  const auto bitmap = [&](const std::string& png) {
    const auto begin = static_cast<unsigned>(cbdt.text.size());
    cbdt.add("mmmmm").u32(static_cast<unsigned>(png.size())).add(png);
    return begin;
  };
  cbdt.u32(0x30000);
  const unsigned first = bitmap(apple), third = bitmap(cook), end = static_cast<unsigned>(cbdt.text.size());
  Bytes cblc;
  cblc.u32(0x30000).u32(1).u32(56).u32(32).u32(1).add(std::string(36, '\0'));  // one size: 48 bytes; subtables at 56
  cblc.u16(1).u16(3).u32(8).u16(1).u16(17).u32(0).u32(first).u32(third).u32(third).u32(end);
  const std::pair<const char*, const std::string*> tables[] = {
      {"CBDT", &cbdt.text}, {"CBLC", &cblc.text}, {"GSUB", &gsub.text}, {"cmap", &cmap.text}};
  Bytes file;
  file.u32(0x10000).u16(4).u16(0).u16(0).u16(0);
  auto offset = static_cast<unsigned>(12 + 16 * std::size(tables));
  for (const auto& [tag, table] : tables) {
    file.add(tag).u32(0).u32(offset).u32(static_cast<unsigned>(table->size()));
    offset += static_cast<unsigned>(table->size());
  }
  for (const auto& [tag, table] : tables) file.add(*table);
  return file.text;
}

class Packages {
 public:
  Packages() {
    const auto art = [&](const std::string& name, const Image& image, const std::string& description) {
      put(share / "openclipart/png" / (name + ".png"), image);
      put(share / "openclipart/svg" / (name + ".svg"), description);
    };
    art("food/fruit/red_apple_01", picture(1), svg("Red apple 01", "hash,HASH(0x81),,food,apple_tree,unsorted"));
    art("food/fruit/red_apple_02", picture(2), svg("Red apple 02", "food"));
    art("animals/birds/duck_painter_03", picture(3), svg("Clipart by Jo Painter - pear", "bird"));
    art("animals/birds/gallina_01", picture(4), svg("Gallina", "food,animal"));
    art("animals/birds/gallo_01", picture(5), svg("Gallo", "bird"));
    art("animals/birds/gallo_02", picture(12), svg("Gallo", "bird,animal"));
    art("office/treehouse_01", picture(13), svg("Cabane", ""));
    art("special/patterns/dots", picture(6), svg("Dots", "pattern"));
    art("signs_and_symbols/flags/africa/chad", picture(7), svg("Tchad", "flag"));
    art("office/desk", picture(8), svg("Desk", "office", "<image xlink:href='photo.jpg'/>"));
    art("office/house", picture(9), svg("House", "", "<image xlink:href='data:image/png;base64,'/>"));
    art("office/tree", picture(9), svg("Tree", ""));
    Image white = picture(10);
    std::fill(white.pixels.begin(), white.pixels.end(), std::uint8_t{255});
    art("office/blank", white, svg("House", ""));
    put(share / "openclipart/png/office/broken.png", "no picture");
    put(share / "openclipart/svg/office/broken.svg", svg("Tree", ""));
    put(share / "openclipart/png/office/unknown.png", picture(11));
    fs::create_symlink("desk.png", share / "openclipart/png/office/link.png");

    put(share / "unicode/cldr/common/annotations/en.xml",
        "<ldml><annotations><annotation cp='\xF0\x9F\x8D\x8E'>apple | fruit, red</annotation>"
        "<annotation cp='\xF0\x9F\x8D\x8E' type='tts'>red apple</annotation>"
        "<annotation cp='\xF0\x9F\xA7\x91' type='tts'>no picture</annotation></annotations></ldml>");
    put(share / "unicode/cldr/common/annotationsDerived/en.xml",
        "<ldml><annotations><annotation cp='\xF0\x9F\xA7\x91\xE2\x80\x8D\xF0\x9F\x8D\x8E' type='tts'>flag: Apple"
        "</annotation><annotation cp='\xF0\x9F\x8D\x8E\xF0\x9F\x8F\xBB' "
        "type='tts'>pale</annotation></annotations></ldml>");
    write_png(path / "a.png", picture(20));
    write_png(path / "b.png", picture(21));
    put(share / "fonts/truetype/noto/NotoColorEmoji.ttf", font(read_file(path / "a.png"), read_file(path / "b.png")));

    Image cat = picture(30, 600);  // noise so fine that it is gray when shrunk, but for the half that is white
    std::fill_n(cat.pixels.begin(), cat.pixels.size() / 2, std::uint8_t{255});
    put(share / "tuxpaint/stamps/animals/cat.png", cat);
    put(share / "tuxpaint/stamps/animals/cat.txt", "A cat, \"Tom\".\nes.utf8=Un gato.\n");
    put(share / "tuxpaint/stamps/animals/dog.svg", "<svg/>");
    put(share / "tuxpaint/stamps/animals/dog_mirror.png", picture(31));
    write_file(words(),
               "[UNK]\nred\napple\ntree\nduck\nbird\nanimal\nfood\nhouse\ndesk\npattern\ndots\nflag\noffice\n");
  }
  fs::path words() const { return path / "words.txt"; }

  TemporaryFolder folder;
  fs::path path = folder.path(), share = path / "usr/share", output = path / "data";
};

Outcome run(const Packages& packages, const std::vector<std::string>& more = {}) {
  std::vector<std::string> arguments{packages.path.string(), packages.output.string(), "--words",
                                     packages.words().string(), "--quiet"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return run_program("make_clipart", arguments);
}

}  // namespace

TEST_CASE("make_clipart makes a data set of what the rules leave", "[tools]") {
  const Packages packages;
  const Outcome ran = run(packages);
  INFO(ran.out + ran.error);
  REQUIRE(ran.status == 0);
  const std::string expected =
      "image,caption\n"
      "openclipart-animals-birds-duck_painter_03.png,duck\n"
      "openclipart-animals-birds-duck_painter_03.png,\"duck, bird\"\n"
      "openclipart-animals-birds-duck_painter_03.png,\"duck; birds, animals\"\n"
      "openclipart-animals-birds-gallina_01.png,\"food, animal\"\n"
      "openclipart-animals-birds-gallina_01.png,\"food, animal; birds, animals\"\n"
      "openclipart-food-fruit-red_apple_01.png,Red apple\n"
      "openclipart-food-fruit-red_apple_01.png,\"Red apple, food, apple tree\"\n"
      "openclipart-food-fruit-red_apple_01.png,\"Red apple; fruit, food\"\n"
      "openclipart-food-fruit-red_apple_02.png,Red apple\n"
      "openclipart-food-fruit-red_apple_02.png,\"Red apple, food\"\n"
      "openclipart-food-fruit-red_apple_02.png,\"Red apple; fruit, food\"\n"
      "openclipart-office-house.png,House\n"
      "openclipart-office-house.png,House; office\n"
      "openclipart-office-treehouse_01.png,tree house\n"
      "openclipart-office-treehouse_01.png,tree house; office\n"
      "openclipart-signs_and_symbols-flags-africa-chad.png,flag of Tchad\n"
      "openclipart-signs_and_symbols-flags-africa-chad.png,\"flag of Tchad, flag\"\n"
      "openclipart-signs_and_symbols-flags-africa-chad.png,\"flag of Tchad; africa, flags, signs and symbols\"\n"
      "emoji-1f34e.png,red apple\n"
      "emoji-1f34e.png,\"red apple, apple, fruit, red\"\n"
      "emoji-1f34e.png,red apple; emoji\n"
      "emoji-1f9d1-200d-1f34e.png,flag of Apple\n"
      "emoji-1f9d1-200d-1f34e.png,flag of Apple; flags\n"
      "stamp-animals-cat.png,\"A cat, \"\"Tom\"\"\"\n"
      "stamp-animals-cat.png,\"A cat, \"\"Tom\"\"; animals\"\n";
  const Captions data = read_flickr8k(packages.output);
  std::map<std::string, Split> split;
  for (const Picture& picture : data.pictures) split[picture.name] = picture.split;
  std::string given;  // the captions without the further ones of pictures to train on
  std::size_t more = 0;
  std::istringstream lines(read_file(packages.output / "captions.txt"));
  for (std::string line; std::getline(lines, line);) {
    const bool further = expected.find(line + '\n') == std::string::npos;
    if (further) CHECK(split.at(line.substr(0, line.find(','))) == Split::train);
    if (!further) given += line + '\n';
    more += further;
  }
  CHECK(given == expected);
  CHECK(more > 0);
  for (const char* why : {"1: a symlink to another", "1: a pattern", "1: shows \"Linked Image Not Found\"",
                          "2: neither an English name nor keywords of its own", "2: nothing said of it",
                          "1: an emoji of another skin tone", "1: a character without an emoji", "1: blank on white",
                          "1: the same as another", "1: a stamp in SVG", "1: cannot be read"})
    CHECK(ran.out.find(std::string("left out ") + why + '\n') != std::string::npos);
  CHECK(ran.error.find("broken.png") != std::string::npos);

  CHECK(data.fixed_split);
  CHECK(data.pictures.size() == 10);
  CHECK(data.unlisted_pictures + data.missing_pictures.size() + data.unreadable_rows == 0);
  CHECK(split["openclipart-food-fruit-red_apple_01.png"] == split["openclipart-food-fruit-red_apple_02.png"]);
  CHECK(read_image(packages.output / "Images/emoji-1f34e.png").pixels == picture(20).pixels);
  CHECK(read_image(packages.output / "Images/stamp-animals-cat.png").width == 256);
  const auto files = std::distance(fs::directory_iterator(packages.output / "Images"), fs::directory_iterator());
  CHECK(files == 10);
}

TEST_CASE("words written together are told apart where both are known", "[tools]") {
  const Packages packages;
  write_file(packages.words(), "file\nfiles\nshare\nhare\nred\napple\nbird\nhouse\nbirdhouse\n");
  const Words words(std::vector{packages.words()});
  CHECK(words.apart("FileShare_2") == "File Share 2");  // not "Files hare"
  CHECK(words.apart("fileshares") == "fileshares");
  CHECK(words.apart("birdhouse") == "birdhouse");
  CHECK(words.apart("redapple") == "redapple");  // three letters
  CHECK(words.apart("").empty());
}

TEST_CASE("pictures to train on have up to twelve more captions, each of some words of theirs", "[tools]") {
  Clipart picture;
  picture.name = "emoji-1f34e";
  picture.title = "red apple";
  picture.keywords = {"apple", "fruit", "red"};
  picture.folder = "emoji";
  const std::vector<std::string> few = captions_of(picture), all = captions_to_train_on(picture);
  REQUIRE(all.size() > few.size());
  CHECK(all.size() <= few.size() + 12);
  CHECK(std::equal(few.begin(), few.end(), all.begin()));
  CHECK(std::set(all.begin(), all.end()).size() == all.size());
  CHECK(captions_to_train_on(picture) == all);
  const std::set<std::string> words{"red apple", "apple", "fruit", "red", "emoji"};
  for (std::size_t i = few.size(); i < all.size(); ++i) {
    std::set<std::string> parts;
    for (std::size_t from = 0; from <= all[i].size();) {
      const std::size_t to = std::min(all[i].find(", ", from), all[i].size());
      CHECK(parts.insert(all[i].substr(from, to - from)).second);
      from = to + 2;
    }
    CHECK(parts.size() <= 4);
    CHECK(std::includes(words.begin(), words.end(), parts.begin(), parts.end()));
  }
  std::set<std::vector<std::string>> different;
  for (int i = 0; i < 20; ++i) {
    picture.name = std::to_string(i);
    different.insert(captions_to_train_on(picture));
  }
  CHECK(different.size() > 15);  // the name decides
  picture.keywords.clear();
  picture.folder.clear();
  CHECK(captions_to_train_on(picture) == std::vector<std::string>{"red apple"});
}

TEST_CASE("make_clipart gives the same bytes again, without stamps where told to", "[tools]") {
  const Packages packages;
  REQUIRE(run(packages).status == 0);
  fs::rename(packages.output, packages.path / "first");
  fs::create_directories(packages.output.string() + ".partial/Images");  // of a run that was killed
  put(packages.output.string() + ".partial/Images/old.png", "");
  REQUIRE(run(packages).status == 0);
  std::size_t files = 0;
  for (const auto& entry : fs::recursive_directory_iterator(packages.path / "first")) {
    if (!entry.is_regular_file()) continue;
    ++files;
    CHECK(read_file(entry.path()) == read_file(packages.output / fs::relative(entry.path(), packages.path / "first")));
  }
  CHECK(files == 15);
  CHECK_FALSE(fs::exists(packages.output / "Images/old.png"));

  CHECK(throws_with([&] { throw Error(run(packages).error); }, "expected a new folder"));
  fs::remove_all(packages.output);
  REQUIRE(run(packages, {"--no-stamps"}).status == 0);
  CHECK(read_file(packages.output / "captions.txt").find("stamp-") == std::string::npos);
}

TEST_CASE("make_clipart says what is missing or damaged, and leaves nothing", "[tools]") {
  const Packages packages;
  const auto fails = [&](const std::string& message) {
    const Outcome ran = run(packages);
    INFO(ran.error);
    CHECK(ran.status == 1);
    CHECK(ran.error.find(message) != std::string::npos);
    CHECK_FALSE(fs::exists(packages.output));
  };
  const fs::path path = packages.share / "fonts/truetype/noto/NotoColorEmoji.ttf";
  const std::string good = read_file(path);
  for (std::size_t length : {std::size_t{0}, std::size_t{40}, good.size() / 2, good.size() - 1}) {
    write_file(path, good.substr(0, length));
    fails("NotoColorEmoji.ttf");
  }
  fs::remove(path);
  fails("unpack fonts-noto-color-emoji");
  write_file(path, good);
  write_file(packages.share / "openclipart/svg/office/tree.svg", "<svg><metadata>");
  fails("tree.svg' is not valid XML");
  fs::remove_all(packages.share / "openclipart/svg");
  fails("unpack openclipart-svg");
}
