#include "examples/support/encode.hpp"

#include <algorithm>
#include <cmath>
#include <memory>
#include <optional>
#include <sstream>

#include "clip/autograd.hpp"
#include "clip/core/error.hpp"
#include "clip/data/feature_cache.hpp"
#include "clip/image/augment.hpp"
#include "clip/image/decoded_pictures.hpp"
#include "clip/io/file.hpp"
#include "clip/io/hash.hpp"
#include "clip/ops/cast.hpp"
#include "clip/ops/embedding.hpp"
#include "examples/support/picture_batches.hpp"

namespace clip {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t batch = 32;

std::string cache_key(const std::string& kind, const fs::path& model, dtype type) {
  std::ostringstream key;
  key << kind << ' ' << hex(hash_folder(model)) << ' ' << type;
  return key.str();
}

/// Calls `work` for parts of `items`. Throws between them when interrupted.
template <class Work>
void for_parts(std::span<const std::size_t> items, const Work& work) {
  for (std::size_t at = 0; at < items.size(); at += batch) {
    stop_if_interrupted();
    work(items.subspan(at, std::min(items.size() - at, batch)), static_cast<std::int64_t>(at));
  }
}

PairEncoder load_encoder(const Program& program, const EncodeOptions& options, bool text) {
  PairEncoder encoder;
  if (options.clip)
    encoder.clip = ClipEncoder::load(options.text_model, program.device(), program.type());
  else if (text)
    encoder.text = TextEncoder::load(options.text_model, program.device(), program.type());
  else
    encoder.image = ImageEncoder::load(options.image_model, program.device(), program.type());
  return encoder;
}

Tensor encode_texts(const Program& program, const Captions& data, const EncodeOptions& options) {
  std::vector<std::uint64_t> hashes;
  for (const Caption& caption : data.captions) hashes.push_back(content_hash(caption.text));
  FeatureCache cache(options.cache / "text", cache_key("text", options.text_model, program.type()),
                     [&](const std::string& what) { program.warn(what); });
  const std::size_t missing = cache.missing(hashes).size();
  std::optional<PairEncoder> encoder;  // not loaded when every row is there
  Progress progress("captions", static_cast<std::int64_t>(missing), program.quiet);
  return cache.rows(hashes, [&](std::span<const std::size_t> items) {
    if (!encoder) encoder = load_encoder(program, options, true);
    Tensor rows({std::ssize(items), encoder->text_size()});
    for_parts(items, [&](std::span<const std::size_t> part, std::int64_t first) {
      std::vector<std::string> texts;
      for (const std::size_t i : part) texts.push_back(data.captions[i].text);
      rows.view(first * rows.shape(1), {std::ssize(part), rows.shape(1)}).copy_from(encoder->embed_texts(texts));
      progress.advance(std::ssize(part));
    });
    return rows;
  });
}

Tensor encode_pictures(const Program& program, const Captions& data, const EncodeOptions& options) {
  std::vector<fs::path> files;
  for (const Picture& picture : data.pictures) files.push_back(picture.path);
  const std::vector<std::uint64_t> hashes = hash_files(files, options.skip_bad);
  FeatureCache cache(options.cache / "image", cache_key("image", options.image_model, program.type()),
                     [&](const std::string& what) { program.warn(what); });
  const std::size_t missing = cache.missing(hashes).size();
  std::optional<PairEncoder> encoder;
  Progress progress("pictures", static_cast<std::int64_t>(missing), program.quiet);
  return cache.rows(hashes, [&](std::span<const std::size_t> items) {
    if (!encoder) encoder = load_encoder(program, options, false);
    std::vector<fs::path> some;
    for (const std::size_t i : items) some.push_back(files[i]);
    return picture_rows(program, encoder->preprocess(), some, encoder->image_size(), options.skip_bad, progress,
                        [&](const Tensor& pixels) { return encoder->embed_images(pixels); });
  });
}

/// Pictures whose row is a number.
std::vector<bool> encoded(const Tensor& features) {
  std::vector<bool> good;
  for (std::int64_t i = 0; i < features.shape(0); ++i)
    good.push_back(!std::isnan(features.data<float>()[i * features.shape(1)]));
  return good;
}

/// Which of the pictures could be read, into `decoded`.
std::vector<bool> decode_pictures(const Program& program, const Captions& data, const EncodeOptions& options,
                                  DecodedPictures& decoded) {
  std::vector<fs::path> files;
  std::vector<std::size_t> all;
  for (const Picture& picture : data.pictures) {
    all.push_back(files.size());
    files.push_back(picture.path);
  }
  std::vector<bool> good(files.size(), true);
  Progress progress("pictures to decode", std::ssize(files), program.quiet);
  for_parts(all, [&](std::span<const std::size_t> part, std::int64_t first) {
    decoded.add(std::span(files).subspan(static_cast<std::size_t>(first), part.size()),
                [&](std::size_t i, const std::string& why) {
                  check(options.skip_bad, "decode", why, "; --skip-bad leaves such pictures out");
                  program.warn("skipped: " + why);
                  good[part[i]] = false;
                });
    progress.advance(std::ssize(part));
  });
  return good;
}

/// Takes bad pictures out of the data and of its features.
void remove_unreadable(const Program& program, Captions& data, Features& features, const std::vector<bool>& good) {
  std::vector<std::int32_t> place, kept;
  for (std::size_t i = 0; i < good.size(); ++i) {
    place.push_back(good[i] ? static_cast<std::int32_t>(kept.size()) : -1);
    if (good[i]) kept.push_back(static_cast<std::int32_t>(i));
  }
  if (kept.size() == data.pictures.size()) return;
  program.warn("left out " + std::to_string(data.pictures.size() - kept.size()) + " of " +
               std::to_string(data.pictures.size()) + " pictures, which cannot be read");
  check(!kept.empty(), "encode", "expected pictures that can be read, got none");

  std::vector<Picture> pictures;
  for (const std::int32_t i : kept) pictures.push_back(data.pictures[static_cast<std::size_t>(i)]);
  std::vector<Caption> captions;
  std::vector<std::int32_t> kept_captions;
  for (std::size_t i = 0; i < data.captions.size(); ++i) {
    const std::int32_t to = place[static_cast<std::size_t>(data.captions[i].picture)];
    if (to < 0) continue;
    captions.push_back({data.captions[i].text, to});
    kept_captions.push_back(static_cast<std::int32_t>(i));
  }
  const auto keep = [](Tensor& rows, const std::vector<std::int32_t>& which) {
    if (rows.defined()) rows = embedding(rows, Tensor::from(which, {std::ssize(which)}));
  };
  keep(features.image, kept);
  keep(features.text, kept_captions);
  data.pictures = std::move(pictures);
  data.captions = std::move(captions);
}

}  // namespace

