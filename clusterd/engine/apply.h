// apply: the one function that changes the replicated state.
//
// Deterministic: the same state and entry give the same state on every replica. It reads no
// clock, no quorum, no callback (protocol R2), and never fails: what an entry may not do is a
// recorded no-op with a reason. The start guard of S1 (holders, R5) stands here, so that no
// planner bug and no second coordinator can start a VM twice.
#pragma once

#include <string>

#include "clusterd/model/message.h"

namespace clusterd {

// A log entry as the group delivered it. `digest` is of the sender and the message's bytes.
struct LogEntry {
  NodeId sender;
  Message message;
  Digest digest;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.sender, s.message, s.digest);
  }
};

struct Applied {
  // Empty: the entry did what it said. Otherwise why it did nothing (for the sender's client, the
  // log and a metric); the position has moved on all the same.
  std::string refusal;
  // What the sender's client should know beside that; empty: nothing.
  std::string note = {};
};

// Precondition: is_log_entry(entry.message.body), and the caller has checked that the entry
// counts: an Activate is valid in the current membership (engine/membership), anything else was
// delivered while a view is active. Advances position.index and position.chain by one.
Applied apply(ClusterState& state, const LogEntry& entry);

}  // namespace clusterd
