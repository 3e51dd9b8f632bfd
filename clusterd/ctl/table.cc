#include "clusterd/ctl/table.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>

namespace clusterd::ctl {

std::string Table::str() const {
  std::vector<std::size_t> widths;
  for (const auto& row : rows_) {
    widths.resize(std::max(widths.size(), row.size()));
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const auto& row : rows_) {
    std::string line;
    for (std::size_t i = 0; i < row.size(); ++i) {
      line += row[i];
      if (i + 1 < row.size()) line += std::string(widths[i] - row[i].size() + 2, ' ');
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  return text;
}

std::string human_bytes(std::uint64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  std::size_t unit = 0;
  std::uint64_t scaled = bytes * 10;
  while (scaled >= 10240 && unit + 1 < sizeof kUnits / sizeof *kUnits) {
    scaled /= 1024;
    ++unit;
  }
  char text[40];
  std::snprintf(text, sizeof text, "%llu.%llu %s", static_cast<unsigned long long>(scaled / 10),
                static_cast<unsigned long long>(scaled % 10), kUnits[unit]);
  return text;
}

}  // namespace clusterd::ctl