Pairs encode(const Program& program, Captions& data, const EncodeOptions& options) {
  const NoGrad guard;
  Pairs pairs;
  std::vector<bool> good;
  if (options.texts) pairs.features.text = encode_texts(program, data, options);
  if (options.pictures) {
    pairs.features.image = encode_pictures(program, data, options);
    good = encoded(pairs.features.image);
  } else {
    const auto decoded = std::make_shared<DecodedPictures>(Preprocessor::load(options.image_model));
    good = decode_pictures(program, data, options, *decoded);
    pairs.pixels = [decoded](std::span<const std::int32_t> pictures) { return (*decoded)(pictures); };
    pairs.training_pixels = [decoded](std::span<const std::int32_t> pictures, std::int64_t, double) {
      return (*decoded)(pictures);
    };
  }
  remove_unreadable(program, data, pairs.features, good);
  if (options.augment) {
    std::vector<fs::path> files;
    for (const Picture& picture : data.pictures) files.push_back(picture.path);
    const auto varied =
        std::make_shared<AugmentedPictures>(files, Preprocessor::load(options.image_model).settings(), options.seed);
    // another variation at each step, as a picture comes with each of its captions
    pairs.training_pixels = [varied](std::span<const std::int32_t> pictures, std::int64_t step, double scale) {
      return (*varied)(pictures, step, scale);
    };
  }
  std::vector<std::int32_t> picture;
  for (const Caption& caption : data.captions) {
    picture.push_back(caption.picture);
    pairs.captions.push_back(caption.text);
  }
  pairs.features.picture = Tensor::from(picture, {std::ssize(picture)});
  for (Tensor* side : {&pairs.features.text, &pairs.features.image})
    if (side->defined()) *side = to(*side, program.device());
  return pairs;
}

}  // namespace clip
