// What travels over the group (protocol section 1, "What travels over CPG").
//
// A message is a header and one body. Bodies of kind "log entry" are applied by engine/apply in
// the group's total order and counted by LogIndex; the others are handled by the controller.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "clusterd/model/state.h"

namespace clusterd {

// ---- not log entries -----------------------------------------------------------------------

enum class StoreCondition : std::uint8_t {
  blank,     // never initialised
  intact,
  amnesiac,  // lost data it had acknowledged: joins empty, is no witness (R11)
};
constexpr StoreCondition enum_last(StoreCondition) { return StoreCondition::amnesiac; }

// Said by every member after every configuration change.
struct Hello {
  std::string name;  // of Corosync's nodelist
  ClusterId cluster; // nil: blank
  MachineId machine;
  BootId boot;
  std::uint32_t max_feature_level = 1;
  Position position;
  bool in_last_activate = false;  // R9: was a member of its state's last Activate
  StoreCondition condition = StoreCondition::blank;
  bool unbroken = false;          // synced through an unbroken chain of quorate views (R10)
  bool accepted = true;           // false: this history began untrusted and nobody accepted it
  bool wait_for_all = false;
  bool ha_domains = false;        // this host knows protected domains (founding needs none)

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.name, s.cluster, s.machine, s.boot, s.max_feature_level, s.position, s.in_last_activate,
      s.condition, s.unbroken, s.accepted, s.wait_for_all, s.ha_domains);
  }
};

// "I have applied, and fsynced, this far in this epoch." Gates effects of everybody (R1, R11).
struct Ack {
  LogIndex applied;
  LogIndex durable;
  LogIndex digest_at;   // a multiple of 64, 0: none yet
  Digest digest;        // of the whole state at digest_at (R29)

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.applied, s.durable, s.digest_at, s.digest);
  }
};

// The whole state, cut at the delivery of the Mark with this id.
struct Snapshot {
  std::uint64_t mark = 0;
  std::string state;  // canonical encoding of ClusterState

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.mark, s.state);
  }
};

// ---- log entries: membership ---------------------------------------------------------------

struct Founding {
  ClusterId cluster;
  std::string name;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.cluster, s.name);
  }
};

// The only command that installs a view (R3). `members` is exactly the delivered membership.
struct Activate {
  Epoch epoch;  // the new one: next_epoch() of what the view's members know
  std::map<NodeId, Member> members;
  std::map<NodeId, std::string> names;  // of the whole nodelist
  std::set<NodeId> ring_only;
  std::map<NodeId, std::uint32_t> votes;
  std::uint32_t device_votes = 0;
  bool wait_for_all = false;
  bool trusted = false;
  bool cold = false;  // no member was in an unbroken chain: a cold start
  bool admits = false;  // follows an Activate of the same view: brings in who was silent then
  std::optional<Founding> founding;
  ClusterTime ring;  // when the sender saw this view

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.epoch, s.members, s.names, s.ring_only, s.votes, s.device_votes, s.wait_for_all,
      s.trusted, s.cold, s.admits, s.founding, s.ring);
  }
};

struct Leave {
  BootId boot;
  bool keep_vms = true;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.boot, s.keep_vms);
  }
};

struct Mark {
  std::uint64_t mark = 0;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.mark);
  }
};

struct Synced {
  LogIndex index;
  Digest chain;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.index, s.chain);
  }
};

struct Demote {
  NodeId node;
  Incarnation incarnation;
  std::string reason;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.node, s.incarnation, s.reason);
  }
};

// Every synced member has on disk what entitles this view to act: its epoch is established (R8).
struct Establish {
  template <class Self, class F>
  static void fields(Self&, F&& f) {
    f();
  }
};

// Moves ClusterTime on in a calm cluster, so that windows and back-offs end (R15).
struct Advance {
  template <class Self, class F>
  static void fields(Self&, F&& f) {
    f();
  }
};

// ---- log entries: observations -------------------------------------------------------------

// What the sender sees of one VM. `generation` is the one applied before the look began (R7).
struct Report {
  VmId vm;
  Generation generation;
  DomainState state = DomainState::absent;
  StopCause cause = StopCause::none;
  bool agent = false;
  Health health = Health::none;  // the sender's verdict on the guest
  std::string health_reason;
  std::set<std::string> answered;  // checks that have passed since the guest booted

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.vm, s.generation, s.state, s.cause, s.agent, s.health, s.health_reason, s.answered);
  }
};

// The sender has reported every HA domain it sees; also sent when the host's facts change.
struct InventoryDone {
  HostFacts facts;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.facts);
  }
};

