#include "clusterd/adapters/corosync/connection.h"

#include <algorithm>
#include <cstring>

#include "clusterd/adapters/corosync/cmap_nodelist.h"

namespace clusterd {

Result<std::shared_ptr<Connection>> Connection::open(const CorosyncCallbacks& callbacks,
                                                     void* context, const std::string& group) {
  std::shared_ptr<Connection> made(new Connection);  // closes what it got when a step fails
  Connection& self = *made;
  Status step = self.open_cmap(callbacks, context);
  if (step) step = self.open_quorum(callbacks, context);
  if (step) step = self.open_votes();
  if (step) step = self.open_cpg(callbacks, context);
  // Joining last: quorum's data is then on its way before the first view needs it.
  if (step) step = self.join(group);
  if (!step) return step.error();
  return made;
}

Connection::~Connection() {
  if (cpg_ != 0) cpg_finalize(cpg_);
  if (votes_ != 0) votequorum_finalize(votes_);
  if (quorum_ != 0) quorum_finalize(quorum_);
  if (cmap_ != 0) cmap_finalize(cmap_);
  if (stats_ != 0) cmap_finalize(stats_);
}

Status Connection::open_cpg(const CorosyncCallbacks& callbacks, void* context) {
  cpg_model_v1_data_t model{};
  model.model = CPG_MODEL_V1;
  model.cpg_deliver_fn = callbacks.deliver;
  model.cpg_confchg_fn = callbacks.group_change;
  model.cpg_totem_confchg_fn = callbacks.ring_change;
  model.flags = CPG_MODEL_V1_DELIVER_INITIAL_TOTEM_CONF;
  cs_error_t rc = cpg_model_initialize(&cpg_, CPG_MODEL_V1,
                                       reinterpret_cast<cpg_model_data_t*>(&model), context);
  if (rc != CS_OK) {
    cpg_ = 0;
    return corosync_error("libcpg: cannot connect", rc);
  }
  rc = cpg_fd_get(cpg_, &cpg_fd_);
  if (rc != CS_OK) return corosync_error("libcpg: no descriptor", rc);
  unsigned int id = 0;
  rc = cpg_local_get(cpg_, &id);
  if (rc != CS_OK) return corosync_error("libcpg: this node's id", rc);
  self_ = NodeId(id);
  return ok_status();
}

Status Connection::open_quorum(const CorosyncCallbacks& callbacks, void* context) {
  quorum_model_v1_data_t model{};
  model.model = QUORUM_MODEL_V1;
  model.quorum_notify_fn = callbacks.quorum;
  model.nodelist_notify_fn = callbacks.nodelist;
  std::uint32_t type = 0;
  cs_error_t rc = quorum_model_initialize(
      &quorum_, QUORUM_MODEL_V1, reinterpret_cast<quorum_model_data_t*>(&model), &type, context);
  if (rc != CS_OK) {
    quorum_ = 0;
    return corosync_error("libquorum: cannot connect", rc);
  }
  if (type != QUORUM_SET) {
    return Error{"Corosync has no quorum provider: set quorum { provider: corosync_votequorum }"};
  }
  rc = quorum_fd_get(quorum_, &quorum_fd_);
  if (rc != CS_OK) return corosync_error("libquorum: no descriptor", rc);
  rc = quorum_trackstart(quorum_, CS_TRACK_CURRENT | CS_TRACK_CHANGES);
  if (rc != CS_OK) return corosync_error("libquorum: cannot track", rc);
  return ok_status();
}

// Without tracking: votequorum notifies only when quorum flips, and that libquorum tells as well.
// A device's vote that comes or goes otherwise has to be asked for.
Status Connection::open_votes() {
  votequorum_callbacks_t none{};
  const cs_error_t rc = votequorum_initialize(&votes_, &none);
  if (rc == CS_OK) return ok_status();
  votes_ = 0;
  return corosync_error("libvotequorum: cannot connect", rc);
}

Status Connection::open_cmap(const CorosyncCallbacks& callbacks, void* context) {
  cs_error_t rc = cmap_initialize(&cmap_);
  if (rc != CS_OK) {
    cmap_ = 0;
    return corosync_error("libcmap: cannot connect", rc);
  }
  rc = cmap_fd_get(cmap_, &cmap_fd_);
  if (rc != CS_OK) return corosync_error("libcmap: no descriptor", rc);
  // A reload of corosync.conf may change names and votes without any membership change.
  constexpr std::int32_t kAnyChange =
      CMAP_TRACK_ADD | CMAP_TRACK_DELETE | CMAP_TRACK_MODIFY | CMAP_TRACK_PREFIX;
  cmap_track_handle_t track{};
  rc = cmap_track_add(cmap_, "nodelist.", kAnyChange, callbacks.configuration, context, &track);
  if (rc != CS_OK) return corosync_error("libcmap: cannot track the nodelist", rc);
  // Without it silence is only noticed when the ring breaks.
  if (cmap_initialize_map(&stats_, CMAP_MAP_STATS) != CS_OK) stats_ = 0;
  return ok_status();
}

std::set<NodeId> Connection::read_silent(const std::set<NodeId>& hosts) const {
  constexpr int kLinks = 8;  // knet's most
  std::set<NodeId> silent;
  if (stats_ == 0) return silent;
  for (const NodeId& host : hosts) {
    if (host == self_) continue;
    bool known = false;
    bool heard = false;
    for (int link = 0; link < kLinks && !heard; ++link) {
      const std::string key = "stats.knet.node" + std::to_string(host.value) + ".link" +
                              std::to_string(link) + ".connected";
      std::uint8_t connected = 0;
      if (cmap_get_uint8(stats_, key.c_str(), &connected) != CS_OK) continue;
      known = true;
      heard = connected != 0;
    }
    if (known && !heard) silent.insert(host);
  }
  return silent;
}

Status Connection::join(const std::string& group) {
  if (group.size() >= CPG_MAX_NAME_LENGTH) return Error{"group name too long"};
  group_.length = static_cast<std::uint32_t>(group.size());
  std::memcpy(group_.value, group.data(), group.size());
  const cs_error_t rc = cpg_join(cpg_, &group_);
  if (rc != CS_OK) return corosync_error("libcpg: cannot join group " + group, rc);
  return ok_status();
}

void Connection::leave() { cpg_leave(cpg_, &group_); }

Result<VoteFacts> Connection::read_votes() const {
  const auto list = read_nodelist(cmap_);
  if (!list) return list.error();
  votequorum_info info{};
  const cs_error_t rc = votequorum_getinfo(votes_, self_.value, &info);
  if (rc != CS_OK) return corosync_error("libvotequorum: votes of this node", rc);
  VoteFacts read;
  read.device_patience = list.value().device_patience;
  for (const auto& [id, node] : list.value().nodes) {
    read.facts.votes[id] = node.votes;
    read.facts.names[id] = node.name;
  }
  // Votes of this node can be changed at run time; those of others are told by their own nodes.
  read.facts.votes[self_] = info.node_votes;
  read.facts.wait_for_all = (info.flags & VOTEQUORUM_INFO_WAIT_FOR_ALL) != 0;
  if ((info.flags & VOTEQUORUM_INFO_QDEVICE_CAST_VOTE) != 0) {
    read.facts.device_votes = info.qdevice_votes;
  }
  return read;
}

}  // namespace clusterd
