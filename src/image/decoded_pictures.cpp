#include "clip/image/decoded_pictures.hpp"

#include <cstring>
#include <exception>
#include <string>
#include <utility>

#include "clip/core/error.hpp"

namespace clip {
namespace {

Preprocessing without_resizing(const Preprocessor& preprocess) {
  Preprocessing settings = preprocess.settings();
  settings.shorter_side = 0;
  settings.crop = {};
  settings.size = preprocess.size();
  return settings;
}

/// work(i) for 0 to count - 1 with all threads; the error of the first that failed, or null, for each.
template <class Work>
std::vector<std::exception_ptr> for_all(std::int64_t count, const Work& work) {
  std::vector<std::exception_ptr> errors(static_cast<std::size_t>(count));
#pragma omp parallel for schedule(dynamic)
  for (std::int64_t i = 0; i < count; ++i) {
    try {
      work(static_cast<std::size_t>(i));
    } catch (...) {
      errors[static_cast<std::size_t>(i)] = std::current_exception();
    }
  }
  return errors;
}

}  // namespace

DecodedPictures::DecodedPictures(const Preprocessor& preprocess, std::int64_t memory)
    : preprocess_(preprocess), fitted_(without_resizing(preprocess)), room_(memory) {}

void DecodedPictures::add(std::span<const std::filesystem::path> files, const Preprocessor::BadImage& bad) {
  std::vector<Picture> read(files.size());
  const auto errors = for_all(std::ssize(files), [&](std::size_t i) {
    read[i] = {files[i], preprocess_.fit(read_image(files[i]))};
  });
  for (std::size_t i = 0; i < files.size(); ++i) {
    try {
      if (errors[i]) std::rethrow_exception(errors[i]);
    } catch (const Error& error) {
      bad(i, error.what());
      continue;
    }
    const auto bytes = std::ssize(read[i].fitted.pixels);
    if (bytes <= room_)
      room_ -= bytes;
    else
      read[i].fitted = {};
    pictures_.push_back(std::move(read[i]));
  }
}

Tensor DecodedPictures::operator()(std::span<const std::int32_t> pictures) const {
  const Size size = preprocess_.size();
  const std::size_t bytes =
      std::size_t{3} * sizeof(float) * static_cast<std::size_t>(size.width) * static_cast<std::size_t>(size.height);
  Tensor pixels({std::ssize(pictures), size.height, size.width, 3});
  auto* const out = static_cast<std::byte*>(pixels.mutable_raw());
  const auto errors = for_all(std::ssize(pictures), [&](std::size_t i) {
    const Picture& picture = pictures_.at(static_cast<std::size_t>(pictures[i]));
    const Tensor one = picture.fitted.pixels.empty() ? preprocess_(read_image(picture.file)) : fitted_(picture.fitted);
    std::memcpy(out + i * bytes, one.raw(), bytes);
  });
  for (const std::exception_ptr& error : errors)
    if (error) std::rethrow_exception(error);
  return pixels;
}

}  // namespace clip
