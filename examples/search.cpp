// Finds the pictures of a run that fit a text, or are like a picture.
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "clip/autograd.hpp"
#include "clip/io/file.hpp"
#include "clip/ops/concat.hpp"
#include "examples/support/grid.hpp"
#include "examples/support/pictures.hpp"
#include "examples/support/program.hpp"
#include "examples/support/query_encoder.hpp"
#include "examples/support/run_folder.hpp"

namespace {

using namespace clip;
namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr std::size_t batch = 64;

struct Options {
  fs::path run, image, images, grid;
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

/// Pictures that the model was not trained on are marked, where there are others.
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
  std::vector<RunPicture> pictures;
  std::vector<Tensor> rows;
  const auto add = [&](std::span<const fs::path> some) {
    rows.push_back(encoder.images(some));
    for (const fs::path& file : some) pictures.push_back({file, Split::train, {}});
  };
  const std::vector<fs::path> files = list_pictures(options.images);
  Progress progress("pictures", std::ssize(files), program.quiet);
  for (std::size_t at = 0; at < files.size(); at += batch) {
    const auto part = std::span(files).subspan(at, std::min(batch, files.size() - at));
    try {
      add(part);
    } catch (const Error&) {
      if (!options.skip_bad) throw;
      for (const fs::path& file : part) try {
          add({&file, 1});
        } catch (const Error& error) {
          program.warn(std::string("skipped: ") + error.what());
        }
    }
    progress.advance(std::ssize(part));
  }
  check(!rows.empty(), "--images", "none of the pictures in ", quoted(options.images), " can be read");
  return {Index::build(concat(rows)), std::move(pictures)};
}

void search(const Program& program, const Options& options) {
  const QueryEncoder encoder = load_query_encoder(options.run / "model", program.device(), program.type());
  RunIndex index = options.images.empty() ? RunIndex::load(options.run) : index_of(program, options, encoder);
  if (!options.split.empty()) index = index.only(split_of(options.split));
  program.announce((options.run / "model").string() + ", " + std::to_string(index.pictures.size()) + " pictures");
  Json all = Json::array();
  const auto answer = [&](const std::string& query, const Tensor& embedding) {
    const std::vector<Hit> hits = index.images.search_all(embedding, options.k).front();
    options.json ? all.push_back(as_json(query, hits, index)) : print(query, hits, index);
    if (!options.grid.empty()) draw(options, query, hits, index);
  };
  const auto answer_text = [&](const std::string& text) { answer(text, encoder.texts({&text, 1})); };

  if (!options.image.empty()) {
    answer(options.image.string(), encoder.images({&options.image, 1}));
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
  Program program("search", "Finds the pictures of a training run that fit a text, or are like a picture.",
                  "search --run runs/flickr8k --query \"a dog on the beach\" --grid dogs.png");
  Options options;
  program.option("--run", &options.run, "folder that train_flickr8k wrote").required();
  Option query = program.option("--query", &options.query, "text; without it, one a line from stdin");
  program.option("--image", &options.image, "picture to find similar ones of").excludes(query);
  program.option("-k", &options.k, "how many to find (default 9)").between(1, 1000000);
  program.option("--grid", &options.grid, "PNG file that shows what was found");
  Option split = program.option("--split", &options.split, "search the pictures of train, val or test only")
                     .one_of({"train", "val", "test"});
  program.option("--images", &options.images, "search these instead: a folder of pictures, or a list of files")
      .excludes(split);
  program.option("--json", &options.json, "JSON instead of text");
  program.option("--skip-bad", &options.skip_bad,
                 "leave out pictures that cannot be read; in the grid, leave room for them");
  program.add_compute_options();
  return program.run(argc, argv, [&] {
    const NoGrad guard;
    if (!options.grid.empty() && options.query.empty() && options.image.empty())
      throw WrongUsage("--grid needs --query or --image");
    if (options.k > 100 && !options.grid.empty()) throw WrongUsage("--grid draws at most 100 pictures");
    search(program, options);
  });
}
