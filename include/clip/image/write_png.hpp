#pragma once
#include <filesystem>

#include "clip/image/image.hpp"

namespace clip {

/// Writes an RGB or RGBA picture as a PNG file, durably, as `NewFile` does. Throws on CMYK and on empty pictures.
void write_png(const std::filesystem::path& path, const Image& image);

}  // namespace clip