// ---- log entries: intents ------------------------------------------------------------------

struct StartVm {
  VmId vm;
  Generation generation;  // the one planned on (R6)
  Host on;
  Cause cause = Cause::desired;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.vm, s.generation, s.on, s.cause);
  }
};

struct StopVm {
  VmId vm;
  Generation generation;
  Host on;
  Cause cause = Cause::desired;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.vm, s.generation, s.on, s.cause);
  }
};

// fence: off, then one status pass over the level. read_power: status only. power_on: on.
struct OperatePower {
  PowerOpKind kind = PowerOpKind::read_power;
  Host target;
  NodeId executor;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.kind, s.target, s.executor);
  }
};

// How an operation ended, said by its executor (or by a later incarnation on the same boot).
struct VmClosed {
  OpId op;
  VmId vm;
  Outcome outcome = Outcome::unknown;
  DomainState state = DomainState::absent;  // what the final look found; valid unless unknown
  std::string detail;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.op, s.vm, s.outcome, s.state, s.detail);
  }
};

struct PowerClosed {
  OpId op;
  NodeId target;
  Outcome outcome = Outcome::unknown;
  std::map<std::string, Power> readings;  // by device, of the final status pass
  std::vector<std::string> level;         // devices of the level that decided
  std::string detail;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.op, s.target, s.outcome, s.readings, s.level, s.detail);
  }
};

// The power of a member that had fallen silent read off twice, before this view had its Activate
// (R18): then the view that excludes the boot needs no fence.
struct FoundOff {
  Host target;
  std::vector<std::string> level;  // the devices of one level, all of which said so both times

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.target, s.level);
  }
};

// "You were proven dead": to a member that stays out for it, and still runs (R21).
struct Condemn {
  Host host;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.host);
  }
};

// ---- log entries: the operator -------------------------------------------------------------

// Compare-and-set on the version (R25): `base` is the version the sender looked at.
struct ChangeConfiguration {
  ConfigVersion base;
  Declarations upsert;
  std::set<std::string> delete_vms;
  std::set<std::string> delete_nodes;
  std::set<std::string> delete_fence_devices;
  std::uint64_t command = 0;  // id of the client's request; echoes in the applied result

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.base, s.upsert, s.delete_vms, s.delete_nodes, s.delete_fence_devices, s.command);
  }
};

enum class VmOrderKind : std::uint8_t { start, stop, restart, enable, disable };
constexpr VmOrderKind enum_last(VmOrderKind) { return VmOrderKind::disable; }

struct OrderVm {
  VmId vm;
  VmOrderKind order = VmOrderKind::start;
  std::uint64_t command = 0;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.vm, s.order, s.command);
  }
};

// fence: with `force` also a host that is alive. cancel_fence: ends one that is under way, and
// holds further ones until somebody orders one.
enum class NodeOrderKind : std::uint8_t { fence, confirm_dead, cancel_fence };
constexpr NodeOrderKind enum_last(NodeOrderKind) { return NodeOrderKind::cancel_fence; }

struct OrderNode {
  Host host;
  NodeOrderKind order = NodeOrderKind::fence;
  bool force = false;
  std::uint64_t command = 0;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.host, s.order, s.force, s.command);
  }
};

enum class ClusterOrderKind : std::uint8_t { disarm, arm };
constexpr ClusterOrderKind enum_last(ClusterOrderKind) { return ClusterOrderKind::arm; }

struct OrderCluster {
  ClusterOrderKind order = ClusterOrderKind::disarm;
  std::string reason;  // of a disarm, for everybody to see; may be empty
  std::uint64_t command = 0;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.order, s.reason, s.command);
  }
};

struct AcceptState {
  NodeId node;
  std::uint64_t command = 0;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.node, s.command);
  }
};

// New ones are listed last: what is stored names them by number.
using Body =
    std::variant<Hello, Ack, Snapshot, Activate, Leave, Mark, Synced, Demote, Advance, Report,
                 InventoryDone, StartVm, StopVm, OperatePower, VmClosed, PowerClosed,
                 ChangeConfiguration, OrderVm, OrderNode, AcceptState, Establish, OrderCluster,
                 FoundOff, Condemn>;

struct Message {
  Epoch epoch;              // the sender's active epoch; others are void (R4)
  Incarnation incarnation;  // the sending daemon
  ClusterTime stamp;        // the sender's cluster time (R15)
  Body body;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.epoch, s.incarnation, s.stamp, s.body);
  }
};

[[nodiscard]] constexpr bool is_log_entry(const Body& body) { return body.index() >= 3; }

}  // namespace clusterd
