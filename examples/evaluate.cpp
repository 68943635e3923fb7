// How well the captions and pictures of a run find each other.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <unordered_set>
#include <vector>

#include "clip/autograd.hpp"
#include "clip/data/flickr8k.hpp"
#include "clip/ops/cast.hpp"
#include "clip/ops/concat.hpp"
#include "clip/retrieval/recall.hpp"
#include "examples/support/program.hpp"
#include "examples/support/query_encoder.hpp"
#include "examples/support/run_folder.hpp"
#include "src/io/folder.hpp"
#include "src/models/model_folder.hpp"

namespace {

using namespace clip;
namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr std::size_t batch = 256;

struct Options {
  fs::path run, data, output;
  std::string split = "test", prefix;
  bool json = false, no_twins = false;
};

/// Of the pictures of a data set that is not the run's, embedded now.
RunIndex index_of(const Program& program, const Options& options, const QueryEncoder& encoder) {
  const Captions data = read_flickr8k(options.data, {.seed = program.seed()});
  for (const Problem& problem : data.problems) program.warn(message(problem));
  program.announce(data.summary());
  std::vector<fs::path> files;
  for (const Picture& picture : data.pictures) files.push_back(picture.path);
  return {Index::build(embed_pictures(program, encoder, files)), run_pictures(data)};
}

/// Makes a run of a model and pictures, all of it or nothing.
void write_run(const fs::path& model, const RunIndex& index, const fs::path& run) {
  const fs::path part = run.string() + ".partial";
  fs::remove_all(part);  // of a program that was killed
  make_folder(part);
  link_folder(model, part / "model");
  save_run_index(part, index.images, index.pictures);
  fs::rename(part, run);
}

RetrievalRecall evaluate(const Program& program, const Options& options) {
  const Split split = split_of(options.split);
  const fs::path model = model_of(options.run);
  const fs::path output = options.output.has_filename() ? options.output : options.output.parent_path();  // "x/" is x
  check(!options.data.empty() || model != options.run, "--run", "expected what train_flickr8k or evaluate wrote in ",
        quoted(options.run), ", or, where it is a model, --data to judge it by");
  check(output.empty() || !is_there(output), "--output", "expected a new folder, but ", quoted(output),
        " exists: remove it, or choose another");
  const QueryEncoder encoder = load_query_encoder(model, program.device(), program.type());
  const RunIndex all = options.data.empty() ? RunIndex::load(options.run) : index_of(program, options, encoder);
  const RunIndex index = all.only(split);
  std::unordered_set<std::string> trained;
  for (const RunPicture& picture : all.pictures)
    if (options.no_twins && picture.split == Split::train)
      trained.insert(picture.captions.begin(), picture.captions.end());
  std::vector<std::string> captions;
  std::vector<std::int64_t> picture_of;
  std::vector<Tensor> images;
  for (std::size_t i = 0; i < index.pictures.size(); ++i) {
    const Tensor row = index.images.row(static_cast<std::int64_t>(i));
    images.push_back(row.view(0, {1, row.numel()}));
    if (!index.pictures[i].path.filename().string().starts_with(options.prefix)) continue;
    for (const std::string& caption : index.pictures[i].captions) {
      if (trained.contains(caption)) continue;
      captions.push_back(caption);
      picture_of.push_back(static_cast<std::int64_t>(i));
    }
  }
  check(!captions.empty(), "evaluate", "the ", name_of(split), " split of ",
        options.data.empty() ? options.run : options.data, " has no such captions");
  if (!output.empty()) write_run(model, all, output);
  program.announce(model.string() + ", " + std::to_string(images.size()) + " pictures, " +
                   std::to_string(captions.size()) + " captions");
  Progress progress("captions", std::ssize(captions), program.quiet);
  std::vector<Tensor> texts;
  for (std::size_t at = 0; at < captions.size(); at += batch) {
    const auto some = std::span<const std::string>(captions).subspan(at, std::min(batch, captions.size() - at));
    texts.push_back(encoder.texts(some));
    progress.advance(std::ssize(some));
  }
  const Tensor queries = concat(texts);
  return retrieval_recall(queries, to(concat(images), queries.device()), picture_of);
}

Json as_json(const Recall& recall) {
  return {{"r1", recall.r1}, {"r5", recall.r5}, {"r10", recall.r10}, {"median_rank", recall.median_rank}};
}

void print(const char* direction, const Recall& recall) {
  char line[128];
  std::snprintf(line, sizeof line, "%-14s %6.1f %6.1f %6.1f %12.1f %9lld %9lld\n", direction, 100 * recall.r1,
                100 * recall.r5, 100 * recall.r10, recall.median_rank, static_cast<long long>(recall.queries),
                static_cast<long long>(recall.gallery));
  std::cout << line;
}

}  // namespace

int main(int argc, char** argv) {
  Program program("evaluate", "Recall at 1, 5 and 10 and median rank of a run, from texts to pictures and back.",
                  "evaluate --run runs/flickr8k --split test");
  Options options;
  program.option("--run", &options.run, "folder that train_flickr8k wrote; with --data a model's, too").required();
  program.option("--data", &options.data, "judge by the pictures of this data set in a layout of Flickr8k's instead");
  program.option("--output", &options.output,
                 "with --data: make this folder a run with those pictures, to be searched");
  program.option("--split", &options.split, "val or test (default)").one_of({"val", "test"});
  program.option("--no-twins", &options.no_twins,
                 "leave out captions that a picture of the training split has too, word for word");
  program.option("--prefix", &options.prefix,
                 "captions of pictures whose file names begin so only, such as 'emoji-', among all pictures");
  program.option("--json", &options.json, "JSON instead of a table");
  program.add_compute_options();
  return program.run(argc, argv, [&] {
    const NoGrad guard;
    if (!options.output.empty() && options.data.empty()) throw WrongUsage("--output goes with --data");
    const auto [to_image, to_text] = evaluate(program, options);
    if (options.json) {
      std::cout << Json{{"split", options.split},
                        {"queries", to_image.queries},
                        {"gallery", to_image.gallery},
                        {"t2i", as_json(to_image)},
                        {"i2t", as_json(to_text)}}
                       .dump(1)
                << '\n';
      return;
    }
    std::cout << "in %              R@1    R@5   R@10  median rank   queries   gallery\n";
    print("text to image", to_image);
    print("image to text", to_text);
  });
}
