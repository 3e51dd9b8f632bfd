// Reports: what users are shown, as values. Built by engine/report from the replicated state,
// rendered by codec/json_report; names of states are those of contract.md section 3.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "clusterd/model/state.h"

namespace clusterd {

// What the cluster can bear, and what stands against more (contract.md section 3).
struct ReserveReport {
  std::uint32_t required = 0;   // host failures that were declared
  std::uint32_t tolerated = 0;  // ... and that can be recovered, whichever hosts they hit
  bool at_least = false;        // more may be: larger sets of hosts were too many to look at
  bool ok = false;
  std::string proof;  // exact, unknown
  struct Blocking {
    std::vector<std::string> down;  // hosts whose loss together is one too many
    std::string vm;                 // one that finds no place then; empty: the search took too long
  };
  std::vector<Blocking> blocking;
  std::string remedy;  // the smallest known change that would restore it; empty: none is needed
};

struct NodeReport {
  NodeId id;
  std::string name;
  std::string state;   // online, joining, maintenance, unmanaged, lost, fencing, dead, ...
  std::string reason;  // why it is not online, and what happens next
  NodeRole role = NodeRole::worker;
  bool declared = false;
  Resources capacity;              // of the host itself; nothing: it has not told yet
  std::uint64_t memory_total = 0;  // bytes that VMs may have
  std::uint64_t memory_used = 0;
  std::uint64_t vcpus_total = 0;
  std::uint64_t vcpus_used = 0;
  bool degraded = false;  // uses more memory than it offers in normal mode
  std::size_t vms = 0;
  struct Device {
    std::string name;
    Power reading = Power::unknown;
    bool calibrated = false;  // of this boot: its "off" would count
  };
  std::vector<Device> fence_devices;
  std::string cpu_vendor;  // these three as libvirt tells them; empty: not known
  std::string cpu_model;
  std::string cpu_pool;  // the same on hosts between which live migration is possible
};

struct VmReport {
  std::string name;
  std::string uuid;
  DesiredState desired = DesiredState::running;
  std::optional<DesiredState> declared;  // the last file's word; an order may differ
  Resources size;
  bool preemptible = false;
  std::string state;
  std::string node;  // where it is, or may be; empty: nowhere
  std::string health;
  std::uint32_t priority = 0;
  std::string reason;  // why it is not where or what it should be
};

struct OperationReport {
  std::string id;
  std::string kind;    // start, stop, fence, read_power, power_on
  std::string vm;      // empty for a power operation
  std::string node;    // executor for a VM, target for power
  std::string executor;
  ClusterTime since;
  bool unknown = false;
};

struct StatusReport {
  std::string name;
  std::string uuid;
  bool founded = false;
  bool quorate = false;  // here
  bool active = false;   // this node follows the group's state; false: an old or local view
  std::uint64_t epoch = 0;
  std::string coordinator;
  std::vector<std::string> members;
  bool armed = true;
  std::string waiting;              // what stands between the cluster and work; empty: nothing
  std::vector<std::string> alarms;  // gravest first
  std::optional<ReserveReport> reserve;  // nullopt: not known, as no cluster is founded
  std::vector<NodeReport> nodes;
  std::vector<VmReport> vms;
  std::vector<OperationReport> operations;
  std::uint64_t config_version = 0;
  ClusterTime time;
};

// What would happen next: `plan` and `what-if`.
struct ForecastReport {
  bool feasible = true;  // every guaranteed VM has a place
  struct Action {
    std::string vm;
    std::string action;  // start, preempt, stop
    std::string from;    // empty: it was nowhere
    std::string to;      // empty unless it starts
  };
  std::vector<Action> actions;
  struct Place {
    std::string vm;
    std::string node;
  };
  std::vector<Place> assumed;  // without a saved status: where VMs ran before hosts were lost
  struct Reason {
    std::string node;
    std::string reason;
  };
  struct Unplaced {
    std::string vm;
    bool guaranteed = true;
    std::string reason;           // about the VM itself; mostly empty
    std::vector<Reason> reasons;  // of each node
  };
  std::vector<Unplaced> unplaced;
  std::vector<std::string> degraded;  // nodes that would run on degraded_memory
  std::optional<ReserveReport> reserve_before;
  std::optional<ReserveReport> reserve;  // ... when all of it has happened
};

// `plan --rebalance`: moves that would pay, in the order in which they hold.
struct RebalanceReport {
  struct Move {
    std::string vm;
    std::string from;
    std::string to;
    std::string reason;  // wish, backup, load
  };
  std::string hindered;  // why nothing is moved now; empty: nothing hinders it
  std::vector<Move> moves;
  std::uint32_t spread_before = 0;  // of load between the fullest and the emptiest host, millionths
  std::uint32_t spread_after = 0;
};

// `explain vm`: every node, and why the VM could or could not be there.
struct ExplainReport {
  VmReport vm;
  std::vector<std::string> why;  // one sentence each, most important first
  struct Candidate {
    std::string node;
    std::string reason;  // empty: it could run there
  };
  std::vector<Candidate> nodes;
  std::vector<HistoryEvent> history;  // its latest events
};

}  // namespace clusterd
