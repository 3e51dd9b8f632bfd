// The parts of apply, one file a family of entries. Only apply*.cc includes this, and forecast.cc,
// which proves hosts dead in a copy.
#pragma once

#include <string>

#include "clusterd/engine/apply.h"
#include "clusterd/engine/queries.h"

namespace clusterd::apply_detail {

// One entry on its way into the state.
struct Entry {
  ClusterState& state;
  NodeId sender;
  const Message& message;
  OpId id;  // the operation that this entry opens, if it is an intent
  std::string note = {};  // Applied::note
};

// Every handler returns "" when the entry did what it said, otherwise why it did nothing.
std::string on(Entry& entry, const Activate& body);
std::string on(Entry& entry, const Leave& body);
std::string on(Entry& entry, const Mark& body);
std::string on(Entry& entry, const Synced& body);
std::string on(Entry& entry, const Demote& body);
std::string on(Entry& entry, const Establish& body);
std::string on(Entry& entry, const Advance& body);
std::string on(Entry& entry, const Report& body);
std::string on(Entry& entry, const InventoryDone& body);
std::string on(Entry& entry, const StartVm& body);
std::string on(Entry& entry, const StopVm& body);
std::string on(Entry& entry, const OperatePower& body);
std::string on(Entry& entry, const VmClosed& body);
std::string on(Entry& entry, const PowerClosed& body);
std::string on(Entry& entry, const FoundOff& body);
std::string on(Entry& entry, const Condemn& body);
std::string on(Entry& entry, const ChangeConfiguration& body);
std::string on(Entry& entry, const OrderVm& body);
std::string on(Entry& entry, const OrderNode& body);
std::string on(Entry& entry, const AcceptState& body);
std::string on(Entry& entry, const OrderCluster& body);

// ---- shared by the handlers ----------------------------------------------------------------

// Appends to the history; the oldest events make room. Returns the new one, until the next call.
HistoryEvent& record(ClusterState& state, EventKind kind, std::optional<NodeId> node,
                     std::optional<VmId> vm, std::string text);
// Effects wait until every synced member has made this position durable (R1).
void demand_durable(ClusterState& state);
// Applies a death proof: condemns the boot, releases what it held, closes what it executed (R16).
// `devices`: what the devices of a fence did. Precondition: the boot is not in the view.
void prove_dead(ClusterState& state, const Host& host, DeathCause cause, std::string detail,
                std::map<std::string, Outcome> devices = {});
// Counts a failure of this VM on this node and decides what comes next: again here, elsewhere,
// or slow retries. `away`: not again here.
void count_failure(ClusterState& state, VmId id, VmState& vm, NodeId node, std::string reason,
                   bool away = false);
// How long to wait after the n-th failed attempt (n >= 1): `first`, doubled each time up to `most`.
[[nodiscard]] Duration backoff(Duration first, Duration most, std::uint32_t attempts);
// Removes one holder by evidence, and a tombstone that nobody holds any more.
void release(ClusterState& state, VmId id, const Host& host);
// Recomputes what the view may do after its members, or the proofs about others, changed (R8).
void update_authority(ClusterState& state);
// Turns clean departures whose grace is over into losses (trace 7.3).
void expire_departures(ClusterState& state);
void mark_lost(ClusterState& state, NodeId id, bool cold_start);
// Opens a failover record for the losses that happened at this entry, if they held VMs.
void open_failover(ClusterState& state, const std::set<NodeId>& lost, ClusterTime ring,
                   NodeId coordinator);
// Closes records whose VMs have all arrived or are no longer wanted.
void settle_failovers(ClusterState& state);

}  // namespace clusterd::apply_detail
