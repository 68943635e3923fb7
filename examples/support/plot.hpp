#pragma once
// Curves as an SVG file.
#include <filesystem>
#include <string>
#include <vector>

namespace clip {

struct Series {
  std::string name;
  std::vector<double> values;  ///< at x = 1, 2, …; what is not finite is left out
};

/// One panel: its own y axis and legend.
struct Panel {
  std::string label;  ///< of the y axis
  std::vector<Series> series;
  bool from_zero = false;  ///< the axis includes 0
};

/// Draws the panels side by side, x counted from 1, as an SVG file, durably.
void write_plot(const std::filesystem::path& path, const std::string& title, const std::string& x_label,
                const std::vector<Panel>& panels);

}  // namespace clip
