// ClusterState: what every synced replica agrees on. Changed only by engine/apply, by commands
// delivered in the group's total order; never by a clock, a callback or local knowledge.
//
// The heart is VmState::holders (protocol R5): the hosts on which a VM may be active. Intents
// add to it, only evidence removes.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "clusterd/model/declarations.h"
#include "clusterd/model/outcome.h"

namespace clusterd {

// Where a replica stands (protocol R9). Compared by engine/membership; `chain` makes two
// different histories of the same length unequal.
struct Position {
  Epoch established;  // newest epoch in this history that was allowed to do everything
  Epoch epoch;
  LogIndex index;
  Digest chain;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.established, s.epoch, s.index, s.chain);
  }
  friend bool operator==(const Position&, const Position&) = default;
};

enum class MemberPhase : std::uint8_t {
  joining,  // has no trusted copy of the state yet: executes nothing, is waited for by nobody
  synced,
  demoted,  // stopped acknowledging: its VMs stay, it gets none until its daemon starts again
};
constexpr MemberPhase enum_last(MemberPhase) { return MemberPhase::demoted; }

// One daemon in the active view.
struct Member {
  BootId boot;
  Incarnation incarnation;
  MachineId machine;
  MemberPhase phase = MemberPhase::joining;
  bool inventory_done = false;  // has reported every HA domain it sees (R10)

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.boot, s.incarnation, s.machine, s.phase, s.inventory_done);
  }
  friend bool operator==(const Member&, const Member&) = default;
};

// What a view may do (protocol R8).
enum class Authority : std::uint8_t {
  restricted,   // may only activate, fence and take reports
  entitled,     // the same, until every synced member has written this down (docs/decisions/0010)
  established,  // everything
};
constexpr Authority enum_last(Authority) { return Authority::established; }

// The view that the last Activate installed.
struct ActiveView {
  std::map<NodeId, Member> members;
  std::set<NodeId> ring_only;  // host in the ring without a daemon: unmanaged, not lost (R22)
  std::map<NodeId, std::uint32_t> votes;  // Corosync's nodelist
  std::uint32_t device_votes = 0;         // a quorum device's votes, currently cast
  bool wait_for_all = false;              // on at every member
  bool trusted = false;                   // R10
  Authority authority = Authority::restricted;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.members, s.ring_only, s.votes, s.device_votes, s.wait_for_all, s.trusted, s.authority);
  }
  friend bool operator==(const ActiveView&, const ActiveView&) = default;
};

// ---- hosts ---------------------------------------------------------------------------------

enum class DeathCause : std::uint8_t { fenced, found_off, new_boot, operator_word };
constexpr DeathCause enum_last(DeathCause) { return DeathCause::operator_word; }

// A death proof: names one boot and condemns it for ever (R16).
struct Death {
  DeathCause cause = DeathCause::fenced;
  ClusterTime at;
  std::string detail;  // device, or who said so

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.cause, s.at, s.detail);
  }
  friend bool operator==(const Death&, const Death&) = default;
};

// The last reading of a fence device while its host was a member (R17).
struct Calibration {
  BootId boot;
  Power reading = Power::unknown;
  ClusterTime at;
  std::string detail;  // why it is unknown

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.boot, s.reading, s.at, s.detail);
  }
  friend bool operator==(const Calibration&, const Calibration&) = default;
};

enum class PowerOpKind : std::uint8_t { fence, read_power, power_on };
constexpr PowerOpKind enum_last(PowerOpKind) { return PowerOpKind::power_on; }

// An open operation on a node's power; at most one a node.
struct PowerOperation {
  OpId id;
  PowerOpKind kind = PowerOpKind::read_power;
  Host target;
  Host executor;
  Incarnation executor_incarnation;
  ClusterTime since;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.id, s.kind, s.target, s.executor, s.executor_incarnation, s.since);
  }
  friend bool operator==(const PowerOperation&, const PowerOperation&) = default;
};

