// ReplayGuard: notices a state that cannot be replayed because the daemon dies of it (R29).
#pragma once

#include <string>

#include "clusterd/base/result.h"

namespace clusterd {

class ReplayGuard {
 public:
  // A state that this many daemons in a row died of is given up.
  static constexpr std::size_t kMost = 2;

  // `file` belongs on a tmpfs: another boot is another try.
  explicit ReplayGuard(std::string file) : file_(std::move(file)) {}

  // Stands before the replay. Gives how many before this one began and did not end; an error names
  // the file.
  [[nodiscard]] Result<std::size_t> begin() const;
  // Stands after it, whatever came out.
  [[nodiscard]] Status end() const;

 private:
  const std::string file_;
};

}  // namespace clusterd
