#include "examples/support/plot.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <limits>

#include "clip/io/file.hpp"

namespace clip {
namespace {

constexpr double panel_width = 420, panel_height = 300, left = 64, right = 24, top = 56, bottom = 92;
constexpr std::array<const char*, 6> colors = {"#1a73e8", "#d9480f", "#188054", "#8430ce", "#b58a00", "#5f6368"};

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.6g", value);
  return text;
}

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : printable(text)) {
    if (c == '&')
      out += "&amp;";
    else if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else
      out += c;
  }
  return out;
}

/// About five round numbers apart: 1, 2 or 5 times a power of ten.
double tick_step(double range) {
  const double power = std::pow(10, std::floor(std::log10(range / 5)));
  for (const double factor : {1., 2., 5.})
    if (range / (factor * power) <= 5.5) return factor * power;
  return 10 * power;
}

struct Axis {
  double low, high, step;
};
Axis y_axis(const Panel& panel) {
  double low = std::numeric_limits<double>::infinity(), high = -low;
  for (const Series& series : panel.series)
    for (const double value : series.values)
      if (std::isfinite(value)) low = std::min(low, value), high = std::max(high, value);
  if (panel.from_zero) low = std::min(low, 0.0), high = std::max(high, 0.0);
  if (!(low <= high)) low = 0, high = 1;
  if (high - low <= 1e-9 * std::abs(high)) high += std::max(std::abs(high) * 0.1, 1e-3);
  const double step = tick_step(high - low);
  return {std::floor(low / step + 1e-9) * step, std::ceil(high / step - 1e-9) * step, step};
}

std::string text(double x, double y, const char* anchor, const std::string& content, const char* more = "") {
  return "<text x='" + number(x) + "' y='" + number(y) + "' text-anchor='" + anchor + "' " + more + ">" +
         escaped(content) + "</text>\n";
}
std::string line(double x1, double y1, double x2, double y2, const char* color) {
  return "<line x1='" + number(x1) + "' y1='" + number(y1) + "' x2='" + number(x2) + "' y2='" + number(y2) +
         "' stroke='" + color + "'/>\n";
}

std::string panel_svg(const Panel& panel, double x0, const std::string& x_label) {
  const Axis axis = y_axis(panel);
  std::size_t count = 1;
  for (const Series& series : panel.series) count = std::max(count, series.values.size());
  const double width = panel_width - left - right, height = panel_height;
  const auto x_at = [&](double x) {
    return x0 + left + (count > 1 ? (x - 1) / static_cast<double>(count - 1) * width : width / 2);
  };
  const auto y_at = [&](double y) { return top + (axis.high - y) / (axis.high - axis.low) * height; };

  std::string svg;
  for (int i = 0; axis.low + i * axis.step <= axis.high + axis.step / 2; ++i) {
    const double value = axis.low + i * axis.step;
    svg += line(x0 + left, y_at(value), x0 + left + width, y_at(value), "#e8eaed");
    svg += text(x0 + left - 8, y_at(value) + 4, "end", number(std::abs(value) < axis.step / 2 ? 0 : value));
  }
  const auto every = static_cast<std::size_t>(std::max(1.0, std::ceil(tick_step(static_cast<double>(count)))));
  for (std::size_t i = every == 1 ? 1 : every; i <= count; i += every) {
    const double x = x_at(static_cast<double>(i));
    svg += line(x, top + height, x, top + height + 5, "#80868b");
    svg += text(x, top + height + 20, "middle", std::to_string(i));
  }
  svg += line(x0 + left, top + height, x0 + left + width, top + height, "#80868b");
  svg += line(x0 + left, top, x0 + left, top + height, "#80868b");
  svg += text(x0 + left + width / 2, top + height + 40, "middle", x_label);
  const double middle = top + height / 2;
  svg += text(x0 + 16, middle, "middle", panel.label,
              ("transform='rotate(-90 " + number(x0 + 16) + " " + number(middle) + ")'").c_str());

  double legend = x0 + left;
  for (std::size_t s = 0; s < panel.series.size(); ++s) {
    const Series& series = panel.series[s];
    const char* color = colors[s % colors.size()];
    std::string points, dots;
    for (std::size_t i = 0; i < series.values.size(); ++i) {
      if (!std::isfinite(series.values[i])) continue;
      const std::string x = number(x_at(static_cast<double>(i + 1))), y = number(y_at(series.values[i]));
      points += x + "," + y + " ";
      if (count <= 30) dots += "<circle cx='" + x + "' cy='" + y + "' r='3' fill='" + color + "'/>\n";
    }
    svg += "<polyline points='" + points + "' fill='none' stroke='" + color +
           "' stroke-width='2' stroke-linejoin='round'/>\n" + dots;
    svg += "<rect x='" + number(legend) + "' y='" + number(top + height + 56) +
           "' width='14' height='4' rx='2' fill='" + color + "'/>\n";
    svg += text(legend + 20, top + height + 62, "start", series.name);
    legend += 36 + 7.2 * static_cast<double>(series.name.size());
  }
  return svg;
}

}  // namespace

void write_plot(const std::filesystem::path& path, const std::string& title, const std::string& x_label,
                const std::vector<Panel>& panels) {
  const std::string width = number(panel_width * static_cast<double>(panels.size())),
                    height = number(top + panel_height + bottom);
  std::string svg = "<svg xmlns='http://www.w3.org/2000/svg' width='" + width + "' height='" + height +
                    "' viewBox='0 0 " + width + " " + height +
                    "' font-family='Helvetica, Arial, sans-serif' font-size='12' fill='#3c4043'>\n"
                    "<rect width='100%' height='100%' fill='white'/>\n";
  svg += text(left, 30, "start", title, "font-size='16' font-weight='bold' fill='#202124'");
  for (std::size_t i = 0; i < panels.size(); ++i)
    svg += panel_svg(panels[i], panel_width * static_cast<double>(i), x_label);
  write_file(path, svg + "</svg>\n");
}

}  // namespace clip
