// A stand-in for Flickr8k of any size, in any of its layouts: shapes on coloured grounds, and captions that say so. For
// tests and benchmarks of what needs the real one's form, not its content.
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>
// after cstdio, which it needs
#include <jpeglib.h>

#include "clip/core/error.hpp"
#include "clip/core/random.hpp"
#include "clip/io/file.hpp"
#include "clip/io/hash.hpp"
#include "examples/support/program.hpp"
#include "src/io/folder.hpp"
#include "src/io/json.hpp"

namespace {

using namespace clip;
namespace fs = std::filesystem;

struct Color {
  const char* name;
  std::array<int, 3> rgb;
};
constexpr std::array<Color, 8> colors{{{"red", {200, 40, 40}},
                                       {"green", {40, 160, 60}},
                                       {"blue", {50, 70, 200}},
                                       {"yellow", {230, 210, 60}},
                                       {"white", {235, 235, 235}},
                                       {"black", {25, 25, 25}},
                                       {"orange", {230, 130, 40}},
                                       {"purple", {130, 60, 160}}}};
constexpr std::array<const char*, 5> shapes{"circle", "square", "triangle", "cross", "ring"};
constexpr std::array<const char*, 5> places{"in the middle", "on the left", "on the right", "at the top",
                                            "at the bottom"};

/// What a picture shows.
struct Scene {
  std::size_t shape, color, ground, place;
  bool large;
};
Scene scene_of(std::uint64_t seed, std::uint64_t picture) {
  const auto words = philox(seed, picture);
  const auto choose = [](std::uint32_t word, std::size_t shift, std::size_t count) { return (word >> shift) % count; };
  Scene scene{choose(words[0], 0, shapes.size()), choose(words[1], 0, colors.size()), 0,
              choose(words[2], 0, places.size()), words[3] % 2 == 1};
  scene.ground = (scene.color + 1 + choose(words[0], 16, colors.size() - 1)) % colors.size();  // not the same
  return scene;
}

/// Five ways to say it; further captions begin again, with their number.
std::string caption_of(const Scene& scene, int number) {
  const std::string color = colors[scene.color].name, ground = colors[scene.ground].name, shape = shapes[scene.shape],
                    size = scene.large ? "large" : "small", place = places[scene.place];
  const std::array<std::string, 5> ways{"A " + size + " " + color + " " + shape + " on a " + ground + " background .",
                                        "a " + color + " " + shape + " " + place + " of a " + ground + " picture",
                                        "There is a " + color + " " + shape + ", a " + size + " one, " + place + " .",
                                        "The background is " + ground + " and the \"" + shape + "\" is " + color + " .",
                                        size + " " + shape + " " + place + ", " + color + " on " + ground};
  return ways[static_cast<std::size_t>(number) % ways.size()] +
         (number < static_cast<int>(ways.size()) ? "" : " (" + std::to_string(number) + ")");
}

/// Whether a point, in units of the shape's radius from its centre, belongs to the shape.
bool covers(std::size_t shape, double x, double y) {
  const double square = x * x + y * y, ax = std::abs(x), ay = std::abs(y);
  if (shape == 0) return square < 1;
  if (shape == 1) return ax < 0.85 && ay < 0.85;
  if (shape == 2) return y < 0.8 && y > -0.9 + 1.9 * ax;
  if (shape == 3) return ax < 1 && ay < 1 && (ax < 0.3 || ay < 0.3);
  return square < 1 && square > 0.4;
}

std::vector<std::uint8_t> draw(const Scene& scene, int width, int height, std::uint32_t noise) {
  constexpr std::array<std::array<double, 2>, 5> centres{{{.5, .5}, {.25, .5}, {.75, .5}, {.5, .25}, {.5, .75}}};
  const double radius = (scene.large ? 0.24 : 0.13) * std::min(width, height) * 1.2;
  const double left = centres[scene.place][0] * width, top = centres[scene.place][1] * height;
  std::vector<std::uint8_t> pixels;
  pixels.reserve(static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * 3);
  for (int y = 0; y < height; ++y)
    for (int x = 0; x < width; ++x) {
      const bool inside = covers(scene.shape, (x + 0.5 - left) / radius, (y + 0.5 - top) / radius);
      noise = noise * 1664525 + 1013904223;  // grain, so that files are as large as photographs'
      const int shade = static_cast<int>(noise >> 28) - 8 + 20 * y / height;
      for (const int sample : colors[inside ? scene.color : scene.ground].rgb)
        pixels.push_back(static_cast<std::uint8_t>(std::clamp(sample + shade, 0, 255)));
    }
  return pixels;
}

std::string jpeg_of(const std::vector<std::uint8_t>& pixels, int width, int height) {
  jpeg_compress_struct info{};
  jpeg_error_mgr errors{};
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  unsigned char* buffer = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&info, &buffer, &size);
  info.image_width = static_cast<JDIMENSION>(width);
  info.image_height = static_cast<JDIMENSION>(height);
  info.input_components = 3;
  info.in_color_space = JCS_RGB;
  jpeg_set_defaults(&info);
  jpeg_set_quality(&info, 85, TRUE);
  jpeg_start_compress(&info, TRUE);
  while (info.next_scanline < info.image_height) {
    const std::size_t row = std::size_t{info.next_scanline} * static_cast<std::size_t>(width) * 3;
    auto* line = const_cast<JSAMPROW>(pixels.data() + row);
    jpeg_write_scanlines(&info, &line, 1);
  }
  jpeg_finish_compress(&info);
  jpeg_destroy_compress(&info);
  const std::unique_ptr<unsigned char, decltype(&std::free)> owner(buffer, &std::free);
  return {reinterpret_cast<const char*>(buffer), size};
}

