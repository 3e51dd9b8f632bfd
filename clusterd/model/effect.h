// Effects: everything a Controller can ask of the world, as values. The driver executes the
// effects of one step in order, before it hands over the next event.
#pragma once

#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "clusterd/model/event.h"

namespace clusterd {

// Sends to the group. Delivery of the own message is the only acknowledgement; what a view
// change voids is not sent again by the driver: the controller asks anew if it still wants it.
struct Multicast {
  Message message;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.message);
  }
};

// Appends the message just delivered to the log on disk, without making it durable.
struct AppendToLog {
  template <class Self, class F>
  static void fields(Self&, F&& f) {
    f();
  }
};

// Makes all appended entries durable, then answers StoreSynced{upto}. Stands after the
// AppendToLog and Protect effects that it covers, and before the Ack that tells of it.
struct SyncLog {
  LogIndex upto;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.upto);
  }
};

// Replaces snapshot and log on disk by the controller's current state, durably, then answers
// StoreSynced{upto}.
struct InstallState {
  LogIndex upto;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.upto);
  }
};

// Moves the state on disk aside, with the controller's current one beside it, for whoever finds out
// how it came to differ from the other members' (R29): the next daemon begins without a state.
struct SetStateAside {
  template <class Self, class F>
  static void fields(Self&, F&& f) {
    f();
  }
};

// Encodes the controller's state at this very moment and sends it as Snapshot{mark}.
struct SendSnapshot {
  std::uint64_t mark = 0;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.mark);
  }
};

// Makes libvirt's hook refuse the domain without a grant, for ever and durably (R23).
struct Protect {
  VmId vm;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.vm);
  }
};

struct DispatchStart {
  OpId op;
  VmId vm;
  std::string name;
  Generation generation;
  std::string xml;      // as declared; the hypervisor adds metadata and transience
  Duration timeout{0};  // after it the outcome is unknown

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.op, s.vm, s.name, s.generation, s.xml, s.timeout);
  }
};

struct DispatchStop {
  OpId op;
  VmId vm;
  Duration shutdown_timeout{0};  // the guest's time to shut down by itself; 0: destroy at once
  Duration destroy_timeout{0};
  Cause cause = Cause::desired;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.op, s.vm, s.shutdown_timeout, s.destroy_timeout, s.cause);
  }
};

// Takes the start grant back, then looks: after this the start can no longer take effect, so
// that the answer LookedUp{look} decides (R23).
struct RevokeAndLook {
  OpId op;
  VmId vm;
  std::uint64_t look = 0;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.op, s.vm, s.look);
  }
};

struct LookUp {
  VmId vm;
  std::uint64_t look = 0;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.vm, s.look);
  }
};

// Every domain of `known`, and every other domain that is protected on this host.
struct ListDomains {
  std::uint64_t look = 0;
  std::set<VmId> known;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.look, s.known);
  }
};

// Begins the checks of a guest that runs here, or begins them anew under another number.
struct WatchGuest {
  VmId vm;
  std::string name;
  std::uint64_t watch = 0;  // echoes in GuestChecked and GuestRepaired
  HealthPolicy policy;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.vm, s.name, s.watch, s.policy);
  }
};

struct UnwatchGuest {
  VmId vm;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.vm);
  }
};

// Runs the policy's repair command in a watched guest; answers GuestRepaired.
struct RepairGuest {
  VmId vm;
  std::uint64_t watch = 0;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.vm, s.watch);
  }
};

struct NamedDevice {
  std::string name;
  FenceDevice device;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.name, s.device);
  }
};

struct DispatchPower {
  OpId op;
  PowerOpKind kind = PowerOpKind::read_power;
  NodeId target;
  std::string target_name;
  std::vector<std::vector<NamedDevice>> levels;
  std::uint32_t retries = 0;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.op, s.kind, s.target, s.target_name, s.levels, s.retries);
  }
};

// Kills the agents of this operation with their process group (R19).
struct CancelPower {
  OpId op;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.op);
  }
};

// Asks every device of these levels for its status and reads every secret; changes nothing.
struct RunFenceTest {
  ClientId client;
  std::map<std::string, std::vector<std::vector<NamedDevice>>> nodes;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.client, s.nodes);
  }
};

struct Reply {
  ClientId client;
  ControlReply reply;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.client, s.reply);
  }
};

// Ends the daemon so that its supervisor starts it again with a clean slate.
struct Exit {
  int code = 0;
  std::string reason;
  bool purged = false;  // nothing of this boot runs any more: the daemon comes back as another one

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.code, s.reason, s.purged);
  }
};

struct LogLine {
  std::string line;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.line);
  }
};

using Effect =
    std::variant<Multicast, AppendToLog, SyncLog, InstallState, SetStateAside, SendSnapshot,
                 Protect, DispatchStart, DispatchStop, RevokeAndLook, LookUp, ListDomains,
                 DispatchPower, CancelPower, RunFenceTest, Reply, Exit, LogLine, WatchGuest,
                 UnwatchGuest, RepairGuest>;
using Effects = std::vector<Effect>;

}  // namespace clusterd
