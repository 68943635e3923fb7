#include "clip/image/preprocess.hpp"

#include "clip/io/file.hpp"
#include "tests/image/golden.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/temporary.hpp"

using namespace clip;
using namespace clip::test;

namespace {

using Path = std::filesystem::path;

Preprocessor load_json(const TemporaryFolder& folder, const std::string& config) {
  write_file(folder / "preprocessor_config.json", config);
  return Preprocessor::load(folder.path());
}

void check_row(const Tensor& batch, std::int64_t row, const Preprocessor& preprocess, const Path& file) {
  const Tensor one = preprocess(read_image(file));
  CHECK(batch.view(row * one.numel(), one.shape()).to_vector() == one.to_vector());
}

}  // namespace

TEST_CASE("folders preprocess as their reference does, bit for bit", "[image]") {
  auto lines = golden_lines("preprocessed.txt");
  REQUIRE(lines.size() > 90);
  for (auto& line : lines) {
    std::string config, name, hash;
    int height = 0, width = 0;
    line >> config >> name >> height >> width >> hash;
    INFO(line.str());
    const Preprocessor preprocess = Preprocessor::load(image_data / config);
    CHECK(preprocess.size() == Size{width, height});
    const Path files[] = {image_data / name};
    const Tensor pixels = preprocess(files);
    CHECK(pixels.shape() == Shape{1, height, width, 3});
    CHECK(hash_of(pixels.to_vector<float>()) == hash);
  }
}

TEST_CASE("a batch is its pictures, on any number of threads", "[image][threads]") {
  const Preprocessor preprocess = Preprocessor::load(image_data / "torchvision_v1");
  std::vector<Path> files;
  for (int i = 0; i < 4; ++i)
    for (const char* name : {"photo.jpg", "420.jpg", "cmyk.jpg", "faded.png", "palette.gif", "rgb.bmp", "one.jpg"})
      files.push_back(image_data / name);
  const Tensor batch = preprocess(files);
  REQUIRE(batch.shape() == Shape{28, 224, 224, 3});
  for (std::int64_t i = 0; i < 28; ++i) check_row(batch, i, preprocess, files[static_cast<std::size_t>(i)]);
  CHECK(preprocess(std::span<const Path>{}).shape() == Shape{0, 224, 224, 3});
}

TEST_CASE("bad pictures throw, or are reported in order and left out", "[image][threads]") {
  const TemporaryFolder folder;
  write_file(folder / "broken.jpg", read_file(image_data / "photo.jpg").substr(0, 5000));
  write_file(folder / "text.png", "no picture");
  const Preprocessor preprocess = Preprocessor::load(image_data / "vit");
  const std::vector<Path> files{folder / "broken.jpg", image_data / "photo.jpg", folder / "text.png",
                                image_data / "upright.jpg", folder / "none.jpg"};
  CHECK(throws_with([&] { preprocess(files); }, "broken.jpg"));

  std::vector<std::size_t> bad;
  std::string why;
  const Tensor pixels = preprocess(files, [&](std::size_t index, const std::string& message) {
    bad.push_back(index);
    why += message + '\n';
  });
  CHECK(bad == std::vector<std::size_t>{0, 2, 4});
  CHECK(why.find("broken.jpg': ") < why.find("text.png': "));
  CHECK(why.find("text.png': ") < why.find("none.jpg': "));
  REQUIRE(pixels.shape() == Shape{2, 90, 110, 3});
  check_row(pixels, 0, preprocess, files[1]);
  check_row(pixels, 1, preprocess, files[3]);
  const std::vector<Path> none{folder / "text.png"};
  CHECK(preprocess(none, [](std::size_t, const std::string&) {}).shape() == Shape{0, 90, 110, 3});
}

TEST_CASE("a picture that would become too large is refused", "[image]") {
  const Preprocessor preprocess = Preprocessor::load(image_data / "clip");
  Image line{400000, 1, Colors::rgb, false, std::vector<std::uint8_t>(1200000)};
  CHECK(throws_with([&] { preprocess(line); }, "more than 67108864 pixels when its shorter side is 224"));
  line.width = 1;
  line.height = 400000;
  CHECK_THROWS_AS(preprocess(line), Error);
  const TemporaryFolder folder;
  const Path files[] = {folder.write("line.ppm", "P6 400000 1 255\n" + std::string(1200000, 'x'))};
  CHECK(throws_with([&] { preprocess(files); }, "line.ppm"));
}

TEST_CASE("transparent pictures are put on a background where the config names one", "[image]") {
  const TemporaryFolder folder;
  Image image{2, 1, Colors::rgba, false, {200, 100, 0, 51, 1, 2, 3, 0}};
  const std::string config = R"({"do_resize": false, "crop_size": {"height": 1, "width": 2}, "do_rescale": false,
                                 "do_normalize": false)";
  for (const char* pipeline : {"huggingface", "torchvision", "openai"}) {
    const std::string named = config + R"(, "pipeline": ")" + pipeline + '"';
    CHECK(load_json(folder, named + "}")(image).to_vector() == std::vector<float>{200, 100, 0, 1, 2, 3});
    CHECK(load_json(folder, named + R"(, "background": [10, 20, 250]})")(image).to_vector() ==
          std::vector<float>{48, 36, 200, 10, 20, 250});
  }
}

