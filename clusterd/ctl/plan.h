// Plan: what declarations would lead to, without a daemon: where everything goes, what fails, the
// reserve.
#pragma once

#include <set>
#include <string>

#include "clusterd/ctl/session.h"

namespace clusterd::ctl {

struct PlanOptions {
  std::string declarations;    // a file, or a folder of *.yaml files
  std::string state;           // a saved `status --json`; empty: nothing runs yet
  std::set<std::string> down;  // nodes that die
  bool rebalance = false;      // which moves would pay, instead of what would happen
};

// Reads, plans and prints. Every error of the files is told at once on standard error as
// "file:line:column: message". Returns the exit code: 1 if there is one, or if a guaranteed VM
// has no place.
[[nodiscard]] int plan(const Options& options, const PlanOptions& wanted);

}  // namespace clusterd::ctl
