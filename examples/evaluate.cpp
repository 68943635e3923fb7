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
#include "clip/ops/concat.hpp"
#include "clip/retrieval/recall.hpp"
#include "examples/support/program.hpp"
#include "examples/support/query_encoder.hpp"
#include "examples/support/run_folder.hpp"

namespace {

using namespace clip;
namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr std::size_t batch = 256;

/// With `no_twins` without the captions that a picture of the training split has too, word for word.
RetrievalRecall evaluate(const Program& program, const fs::path& run, Split split, bool no_twins) {
  const RunIndex all = RunIndex::load(run), index = all.only(split);
  std::unordered_set<std::string> trained;
  for (const RunPicture& picture : all.pictures)
    if (no_twins && picture.split == Split::train) trained.insert(picture.captions.begin(), picture.captions.end());
  std::vector<std::string> captions;
  std::vector<std::int64_t> picture_of;
  std::vector<Tensor> images;
  for (std::size_t i = 0; i < index.pictures.size(); ++i) {
    const Tensor row = index.images.row(static_cast<std::int64_t>(i));
    images.push_back(row.view(0, {1, row.numel()}));
    for (const std::string& caption : index.pictures[i].captions) {
      if (trained.contains(caption)) continue;
      captions.push_back(caption);
      picture_of.push_back(static_cast<std::int64_t>(i));
    }
  }
  check(!captions.empty(), "evaluate", "the ", name_of(split), " split of ", run, " has no captions");
  const QueryEncoder encoder = load_query_encoder(run / "model", program.device(), program.type());
  program.announce((run / "model").string() + ", " + std::to_string(images.size()) + " pictures, " +
                   std::to_string(captions.size()) + " captions");
  Progress progress("captions", std::ssize(captions), program.quiet);
  std::vector<Tensor> texts;
  for (std::size_t at = 0; at < captions.size(); at += batch) {
    const auto some = std::span<const std::string>(captions).subspan(at, std::min(batch, captions.size() - at));
    texts.push_back(encoder.texts(some));
    progress.advance(std::ssize(some));
  }
  return retrieval_recall(concat(texts), concat(images), picture_of);
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
  fs::path run;
  std::string split = "test";
  bool json = false, no_twins = false;
  program.option("--run", &run, "folder that train_flickr8k wrote").required();
  program.option("--split", &split, "val or test (default)").one_of({"val", "test"});
  program.option("--no-twins", &no_twins, "leave out captions that a picture trained on has too, word for word");
  program.option("--json", &json, "JSON instead of a table");
  program.add_compute_options();
  return program.run(argc, argv, [&] {
    const NoGrad guard;
    const auto [to_image, to_text] = evaluate(program, run, split_of(split), no_twins);
    if (json) {
      std::cout << Json{{"split", split},
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
