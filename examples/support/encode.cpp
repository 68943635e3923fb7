#include "examples/support/encode.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <sstream>

#include "clip/autograd.hpp"
#include "clip/core/error.hpp"
#include "clip/io/file.hpp"
#include "clip/io/hash.hpp"

namespace clip {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t batch = 32;

std::string cache_key(const std::string& kind, const fs::path& model, dtype type) {
  std::ostringstream key;
  key << kind << ' ' << hex(hash_folder(model)) << ' ' << type;
  return key.str();
}

/// Calls `work` for parts of `items`, and fails between them when asked to stop.
template <class Work>
void for_parts(std::span<const std::size_t> items, const EncodeOptions& options, const Work& work) {
  for (std::size_t at = 0; at < items.size(); at += batch) {
    check(!options.stop(), "encode", "interrupted; the same command goes on from there");
    work(items.subspan(at, std::min(items.size() - at, batch)), static_cast<std::int64_t>(at));
  }
}

Tensor encode_texts(const Program& program, const Captions& data, const EncodeOptions& options) {
  std::vector<std::uint64_t> hashes;
  for (const Caption& caption : data.captions) hashes.push_back(content_hash(caption.text));
  FeatureCache cache(options.cache / "text", cache_key("text", options.text_model, program.type()),
                     [&](const std::string& what) { program.warn(what); });
  const std::size_t missing = cache.missing(hashes).size();
  std::optional<TextEncoder> encoder;  // not loaded when every row is there
  Progress progress("captions", static_cast<std::int64_t>(missing), program.quiet);
  return cache.rows(hashes, [&](std::span<const std::size_t> items) {
    if (!encoder) encoder = TextEncoder::load(options.text_model, program.device(), program.type());
    Tensor rows({std::ssize(items), encoder->config().size});
    for_parts(items, options, [&](std::span<const std::size_t> part, std::int64_t first) {
      std::vector<std::string> texts;
      for (const std::size_t i : part) texts.push_back(data.captions[i].text);
      rows.view(first * rows.shape(1), {std::ssize(part), rows.shape(1)}).copy_from((*encoder)(texts));
      progress.advance(std::ssize(part));
    });
    return rows;
  });
}

Tensor encode_pictures(const Program& program, const Captions& data, const EncodeOptions& options) {
  std::vector<fs::path> files;
  for (const Picture& picture : data.pictures) files.push_back(picture.path);
  const std::vector<std::uint64_t> hashes = hash_files(files);
  FeatureCache cache(options.cache / "image", cache_key("image", options.image_model, program.type()),
                     [&](const std::string& what) { program.warn(what); });
  const std::size_t missing = cache.missing(hashes).size();
  std::optional<ImageEncoder> encoder;
  Progress progress("pictures", static_cast<std::int64_t>(missing), program.quiet);
  return cache.rows(hashes, [&](std::span<const std::size_t> items) {
    if (!encoder) encoder = ImageEncoder::load(options.image_model, program.device(), program.type());
    const std::int64_t size = encoder->model.config.widths.back();
    Tensor rows = full({std::ssize(items), size}, std::numeric_limits<double>::quiet_NaN());
    for_parts(items, options, [&](std::span<const std::size_t> part, std::int64_t first) {
      std::vector<fs::path> paths;
      for (const std::size_t i : part) paths.push_back(files[i]);
      std::vector<bool> good(part.size(), true);
      const Tensor images = options.skip_bad ? encoder->preprocess(paths,
                                                                   [&](std::size_t i, const std::string& why) {
                                                                     program.warn("skipped: " + why);
                                                                     good[i] = false;
                                                                   })
                                             : encoder->preprocess(paths);
      const Tensor encoded = (*encoder)(images);
      std::int64_t next = 0;
      for (std::size_t i = 0; i < part.size(); ++i)
        if (good[i]) {
          rows.view((first + static_cast<std::int64_t>(i)) * size, {size}).copy_from(encoded.view(next * size, {size}));
          ++next;
        }
      progress.advance(std::ssize(part));
    });
    return rows;
  });
}

/// Takes pictures whose row is not a number out of the data and of their features.
void remove_unreadable(const Program& program, Captions& data, Features& features) {
  const std::int64_t size = features.image.shape(1);
  std::vector<std::int32_t> place;
  std::vector<std::int64_t> kept;
  for (std::int64_t i = 0; i < features.image.shape(0); ++i) {
    const bool good = !std::isnan(features.image.data<float>()[i * size]);
    place.push_back(good ? static_cast<std::int32_t>(kept.size()) : -1);
    if (good) kept.push_back(i);
  }
  if (kept.size() == data.pictures.size()) return;
  program.warn("left out " + std::to_string(data.pictures.size() - kept.size()) + " of " +
               std::to_string(data.pictures.size()) + " pictures, which cannot be read");
  check(!kept.empty(), "encode", "expected pictures that can be read, got none");

  const auto rows = [](const Tensor& from, const std::vector<std::int64_t>& which) {
    Tensor to({std::ssize(which), from.shape(1)});
    for (std::size_t i = 0; i < which.size(); ++i)
      to.view(static_cast<std::int64_t>(i) * from.shape(1), {from.shape(1)})
          .copy_from(from.view(which[i] * from.shape(1), {from.shape(1)}));
    return to;
  };
  std::vector<Picture> pictures;
  for (const std::int64_t i : kept) pictures.push_back(data.pictures[static_cast<std::size_t>(i)]);
  std::vector<Caption> captions;
  std::vector<std::int64_t> kept_captions;
  for (std::size_t i = 0; i < data.captions.size(); ++i) {
    const std::int32_t to = place[static_cast<std::size_t>(data.captions[i].picture)];
    if (to < 0) continue;
    captions.push_back({data.captions[i].text, to});
    kept_captions.push_back(static_cast<std::int64_t>(i));
  }
  features.image = rows(features.image, kept);
  features.text = rows(features.text, kept_captions);
  data.pictures = std::move(pictures);
  data.captions = std::move(captions);
}

}  // namespace

Features encode(const Program& program, Captions& data, const EncodeOptions& options) {
  const NoGrad guard;
  Features features;
  features.text = encode_texts(program, data, options);
  features.image = encode_pictures(program, data, options);
  remove_unreadable(program, data, features);
  std::vector<std::int32_t> picture;
  for (const Caption& caption : data.captions) picture.push_back(caption.picture);
  features.picture = Tensor::from(picture, {std::ssize(picture)});
  return features;
}

}  // namespace clip
