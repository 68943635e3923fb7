// Finds the pictures of a run, or of a folder, that fit a text, or are like a picture.
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "clip/autograd.hpp"
#include "clip/io/file.hpp"
#include "clip/ops/l2_normalize.hpp"
#include "examples/support/clip_rows.hpp"
#include "examples/support/grid.hpp"
#include "examples/support/pictures.hpp"
#include "examples/support/program.hpp"
#include "examples/support/query_encoder.hpp"
#include "examples/support/run_folder.hpp"
#include "src/io/folder.hpp"

namespace {

using namespace clip;
namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

struct Options {
  fs::path run, model, image, images, grid, cache;
  std::string query, split;
  std::int64_t k = 9;
  bool json = false, skip_bad = false;
};

const std::string& first_caption(const RunPicture& picture) {
  static const std::string none;
  return picture.captions.empty() ? none : picture.captions.front();
}

Json as_json(const std::string& query, const std::vector<Hit>& hits, const RunIndex& index) {
  Json found = Json::array();
  for (const Hit& hit : hits) {
    const RunPicture& picture = index.pictures[static_cast<std::size_t>(hit.row)];
    found.push_back({{"rank", hit.rank},
                     {"score", hit.score},
                     {"path", picture.path.string()},
                     {"caption", first_caption(picture)}});
  }
  return {{"query", query}, {"hits", found}};
}

void print(const std::string& query, const std::vector<Hit>& hits, const RunIndex& index) {
  std::cout << printable(query) << '\n';
  for (const Hit& hit : hits) {
    const RunPicture& picture = index.pictures[static_cast<std::size_t>(hit.row)];
    char line[64];
    std::snprintf(line, sizeof line, "%4lld  %6.3f  ", static_cast<long long>(hit.rank),
                  static_cast<double>(hit.score));
    std::cout << line << printable(picture.path.string()) << "  " << printable(first_caption(picture)) << '\n';
  }
}

/// Pictures of the test split are marked, where there are others.
void draw(const Options& options, const std::string& query, const std::vector<Hit>& hits, const RunIndex& index) {
  Grid grid;
  grid.title = options.image.empty() ? query : "like " + options.image.filename().string();
  grid.query = options.image;
  grid.note = "the " + std::to_string(hits.size()) + " best of " + std::to_string(index.pictures.size()) + " pictures" +
              (options.split.empty() ? "" : " of the " + options.split + " split");
  for (const Hit& hit : hits) {
    const RunPicture& picture = index.pictures[static_cast<std::size_t>(hit.row)];
    grid.pictures.push_back({picture.path, static_cast<double>(hit.score), first_caption(picture),
                             options.split.empty() && picture.split == Split::test ? "unseen" : ""});
  }
  write_grid(options.grid, grid, options.skip_bad);
}

/// The pictures of a folder or list instead of the run's, embedded now.
RunIndex index_of(const Program& program, const Options& options, const QueryEncoder& encoder) {
  std::vector<fs::path> files = list_pictures(options.images);
  const Tensor rows = embed_pictures(program, encoder, files, options.skip_bad);
  std::vector<RunPicture> pictures;
  for (fs::path& file : files) pictures.push_back({std::move(file), Split::train, {}});
  return {Index::build(rows), std::move(pictures)};
}

/// The pictures of a folder or list by a CLIP model; what was embedded before is in the cache.
RunIndex index_of(const Program& program, const Options& options, PairEncoder& encoder) {
  const fs::path beside = is_folder(options.images) ? options.images : options.images.parent_path();
  const fs::path cache = options.cache.empty() ? beside / ".clipcore" : options.cache;
  PictureRows found =
      embed_pictures(program, encoder, list_pictures(options.images), options.skip_bad, cache, options.model);
  std::vector<RunPicture> pictures;
  for (fs::path& file : found.files) pictures.push_back({std::move(file), Split::train, {}});
  return {Index::build(found.rows), std::move(pictures)};
}

struct Searched {
  QueryEncoder encoder;
  RunIndex index;
};
Searched load_clip(const Program& program, const Options& options) {
  check(ClipEncoder::is_in(options.model) || !is_folder(options.model / "image"), "--model", "expected a CLIP in ",
        quoted(options.model), ", got two encoders: search with them by --run");
  const auto encoder = std::make_shared<PairEncoder>(
      PairEncoder{.clip = ClipEncoder::load(options.model, program.device(), program.type())});
  QueryEncoder queries{
      [&program, encoder](std::span<const std::string> texts) { return embed_texts(program, *encoder, texts); },
      encoder->preprocess(), [encoder](const Tensor& pixels) { return l2_normalize(encoder->embed_images(pixels)); }};
  return {std::move(queries), index_of(program, options, *encoder)};
}
Searched load_run(const Program& program, const Options& options) {
  check(!options.images.empty() || is_folder(options.run / "model"), "--run",
        "expected what train_flickr8k or evaluate wrote in ", quoted(options.run),
        ", or, where it is a model, --images to search with it");
  QueryEncoder encoder = load_query_encoder(model_of(options.run), program.device(), program.type());
  RunIndex index = options.images.empty() ? RunIndex::load(options.run) : index_of(program, options, encoder);
  if (!options.split.empty()) index = index.only(split_of(options.split));
  return {std::move(encoder), std::move(index)};
}

void search(const Program& program, const Options& options) {
  const Searched searched = options.run.empty() ? load_clip(program, options) : load_run(program, options);
  const QueryEncoder& encoder = searched.encoder;
  const RunIndex& index = searched.index;
  program.announce((options.run.empty() ? options.model : model_of(options.run)).string() + ", " +
                   std::to_string(index.pictures.size()) + " pictures");
  Json all = Json::array();
  const auto answer = [&](const std::string& query, const Tensor& embedding) {
    const std::vector<Hit> hits = index.images.search_all(embedding, options.k).front();
    options.json ? all.push_back(as_json(query, hits, index)) : print(query, hits, index);
    if (!options.grid.empty()) draw(options, query, hits, index);
  };
  const auto answer_text = [&](const std::string& text) { answer(text, encoder.texts({&text, 1})); };

  if (!options.image.empty()) {
    answer(options.image.string(), encoder.images(encoder.preprocess({&options.image, 1})));
  } else if (!options.query.empty()) {
    answer_text(options.query);
  } else {
    for (std::string line; std::getline(std::cin, line);) {
      if (line.ends_with('\r')) line.pop_back();
      if (!line.empty()) answer_text(line);
      if (!options.json) std::cout.flush();
    }
  }
  if (options.json) std::cout << all.dump(1, ' ', false, Json::error_handler_t::replace) << '\n';
}

}  // namespace

