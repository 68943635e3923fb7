// Reads a folder of pictures for a model, for bench/compare/pictures.py: writes the input made of the first ones, then
// reads all as often as asked.
#include <iostream>
#include <span>

#include "bench/compare/serve.hpp"
#include "clip/image/preprocess.hpp"
#include "clip/io/npy.hpp"
#include "examples/support/pictures.hpp"

int main(int argc, char** argv) {
  using namespace clip;
  constexpr std::size_t batch = 32;
  try {
    check(argc == 4, "picture_time", "expected MODEL_DIR PICTURES OUTPUT.npy");
    const Preprocessor preprocess = Preprocessor::load(argv[1]);
    const std::vector<std::filesystem::path> files = list_pictures(argv[2]);
    const auto read = [&](std::size_t at) {
      return preprocess(std::span(files).subspan(at, std::min(batch, files.size() - at)));
    };
    write_npy(argv[3], read(0));
    bench::serve([&] {
      for (std::size_t at = 0; at < files.size(); at += batch) read(at);
    });
  } catch (const std::exception& e) {
    std::cerr << "error: " << e.what() << '\n';
    return 1;
  }
}
