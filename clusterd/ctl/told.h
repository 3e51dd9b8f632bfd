// Told: errors of files and findings about what they declare, in the order in which a person goes
// through the files.
#pragma once

#include <string>
#include <vector>

#include "clusterd/config/declarations_file.h"
#include "clusterd/model/check.h"

namespace clusterd::ctl {

struct Told {
  std::string text;
  bool hinders = false;
};

// The files' errors, and the findings at the places in the files where they were said. What no
// file mentions follows, told by its path and where it `stands` ("stored configuration").
[[nodiscard]] std::vector<Told> placed(const std::vector<Finding>& findings,
                                       const LoadedDeclarations& loaded, const std::string& stands);

}  // namespace clusterd::ctl
