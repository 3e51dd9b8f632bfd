#include "tests/sim/words.h"

#include <array>

#include "clusterd/base/overloaded.h"
#include "clusterd/engine/queries.h"

namespace clusterd::sim {
namespace {

template <class Enum, std::size_t N>
const char* named(const std::array<const char*, N>& names, Enum value) {
  static_assert(N == static_cast<std::size_t>(enum_last(Enum{})) + 1);
  return names[static_cast<std::size_t>(value)];
}

const char* word(StoreCondition value) {
  return named(std::array{"blank", "intact", "amnesiac"}, value);
}
const char* word(Outcome value) {
  return named(std::array{"done", "failed without effect", "unknown"}, value);
}
const char* word(Power value) {
  return named(std::array{"on", "off", "unknown"}, value);
}
const char* word(DomainState value) {
  return named(std::array{"absent", "running", "paused", "paused by an I/O error",
                          "the target of a migration", "shutting down", "crashed"},
               value);
}
const char* word(StopCause value) {
  return named(std::array{"", ": the guest shut down", ": destroyed", ": the guest crashed",
                          ": QEMU died", ": migrated"},
               value);
}
const char* word(Cause value) {
  return named(std::array{"desired", "restart in place", "relocation", "its host is lost",
                          "restart ordered", "undeclared", "preempted", "unhealthy"},
               value);
}
const char* word(Health value) {
  return named(std::array{"not judged", "booting", "healthy", "degraded", "suspect", "unhealthy"},
               value);
}
const char* word(PowerOpKind value) {
  return named(std::array{"fence", "read the power of", "switch on"}, value);
}
const char* word(VmOrderKind value) {
  return named(std::array{"start", "stop", "restart", "enable", "disable"}, value);
}
const char* word(ClusterOrderKind value) {
  return named(std::array{"disarm", "arm"}, value);
}
const char* word(NodeOrderKind value) {
  return named(std::array{"fence", "confirm-dead", "cancel-fence"}, value);
}

std::string number(std::uint64_t value) {
  return std::to_string(value);
}
std::string because(const std::string& text) {
  return text.empty() ? "" : ": " + text;
}

class Teller {
 public:
  explicit Teller(const ClusterState& state) : state_(state) {}

  // ---- what travels ----------------------------------------------------------------------------
  std::string operator()(const Hello& b) const {
    return "Hello, state " + std::string(word(b.condition)) + " at " +
           number(b.position.epoch.value) + "." + number(b.position.index.value) +
           (b.unbroken ? ", unbroken" : "");
  }
  std::string operator()(const Ack& b) const {
    return "Ack of " + number(b.applied.value) + ", durable " + number(b.durable.value);
  }
  std::string operator()(const Snapshot& b) const { return "Snapshot " + number(b.mark); }
  std::string operator()(const Activate& b) const {
    std::string text = "Activate of epoch " + number(b.epoch.value) + ":";
    for (const auto& [id, member] : b.members) {
      text += " " + node(id) + (member.phase == MemberPhase::synced ? "" : " (joins)");
    }
    return text + (b.founding ? ", founds " + b.founding->name : "");
  }
  std::string operator()(const Leave&) const { return "Leave"; }
  std::string operator()(const Mark& b) const { return "Mark " + number(b.mark); }
  std::string operator()(const Synced& b) const { return "Synced at " + number(b.index.value); }
  std::string operator()(const Demote& b) const {
    return "Demote " + node(b.node) + because(b.reason);
  }
  std::string operator()(const Establish&) const { return "Establish"; }
  std::string operator()(const Advance&) const { return "Advance of time"; }
  std::string operator()(const Report& b) const {
    return "Report: " + vm(b.vm) + " is " + word(b.state) + word(b.cause) +
           (b.agent ? ", its agent answers" : "") +
           (b.health == Health::none ? std::string() : std::string(", ") + word(b.health)) +
           because(b.health_reason);
  }
  std::string operator()(const InventoryDone& b) const {
    return "InventoryDone" + because(b.facts.problem);
  }
  std::string operator()(const StartVm& b) const {
    return "start " + vm(b.vm) + " on " + node(b.on.node) + " (" + word(b.cause) + ")";
  }
  std::string operator()(const StopVm& b) const {
    return "stop " + vm(b.vm) + " on " + node(b.on.node) + " (" + word(b.cause) + ")";
  }
  std::string operator()(const OperatePower& b) const {
    return std::string(word(b.kind)) + " " + node(b.target.node) + ", done by " + node(b.executor);
  }
  std::string operator()(const VmClosed& b) const {
    return "operation " + b.op.str() + " on " + vm(b.vm) + " is " + word(b.outcome) + ", " +
           word(b.state) + because(b.detail);
  }
  std::string operator()(const PowerClosed& b) const {
    return "operation " + b.op.str() + " on the power of " + node(b.target) + " is " +
           word(b.outcome) + readings(b.readings) + because(b.detail);
  }
  std::string operator()(const ChangeConfiguration& b) const {
    return "change of configuration " + number(b.base.value) + ": " + number(b.upsert.vms.size()) +
           " VMs, " + number(b.upsert.nodes.size()) + " nodes, " +
           number(b.delete_vms.size() + b.delete_nodes.size()) + " deleted";
  }
  std::string operator()(const OrderVm& b) const {
    return "order: " + std::string(word(b.order)) + " " + vm(b.vm);
  }
  std::string operator()(const OrderNode& b) const {
    return "order: " + std::string(word(b.order)) + " " + node(b.host.node);
  }
  std::string operator()(const Condemn& b) const {
    return node(b.host.node) + " was proven dead";
  }
  std::string operator()(const FoundOff& b) const {
    return node(b.target.node) + " was off before the ring knew";
  }
  std::string operator()(const OrderCluster& b) const {
    return std::string("order: ") + word(b.order) + because(b.reason);
  }
  std::string operator()(const AcceptState& b) const {
    return "accept the state of " + node(b.node);
  }

