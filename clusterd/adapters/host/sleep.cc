#include "clusterd/adapters/host/sleep.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>

namespace clusterd {
namespace {

// `systemctl mask` makes a link to /dev/null.
bool is_masked(const std::string& unit) {
  const auto folders = {"/etc/systemd/system/", "/run/systemd/system/"};
  return std::any_of(folders.begin(), folders.end(), [&](const char* folder) {
    std::error_code problem;
    const auto target = std::filesystem::read_symlink(folder + unit, problem);
    return !problem && target == "/dev/null";
  });
}

}  // namespace

bool never_sleeps() {
  std::ifstream kernel("/sys/power/state");
  std::string state;
  if (kernel && !(kernel >> state)) return true;
  const auto units = {"sleep.target", "suspend.target", "hibernate.target", "hybrid-sleep.target"};
  return std::all_of(units.begin(), units.end(), is_masked);
}

}  // namespace clusterd