// A host that is out of the ring and not proven dead.
struct Loss {
  BootId boot;
  ClusterTime since;
  bool cold_start = false;       // never seen in this quorate period: wait startup_wait (R19)
  bool ordered = false;          // the operator ordered this fence; brakes are off
  std::uint32_t attempts = 0;    // finished fence attempts
  std::uint32_t readings = 0;    // finished read_power attempts
  ClusterTime next_attempt;      // not before this
  Power last_reading = Power::unknown;
  std::string last_failure;      // what the last attempt said; empty: none failed yet
  std::uint64_t failover = 0;    // id of the failover record this belongs to
  bool held = false;  // an operator called its fence off: none begins until he orders one
  bool look_first = false;  // since `arm`: it may be on its way back, as at a cold start

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.boot, s.since, s.cold_start, s.ordered, s.attempts, s.readings, s.next_attempt,
      s.last_reading, s.last_failure, s.failover, s.held, s.look_first);
  }
  friend bool operator==(const Loss&, const Loss&) = default;
};

// A clean goodbye (R22): with keep_vms until `deadline`, then it counts as lost.
struct Departure {
  BootId boot;
  bool keep_vms = false;
  ClusterTime at;
  ClusterTime deadline;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.boot, s.keep_vms, s.at, s.deadline);
  }
  friend bool operator==(const Departure&, const Departure&) = default;
};

// What a node's libvirt says the host has. Every node's are replicated: names only, each once.
struct HostFacts {
  Resources total;
  std::string cpu_model;  // what host-model stands for here: EPYC-Milan; empty: not known
  std::string problem;  // empty, or why this host can run nothing now (libvirt not reachable)
  std::string cpu_vendor;  // AMD, Intel
  Digest cpu_features;     // of what host-model adds to its model or takes from it; 0: not known
  // Of domains of `virt_type`, what this host can run; empty: not known.
  std::set<std::string> cpu_models;  // usable as they stand, in custom mode
  std::set<std::string> machines;    // types and their aliases: pc-i440fx-7.2, pc
  std::string virt_type;             // kvm or qemu (clusterd.yaml)
  bool never_sleeps = false;  // it cannot be suspended: its "off" is no sleep that it wakes from

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.total, s.cpu_model, s.problem, s.cpu_vendor, s.cpu_features, s.cpu_models, s.machines,
      s.virt_type, s.never_sleeps);
  }
  friend bool operator==(const HostFacts&, const HostFacts&) = default;
};

// Most judged guests of one host, or of one storage, failed their checks together: it is the host
// or the storage, and none of them is stopped for it for a while (docs/decisions/0014).
struct Stall {
  ClusterTime since;
  ClusterTime last;  // when it was last seen so

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.since, s.last);
  }
  friend bool operator==(const Stall&, const Stall&) = default;
};

struct NodeState {
  std::string name;  // of Corosync's nodelist
  MachineId machine;
  BootId boot;                   // of the last Activate that had it
  std::map<BootId, Death> dead;  // proven dead boots (the newest, and all that still matter)
  HostFacts facts;
  std::optional<Departure> departure;
  std::optional<Loss> loss;
  std::optional<PowerOperation> power;
  std::optional<BootId> power_on_due;  // proven dead and policy says: switch it on again
  std::uint32_t power_on_attempts = 0;
  ClusterTime settle_until;  // gets no new VM before this (fence_settle, R19)
  std::map<std::string, Calibration> calibration;  // by device
  bool maintenance = false;  // for a later capability; holds new VMs off
  std::vector<ClusterTime> unclean_exits;  // losses and sudden boots of the last hour, ascending
  std::optional<BootId> fence_ordered;  // this boot is alive, and is to be switched off
  std::optional<Stall> stall;  // of its guests

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.name, s.machine, s.boot, s.dead, s.facts, s.departure, s.loss, s.power, s.power_on_due,
      s.power_on_attempts, s.settle_until, s.calibration, s.maintenance, s.unclean_exits,
      s.fence_ordered, s.stall);
  }
  friend bool operator==(const NodeState&, const NodeState&) = default;
};

// ---- VMs -----------------------------------------------------------------------------------

// Why a VM is being started or stopped; the record, the history and the metrics show it.
enum class Cause : std::uint8_t {
  desired,           // declared or ordered to run (or not to)
  restart_in_place,  // it crashed here
  relocation,        // it kept failing elsewhere
  host_lost,         // its host is proven dead
  restart_order,     // `vm restart`
  undeclared,        // deleted from the configuration
  preempted,         // stop: to make room for a guaranteed VM; start: there is room again
  unhealthy,         // stop: its guest fails its checks
};
constexpr Cause enum_last(Cause) { return Cause::unhealthy; }

