// Any bytes are a picture or an Error. Seeds: tests/data/image.
#include "clip/core/error.hpp"
#include "clip/image/preprocess.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace clip;
  static const Preprocessor preprocess({.filter = Filter::bicubic, .shorter_side = 9, .crop = {8, 8}}, {1 << 18, 20});
  try {
    preprocess.fit(decode_image(std::as_bytes(std::span(data, size)), "fuzz", {1 << 18, 20}));
  } catch (const Error&) {
  }
  return 0;
}
