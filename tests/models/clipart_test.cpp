// models/clipart, the model that the repository carries, on 200 pictures that it has not seen.
#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "clip/autograd.hpp"
#include "clip/data/flickr8k.hpp"
#include "clip/models/dual_encoder.hpp"
#include "clip/retrieval/index.hpp"
#include "clip/retrieval/recall.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/data.hpp"

namespace clip {
namespace {

using namespace test;
namespace fs = std::filesystem;

/// For each row of hits, in how many of them the other has the same rows.
double overlap(const std::vector<std::vector<Hit>>& a, const std::vector<std::vector<Hit>>& b) {
  double shared = 0, all = 0;
  for (std::size_t q = 0; q < a.size(); ++q)
    for (const Hit& hit : a[q]) {
      shared += std::ranges::any_of(b[q], [&](const Hit& other) { return other.row == hit.row; });
      ++all;
    }
  return shared / all;
}

TEST_CASE("the pretrained clip art model finds pictures that it has not seen", "[clipart][full]") {
  const fs::path folder = fs::path(CLIP_MODELS) / "clipart";
  if (!fs::exists(folder / "text/config.json")) {
    WARN("not checked: scripts/get_minilm.sh brings the text encoder");
    return;
  }
  const NoGrad guard;
  DualEncoder model = DualEncoder::load(folder);
  const Captions data = read_flickr8k(test_data("clipart"));
  REQUIRE(data.pictures.size() == 200);
  std::vector<fs::path> files;
  std::vector<std::string> captions;
  std::vector<std::int64_t> picture_of;
  for (const Picture& picture : data.pictures) files.push_back(picture.path);
  for (const Caption& caption : data.captions) {
    captions.push_back(caption.text);
    picture_of.push_back(caption.picture);
  }
  const Tensor texts = model.embed_texts(captions), images = model.embed_images(files);

  const RetrievalRecall found = retrieval_recall(texts, images, picture_of);
  CAPTURE(found.text_to_image.r10, found.text_to_image.median_rank, found.image_to_text.r10);
  CHECK(found.text_to_image.r10 > 0.46);  // by chance 0.05
  CHECK(found.text_to_image.median_rank < 14);
  CHECK(found.image_to_text.r10 > 0.41);

  // what narrower numbers in the index change
  const std::vector<std::vector<Hit>> exact = Index::build(images).search_all(texts, 10);
  for (const auto& [storage, least] : {std::pair{dtype::f16, 0.995}, std::pair{dtype::u8, 0.98}}) {
    const Index index = Index::build(images, {.storage = storage});
    const std::vector<std::vector<Hit>> hits = index.search_all(texts, 10);
    CAPTURE(storage);
    CHECK(overlap(exact, hits) > least);
    std::int64_t in_ten = 0;
    for (std::size_t q = 0; q < hits.size(); ++q)
      in_ten += std::ranges::any_of(hits[q], [&](const Hit& hit) { return hit.row == picture_of[q]; });
    CHECK(static_cast<double>(in_ten) / static_cast<double>(hits.size()) ==
          Approx(found.text_to_image.r10).margin(0.01));
  }

  // what is nearest: to a mirrored picture itself, to a flag other flags
  const Tensor pixels = model.image.preprocess(files);
  Tensor mirrored(pixels.shape());
  const std::int64_t width = pixels.shape(2);
  for (std::int64_t pixel = 0; pixel < pixels.numel() / 3; ++pixel) {
    const std::int64_t from = pixel / width * width + width - 1 - pixel % width;
    std::copy_n(pixels.data<float>() + 3 * from, 3, mirrored.mutable_data<float>() + 3 * pixel);
  }
  const Index index = Index::build(images);
  const std::vector<std::vector<Hit>> of_mirrored = index.search_all(model.embed_images(mirrored), 1);
  const std::vector<std::vector<Hit>> neighbours = index.search_all(images, 4);
  const auto is_flag = [&](std::int64_t row) {
    return files[static_cast<std::size_t>(row)].filename().string().find("-flags-") != std::string::npos;
  };
  std::int64_t itself = 0, flags = 0, near_flags = 0;
  for (std::int64_t i = 0; i < std::ssize(files); ++i) {
    itself += of_mirrored[static_cast<std::size_t>(i)][0].row == i;
    if (!is_flag(i)) continue;
    for (std::size_t k = 1; k < 4; ++k, ++flags) near_flags += is_flag(neighbours[static_cast<std::size_t>(i)][k].row);
  }
  CAPTURE(itself, flags, near_flags);
  CHECK(itself > 180);
  REQUIRE(flags > 30);
  CHECK(static_cast<double>(near_flags) > 0.85 * static_cast<double>(flags));
}

}  // namespace
}  // namespace clip
