#include "clusterd/adapters/corosync/cmap_nodelist.h"

#include <cstdio>
#include <cstdlib>
#include <memory>

namespace clusterd {

namespace {

// The positions K in `nodelist.node.K.`; they need not be consecutive after a reload.
Result<std::map<unsigned, bool>> positions(cmap_handle_t cmap) {
  cmap_iter_handle_t iterator{};
  const cs_error_t rc = cmap_iter_init(cmap, "nodelist.node.", &iterator);
  if (rc != CS_OK) return corosync_error("libcmap: cannot read the nodelist", rc);
  std::map<unsigned, bool> found;
  char key[CMAP_KEYNAME_MAXLEN + 1] = {};
  while (cmap_iter_next(cmap, iterator, key, nullptr, nullptr) == CS_OK) {
    unsigned position = 0;
    if (std::sscanf(key, "nodelist.node.%u.", &position) == 1) found[position] = true;
  }
  cmap_iter_finalize(cmap, iterator);
  return found;
}

// votequorum waits so long for the device's vote before it ends a membership change.
constexpr std::uint32_t kDefaultSyncTimeout = 30'000;

}  // namespace

std::string string_at(cmap_handle_t cmap, const std::string& key) {
  struct Free {
    void operator()(char* text) const { std::free(text); }
  };
  char* text = nullptr;
  if (cmap_get_string(cmap, key.c_str(), &text) != CS_OK) return {};
  const std::unique_ptr<char, Free> owner(text);
  return text;
}

std::uint32_t number_at(cmap_handle_t cmap, const std::string& key, std::uint32_t otherwise) {
  std::uint32_t number = otherwise;
  if (cmap_get_uint32(cmap, key.c_str(), &number) != CS_OK) return otherwise;
  return number;
}

Error corosync_error(const std::string& what, cs_error_t code) {
  // The ones an operator meets; cs_strerror says no more than the enumerator's name.
  std::string why = "error";
  if (code == CS_ERR_LIBRARY) why = "Corosync does not run, or has ended";
  if (code == CS_ERR_TRY_AGAIN) why = "Corosync is not ready yet";
  if (code == CS_ERR_ACCESS) why = "permission denied";
  if (code == CS_ERR_EXIST) why = "exists already";
  if (code == CS_ERR_NOT_EXIST) why = "does not exist";
  if (code == CS_ERR_NO_MEMORY || code == CS_ERR_NO_SPACE) why = "no room (look at /dev/shm)";
  return {what + ": " + why + " (code " + std::to_string(static_cast<int>(code)) + ")"};
}

Result<Nodelist> read_nodelist(cmap_handle_t cmap) {
  Nodelist list;
  list.self = NodeId(number_at(cmap, "runtime.votequorum.this_node_id", 0));
  const auto found = positions(cmap);
  if (!found) return found.error();
  for (const auto& [position, present] : found.value()) {
    const std::string prefix = "nodelist.node." + std::to_string(position) + ".";
    const NodeId id(number_at(cmap, prefix + "nodeid", 0));
    if (id.value == 0) {
      return Error{"corosync.conf: node " + std::to_string(position) +
                   " of the nodelist has no nodeid; clusterd needs one for each node"};
    }
    ConfiguredNode node;
    node.name = string_at(cmap, prefix + "name");
    if (node.name.empty()) node.name = string_at(cmap, prefix + "ring0_addr");
    node.votes = number_at(cmap, prefix + "quorum_votes", 1);
    list.nodes.emplace(id, std::move(node));
  }
  if (list.nodes.empty()) return Error{"corosync.conf has no nodelist; clusterd needs one"};
  if (!string_at(cmap, "quorum.device.model").empty()) {
    list.device_patience =
        Duration(number_at(cmap, "quorum.device.sync_timeout", kDefaultSyncTimeout));
  }
  return list;
}

Result<Nodelist> read_nodelist() {
  cmap_handle_t cmap{};
  const cs_error_t rc = cmap_initialize(&cmap);
  if (rc != CS_OK) return corosync_error("libcmap: cannot connect to Corosync", rc);
  Result<Nodelist> list = read_nodelist(cmap);
  cmap_finalize(cmap);
  if (list && list.value().self.value == 0) {
    return Error{"Corosync does not tell this node's id: is votequorum its quorum provider?"};
  }
  return list;
}

}  // namespace clusterd