TEST_CASE("settings that make no sense are refused", "[image]") {
  const auto refused = [](Preprocessing s, const std::string& message) {
    return throws_with([&] { Preprocessor{s}; }, message);
  };
  CHECK(refused({}, "expected a size or a crop"));
  CHECK(refused({.shorter_side = 8}, "expected a size or a crop"));
  CHECK(refused({.shorter_side = 8, .size = {8, 8}}, "got both"));
  CHECK(refused({.size = {8, 0}}, "expected sides of 1 to 16384, got 8 x 0"));
  CHECK(refused({.shorter_side = -1, .crop = {8, 8}}, "got -1"));
  CHECK(refused({.size = {8, 8}, .std = {1, 0, 1}}, "a finite std that is not 0"));
  CHECK(refused({.size = {8, 8}, .rescale = HUGE_VAL}, "finite"));
}

TEST_CASE("a config that is not understood is refused by file and key", "[image]") {
  const TemporaryFolder folder;
  CHECK(throws_with([&] { Preprocessor::load(folder.path()); }, "expected preprocessor_config.json in"));
  const std::pair<const char*, const char*> bad[] = {
      {R"({"image_processor_type": "SamImageProcessor"})", "'image_processor_type'"},
      {R"({"size": {"longest_edge": 3}})", "'size'"},
      {R"({"size": 0})", "'size'"},
      {R"({"size": 1e9})", "'size'"},
      {R"({"size": "big"})", "'size'"},
      {R"({"crop_size": {"height": 3}})", "'crop_size'"},
      {R"({"resample": 1})", "'resample'"},
      {R"({"do_resize": "yes"})", "'do_resize'"},
      {R"({"do_center_crop": false})", "'do_center_crop'"},
      {R"({"do_pad": true})", "'do_pad'"},
      {R"({"image_mean": [1, 2]})", "'image_mean'"},
      {R"({"image_std": [1, 0, 1]})", "'image_std'"},
      {R"({"image_std": [1, 1e300, 1]})", "'image_std'"},
      {R"({"rescale_factor": "x"})", "'rescale_factor'"},
      {R"({"pipeline": "mine"})", "'pipeline'"},
      {R"({"background": [1, 2]})", "'background'"},
      {R"({"background": [1, 2, 256]})", "'background'"},
      {R"({"background": "white"})", "'background'"},
      {R"({"image_processor_type": "ConvNextImageProcessor", "crop_pct": 0})", "'crop_pct'"},
      {R"({"image_processor_type": "ConvNextImageProcessor", "size": {"height": 3, "width": 3}})", "'size'"},
      {R"({"image_processor_type": "ConvNextImageProcessor", "crop_pct": 0.011, "size": {"shortest_edge": 224}})",
       "expected a shorter side of 0 to 16384"},
      {R"([])", "expected an object"},
      {R"({"size": )", "not valid JSON"},
  };
  for (const auto& [config, message] : bad) {
    INFO(config);
    const std::string text = config, expected = message;
    CHECK(throws_with([&] { load_json(folder, text); }, expected));
    CHECK(throws_with([&] { load_json(folder, text); }, "preprocessor_config.json"));
  }
  CHECK(load_json(folder, "{}").size() == Size{224, 224});

  // what transformers 5 writes; older ones wrote a file of that name without it
  write_file(folder / "processor_config.json",
             R"({"image_processor": {"size": {"shortest_edge": 9}, "crop_size": 8}})");
  CHECK(Preprocessor::load(folder.path()).size() == Size{224, 224});
  std::filesystem::remove(folder / "preprocessor_config.json");
  CHECK(Preprocessor::load(folder.path()).size() == Size{8, 8});
  write_file(folder / "processor_config.json", R"({"image_processor": {"crop_size": "x"}})");
  CHECK(throws_with([&] { Preprocessor::load(folder.path()); }, "'image_processor.crop_size' in "));
  write_file(folder / "processor_config.json", R"({"image_processor": 1})");
  CHECK(throws_with([&] { Preprocessor::load(folder.path()); }, "'image_processor' in "));
  write_file(folder / "processor_config.json", R"({"processor_class": "CLIPProcessor"})");
  CHECK(throws_with([&] { Preprocessor::load(folder.path()); }, "or processor_config.json"));

  for (const char* key : {"input_size", "crop_pct", "interpolation", "mean", "std"}) {
    std::string config = read_file(image_data / "timm_center" / "config.json");
    config[config.find(key)] = 'x';
    write_file(folder / "config.json", config);
    CHECK(throws_with([&] { Preprocessor::load(folder.path()); }, key));
  }
  const std::pair<std::string, std::string> out_of_range[] = {
      {R"(0.011, "mean": 0, "std": 1)", "a shorter side of 0 to 16384"}, {R"(1, "mean": 0, "std": 0)", "std"}};
  for (const auto& [rest, message] : out_of_range) {
    write_file(
        folder / "config.json",
        R"({"pretrained_cfg": {"input_size": [3, 224, 224], "interpolation": "bicubic", "crop_pct": )" + rest + "}}");
    const std::string expected = message;  // Clang 14 captures no structured binding
    CHECK(throws_with([&] { Preprocessor::load(folder.path()); }, expected));
    CHECK(throws_with([&] { Preprocessor::load(folder.path()); }, quoted(folder / "config.json")));
  }
}