std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"") == std::string::npos) return text;
  std::string quoted_text = "\"";
  for (const char c : text) quoted_text.append(c == '"' ? 2 : 1, c);
  return quoted_text + '"';
}

struct Options {
  fs::path output;
  std::string layout = "kaggle";
  int pictures = 8091, captions = 5, width = 500, height = 375;
  std::uint64_t seed = 0;
};

void make(const Options& options) {
  const fs::path folder = options.output / (options.layout == "token" ? "Flicker8k_Dataset" : "Images");
  make_folder(folder);
  std::vector<std::string> names;
  std::vector<std::exception_ptr> errors(static_cast<std::size_t>(options.pictures));  // none may leave a thread
  for (int i = 0; i < options.pictures; ++i) {
    const std::string digest = hex(content_hash(std::to_string(i), options.seed));
    names.push_back(std::to_string(1000000000 + i) + '_' + digest.substr(0, 10) + ".jpg");
  }
#pragma omp parallel for schedule(dynamic)
  for (int i = 0; i < options.pictures; ++i) {
    try {
      const Scene scene = scene_of(options.seed, static_cast<std::uint64_t>(i));
      write_file(folder / names[static_cast<std::size_t>(i)],
                 jpeg_of(draw(scene, options.width, options.height, static_cast<std::uint32_t>(i)), options.width,
                         options.height));
    } catch (...) {
      errors[static_cast<std::size_t>(i)] = std::current_exception();
    }
  }
  for (const std::exception_ptr& error : errors)
    if (error) std::rethrow_exception(error);

  std::string text = options.layout == "kaggle" ? "image,caption\n" : "";
  Json images = Json::array();
  std::array<std::string, 3> lists;  // as the real one: 6,000, 1,000 and 1,000, and 91 in none
  const std::array<const char*, 3> splits{"train", "val", "test"};
  const int held_out = std::max(options.pictures * 1000 / 8091, 1), trained = options.pictures * 6000 / 8091;
  for (int i = 0; i < options.pictures; ++i) {
    const std::string& name = names[static_cast<std::size_t>(i)];
    const Scene scene = scene_of(options.seed, static_cast<std::uint64_t>(i));
    const std::size_t split = i < trained ? 0 : i < trained + held_out ? 1 : i < trained + 2 * held_out ? 2 : 3;
    if (split < 3) lists[split] += name + '\n';
    Json image = {{"filename", name}, {"imgid", i}, {"split", split < 3 ? splits[split] : "train"}};
    for (int c = 0; c < options.captions; ++c) {
      const std::string caption = caption_of(scene, c);
      if (options.layout == "kaggle") text += name + ',' + csv_field(caption) + '\n';
      if (options.layout == "token") text += name + '#' + std::to_string(c) + '\t' + caption + '\n';
      image["sentences"].push_back({{"raw", caption}, {"imgid", i}, {"sentid", i * options.captions + c}});
    }
    if (options.layout == "karpathy" && split < 3) images.push_back(std::move(image));
  }
  if (options.layout == "kaggle") write_file(options.output / "captions.txt", text);
  if (options.layout == "karpathy")
    write_file(options.output / "dataset_flickr8k.json", Json{{"dataset", "flickr8k"}, {"images", images}}.dump());
  if (options.layout == "token") {
    write_file(options.output / "Flickr_8k.trainImages.txt", lists[0]);
    write_file(options.output / "Flickr_8k.devImages.txt", lists[1]);
    write_file(options.output / "Flickr_8k.testImages.txt", lists[2]);
    write_file(options.output / "Flickr8k.token.txt", text);
  }
}

}  // namespace

int main(int argc, char** argv) {
  Program program("make_flickr8k", "Makes a stand-in for Flickr8k: drawn shapes, and captions that name them.",
                  "make_flickr8k data/shapes --pictures 500");
  Options options;
  program.option("output", &options.output, "folder, made when it is not there").required();
  program.option("--layout", &options.layout, "kaggle (default), token or karpathy")
      .one_of({"kaggle", "token", "karpathy"});
  program.option("--pictures", &options.pictures, "how many (default 8091)").between(1, 1000000);
  program.option("--captions", &options.captions, "of each picture (default 5)").between(1, 100);
  program.option("--width", &options.width, "of a picture (default 500)").between(1, 4096);
  program.option("--height", &options.height, "of a picture (default 375)").between(1, 4096);
  program.option("--seed", &options.seed, "of all random numbers (default 0)");
  return program.run(argc, argv, [&] { make(options); });
}