int main(int argc, char** argv) {
  Program program(
      "search",
      "Finds the pictures of a training run, or of a folder with the model of a run or a CLIP, that fit a text or are "
      "like a picture.",
      "search --run runs/flickr8k --query \"a dog on the beach\" --grid dogs.png");
  Options options;
  Option run = program.option("--run", &options.run,
                              "folder that train_flickr8k wrote; with --images a model's, such as models/clipart");
  Option model = program.option("--model", &options.model, "folder of a CLIP model, to search --images with");
  model.excludes(run);
  Option query = program.option("--query", &options.query, "text; without it, one a line from stdin").not_empty();
  program.option("--image", &options.image, "picture to find similar ones of").excludes(query);
  program.option("-k", &options.k, "how many to find (default 9)").between(1, 1000000);
  program.option("--grid", &options.grid, "PNG file that shows what was found");
  Option split = program.option("--split", &options.split, "search the pictures of train, val or test only")
                     .one_of({"train", "val", "test"});
  split.excludes(model);
  program.option("--images", &options.images, "search these instead: a folder of pictures, or a list of files")
      .excludes(split);
  program
      .option("--cache", &options.cache, "where --model keeps what it made of the pictures (default: .clipcore there)")
      .excludes(run);
  program.option("--json", &options.json, "JSON instead of text");
  program.option("--skip-bad", &options.skip_bad,
                 "leave out pictures that cannot be read; in the grid, leave room for them");
  program.add_compute_options();
  return program.run(argc, argv, [&] {
    const NoGrad guard;
    if (options.run.empty() == options.model.empty()) throw WrongUsage("give --run or --model");
    if (!options.model.empty() && options.images.empty()) throw WrongUsage("--model needs --images");
    if (!options.grid.empty() && options.query.empty() && options.image.empty())
      throw WrongUsage("--grid needs --query or --image");
    if (options.k > 100 && !options.grid.empty()) throw WrongUsage("--grid draws at most 100 pictures");
    search(program, options);
  });
}
