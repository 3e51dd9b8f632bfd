// Connection: the four handles to one running Corosync, opened and closed together, because all
// die together. Everything here blocks and belongs on the Worker; dispatching is the owner's.
#pragma once

#include <corosync/cmap.h>
#include <corosync/cpg.h>
#include <corosync/quorum.h>
#include <corosync/votequorum.h>

#include <memory>
#include <set>
#include <string>

#include "clusterd/base/result.h"
#include "clusterd/model/event.h"

namespace clusterd {

// Called within dispatch, with the context given to open().
struct CorosyncCallbacks {
  cpg_deliver_fn_t deliver = nullptr;
  cpg_confchg_fn_t group_change = nullptr;
  cpg_totem_confchg_fn_t ring_change = nullptr;
  quorum_v1_quorum_notification_fn_t quorum = nullptr;
  quorum_v1_nodelist_notification_fn_t nodelist = nullptr;
  cmap_notify_fn_t configuration = nullptr;
};

// Votes, names and flags; `quorate` stands in the callback alone.
struct VoteFacts {
  QuorumFacts facts;
  Duration device_patience{0};
};

class Connection {
 public:
  // Connects, joins `group` and starts tracking. Callbacks may come as soon as it returns.
  [[nodiscard]] static Result<std::shared_ptr<Connection>> open(const CorosyncCallbacks& callbacks,
                                                               void* context,
                                                               const std::string& group);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  [[nodiscard]] Result<VoteFacts> read_votes() const;
  // Which of these hosts are down on every link that knet has to them. Empty when Corosync's
  // transport has no such links, or does not tell.
  [[nodiscard]] std::set<NodeId> read_silent(const std::set<NodeId>& hosts) const;
  // Queues the departure; the group change that takes this process out is the answer.
  void leave();

  [[nodiscard]] NodeId self() const { return self_; }
  [[nodiscard]] cpg_handle_t cpg() const { return cpg_; }
  [[nodiscard]] quorum_handle_t quorum() const { return quorum_; }
  [[nodiscard]] cmap_handle_t cmap() const { return cmap_; }
  [[nodiscard]] int cpg_fd() const { return cpg_fd_; }
  [[nodiscard]] int quorum_fd() const { return quorum_fd_; }
  [[nodiscard]] int cmap_fd() const { return cmap_fd_; }

 private:
  Connection() = default;
  [[nodiscard]] Status open_cpg(const CorosyncCallbacks& callbacks, void* context);
  [[nodiscard]] Status open_quorum(const CorosyncCallbacks& callbacks, void* context);
  [[nodiscard]] Status open_votes();
  [[nodiscard]] Status open_cmap(const CorosyncCallbacks& callbacks, void* context);
  [[nodiscard]] Status join(const std::string& group);

  // 0: not open (Corosync's handles carry a random part and a check, and are never 0).
  cpg_handle_t cpg_ = 0;
  quorum_handle_t quorum_ = 0;
  votequorum_handle_t votes_ = 0;
  cmap_handle_t cmap_ = 0;
  cmap_handle_t stats_ = 0;  // 0: this Corosync has no such map
  int cpg_fd_ = -1;
  int quorum_fd_ = -1;
  int cmap_fd_ = -1;
  NodeId self_;
  cpg_name group_{};
};

}  // namespace clusterd
