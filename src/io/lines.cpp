#include "clip/io/lines.hpp"

#include <string_view>

#include "clip/core/error.hpp"
#include "clip/io/file.hpp"

namespace clip {

std::vector<std::string> read_lines(const std::filesystem::path& path) {
  const std::string content = read_file(path);
  std::string_view rest = content;
  if (rest.starts_with("\xef\xbb\xbf")) rest.remove_prefix(3);
  std::vector<std::string> lines;
  while (!rest.empty()) {
    const std::size_t end = rest.find('\n');
    std::string_view line = rest.substr(0, end);
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (!is_utf8(line))
      fail("read", "line ", lines.size() + 1, " of ", quoted(path), " is not valid UTF-8: '", printable(line), "'");
    lines.emplace_back(line);
  }
  return lines;
}

}  // namespace clip
