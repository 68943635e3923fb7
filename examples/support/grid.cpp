#include "examples/support/grid.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>

#include "clip/core/error.hpp"
#include "clip/image/resize.hpp"
#include "clip/image/write_png.hpp"
#include "examples/support/font.hpp"

namespace clip {
namespace {

constexpr int margin = 32, gap = 24, box_width = 248, box_height = 208, captions = 3;
constexpr Color ink = {32, 33, 36}, gray = {112, 117, 122}, hairline = {222, 225, 230}, paper = {250, 250, 251},
                accent = {24, 128, 84};
const Font title_font{.height = 18, .weight = 1.35, .color = ink}, note_font{.height = 9, .weight = 1, .color = gray},
    rank_font{.height = 12, .weight = 1.7, .color = ink}, score_font{.height = 10, .weight = 1.05, .color = gray},
    caption_font{.height = 9, .weight = 1.1, .color = ink},
    mark_font{.height = 8, .weight = 1.5, .color = {255, 255, 255}};

void fill(Image& image, int left, int top, int width, int height, const Color& color) {
  for (int y = std::max(top, 0); y < std::min(top + height, image.height); ++y)
    for (int x = std::max(left, 0); x < std::min(left + width, image.width); ++x)
      std::copy(color.begin(), color.end(),
                image.pixels.begin() + 3 * (static_cast<std::ptrdiff_t>(y) * image.width + x));
}

Image blank(int width, int height) {
  Image image;
  image.width = width;
  image.height = height;
  image.pixels.assign(3 * static_cast<std::size_t>(width) * static_cast<std::size_t>(height), 255);
  return image;
}

/// The picture as large as it fits, in the middle of a box.
void draw_picture(Image& canvas, int left, int top, int width, int height, const std::filesystem::path& path) {
  Image picture = read_image(path);
  picture.indexed = false;  // smooth, whatever the file's palette
  const double scale =
      std::min(static_cast<double>(width) / picture.width, static_cast<double>(height) / picture.height);
  const auto scaled = [&](int side) { return std::max(1, static_cast<int>(std::lround(side * scale))); };
  if (picture.colors == Colors::cmyk) picture = to_rgb(std::move(picture));
  picture = resize(picture, {scaled(picture.width), scaled(picture.height)}, Filter::bicubic);
  left += (width - picture.width) / 2;
  top += (height - picture.height) / 2;
  const auto channels = static_cast<std::size_t>(channels_of(picture.colors));
  const std::uint8_t* in = picture.pixels.data();
  for (int y = 0; y < picture.height; ++y)
    for (int x = 0; x < picture.width; ++x, in += channels) {
      std::uint8_t* out =
          &canvas.pixels[3 * (static_cast<std::size_t>(top + y) * static_cast<std::size_t>(canvas.width) +
                              static_cast<std::size_t>(left + x))];
      const int alpha = channels == 4 ? in[3] : 255;
      for (std::size_t c = 0; c < 3; ++c)
        out[c] = static_cast<std::uint8_t>((in[c] * alpha + 255 * (255 - alpha) + 127) / 255);
    }
}

void draw_cell(Image& canvas, int left, int top, std::size_t rank, const GridPicture& picture, bool skip_bad) {
  fill(canvas, left, top, box_width, box_height, hairline);
  fill(canvas, left + 1, top + 1, box_width - 2, box_height - 2, {255, 255, 255});
  try {
    draw_picture(canvas, left + 5, top + 5, box_width - 10, box_height - 10, picture.path);
  } catch (const Error&) {
    if (!skip_bad) throw;
    fill(canvas, left + 1, top + 1, box_width - 2, box_height - 2, paper);
    note_font.draw(canvas, left + (box_width - note_font.width("cannot be read")) / 2, top + box_height / 2.0,
                   "cannot be read");
  }
  const double baseline = top + box_height + 22;
  const std::string number = std::to_string(rank);
  rank_font.draw(canvas, left, baseline, number);
  if (!picture.mark.empty()) {
    const int width = static_cast<int>(mark_font.width(picture.mark)) + 10;
    const int at = left + static_cast<int>(rank_font.width(number)) + 10;
    fill(canvas, at, static_cast<int>(baseline) - 13, width, 17, accent);
    mark_font.draw(canvas, at + 5, baseline - 1, picture.mark);
  }
  char score[32];
  std::snprintf(score, sizeof score, "%.3f", picture.score);
  score_font.draw(canvas, left + box_width - score_font.width(score), baseline, score);
  double line = baseline + caption_font.line() + 3;
  for (const std::string& text : caption_font.wrap(picture.caption, box_width, captions)) {
    caption_font.draw(canvas, left, line, text);
    line += caption_font.line();
  }
}

}  // namespace

void write_grid(const std::filesystem::path& path, const Grid& grid, bool skip_bad) {
  const auto count = static_cast<int>(grid.pictures.size());
  const int columns = std::max(2, static_cast<int>(std::ceil(std::sqrt(count)))),
            rows = (count + columns - 1) / columns;
  const int width = 2 * margin + columns * box_width + (columns - 1) * gap;
  constexpr int cell_height = box_height + 34 + captions * 18, query_size = 96;
  const int indent = grid.query.empty() ? 0 : query_size + 20;
  const std::vector<std::string> title = title_font.wrap(grid.title, width - 2 * margin - indent, 2);
  const int header = std::max(static_cast<int>(title.size()) * 36 + 30, indent == 0 ? 0 : query_size + 24);
  Image canvas = blank(width, margin + header + rows * cell_height + std::max(rows - 1, 0) * 12 + margin / 2);

  if (indent > 0) draw_picture(canvas, margin, margin, query_size, query_size, grid.query);
  double baseline = margin + 20;
  for (const std::string& line : title) {
    title_font.draw(canvas, margin + indent, baseline, line);
    baseline += title_font.line();
  }
  note_font.draw(canvas, margin + indent, baseline - 8, grid.note);
  for (int i = 0; i < count; ++i)
    draw_cell(canvas, margin + i % columns * (box_width + gap), margin + header + i / columns * (cell_height + 12),
              static_cast<std::size_t>(i) + 1, grid.pictures[static_cast<std::size_t>(i)], skip_bad);
  write_png(path, canvas);
}

}  // namespace clip
