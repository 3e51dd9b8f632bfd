// Daemon: the composition root. It makes the adapters, ties them to the driver, and decides
// nothing.
#pragma once

#include <string>

#include "clusterd/base/result.h"

namespace clusterd {

// Node-local settings that the daemon needs (contract.md section 1).
struct DaemonSettings {
  std::string libvirt_uri = "qemu:///system";
  std::string metrics_listen = "127.0.0.1:9465";
  std::string state_dir = "/var/lib/clusterd";
  std::string run_dir = "/run/clusterd";
  std::string ipc_name = "clusterd";
  std::string boot_id_file = "/proc/sys/kernel/random/boot_id";
  std::string machine_id_file = "/etc/machine-id";
};

// Runs until a signal or the controller ends it. Returns the exit code, or why it cannot start.
[[nodiscard]] Result<int> run_daemon(const DaemonSettings& settings);

}  // namespace clusterd