  // ---- events ----------------------------------------------------------------------------------
  std::string operator()(const ViewChanged& e) const {
    std::string text = "the view is";
    for (const GroupMember& member : e.members) text += " " + node(member.node);
    text += ", the ring";
    for (const NodeId id : e.ring) text += " " + node(id);
    return text + quorate(e.quorum);
  }
  std::string operator()(const PeersSilent& e) const {
    std::string text = "nothing is heard of";
    for (const NodeId id : e.silent) text += " " + node(id);
    return e.silent.empty() ? "all hosts are heard" : text;
  }
  std::string operator()(const QuorumChanged& e) const {
    return "Corosync says" + quorate(e.quorum);
  }
  std::string operator()(const Delivered& e) const {
    return node(e.sender.node) + " says " + std::visit(*this, e.message.body);
  }
  std::string operator()(const InputsDrained&) const { return "all inputs are handled"; }
  std::string operator()(const StoreSynced& e) const {
    return e.ok ? "durable up to " + number(e.upto.value) : "the store failed" + because(e.problem);
  }
  std::string operator()(const SnapshotArrived& e) const {
    return "the state of Mark " + number(e.mark) + " arrived";
  }
  std::string operator()(const DomainChanged& e) const {
    return "libvirt: " + vm(e.vm) + " changed" + word(e.cause);
  }
  std::string operator()(const LookedUp& e) const {
    return "look " + number(e.look) + ": " + vm(e.vm) +
           (e.found ? std::string(" is ") + word(e.found->state) : " is not told in time");
  }
  std::string operator()(const DomainsListed& e) const {
    std::string text = "look " + number(e.look) + ": ";
    if (!e.ok) return text + "libvirt does not list";
    for (const DomainObservation& domain : e.domains) {
      text += vm(domain.vm) + " " + word(domain.state) + ", ";
    }
    return text + "that is all";
  }
  std::string operator()(const VmOperationEnded& e) const {
    return "operation " + e.op.str() + " on " + vm(e.vm) + " ended: " + word(e.outcome) +
           because(e.detail);
  }
  std::string operator()(const HypervisorConnection& e) const {
    return e.up ? "libvirt is connected" : "libvirt is gone" + because(e.problem);
  }
  std::string operator()(const PowerOperationEnded& e) const {
    return "operation " + e.op.str() + " on the power of " + node(e.target) +
           " ended: " + word(e.outcome) + readings(e.readings) + because(e.detail);
  }
  std::string operator()(const FenceTestEnded& e) const {
    return std::string("the fence test ") + (e.ok ? "passed" : "failed");
  }
  std::string operator()(const ClientRequest& e) const {
    return e.who +
           " asks: " + std::visit([this](const auto& what) { return asks(what); }, e.request);
  }
  std::string operator()(const ClientGone& e) const {
    return "client " + number(e.client.value) + " left";
  }
  std::string operator()(const StopRequested&) const { return "the daemon is to stop"; }
  std::string operator()(const MessageRejected& e) const {
    return "a message of " + node(e.sender) + " was refused" + because(e.reason);
  }

