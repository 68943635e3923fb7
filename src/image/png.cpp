#include <spng.h>

#include <algorithm>
#include <memory>

#include "src/image/decoders.hpp"

namespace clip {
namespace {

constexpr std::size_t chunk_bytes = std::size_t{1} << 26;  // of one ancillary chunk, and of all kept

/// Sixteen bits a sample as Pillow's "I;16" converts: clipped, not scaled.
Image decode_gray16(spng_ctx* png, Image image, const std::string& name) {
  std::vector<std::uint16_t> samples(image.pixels.size() / 3);
  const int error = spng_decode_image(png, samples.data(), 2 * samples.size(), SPNG_FMT_PNG, 0);
  if (error != 0) bad_image(name, spng_strerror(error));
  for (std::size_t i = 0; i < samples.size(); ++i)
    std::fill_n(image.pixels.begin() + static_cast<std::ptrdiff_t>(3 * i), 3,
                static_cast<std::uint8_t>(std::min<int>(samples[i], 255)));
  return image;
}

}  // namespace

Image decode_png(Bytes file, const std::string& name, const ImageLimits& limits) {
  const std::unique_ptr<spng_ctx, void (*)(spng_ctx*)> png(spng_ctx_new(0), spng_ctx_free);
  check(png != nullptr, "image", "out of memory for '", name, "'");
  spng_ihdr header{};
  int error = spng_set_png_buffer(png.get(), file.data(), file.size());
  if (error == 0) error = spng_set_chunk_limits(png.get(), chunk_bytes, chunk_bytes);
  if (error == 0) error = spng_get_ihdr(png.get(), &header);
  if (error != 0) bad_image(name, spng_strerror(error));

  // Of a palette transparency is kept; that of a single gray or colour would have Pillow's pipelines premultiply.
  spng_trns transparency{};
  const bool faded_palette =
      header.color_type == SPNG_COLOR_TYPE_INDEXED && spng_get_trns(png.get(), &transparency) == 0;
  const bool alpha = faded_palette || header.color_type == SPNG_COLOR_TYPE_GRAYSCALE_ALPHA ||
                     header.color_type == SPNG_COLOR_TYPE_TRUECOLOR_ALPHA;
  const bool gray = header.color_type == SPNG_COLOR_TYPE_GRAYSCALE;
  Image image = new_image(header.width, header.height, alpha ? Colors::rgba : Colors::rgb, name, limits);
  image.indexed = header.color_type == SPNG_COLOR_TYPE_INDEXED || (gray && header.bit_depth == 1);
  if (gray && header.bit_depth == 16) {
    image = decode_gray16(png.get(), std::move(image), name);
  } else {
    error = spng_decode_image(png.get(), image.pixels.data(), image.pixels.size(),
                              alpha ? SPNG_FMT_RGBA8 : SPNG_FMT_RGB8, faded_palette ? SPNG_DECODE_TRNS : 0);
    if (error != 0) bad_image(name, spng_strerror(error));
  }
  // The last data chunk's checksum comes after the pixels, and is looked at when reading on. Nothing else there
  // matters.
  if (spng_decode_chunks(png.get()) == SPNG_ECHUNK_CRC) bad_image(name, spng_strerror(SPNG_ECHUNK_CRC));
  return image;
}

}  // namespace clip