enum class VmOpKind : std::uint8_t { start, stop };
constexpr VmOpKind enum_last(VmOpKind) { return VmOpKind::stop; }

// An open operation on a VM; at most one a VM.
struct VmOperation {
  OpId id;
  VmOpKind kind = VmOpKind::start;
  Host executor;
  Incarnation executor_incarnation;
  Cause cause = Cause::desired;
  ClusterTime since;
  ClusterTime deadline;     // after it the VM is shown as stuck; the operation stays open
  bool unknown = false;     // the executor could not tell how it ended and keeps looking
  std::string detail;       // what the executor last said about it

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.id, s.kind, s.executor, s.executor_incarnation, s.cause, s.since, s.deadline, s.unknown,
      s.detail);
  }
  friend bool operator==(const VmOperation&, const VmOperation&) = default;
};

// What a holder last reported.
struct Sighting {
  DomainState state = DomainState::absent;
  bool agent = false;  // the guest agent has answered since this start
  ClusterTime at;
  Health health = Health::none;
  std::string health_reason;  // which check, and how it failed; empty when there is nothing to say
  std::set<std::string> answered;  // checks that have passed since the guest booted

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.state, s.agent, s.at, s.health, s.health_reason, s.answered);
  }
  friend bool operator==(const Sighting&, const Sighting&) = default;
};

struct FailureRecord {
  std::vector<ClusterTime> recent;           // failures within the restart window
  std::uint32_t relocations = 0;             // used up in the window
  std::map<NodeId, ClusterTime> avoid_until; // nodes where it failed too often
  std::uint32_t backoff = 0;                 // doublings of the delay before the next try
  ClusterTime next_try;                      // not before this
  bool given_up = false;                     // shown as `failed`; slow retry at next_try
  std::string reason;                        // of the last failure

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.recent, s.relocations, s.avoid_until, s.backoff, s.next_try, s.given_up, s.reason);
  }
  friend bool operator==(const FailureRecord&, const FailureRecord&) = default;
};

struct VmState {
  std::string name;  // a label; the identity is the UUID
  Generation generation;
  std::map<Host, Sighting> holders;
  // Members that have not yet said whether they see it; nothing is started before they have.
  std::set<Host> awaiting;
  std::optional<VmOperation> operation;
  std::optional<DesiredState> ordered;  // `vm start|stop|enable|disable`; wins over the file ...
  DesiredState declared = DesiredState::running;  // ... until the file's word changes (three-way)
  bool restart_ordered = false;
  bool guest_off = false;   // the guest shut itself down; stays off until somebody starts it
  bool tombstone = false;   // deleted, but a host may still run it (R25)
  Resources size;           // counted on every holder, also as a tombstone
  Cause next_cause = Cause::desired;  // why it will be started next
  ClusterTime eligible_since;         // when it last became free to start; bounds start_after
  std::optional<Host> last_host;  // where it ran last
  std::uint64_t failover = 0;     // record to note its recovery in; 0: none
  FailureRecord failures;
  std::uint32_t stops_failed = 0;  // in a row: its host could not stop it
  ClusterTime next_stop;           // not before this

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.name, s.generation, s.holders, s.awaiting, s.operation, s.ordered, s.declared,
      s.restart_ordered, s.guest_off, s.tombstone, s.size, s.next_cause, s.eligible_since,
      s.last_host, s.failover, s.failures, s.stops_failed, s.next_stop);
  }
  friend bool operator==(const VmState&, const VmState&) = default;
};

// ---- what happened -------------------------------------------------------------------------

enum class EventKind : std::uint8_t {
  founded,
  activated,
  node_joined,
  node_lost,
  node_left,
  node_unmanaged,
  node_demoted,
  fence_started,
  fence_failed,
  node_dead,
  power_on,
  vm_starting,
  vm_running,
  vm_stopping,
  vm_stopped,
  vm_failed,
  vm_guest_off,
  vm_unexpected,
  vm_duplicate,
  agent_answers,
  configuration,
  order,
  fence_device,
  alarm,
  failover_done,
  vm_unhealthy,
  vm_healthy,
  vm_rebooted,
};
constexpr EventKind enum_last(EventKind) { return EventKind::vm_rebooted; }

