// Group: the closed process group with agreed order (Corosync CPG), paired with quorum.
#pragma once

#include <string>
#include <string_view>

#include "clusterd/model/event.h"

namespace clusterd {

// Called on the main loop's thread only, in the group's order: a view before the messages
// delivered in it.
class GroupListener {
 public:
  virtual ~GroupListener() = default;
  virtual void on_view(const ViewChanged& view) = 0;
  virtual void on_quorum(const QuorumChanged& quorum) = 0;
  // From now on nothing is heard of these hosts on any link; empty: all are heard. A hint, which
  // comes when the transport can tell it, and in no order with views.
  virtual void on_silent(const std::set<NodeId>& hosts) = 0;
  virtual void on_message(GroupMember sender, std::string_view bytes) = 0;
  // The connection is dead (Corosync ended). The daemon treats it as: not quorate, alone.
  virtual void on_lost(const std::string& reason) = 0;
  // Flow control has opened again after `try_again`.
  virtual void on_writable() = 0;
};

enum class SendStatus { queued, try_again, failed };

class Group {
 public:
  virtual ~Group() = default;
  // Queues at most kMaxMessage bytes for agreed delivery to all members, the sender included.
  // `queued` is no acknowledgement: only the message coming back is.
  [[nodiscard]] virtual SendStatus multicast(std::string_view bytes) = 0;
  // Leaves the group; the view of the others shrinks in order.
  virtual void leave() = 0;

  // Corosync fragments badly above 64 KiB (field-notes.md); larger values travel in pieces.
  static constexpr std::size_t kMaxMessage = 48 * 1024;
};

}  // namespace clusterd
