// A picture to the input of a model, on one thread. bench/compare/image.py runs this beside Pillow and torchvision, on
// the picture that CLIP_BENCH_PICTURE names, and compares the hash of the pixels, which is the label.
#include "clip/image/preprocess.hpp"

#include <benchmark/benchmark.h>
#include <omp.h>

#include <cstdlib>

#include "clip/io/file.hpp"

namespace {

using namespace clip;

const std::string& picture() {
  static const std::string content = [] {
    const char* path = std::getenv("CLIP_BENCH_PICTURE");
    return read_file(path == nullptr ? "tests/data/image/photo.jpg" : path);
  }();
  return content;
}
Image decode() { return decode_image(std::as_bytes(std::span(picture())), "picture"); }

std::string hash_of(const Tensor& pixels) {
  std::uint64_t h = 0xcbf29ce484222325;
  const auto* bytes = static_cast<const std::uint8_t*>(pixels.raw());
  for (std::size_t i = 0; i < pixels.bytes(); ++i) h = (h ^ bytes[i]) * 0x100000001b3;
  return std::to_string(h);
}

Preprocessing imagenet(Preprocessing settings) {
  settings.mean = {.485F, .456F, .406F};
  settings.std = {.229F, .224F, .225F};
  return settings;
}

void resize_normalize(benchmark::State& state, const Preprocessing& settings) {
  omp_set_num_threads(1);
  const Preprocessor preprocess(imagenet(settings));
  const Image image = decode();
  for (auto _ : state) benchmark::DoNotOptimize(preprocess(image).raw());
  state.SetLabel(hash_of(preprocess(image)));
}

void decode_resize_normalize(benchmark::State& state, const Preprocessing& settings) {
  omp_set_num_threads(1);
  const Preprocessor preprocess(imagenet(settings));
  for (auto _ : state) benchmark::DoNotOptimize(preprocess(decode()).raw());
  state.SetLabel(hash_of(preprocess(decode())));
}

const Preprocessing square_bilinear{.size = {224, 224}};
const Preprocessing square_bicubic{.filter = Filter::bicubic, .size = {224, 224}};
const Preprocessing resnet{.shorter_side = 256, .crop = {224, 224}};
const Preprocessing clip_bicubic{
    .pipeline = Pipeline::openai, .filter = Filter::bicubic, .shorter_side = 224, .crop = {224, 224}};

BENCHMARK_CAPTURE(resize_normalize, square_bilinear, square_bilinear)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(resize_normalize, square_bicubic, square_bicubic)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(resize_normalize, resnet, resnet)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(resize_normalize, clip, clip_bicubic)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(decode_resize_normalize, square_bilinear, square_bilinear)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(decode_resize_normalize, square_bicubic, square_bicubic)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(decode_resize_normalize, resnet, resnet)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(decode_resize_normalize, clip, clip_bicubic)->Unit(benchmark::kMillisecond);

}  // namespace
