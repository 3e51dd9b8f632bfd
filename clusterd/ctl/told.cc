#include "clusterd/ctl/told.h"

#include <algorithm>
#include <utility>

namespace clusterd::ctl {

std::vector<Told> placed(const std::vector<Finding>& findings, const LoadedDeclarations& loaded,
                         const std::string& stands) {
  std::vector<std::pair<ConfigError, bool>> in_files;
  std::vector<Told> told;
  for (const ConfigError& error : loaded.errors) in_files.emplace_back(error, true);
  for (const Finding& finding : findings) {
    const bool hinders = finding.severity == Severity::error;
    const std::string message = std::string(hinders ? "" : "warning: ") +
                                (finding.path.empty() ? "" : finding.path + ": ") + finding.message;
    const auto place = find_place(loaded.places, finding.path);
    if (place) {
      in_files.push_back({{*place, message}, hinders});
    } else {
      told.push_back({stands + ": " + message, hinders});
    }
  }
  std::sort(in_files.begin(), in_files.end());
  in_files.erase(std::unique(in_files.begin(), in_files.end()), in_files.end());
  for (const auto& [error, hinders] : in_files) told.push_back({error.str(), hinders});
  return told;
}

}  // namespace clusterd::ctl
