// Makes a data set in Flickr8k's layout of the clip art, emoji and stamps that Debian packages carry.
#include <algorithm>
#include <array>
#include <exception>
#include <iostream>
#include <set>

#include "clip/image/resize.hpp"
#include "clip/image/write_png.hpp"
#include "clip/io/file.hpp"
#include "clip/io/hash.hpp"
#include "examples/support/program.hpp"
#include "tools/make_clipart/cleaning.hpp"
#include "tools/make_clipart/grouping.hpp"

namespace {

using namespace clip;
namespace fs = std::filesystem;

struct Options {
  fs::path packages, output;
  std::vector<fs::path> words;
  bool no_stamps = false;
};

constexpr int longest_side = 256;

/// Small enough to be decoded fast, large enough to be looked at. Alpha stays.
Image shrunk(Image image) {
  if (image.colors == Colors::cmyk) image = to_rgb(std::move(image));
  image.indexed = false;
  const int longest = std::max(image.width, image.height);
  if (longest <= longest_side) return image;
  const auto side = [&](int length) { return std::max(1, length * longest_side / longest); };
  return resize(image, {side(image.width), side(image.height)}, Filter::bilinear);
}

/// What became of a picture.
struct Made {
  Thumbnail thumbnail;
  std::uint64_t content = 0;
  std::string problem;  // why it could not be read
};

Made make_picture(const Clipart& picture, const fs::path& folder) {
  Made made;
  try {
    const Image image = shrunk(picture.read());
    made.thumbnail = thumbnail_of(image);
    made.content = content_hash(std::as_bytes(std::span(image.pixels)), static_cast<std::uint64_t>(image.width));
    write_png(folder / (picture.name + ".png"), image);
  } catch (const Error& error) {
    made.problem = error.what();
  }
  return made;
}

std::vector<Made> make_pictures(const std::vector<Clipart>& pictures, const fs::path& folder, bool quiet) {
  std::vector<Made> made(pictures.size());
  Progress progress("pictures", std::ssize(pictures), quiet);
  std::exception_ptr fatal;
#pragma omp parallel for schedule(dynamic)
  for (std::size_t i = 0; i < pictures.size(); ++i) {
    try {
      made[i] = make_picture(pictures[i], folder);
    } catch (...) {
#pragma omp critical(fatal)
      fatal = std::current_exception();
    }
#pragma omp critical(progress)
    progress.advance(1);
  }
  if (fatal) std::rethrow_exception(fatal);
  return made;
}

std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\n\r") == std::string::npos) return text;
  std::string quoted_text = "\"";
  for (const char c : text) quoted_text.append(c == '"' ? 2 : 1, c);
  return quoted_text + '"';
}

constexpr const char* licences =
    "Pictures and captions in this folder come from Debian packages; what they are called tells from which:\n"
    "openclipart-*  openclipart-png, openclipart-svg: public domain\n"
    "emoji-*        fonts-noto-color-emoji (SIL Open Font License 1.1), its flags public domain or Apache 2.0;\n"
    "               names by unicode-cldr-core (Unicode license)\n"
    "stamp-*        tuxpaint-stamps-default: GNU General Public License 2 or later\n"
    "The packages' usr/share/doc/*/copyright files tell the details.\n";

