// ViewPairing: makes one ordered story out of CPG's stream and quorum's.
//
// CPG tells in the group's order: membership changes, ring changes, messages. Quorum tells on
// another connection, earlier or later. A view is announced when quorum's data for CPG's ring is
// there; everything behind it in CPG's stream waits. Pure: no Corosync, no clock, no thread.
//
// - A group change without a ring change (a daemon came or went) takes the data of its ring.
// - A ring that quorum never spoke of, because the next one came in between, is skipped if nothing
//   was delivered in it, and otherwise announced as not quorate: order is kept, nothing is claimed.
// - Losing quorum is told at once, whatever the ring; gaining it waits for the pairing.
#pragma once

#include <deque>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "clusterd/ports/group.h"

namespace clusterd {

struct RingId {
  std::uint32_t node = 0;
  std::uint64_t sequence = 0;
  friend auto operator<=>(const RingId&, const RingId&) = default;
};

// with_ring: some process came or went with its host, so that the ring change itself follows.
enum class GroupChangeKind { within_ring, with_ring };

struct QuorumSnapshot {
  RingId ring;
  std::set<NodeId> nodes;
  QuorumFacts facts;
};

class ViewPairing {
 public:
  explicit ViewPairing(GroupMember self) : self_(self) {}

  // CPG's stream, in its order.
  void group_changed(std::vector<GroupMember> members, GroupChangeKind kind);
  void ring_changed(RingId ring, std::set<NodeId> nodes);
  void message(GroupMember sender, std::string bytes);
  // Quorum's, in its own.
  void quorum_known(QuorumSnapshot snapshot);
  void quorum_lost();

  // Tells the listener everything that is due.
  void flush(GroupListener& listener);

  // Something is held back until quorum and CPG agree, or no view has been told at all.
  [[nodiscard]] bool waiting() const { return views_ == 0 || view_due_ || ring_due_; }
  // This process is no member any more; nothing further is told.
  [[nodiscard]] bool gone() const { return gone_; }
  [[nodiscard]] std::uint64_t views() const { return views_; }
  [[nodiscard]] std::size_t held_bytes() const { return held_bytes_; }
  // "CPG is at ring 1.2c, quorum at 1.28", for the log.
  [[nodiscard]] std::string position() const;

 private:
  struct GroupChange {
    std::vector<GroupMember> members;
    GroupChangeKind kind = GroupChangeKind::within_ring;
  };
  struct RingChange {
    RingId ring;
    std::set<NodeId> nodes;
  };
  struct Message {
    GroupMember sender;
    std::string bytes;
  };

  [[nodiscard]] bool complete() const;
  [[nodiscard]] const QuorumSnapshot* snapshot_of(RingId ring) const;
  [[nodiscard]] bool superseded() const;
  [[nodiscard]] bool delivers_before_next_ring() const;
  void announce(GroupListener& listener, std::set<NodeId> nodes, QuorumFacts facts);
  void tell_quorum(GroupListener& listener);
  void take(GroupListener& listener);
  void deliver(GroupListener& listener, const Message& message);

  const GroupMember self_;
  std::deque<std::variant<GroupChange, RingChange, Message>> stream_;
  std::size_t held_bytes_ = 0;
  // Where the story stands in CPG's stream.
  std::vector<GroupMember> members_;
  std::optional<RingId> ring_;
  std::set<NodeId> ring_nodes_;
  bool ring_due_ = false;  // members left or came with their hosts: the ring change must follow
  bool view_due_ = false;  // something changed since the last announcement
  bool gone_ = false;
  std::deque<Message> early_;  // delivered between a group change and its ring change
  // What quorum said, newest last.
  std::deque<QuorumSnapshot> snapshots_;
  bool quorate_now_ = false;  // its last word, of whatever ring
  // What the listener knows.
  std::uint64_t views_ = 0;
  QuorumFacts told_;
};

}  // namespace clusterd
