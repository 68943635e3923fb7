// Tells how well captions fit their pictures, with a CLIP model.
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "clip/autograd.hpp"
#include "clip/io/file.hpp"
#include "clip/io/lines.hpp"
#include "clip/ops/arithmetic.hpp"
#include "clip/ops/cast.hpp"
#include "clip/ops/reduce.hpp"
#include "examples/support/clip_rows.hpp"
#include "examples/support/pictures.hpp"

namespace {

using namespace clip;
namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

struct Options {
  fs::path model, images, captions;
  bool json = false;
};

void score(const Program& program, const Options& options) {
  const std::vector<fs::path> files = list_pictures(options.images);
  const std::vector<std::string> captions = read_lines(options.captions);
  check(files.size() == captions.size(), "clip_score", "expected a caption for each picture, got ", files.size(),
        " pictures of ", quoted(options.images), " and ", captions.size(), " lines of ", quoted(options.captions));
  PairEncoder encoder{.clip = ClipEncoder::load(options.model, program.device(), program.type())};
  program.announce(options.model.string() + ", " + std::to_string(files.size()) + " pictures");
  const Tensor texts = embed_texts(program, encoder, captions);
  const Tensor images = embed_pictures(program, encoder, files, false).rows;
  const Tensor scores = clip_score(images, texts);
  const Tensor logits = sum(images * texts, {1}) * to(exp(encoder.logit_scale()), Device::cpu());
  Json all = Json::array();
  for (std::size_t i = 0; i < files.size(); ++i) {
    const float value = scores.data<float>()[i], logit = logits.data<float>()[i];
    if (options.json) {
      all.push_back({{"path", files[i].string()}, {"caption", captions[i]}, {"score", value}, {"logit", logit}});
      continue;
    }
    char line[64];
    std::snprintf(line, sizeof line, "%6.2f  %7.3f  ", static_cast<double>(value), static_cast<double>(logit));
    std::cout << line << printable(files[i].string()) << "  " << printable(captions[i]) << '\n';
  }
  if (options.json) {
    std::cout << all.dump(1, ' ', false, Json::error_handler_t::replace) << '\n';
    return;
  }
  char line[64];
  std::snprintf(line, sizeof line, "%6.2f  mean of ", static_cast<double>(mean(scores).item()));
  std::cout << line << files.size() << '\n';
}

}  // namespace

int main(int argc, char** argv) {
  Program program("clip_score", "Tells how well captions fit their pictures: 100 max(cos, 0), and the model's logit.",
                  "clip_score --model models/clip --images photos --captions captions.txt");
  Options options;
  program.option("--model", &options.model, "folder of a CLIP model").required();
  program.option("--images", &options.images, "folder of pictures, or a text file of paths").required();
  program.option("--captions", &options.captions, "text file, a caption for each picture, in their order").required();
  program.option("--json", &options.json, "JSON instead of text");
  program.add_compute_options();
  return program.run(argc, argv, [&] {
    catch_interrupts();
    const NoGrad guard;
    score(program, options);
  });
}
