// The commands and programs of docs/clip.md as they stand there, on models of its names but of small size.
#include <sys/wait.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "clip/autograd.hpp"
#include "clip/io/file.hpp"
#include "src/text/utf8.hpp"
#include "tests/models/foreign_clip.hpp"
#include "tests/models/inputs.hpp"
#include "tests/support/archive.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/data.hpp"
#include "tests/support/errors.hpp"
#include "tests/support/run_program.hpp"

namespace clip {
namespace {

using namespace clip::test;
namespace fs = std::filesystem;

/// What stands between ```language and ```.
std::vector<std::string> snippets(const std::string& page, const std::string& language) {
  std::vector<std::string> found;
  const std::string fence = "```" + language + "\n";
  for (std::size_t at = 0; (at = page.find(fence, at)) != std::string::npos;) {
    at += fence.size();
    const std::size_t end = page.find("```", at);
    found.push_back(page.substr(at, end - at));
    at = end + 3;
  }
  return found;
}

/// As torch.save writes f32 tensors, all in one storage.
std::string archive_of(const std::vector<NamedTensor>& tensors) {
  std::string storage, items;
  std::int64_t total = 0, at = 0;
  for (const NamedTensor& one : tensors) total += one.tensor.numel();
  for (const NamedTensor& one : tensors) {
    const Tensor values = to(one.tensor, dtype::f32);
    std::vector<std::int64_t> shape, strides;
    std::int64_t stride = values.numel();
    for (int i = 0; i < values.rank(); ++i) {
      shape.push_back(values.shape(i));
      strides.push_back(stride /= values.shape(i));
    }
    items += pickled_text(one.name) + pickled_tensor(pickled_storage(total), at, shape, strides) + 's';
    storage.append(static_cast<const char*>(values.raw()), values.bytes());
    at += values.numel();
  }
  return torch_archive("\x80\x02}" + items + '.', storage);
}

/// As large as the real one: it merges any two visible Latin-1 characters, at a word's end or before it.
std::string simple_vocabulary() {
  std::vector<std::string> letters;
  for (char32_t code = '!'; code <= 0xff; ++code) {
    char bytes[4];
    if (code <= '~' || (code >= 0xa1 && code != 0xad)) letters.emplace_back(bytes, put_code_point(code, bytes));
  }
  std::string text = "version\n";
  for (const std::string& a : letters)
    for (const std::string& b : letters)
      for (const char* const end : {"", "</w>"}) text.append(a).append(" ").append(b).append(end).append("\n");
  return text;
}

TEST_CASE("what docs/clip.md shows works as written", "[clip][full]") {
  const NoGrad guard;
  const TemporaryFolder folder;
  ClipConfig config{.text = {.size = 64, .feed_forward = 32, .layers = 2, .heads = 1},
                    .vision = {.size = 64, .feed_forward = 32, .layers = 2, .heads = 1},
                    .image_size = 32,
                    .patch = 16,
                    .projection = 16};
  Clip model = hash_filled<Clip>(config);
  for (const char* name : {"openai", "laion", "photos", "photos/more"}) fs::create_directory(folder / name);
  std::vector<NamedTensor> tensors = foreign_clip(model, "", "", dtype::f32);
  save_safetensors(folder / "laion/open_clip_model.safetensors", tensors);
  folder.write("laion/open_clip_config.json", R"({"model_cfg": {"embed_dim": 16,
      "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 16},
      "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 2}}})");
  add_constants(tensors);
  folder.write("openai/ViT-B-32.pt", archive_of(tensors));
  folder.write("openai/bpe_simple_vocab_16e6.txt", simple_vocabulary());
  fs::copy(test_data("image/photo.jpg"), folder / "photos/beach.jpg");
  fs::copy(test_data("image/upright.jpg"), folder / "photos/dog.jpg");
  fs::copy(test_data("image/420.jpg"), folder / "photos/more/cat.jpg");
  folder.write("animals.txt", "cat\ndog\nhorse\n");
  folder.write("captions.txt", "a beach\na dog\n");
  const std::vector<std::string> flickr8k = {
      folder / "data/Flickr8k", "--pictures", "340", "--width", "40", "--height", "40"};
  REQUIRE(run_program("make_flickr8k", flickr8k).status == 0);

  const auto run = [&](const std::string& commands) {
    folder.write("commands", "set -e\nPATH=" CLIP_BIN ":$PATH\n" + commands);
    const int status = std::system(("cd '" + folder.path().string() + "' && sh commands >out 2>error").c_str());
    INFO(commands << read_file(folder / "out") << read_file(folder / "error"));
    REQUIRE((WIFEXITED(status) && WEXITSTATUS(status) == 0));
  };
  const std::string page = read_file(fs::path(CLIP_MODELS).parent_path() / "docs/clip.md");
  const std::vector<std::string> commands = snippets(page, "sh"), programs = snippets(page, "cpp");
  REQUIRE(commands.size() == 4);
  for (const std::string& some : commands) run(some);
  for (const char* file : {"dogs.png", "photos.npy", "captions.npy", "rose.png", "redder.png", "runs/tuned/model"})
    CHECK(fs::exists(folder / file));
  for (std::size_t i = 1; i <= programs.size(); ++i) {  // tests/CMakeLists.txt compiles them
    run("clip_doc_" + std::to_string(i));
    CHECK(!read_file(folder / "out").empty());
  }
  CHECK(programs.size() == 2);
}

}  // namespace
}  // namespace clip
