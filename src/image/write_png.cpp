#include "clip/image/write_png.hpp"

#include <spng.h>

#include <cstdlib>
#include <memory>
#include <string_view>

#include "clip/core/error.hpp"
#include "clip/io/file.hpp"

namespace clip {

void write_png(const std::filesystem::path& path, const Image& image) {
  check(image.colors != Colors::cmyk && image.width > 0 && image.height > 0, "image", "cannot write ", quoted(path),
        ": expected an RGB or RGBA picture that is not empty, got ", image.width, " x ", image.height,
        image.colors == Colors::cmyk ? " CMYK" : "");
  const std::unique_ptr<spng_ctx, void (*)(spng_ctx*)> png(spng_ctx_new(SPNG_CTX_ENCODER), spng_ctx_free);
  check(png != nullptr, "image", "out of memory for ", quoted(path));
  spng_ihdr header{};
  header.width = static_cast<std::uint32_t>(image.width);
  header.height = static_cast<std::uint32_t>(image.height);
  header.bit_depth = 8;
  header.color_type = image.colors == Colors::rgb ? SPNG_COLOR_TYPE_TRUECOLOR : SPNG_COLOR_TYPE_TRUECOLOR_ALPHA;
  int error = spng_set_option(png.get(), SPNG_ENCODE_TO_BUFFER, 1);
  if (error == 0) error = spng_set_ihdr(png.get(), &header);
  if (error == 0)
    error = spng_encode_image(png.get(), image.pixels.data(), image.pixels.size(), SPNG_FMT_PNG, SPNG_ENCODE_FINALIZE);
  std::size_t size = 0;
  void* data = nullptr;
  if (error == 0) data = spng_get_png_buffer(png.get(), &size, &error);
  const std::unique_ptr<void, void (*)(void*)> buffer(data, std::free);
  check(error == 0 && data != nullptr, "image", "cannot write ", quoted(path), ": ", spng_strerror(error));
  write_file(path, {static_cast<const char*>(data), size});
}

}  // namespace clip
