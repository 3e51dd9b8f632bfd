// What corosync.conf says of the nodes, read from the running Corosync through libcmap.
#pragma once

#include <corosync/cmap.h>

#include <map>
#include <string>

#include "clusterd/base/result.h"
#include "clusterd/base/time.h"
#include "clusterd/model/ids.h"

namespace clusterd {

struct ConfiguredNode {
  std::string name;  // nodelist's `name`; ring0_addr when it has none
  std::uint32_t votes = 1;
};

struct Nodelist {
  NodeId self;
  std::map<NodeId, ConfiguredNode> nodes;
  // How long Corosync itself may take for one membership change on account of a quorum device.
  Duration device_patience{0};
};

// Blocks for some round trips to Corosync: for startup and tools, not for the main loop.
// Errors: Corosync does not run, or its configuration lacks a nodelist with ids and names.
[[nodiscard]] Result<Nodelist> read_nodelist();
// The same on an open connection.
[[nodiscard]] Result<Nodelist> read_nodelist(cmap_handle_t cmap);

// What stands at a key; empty or `otherwise` when it is not there, or of another type.
[[nodiscard]] std::string string_at(cmap_handle_t cmap, const std::string& key);
[[nodiscard]] std::uint32_t number_at(cmap_handle_t cmap, const std::string& key,
                                      std::uint32_t otherwise);

// "libcpg: cannot join: Corosync is not ready yet (code 6)", shared by this folder.
[[nodiscard]] Error corosync_error(const std::string& what, cs_error_t code);

}  // namespace clusterd
