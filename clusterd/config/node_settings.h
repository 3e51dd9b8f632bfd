// Node-local settings: /etc/clusterd/clusterd.yaml. Every key has a default, so that the file may
// be absent; what is there must be right.
#pragma once

#include <cstdint>
#include <string>
#include <variant>

#include "clusterd/config/config_error.h"

namespace clusterd {

struct NodeSettings {
  std::string libvirt_uri = "qemu:///system";
  std::string virt_type = "kvm";  // or qemu
  std::string metrics_listen = "127.0.0.1:9465";
  std::string state_dir = "/var/lib/clusterd";
  std::string run_dir = "/run/clusterd";
  std::string ipc_name = "clusterd";
  std::string boot_id_file = "/proc/sys/kernel/random/boot_id";
  std::string machine_id_file = "/etc/machine-id";
  std::string watchdog_device;  // empty: none
  std::uint64_t recording_size = 64 * 1024 * 1024;  // bytes; 0: nothing is recorded
};

// All errors at once, in the order of the file.
[[nodiscard]] std::variant<NodeSettings, ConfigErrors> load_node_settings(const std::string& file);

}  // namespace clusterd