  std::string operator()(const GuestChecked& e) const {
    static constexpr std::array kEnds = {"passed", "failed", "found the agent silent alone"};
    return "a check of " + vm(e.vm) + ", " + e.check + ", " +
           std::string(named(kEnds, e.outcome)) + because(e.detail);
  }
  std::string operator()(const GuestRepaired& e) const {
    return "the repair of " + vm(e.vm) + (e.ok ? " worked" : " failed") + because(e.detail);
  }
  std::string operator()(const GuestRebooted& e) const {
    return "the guest of " + vm(e.vm) + " reboots" + because(e.reason);
  }

  // ---- effects ---------------------------------------------------------------------------------
  std::string operator()(const Multicast& e) const {
    return "says " + std::visit(*this, e.message.body);
  }
  std::string operator()(const AppendToLog&) const { return "logs it"; }
  std::string operator()(const SyncLog& e) const {
    return "syncs the log to " + number(e.upto.value);
  }
  std::string operator()(const InstallState& e) const {
    return "installs the state at " + number(e.upto.value);
  }
  std::string operator()(const SetStateAside&) const { return "sets its state aside"; }
  std::string operator()(const SendSnapshot& e) const {
    return "sends the state of Mark " + number(e.mark);
  }
  std::string operator()(const Protect& e) const { return "guards " + vm(e.vm); }
  std::string operator()(const DispatchStart& e) const {
    return "STARTS " + e.name + " (operation " + e.op.str() + ")";
  }
  std::string operator()(const DispatchStop& e) const {
    return "STOPS " + vm(e.vm) + " (operation " + e.op.str() + ")";
  }
  std::string operator()(const RevokeAndLook& e) const {
    return "revokes operation " + e.op.str() + " on " + vm(e.vm) + ", look " + number(e.look);
  }
  std::string operator()(const LookUp& e) const {
    return "looks at " + vm(e.vm) + ", look " + number(e.look);
  }
  std::string operator()(const ListDomains& e) const {
    return "lists all domains, look " + number(e.look);
  }
  std::string operator()(const DispatchPower& e) const {
    static constexpr std::array kDoes = {"FENCES", "READS THE POWER OF", "SWITCHES ON"};
    return std::string(named(kDoes, e.kind)) + " " + e.target_name + " (operation " + e.op.str() +
           ")";
  }
  std::string operator()(const CancelPower& e) const { return "cancels operation " + e.op.str(); }
  std::string operator()(const RunFenceTest&) const { return "tests the fence devices"; }
  std::string operator()(const Reply& e) const {
    return "answers client " + number(e.client.value) + because(e.reply.message);
  }
  std::string operator()(const Exit& e) const {
    return "EXITS with " + number(static_cast<std::uint64_t>(e.code)) + because(e.reason);
  }
  std::string operator()(const LogLine& e) const { return "notes: " + e.line; }
  std::string operator()(const WatchGuest& e) const {
    return "watches the guest of " + e.name + " (" + number(e.watch) + ")";
  }
  std::string operator()(const UnwatchGuest& e) const {
    return "watches the guest of " + vm(e.vm) + " no more";
  }
  std::string operator()(const RepairGuest& e) const {
    return "REPAIRS the guest of " + vm(e.vm);
  }

 private:
  std::string node(NodeId id) const { return node_name(state_, id); }
  std::string vm(const VmId& id) const {
    const auto found = state_.vms.find(id);
    return found == state_.vms.end() ? "VM " + id.str() : found->second.name;
  }
  static std::string quorate(const QuorumFacts& facts) {
    return facts.quorate ? ", quorate" : ", not quorate";
  }
  static std::string readings(const std::map<std::string, Power>& all) {
    std::string text;
    for (const auto& [device, power] : all) text += ", " + device + " " + word(power);
    return text;
  }
  std::string asks(const VmCommand& r) const { return word(r.order) + (" " + r.name); }
  std::string asks(const NodeCommand& r) const { return word(r.order) + (" " + r.name); }
  std::string asks(const ApplyConfiguration& r) const { return (*this)(change_of(r)); }
  std::string asks(const InitCluster& r) const { return "init " + r.name; }
  std::string asks(const RecoverCluster& r) const { return "accept the state of " + r.node; }
  std::string asks(const ClusterCommand& r) const { return word(r.order) + because(r.reason); }
  std::string asks(const TestFencing& r) const { return "fence-test " + r.node; }
  template <class Reading>
  std::string asks(const Reading&) const {
    return "to read";
  }

  const ClusterState& state_;
};

}  // namespace

std::string words(const Event& event, const ClusterState& state) {
  return std::visit(Teller(state), event);
}

std::string words(const Effect& effect, const ClusterState& state) {
  return std::visit(Teller(state), effect);
}

}  // namespace clusterd::sim
