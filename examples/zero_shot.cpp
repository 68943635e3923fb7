// Tells which of some labels fit pictures best, with a CLIP model that was trained on none of them.
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
#include "clip/ops/l2_normalize.hpp"
#include "clip/ops/matmul.hpp"
#include "clip/ops/reduce.hpp"
#include "clip/ops/softmax.hpp"
#include "clip/ops/view.hpp"
#include "clip/retrieval/index.hpp"
#include "examples/support/clip_rows.hpp"
#include "examples/support/pictures.hpp"

namespace {

using namespace clip;
namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

struct Options {
  fs::path model, images, labels, templates_file;
  std::vector<std::string> templates;
  std::int64_t k = 5;
  bool json = false, skip_bad = false;
};

/// Those that are not blank.
std::vector<std::string> lines_of(const fs::path& file, const char* what) {
  std::vector<std::string> lines = read_lines(file);
  std::erase_if(lines, [](const std::string& line) { return line.find_first_not_of(" \t") == std::string::npos; });
  check(!lines.empty(), what, "expected one a line in ", quoted(file), ", got none");
  return lines;
}

std::vector<std::string> templates_of(const Options& options) {
  std::vector<std::string> templates = options.templates;
  const auto has_place = [](const std::string& one) { return one.find("{}") != std::string::npos; };
  for (const std::string& one : templates)
    if (!has_place(one))
      throw WrongUsage("expected {} in a template, where the label goes, got '" + printable(one) + "'");
  if (!options.templates_file.empty())
    for (const std::string& line : lines_of(options.templates_file, "templates")) {
      check(has_place(line), "templates", "expected {} in each line of ", quoted(options.templates_file),
            ", where the label goes, got '", printable(line), "'");
      templates.push_back(line);
    }
  if (templates.empty()) templates = {"a photo of a {}."};
  return templates;
}

/// A row for each label: the mean over the templates, of length 1.
Tensor embed_labels(const Program& program, PairEncoder& encoder, const std::vector<std::string>& labels,
                    const std::vector<std::string>& templates) {
  std::vector<std::string> texts;
  for (const std::string& label : labels)
    for (std::string text : templates) {
      for (std::size_t at = 0; (at = text.find("{}", at)) != std::string::npos; at += label.size())
        text.replace(at, 2, label);
      texts.push_back(std::move(text));
    }
  const Tensor rows = embed_texts(program, encoder, texts);
  return l2_normalize(mean(reshape(rows, {std::ssize(labels), std::ssize(templates), encoder.text_size()}), {1}));
}

void zero_shot(const Program& program, const Options& options) {
  const std::vector<std::string> labels = lines_of(options.labels, "labels"), templates = templates_of(options);
  const std::vector<fs::path> files = list_pictures(options.images);
  PairEncoder encoder{.clip = ClipEncoder::load(options.model, program.device(), program.type())};
  program.announce(options.model.string() + ", " + std::to_string(files.size()) + " pictures, " +
                   std::to_string(labels.size()) + " labels, " + std::to_string(templates.size()) +
                   (templates.size() == 1 ? " template" : " templates"));
  const Tensor classes = embed_labels(program, encoder, labels, templates);
  const PictureRows pictures = embed_pictures(program, encoder, files, options.skip_bad);
  const Tensor cosines = matmul(pictures.rows, classes, {.transpose_b = true});
  const Tensor probabilities = softmax(cosines * to(exp(encoder.logit_scale()), Device::cpu()));
  const std::vector<std::vector<Hit>> best = Index::build(classes).search_all(pictures.rows, options.k);
  Json all = Json::array();
  for (std::size_t i = 0; i < pictures.files.size(); ++i) {
    Json predictions = Json::array();
    if (!options.json) std::cout << printable(pictures.files[i].string()) << '\n';
    for (const Hit& hit : best[i]) {
      const auto label = static_cast<std::size_t>(hit.row);
      const float probability = probabilities.data<float>()[i * labels.size() + label];
      if (options.json) {
        predictions.push_back({{"label", labels[label]},
                               {"probability", probability},
                               {"score", cosines.data<float>()[i * labels.size() + label]}});
        continue;
      }
      char percent[32];
      std::snprintf(percent, sizeof percent, "%7.2f %%  ", 100 * static_cast<double>(probability));
      std::cout << percent << printable(labels[label]) << '\n';
    }
    if (options.json) all.push_back({{"path", pictures.files[i].string()}, {"predictions", predictions}});
  }
  if (options.json) std::cout << all.dump(1, ' ', false, Json::error_handler_t::replace) << '\n';
}

}  // namespace

int main(int argc, char** argv) {
  Program program("zero_shot", "Tells which labels fit pictures best, with a CLIP model.",
                  "zero_shot --model models/clip --images photos --labels animals.txt");
  Options options;
  program.option("--model", &options.model, "folder of a CLIP model").required();
  program.option("--images", &options.images, "folder of pictures, or a text file of paths").required();
  program.option("--labels", &options.labels, "text file, one label a line").required();
  program.option("--template", &options.templates,
                 "text with {} for the label; several are averaged (default: a photo of a {}.)");
  program.option("--templates", &options.templates_file, "text file of templates, one a line");
  program.option("-k", &options.k, "labels to show of each picture (default 5)").between(1, 1000000);
  program.option("--json", &options.json, "JSON instead of text");
  program.option("--skip-bad", &options.skip_bad, "report unreadable pictures, and go on");
  program.add_compute_options();
  return program.run(argc, argv, [&] {
    catch_interrupts();
    const NoGrad guard;
    zero_shot(program, options);
  });
}