struct HistoryEvent {
  std::uint64_t sequence = 0;
  ClusterTime at;
  EventKind kind = EventKind::alarm;
  std::optional<NodeId> node;
  std::optional<VmId> vm;
  std::string text;  // one sentence for a person
  std::optional<Cause> cause;              // vm_starting: why
  std::map<std::string, Outcome> devices;  // node_dead by a fence, fence_failed: what each did

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.sequence, s.at, s.kind, s.node, s.vm, s.text, s.cause, s.devices);
  }
  friend bool operator==(const HistoryEvent&, const HistoryEvent&) = default;
};

// One VM's way through a failover; nullopt: not reached yet.
struct VmRecovery {
  Host from;
  std::optional<NodeId> to;
  std::optional<ClusterTime> planned;
  std::optional<ClusterTime> active;          // its host reported it active
  std::optional<ClusterTime> create_returned; // libvirt's create call came back
  std::optional<ClusterTime> agent;           // its guest agent answered

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.from, s.to, s.planned, s.active, s.create_returned, s.agent);
  }
  friend bool operator==(const VmRecovery&, const VmRecovery&) = default;
};

// Phase names and their order are those of contract.md section 3; times are counted from `ring`.
struct FailoverRecord {
  std::uint64_t id = 0;
  Epoch epoch;
  ClusterTime ring;       // the coordinator saw the new ring
  ClusterTime activated;
  std::map<NodeId, std::optional<ClusterTime>> fenced;  // lost nodes -> when proven dead
  std::map<NodeId, std::string> proof;                  // ... and how
  std::map<VmId, VmRecovery> vms;
  std::map<VmId, std::string> names;
  NodeId coordinator;
  bool done = false;  // every VM of it is active or no longer wanted

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.id, s.epoch, s.ring, s.activated, s.fenced, s.proof, s.vms, s.names, s.coordinator,
      s.done);
  }
  friend bool operator==(const FailoverRecord&, const FailoverRecord&) = default;
};

// ---- the whole -----------------------------------------------------------------------------

// Nothing is started, stopped, fenced or switched on (R28). A position of the log: what counted
// before it runs to its end.
struct Disarm {
  ClusterTime since;
  LogIndex index;
  std::string reason;  // the operator's; may be empty

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.since, s.index, s.reason);
  }
  friend bool operator==(const Disarm&, const Disarm&) = default;
};

struct ClusterState {
  std::uint32_t feature_level = 1;
  ClusterId cluster;  // nil: never founded (blank)
  std::string name;
  Position position;
  ClusterTime time;
  ActiveView view;
  bool accepted = true;  // false after an untrusted cold start until an operator accepts (R10)
  bool armed = true;     // false: no automatic action (R28)
  Configuration config;
  std::map<NodeId, NodeState> nodes;
  std::map<VmId, VmState> vms;
  std::uint64_t next_event = 1;
  std::map<std::uint64_t, HistoryEvent> history;  // the newest kHistoryLimit
  std::map<std::uint64_t, FailoverRecord> failovers;  // the newest kFailoverLimit
  LogIndex durable_floor;  // effects wait until every synced member has fsynced this (R1)
  Disarm disarm;           // the present one, while it is not armed
  std::map<std::string, Stall> stalls;  // by what VMs require: of the guests that need it

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.feature_level, s.cluster, s.name, s.position, s.time, s.view, s.accepted, s.armed,
      s.config, s.nodes, s.vms, s.next_event, s.history, s.failovers, s.durable_floor,
      s.disarm, s.stalls);
  }
  friend bool operator==(const ClusterState&, const ClusterState&) = default;
};

inline constexpr std::size_t kUncleanExits = 3;  // ... of which make a quarantine,
inline constexpr Duration kUncleanWindow{3600000};  // within this time
inline constexpr std::size_t kHistoryLimit = 10000;
inline constexpr std::size_t kFailoverLimit = 100;

}  // namespace clusterd
