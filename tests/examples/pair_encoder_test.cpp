#include "examples/support/pair_encoder.hpp"

#include <string>
#include <vector>

#include "clip/core/random.hpp"
#include "clip/ops/cast.hpp"
#include "tests/models/golden.hpp"
#include "tests/models/small_models.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/check_op.hpp"
#include "tests/support/temporary.hpp"

namespace {

using namespace clip;
using namespace clip::test;

PairEncoder load_small(const TemporaryFolder& folder, bool clip, const Device& device) {
  PairEncoder model;
  if (clip) {
    model.clip = ClipEncoder::load(folder / "clip", device);
  } else {
    model.text = TextEncoder::load(folder / "bert", device);
    model.image = ImageEncoder::load(folder / "resnet", device);
  }
  Random random(4);
  model.heads.emplace(model.text_size(), model.image_size(), 6, random);
  for (const Member& member : members(*model.heads)) *member.tensor = to(*member.tensor, device);
  return model;
}

TEST_CASE("on a GPU texts and pictures are embedded by graphs, to the bit as without", "[pair_encoder]") {
  const bool clip = GENERATE(false, true);
  const TemporaryFolder folder;
  write_small_bert(folder / "bert", {"red", "blue", "square", "ring"});
  write_small_resnet(folder / "resnet");
  write_small_clip(folder / "clip");
  PairEncoder reference = load_small(folder, clip, {});
  for (const Device& device : devices()) {
    INFO(device << ", CLIP " << clip);
    PairEncoder model = load_small(folder, clip, device);
    Random random(7);
    int round = 0;
    for (const std::vector<std::string>& texts : {std::vector<std::string>{"red ring", "blue", "blue"},
                                                  {"", "square", "red ring square"},
                                                  {"a ring, a square, a red ring", "blue", ""},
                                                  {"red"}}) {
      const Tensor pixels = randn({std::ssize(texts), 32, 32, 3}, random);
      const Tensor rows = model.embed_texts(texts), images = model.embed_images(pixels);
      CHECK(compare(rows, reference.embed_texts(texts)).relative < 1e-5);
      CHECK(compare(images, reference.embed_images(pixels)).relative < 1e-5);
      PairEncoder eager = model;
      CHECK(eager.text_graphs.size() == 0);
      CHECK(rows.to_vector() == eager.embed_texts(texts).to_vector());
      CHECK(images.to_vector() == eager.embed_images(pixels).to_vector());
      const bool seen = device.is_cuda() && (round == 1 || round == 2);  // one text is another shape
      CHECK(model.text_graphs.size() == seen);
      CHECK(model.image_graphs.size() == seen);
      ++round;
    }
  }
}

}  // namespace
