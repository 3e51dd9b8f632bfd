// What a change of the configuration would do, as an operator reads it before it is applied.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "clusterd/model/check.h"
#include "clusterd/model/declarations.h"
#include "clusterd/model/report.h"

namespace clusterd {

// The configuration as it would be, and every reason against it. apply refuses a change with an
// error among the findings; warnings do not hinder it.
struct Judged {
  std::vector<Finding> findings;
  Configuration next;
  // What the reserve says against it without hindering it: a warning among the findings, and an
  // alarm in the history when it is applied all the same. Empty: nothing.
  std::string alarm = {};
};

enum class NextStep : std::uint8_t { start, stop, wait };

struct Consequence {
  std::string vm;
  NextStep step = NextStep::start;
  std::string node;    // start: where; stop: where it is; wait: the node kept for it, or empty
  std::string reason;  // wait: for what, or why no node takes it
};

struct ConfigurationReview {
  Judged judged;
  // (VM, profile): VMs that change only because their profile does.
  std::vector<std::pair<std::string, std::string>> through_profile;
  // What happens next once it is applied; empty if it would be refused.
  std::vector<Consequence> consequences;
  std::optional<ReserveReport> reserve;  // ... and then; nullopt if it would be refused
  std::string brake;                     // why nothing starts for now; empty: nothing hinders it
};

}  // namespace clusterd
