// A glyph is a list of strokes on a grid whose baseline is y = 3: `L` starts a line through points, `S` a curve, `O` a
// closed curve (quadratic B-splines; a point given twice is a corner), and a point is two hexadecimal digits, x and y.
// Small letters reach to 9, capitals to c, descenders to 0. Strokes are drawn by the distance of each pixel to them.
#include "examples/support/font.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "clip/io/file.hpp"
#include "src/text/utf8.hpp"

namespace clip {
namespace {

constexpr std::array<std::string_view, 95> ascii = {
    /*   */ "",
    /* ! */ "L1c16 L1313",
    /* " */ "L1c1a L3c3a",
    /* # */ "L232c L535c L0979 L0676",
    /* $ */ "S7a7c4c1c18487873431315 L4d42",
    /* % */ "O0c09393c O56538386 L137c",
    /* & */ "S732a2c5c5a16134377",
    /* ' */ "L1c1a",
    /* ( */ "S3d1a1532",
    /* ) */ "S1d3a3512",
    /* * */ "L3c38 L1b59 L195b",
    /* + */ "L4a44 L1777",
    /* , */ "L1301",
    /* - */ "L1747",
    /* . */ "L1313",
    /* / */ "L025c",
    /* 0 */ "O1c13636c",
    /* 1 */ "L1a3c33",
    /* 2 */ "S1a1c6c68131363",
    /* 3 */ "S1b1c6c6838 S3868631314",
    /* 4 */ "L535c1666",
    /* 5 */ "S6c1c1c181869631314",
    /* 6 */ "O18136368 S5c1b15",
    /* 7 */ "L1c6c33",
    /* 8 */ "O1c18686c O18136368",
    /* 9 */ "O1c17676c S6a6423",
    /* : */ "L1313 L1818",
    /* ; */ "L1301 L1818",
    /* < */ "L6a1764",
    /* = */ "L1969 L1565",
    /* > */ "L1a6714",
    /* ? */ "S1a1c6c683836 L3333",
    /* @ */ "O48457578 S7874a4ac1c1282",
    /* A */ "L134c73 L2666",
    /* B */ "L131c S1c4c6c684818 S184878734313",
    /* C */ "S7a7c4c1c13437375",
    /* D */ "L131c S1c4c7c734313",
    /* E */ "L6c1c1363 L1858",
    /* F */ "L6c1c13 L1858",
    /* G */ "S7a7c4c1c134373777747",
    /* H */ "L131c L7c73 L1878",
    /* I */ "L131c",
    /* J */ "S5c5653331315",
    /* K */ "L131c L6c16 L3863",
    /* L */ "L1c1363",
    /* M */ "L131c477c73",
    /* N */ "L131c737c",
    /* O */ "O4c1c1343737c",
    /* P */ "L131c S1c4c7c774717",
    /* Q */ "O4c1c1343737c L5572",
    /* R */ "L131c S1c4c7c774717 L4773",
    /* S */ "S7a7c4c1c18487873431315",
    /* T */ "L0c6c L3c33",
    /* U */ "S1c16134373767c",
    /* V */ "L0c336c",
    /* W */ "L0c234b638c",
    /* X */ "L036c L0c63",
    /* Y */ "L0c37 L6c37 L3733",
    /* Z */ "L0c6c0363",
    /* [ */ "L3d1d1232",
    /* \ */ "L0c52",
    /* ] */ "L1d3d3212",
    /* ^ */ "L1a3c5a",
    /* _ */ "L0161",
    /* ` */ "L1d2b",
    /* a */ "O19136369 L6963",
    /* b */ "L1c13 O19136369",
    /* c */ "S676919136365",
    /* d */ "L6c63 O19136369",
    /* e */ "S1666666919136364",
    /* f */ "S5c2c2923 L0949",
    /* g */ "O19136369 S6962601011",
    /* h */ "L1c13 S1619696663",
    /* i */ "L1913 L1c1c",
    /* j */ "S29222000 L2c2c",
    /* k */ "L1c13 L5915 L3753",
    /* l */ "L1c13",
    /* m */ "L1913 S1619494643 S4649797673",
    /* n */ "L1913 S1619696663",
    /* o */ "O19136369",
    /* p */ "L1910 O19136369",
    /* q */ "L6960 O19136369",
    /* r */ "L1913 S16193949",
    /* s */ "S5859191656531314",
    /* t */ "S2c26234344 L0949",
    /* u */ "S1916136366 L6963",
    /* v */ "L093369",
    /* w */ "L0923486389",
    /* x */ "L0359 L0953",
    /* y */ "L0933 L6920",
    /* z */ "L19591353",
    /* { */ "S4d2d2807 S42222607",
    /* | */ "L1d11",
    /* } */ "S0d2d2847 S02222647",
    /* ~ */ "S1619467679"};

// Marks, over a small letter with the middle at x = 3.5.
constexpr std::string_view grave = "L2d4b", acute = "L5d3b", circumflex = "L1b3d4d6b", tilde = "S1b1d3c6b6d",
                           diaeresis = "L2c2c L5c5c", ring = "O2b2e5e5b", cedilla = "S4343522020";

/// U+00A1 to U+00FF: ASCII that stands for it, strokes over that, or strokes alone.
struct Latin {
  std::string_view text, strokes;
};
constexpr std::array<Latin, 95> latin = {{
    {"", "L1910 L1c1c"},
    {"c", "L4b41"},
    {"", "S6b6c2c292313 L1363 L1858"},
    {"o", "L1a29 L6a59 L1224 L6254"},
    {"", "L0c37 L6c37 L3733 L0767 L0565"},
    {"", "L1d19 L1612"},
    {"S", ""},
    {"", diaeresis},
    {"(c)", ""},
    {"a", ""},
    {"<<", ""},
    {"", "L197975"},
    {"-", ""},
    {"(R)", ""},
    {"", "L1c5c"},
    {"", "O1d19595d"},
    {"", "L4b45 L1878 L1474"},
    {"2", ""},
    {"3", ""},
    {"", acute},
    {"", "L1910 S1613636669 L6963"},
    {"", "L737c4c43 O1c18484c"},
    {"", "L1717"},
    {"", cedilla},
    {"1", ""},
    {"o", ""},
    {">>", ""},
    {"1/4", ""},
    {"1/2", ""},
    {"3/4", ""},
    {"", "S626010144749 L4c4c"},
    {"A", grave},
    {"A", acute},
    {"A", circumflex},
    {"A", tilde},
    {"A", diaeresis},
    {"A", ring},
    {"", "L134c8c L4c4383 L4878 L2646"},
    {"C", cedilla},
    {"E", grave},
    {"E", acute},
    {"E", circumflex},
    {"E", diaeresis},
    {"I", grave},
    {"I", acute},
    {"I", circumflex},
    {"I", diaeresis},
    {"D", "L0838"},
    {"N", tilde},
    {"O", grave},
    {"O", acute},
    {"O", circumflex},
    {"O", tilde},
    {"O", diaeresis},
    {"", "L1a64 L146a"},
    {"O", "L127d"},
    {"U", grave},
    {"U", acute},
    {"U", circumflex},
    {"U", diaeresis},
    {"Y", acute},
    {"", "L131c S1a4a7a754515"},
    {"", "S131b1d5d5938 S3868631322"},
    {"a", grave},
    {"a", acute},
    {"a", circumflex},
    {"a", tilde},
    {"a", diaeresis},
    {"a", ring},
    {"", "O19135359 L5953 S569696995953549395"},
    {"c", cedilla},
    {"e", grave},
    {"e", acute},
    {"e", circumflex},
    {"e", diaeresis},
    {"", "L1913 L0d2b"},
    {"", "L1913 L2d0b"},
    {"", "L1913 L0b1d2b"},
    {"", "L1913 L0c0c L2c2c"},
    {"", "O18136368 S2d6b68 L2b5d"},
    {"n", tilde},
    {"o", grave},
    {"o", acute},
    {"o", circumflex},
    {"o", tilde},
    {"o", diaeresis},
    {"", "L1777 L4b4b L4343"},
    {"o", "L126a"},
    {"u", grave},
    {"u", acute},
    {"u", circumflex},
    {"u", diaeresis},
    {"y", acute},
    {"", "L1c10 O19136369"},
    {"y", diaeresis},
}};

struct Point {
  double x, y;
};
/// Lines that a glyph is made of, and its extent.
struct Glyph {
  std::vector<std::pair<Point, Point>> segments;
  double left = 0, right = 0;
};

/// Adds strokes as the table has them, moved by `by`.
void add_strokes(Glyph& glyph, std::string_view strokes, Point by) {
  const auto digit = [](char c) { return static_cast<double>(c <= '9' ? c - '0' : c - 'a' + 10); };
  while (!strokes.empty()) {
    const std::string_view stroke = strokes.substr(0, strokes.find(' '));
    strokes.remove_prefix(std::min(stroke.size() + 1, strokes.size()));
    std::vector<Point> p;
    for (std::size_t i = 1; i + 1 < stroke.size(); i += 2)
      p.push_back({digit(stroke[i]) + by.x, digit(stroke[i + 1]) + by.y});
    const auto add = [&](Point a, Point b) { glyph.segments.emplace_back(a, b); };
    if (stroke[0] == 'L') {
      for (std::size_t i = 0; i + 1 < p.size(); ++i) add(p[i], p[i + 1]);
      continue;
    }
    const auto middle = [](Point a, Point b) { return Point{(a.x + b.x) / 2, (a.y + b.y) / 2}; };
    const auto curve = [&](Point from, Point control, Point to) {
      constexpr int steps = 8;
      for (int i = 0; i < steps; ++i) {
        const auto at = [&](int step) {
          const double t = static_cast<double>(step) / steps, u = 1 - t;
          return Point{u * u * from.x + 2 * u * t * control.x + t * t * to.x,
                       u * u * from.y + 2 * u * t * control.y + t * t * to.y};
        };
        add(at(i), at(i + 1));
      }
    };
    const std::size_t n = p.size();
    if (stroke[0] == 'O')
      for (std::size_t i = 0; i < n; ++i)
        curve(middle(p[i], p[(i + 1) % n]), p[(i + 1) % n], middle(p[(i + 1) % n], p[(i + 2) % n]));
    else
      for (std::size_t i = 1; i + 1 < n; ++i)
        curve(i == 1 ? p[0] : middle(p[i - 1], p[i]), p[i], i + 2 == n ? p[n - 1] : middle(p[i], p[i + 1]));
  }
}

void measure(Glyph& glyph) {
  if (glyph.segments.empty()) return;
  glyph.left = 100, glyph.right = -100;
  for (const auto& [a, b] : glyph.segments) {
    glyph.left = std::min({glyph.left, a.x, b.x});
    glyph.right = std::max({glyph.right, a.x, b.x});
  }
}

Glyph ascii_glyph(char c) {
  Glyph glyph;
  add_strokes(glyph, ascii[static_cast<std::size_t>(c - ' ')], {0, 0});
  measure(glyph);
  if (c == ' ') glyph.right = 2.5;
  return glyph;
}

/// The glyphs that show a character: one, but for the few that are spelt out.
std::vector<Glyph> glyphs_of(char32_t code) {
  switch (code) {  // what captions are full of, and Latin-1 has not
    case 0x2018:
    case 0x2019: code = '\''; break;
    case 0x201c:
    case 0x201d: code = '"'; break;
    case 0x2013:
    case 0x2014: code = '-'; break;
    case 0xa0: code = ' '; break;
    default: break;
  }
  if (code == 0x2026) return {ascii_glyph('.'), ascii_glyph('.'), ascii_glyph('.')};
  if (code >= ' ' && code <= '~') return {ascii_glyph(static_cast<char>(code))};
  if (code < 0xa1 || code > 0xff) {
    Glyph box;
    add_strokes(box, "L13636c1c13", {0, 0});
    measure(box);
    return {box};
  }
  const Latin& entry = latin[code - 0xa1];
  std::vector<Glyph> glyphs;
  for (const char c : entry.text) glyphs.push_back(ascii_glyph(c));
  if (glyphs.empty()) {
    add_strokes(glyphs.emplace_back(), entry.strokes, {0, 0});
    measure(glyphs.back());
  } else if (!entry.strokes.empty()) {
    const bool capital = entry.text[0] < 'a', below = entry.strokes == cedilla,
               across = entry.strokes[0] == 'L' &&
                        (entry.text == "D" || ((entry.text == "O" || entry.text == "o") && entry.strokes[2] == '2'));
    const double middle = (glyphs[0].left + glyphs[0].right) / 2 - 3.5;
    add_strokes(glyphs[0], entry.strokes, across ? Point{0, 0} : Point{middle, capital && !below ? 2.5 : 0});
    measure(glyphs[0]);
  }
  return glyphs;
}

constexpr double bearing = 1.0;  // free on both sides of a glyph

/// The code points of UTF-8; bytes that are none become U+FFFD.
std::vector<char32_t> code_points(std::string_view text) {
  std::vector<char32_t> codes;
  while (!text.empty()) {
    const std::size_t length = utf8_length(text);
    if (length == 0) {
      codes.push_back(0xfffd);
    } else {
      std::size_t at = 0;
      codes.push_back(next_code_point(text, at));
    }
    text.remove_prefix(std::max<std::size_t>(length, 1));
  }
  return codes;
}

void blend(Image& image, int x, int y, const Color& color, double cover) {
  if (x < 0 || y < 0 || x >= image.width || y >= image.height) return;
  std::uint8_t* pixel = &image.pixels[3 * (static_cast<std::size_t>(y) * static_cast<std::size_t>(image.width) +
                                           static_cast<std::size_t>(x))];
  for (std::size_t c = 0; c < 3; ++c)
    pixel[c] = static_cast<std::uint8_t>(std::lround(pixel[c] + cover * (color[c] - pixel[c])));
}

/// Where a pixel's centre is from a segment, at least.
double distance(Point p, Point a, Point b) {
  const double dx = b.x - a.x, dy = b.y - a.y, square = dx * dx + dy * dy;
  const double t = square > 0 ? std::clamp(((p.x - a.x) * dx + (p.y - a.y) * dy) / square, 0.0, 1.0) : 0;
  return std::hypot(p.x - a.x - t * dx, p.y - a.y - t * dy);
}

}  // namespace

double Font::width(std::string_view utf8) const {
  double units = 0;
  for (const char32_t code : code_points(utf8))
    for (const Glyph& glyph : glyphs_of(code)) units += glyph.right - glyph.left + 2 * bearing;
  return units * height / 9;
}

void Font::draw(Image& image, double left, double baseline, std::string_view utf8) const {
  const double unit = height / 9, radius = weight * unit / 2;
  for (const char32_t code : code_points(utf8))
    for (const Glyph& glyph : glyphs_of(code)) {
      if (left > image.width) return;
      const auto pixel = [&](Point p) {
        return Point{left + (p.x - glyph.left + bearing) * unit, baseline - (p.y - 3) * unit};
      };
      const int first = static_cast<int>(pixel({glyph.left - 4, 0}).x),
                last = static_cast<int>(pixel({glyph.right + 4, 0}).x);
      const int top = static_cast<int>(baseline - 15 * unit), bottom = static_cast<int>(baseline + 5 * unit);
      std::vector<std::pair<Point, Point>> segments;
      for (const auto& [a, b] : glyph.segments) segments.emplace_back(pixel(a), pixel(b));
      for (int y = top; y <= bottom; ++y)
        for (int x = first; x <= last; ++x) {
          double nearest = radius + 1;
          for (const auto& [a, b] : segments) nearest = std::min(nearest, distance({x + 0.5, y + 0.5}, a, b));
          const double cover = std::clamp(radius + 0.5 - nearest, 0.0, 1.0);
          if (cover > 0) blend(image, x, y, color, cover);
        }
      left += (glyph.right - glyph.left + 2 * bearing) * unit;
    }
}

std::vector<std::string> Font::wrap(std::string_view utf8, double limit, std::size_t lines) const {
  std::vector<std::string> result(1);
  const auto shorten = [&](std::string line) {  // until the dots fit
    while (!line.empty() && (line.back() == ' ' || width(line + "...") > limit)) {
      while (line.size() > 1 && (static_cast<unsigned char>(line.back()) & 0xc0) == 0x80) line.pop_back();
      line.pop_back();
    }
    return line + "...";
  };
  while (!utf8.empty()) {
    std::string_view word = utf8.substr(0, utf8.find(' '));
    const std::string& line = result.back();
    const std::string longer = line.empty() ? std::string(word) : line + ' ' + std::string(word);
    if (word.empty() || width(longer) <= limit) {
      if (!word.empty()) result.back() = longer;
    } else if (result.size() == lines) {
      result.back() = shorten(longer);
      return result;
    } else if (!line.empty()) {
      result.emplace_back();
      continue;  // the same word again
    } else {     // a word longer than a line: as much of it as fits
      std::size_t fits = 0;
      for (std::size_t next = 0; next < word.size();) {
        next += std::max<std::size_t>(utf8_length(word.substr(next)), 1);
        if (fits > 0 && width(word.substr(0, next)) > limit) break;
        fits = next;
      }
      result.back() = word.substr(0, fits);
      if (fits < word.size()) result.emplace_back();
      utf8.remove_prefix(fits);
      continue;
    }
    utf8.remove_prefix(std::min(word.size() + 1, utf8.size()));
  }
  return result;
}

}  // namespace clip
