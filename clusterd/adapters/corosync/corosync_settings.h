// What of corosync.conf decides whether a cluster survives its hosts, and what is wrong with it.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "clusterd/base/result.h"
#include "clusterd/base/time.h"

namespace clusterd {

// As the running Corosync uses it. Sources: corosync.conf(5), votequorum(5).
struct CorosyncSettings {
  std::string transport = "knet";
  std::size_t nodes = 0;
  std::size_t links = 0;  // of the node that has the fewest
  bool authenticated = false;
  bool two_node = false;
  bool wait_for_all = false;
  bool last_man_standing = false;
  bool auto_tie_breaker = false;
  bool arbiter = false;   // a quorum device
  Duration token{0};      // with token_coefficient; how long a silent host is waited for ...
  Duration consensus{0};  // ... and then for the others to agree
};

// Blocks for some round trips: for startup and tools. An error: Corosync does not run.
[[nodiscard]] Result<CorosyncSettings> read_corosync_settings();

enum class Gravity { good, weak, refused };

struct SettingFinding {
  Gravity gravity = Gravity::good;
  std::string text;  // what it is, and what to do about it
  friend bool operator==(const SettingFinding&, const SettingFinding&) = default;
};

// Pure. With a refused one clusterd does not run: Corosync would then change what a majority is
// without knowing who was proven dead (protocol R8).
[[nodiscard]] std::vector<SettingFinding> judge(const CorosyncSettings& settings);

}  // namespace clusterd