void write_data_set(const std::vector<Clipart>& pictures, const std::vector<Split>& splits, const fs::path& folder) {
  std::string captions = "image,caption\n";
  std::array<std::string, 3> lists;
  std::array<std::size_t, 3> counts{};
  std::size_t caption_count = 0;
  for (std::size_t i = 0; i < pictures.size(); ++i) {
    const std::string file = pictures[i].name + ".png";
    for (const std::string& caption :
         splits[i] == Split::train ? captions_to_train_on(pictures[i]) : captions_of(pictures[i])) {
      captions += csv_field(file) + ',' + csv_field(caption) + '\n';
      ++caption_count;
    }
    lists[static_cast<std::size_t>(splits[i])] += file + '\n';
    ++counts[static_cast<std::size_t>(splits[i])];
  }
  write_file(folder / "captions.txt", captions);
  write_file(folder / "Flickr_8k.trainImages.txt", lists[0]);
  write_file(folder / "Flickr_8k.devImages.txt", lists[1]);
  write_file(folder / "Flickr_8k.testImages.txt", lists[2]);
  write_file(folder / "LICENSES.txt", licences);
  std::cout << pictures.size() << " pictures with " << caption_count << " captions: " << counts[0] << " to train on, "
            << counts[1] << " to validate with, " << counts[2] << " to test with\n";
}

void make(const Program& program, const Options& options) {
  check(!fs::exists(options.output), "make_clipart", "expected a new folder, but ", quoted(options.output),
        " exists: remove it, or choose another");
  const fs::path work = options.output.string() + ".partial";  // beside its goal, so that the last step is one rename
  fs::remove_all(work);                                        // of a run that was killed
  fs::create_directories(work / "Images");

  LeftOut left_out;
  std::vector<Clipart> pictures = read_openclipart(options.packages, Words(options.words), left_out);
  const auto add = [&](std::vector<Clipart> more) {
    std::move(more.begin(), more.end(), std::back_inserter(pictures));
  };
  add(read_emoji(options.packages, left_out));
  if (!options.no_stamps) add(read_stamps(options.packages, left_out));

  std::set<std::string> distinct;
  for (const Clipart& picture : pictures)
    check(distinct.insert(picture.name).second, "make_clipart", "two pictures would be called ", quoted(picture.name));

  const std::vector<Made> made = make_pictures(pictures, work / "Images", program.quiet);
  std::vector<Clipart> kept;
  std::vector<std::string> names, concepts;
  std::vector<Thumbnail> thumbnails;
  std::set<std::uint64_t> seen;
  for (std::size_t i = 0; i < pictures.size(); ++i) {
    const char* why = nullptr;
    if (!made[i].problem.empty())
      why = "cannot be read";
    else if (made[i].thumbnail.blank)
      why = "blank on white";
    else if (!seen.insert(made[i].content).second)
      why = "the same as another";
    if (why != nullptr) {
      ++left_out[why];
      fs::remove(work / "Images" / (pictures[i].name + ".png"));
      continue;
    }
    names.push_back(pictures[i].name);
    concepts.push_back(pictures[i].concept_name);
    thumbnails.push_back(made[i].thumbnail);
    kept.push_back(std::move(pictures[i]));
  }
  const auto unread = std::find_if(made.begin(), made.end(), [](const Made& m) { return !m.problem.empty(); });
  if (unread != made.end()) program.warn("of the pictures that cannot be read, the first: " + unread->problem);
  for (const auto& [why, count] : left_out) std::cout << "left out " << count << ": " << why << '\n';
  write_data_set(kept, split_groups(names, concepts, thumbnails), work);
  fs::rename(work, options.output);
}

}  // namespace

int main(int argc, char** argv) {
  Program program(
      "make_clipart",
      "Makes a data set in Flickr8k's layout, split by groups of like pictures, of unpacked Debian packages: "
      "openclipart-png, openclipart-svg, fonts-noto-color-emoji, unicode-cldr-core and, where it is there, "
      "tuxpaint-stamps-default.",
      "make_clipart downloads/clipart/unpacked data/clipart --words words.txt");
  Options options;
  program.option("packages", &options.packages, "folder that the packages were unpacked into").required();
  program.option("output", &options.output, "folder to be made").required();
  program.option("--words", &options.words, "lists of English words, one in each line").required();
  program.option("--no-stamps", &options.no_stamps, "leave out tuxpaint-stamps-default, which is under the GPL");
  program.option("--quiet", &program.quiet, "no progress");
  return program.run(argc, argv, [&] { make(program, options); });
}
