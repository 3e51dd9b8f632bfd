// Events: everything that can happen to a node's Controller, as values.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "clusterd/base/digest.h"
#include "clusterd/model/control.h"
#include "clusterd/model/message.h"

namespace clusterd {

// One process in the group. Two runs of a daemon on one node differ in `process`.
struct GroupMember {
  NodeId node;
  std::uint32_t process = 0;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.node, s.process);
  }
  friend auto operator<=>(const GroupMember&, const GroupMember&) = default;
};

// What Corosync says of votes; read together with the view, told again when it changes.
struct QuorumFacts {
  bool quorate = false;
  std::map<NodeId, std::uint32_t> votes;    // the whole nodelist
  std::map<NodeId, std::string> names;      // the whole nodelist
  std::uint32_t device_votes = 0;           // of a quorum device, currently cast
  bool wait_for_all = false;                // the flag is on at this node

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.quorate, s.votes, s.names, s.device_votes, s.wait_for_all);
  }
  friend bool operator==(const QuorumFacts&, const QuorumFacts&) = default;
};

// A configuration change of the group, after CPG's and quorum's ring ids agreed.
struct ViewChanged {
  std::vector<GroupMember> members;  // ascending; includes this node
  std::set<NodeId> ring;             // hosts in the ring, with or without a daemon
  QuorumFacts quorum;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.members, s.ring, s.quorum);
  }
};

// Quorum flipped, or votes changed, inside the same view.
struct QuorumChanged {
  QuorumFacts quorum;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.quorum);
  }
};

// Hosts of which this one hears nothing, on any link: long before the ring loses them.
struct PeersSilent {
  std::set<NodeId> silent;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.silent);
  }
};

// A message in the group's total order, decoded by the driver. `digest` is of its bytes.
struct Delivered {
  GroupMember sender;
  Message message;
  Digest digest;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.sender, s.message, s.digest);
  }
};

// All inputs that were waiting have been handed over: verdicts about absence may be made (R14).
struct InputsDrained {
  template <class Self, class F>
  static void fields(Self&, F&& f) {
    f();
  }
};

// The store has made everything appended before the matching Sync effect durable, or failed.
struct StoreSynced {
  LogIndex upto;
  bool ok = false;
  std::string problem;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.upto, s.ok, s.problem);
  }
};

// The snapshot that a Mark announced has arrived whole and decoded.
struct SnapshotArrived {
  std::uint64_t mark = 0;
  ClusterState state;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.mark, s.state);
  }
};

// ---- the hypervisor ------------------------------------------------------------------------

struct DomainObservation {
  VmId vm;
  DomainState state = DomainState::absent;
  bool agent = false;            // the guest agent has answered since the start
  std::optional<OpId> started_by;  // from the domain's metadata

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.vm, s.state, s.agent, s.started_by);
  }
};

// Something happened to a domain; the truth is found by a look.
struct DomainChanged {
  VmId vm;
  StopCause cause = StopCause::none;  // set when the event told why the domain stopped

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.vm, s.cause);
  }
};

// Answer to a LookUp. nullopt: libvirt did not tell in time; nothing is known.
struct LookedUp {
  VmId vm;
  std::uint64_t look = 0;
  std::optional<DomainObservation> found;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.vm, s.look, s.found);
  }
};

// Answer to ListDomains: every domain whose UUID is protected, plus running others by request.
struct DomainsListed {
  std::uint64_t look = 0;
  bool ok = false;
  std::vector<DomainObservation> domains;
  HostFacts facts;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.look, s.ok, s.domains, s.facts);
  }
};

// A start or stop came to an end in the executor. After `unknown` the executor does nothing more
// by itself; the controller closes the operation by RevokeAndLook.
struct VmOperationEnded {
  OpId op;
  VmId vm;
  Outcome outcome = Outcome::unknown;
  DomainState state = DomainState::absent;
  std::string detail;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.op, s.vm, s.outcome, s.state, s.detail);
  }
};

// libvirt's connection came up or went down; when up, everything is listed again.
struct HypervisorConnection {
  bool up = false;
  std::string problem;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.up, s.problem);
  }
};

// ---- guests --------------------------------------------------------------------------------

// `busy`: the agent does not answer, and meanwhile the guest writes to its disks or sends: it is
// the agent, not the guest.
enum class CheckOutcome : std::uint8_t { passed, failed, busy };
constexpr CheckOutcome enum_last(CheckOutcome) { return CheckOutcome::busy; }

inline constexpr const char* kAgentCheck = "guest agent";  // no probe can be called so

// How a check of a watched guest ended. Every failure is told; passes only when the last thing told
// was none, so that a healthy guest costs no event. What says nothing about the guest (this host
// was too busy to ask in time, the guest's file systems are frozen for a backup) is not told.
struct GuestChecked {
  VmId vm;
  std::uint64_t watch = 0;
  std::string check;  // name of the probe, or kAgentCheck
  CheckOutcome outcome = CheckOutcome::failed;
  std::string detail;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.vm, s.watch, s.check, s.outcome, s.detail);
  }
};

// A guest began anew in the same QEMU process: it rebooted, or its watchdog reset it.
struct GuestRebooted {
  VmId vm;
  std::string reason;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.vm, s.reason);
  }
};

// The repair command in a watched guest came to an end, or was given up.
struct GuestRepaired {
  VmId vm;
  std::uint64_t watch = 0;
  bool ok = false;
  std::string detail;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.vm, s.watch, s.ok, s.detail);
  }
};

// ---- fencing -------------------------------------------------------------------------------

// For a fence: `done` only if every device of one level said off in the final status pass.
struct PowerOperationEnded {
  OpId op;
  NodeId target;
  Outcome outcome = Outcome::unknown;
  std::map<std::string, Power> readings;
  std::vector<std::string> level;
  std::string detail;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.op, s.target, s.outcome, s.readings, s.level, s.detail);
  }
};

// Answer to a TestFencing request of a local client.
struct FenceTestEnded {
  ClientId client;
  std::string json;
  bool ok = false;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.client, s.json, s.ok);
  }
};

// ---- clients and the process ---------------------------------------------------------------

struct ClientRequest {
  ClientId client;
  ControlRequest request;
  std::string who;  // "uid 0", for the history

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.client, s.request, s.who);
  }
};
struct ClientGone {
  ClientId client;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.client);
  }
};

// SIGTERM: leave cleanly, VMs run on.
struct StopRequested {
  template <class Self, class F>
  static void fields(Self&, F&& f) {
    f();
  }
};

// A message that did not decode or validate, told so that it is counted and alarmed.
struct MessageRejected {
  NodeId sender;
  std::string reason;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.sender, s.reason);
  }
};

using Event =
    std::variant<ViewChanged, QuorumChanged, Delivered, InputsDrained, StoreSynced,
                 SnapshotArrived, DomainChanged, LookedUp, DomainsListed, VmOperationEnded,
                 HypervisorConnection, PowerOperationEnded, FenceTestEnded, ClientRequest,
                 ClientGone, StopRequested, MessageRejected, PeersSilent, GuestChecked,
                 GuestRepaired, GuestRebooted>;

}  // namespace clusterd
