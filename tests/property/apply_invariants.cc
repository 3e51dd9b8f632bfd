// What must hold after every entry, judged without the engine's own questions (queries.h), over
// random logs of an honest world: hosts tell the truth, planners and operators say anything.
//
// S1 and S2 are judged on the hosts themselves: an executor that was cut off may begin its start
// at any time after.
#include <algorithm>
#include <catch2/catch.hpp>

#include "clusterd/codec/snapshot.h"
#include "clusterd/codec/validate.h"
#include "tests/support/cluster_builder.h"
#include "tests/support/honest_world.h"

namespace {

using namespace clusterd;
using namespace clusterd::test;

// What the state was before an entry; all but history and failovers.
struct Before {
  explicit Before(const ClusterState& s)
      : position(s.position),
        time(s.time),
        accepted(s.accepted),
        armed(s.armed),
        view(s.view),
        config(s.config),
        nodes(s.nodes),
        vms(s.vms),
        next_event(s.next_event),
        durable_floor(s.durable_floor) {}

  Position position;
  ClusterTime time;
  bool accepted;
  bool armed;
  ActiveView view;
  Configuration config;
  std::map<NodeId, NodeState> nodes;
  std::map<VmId, VmState> vms;
  std::uint64_t next_event;
  LogIndex durable_floor;
};

bool is_dead(const std::map<NodeId, NodeState>& nodes, const Host& host) {
  const auto node = nodes.find(host.node);
  return node != nodes.end() && node->second.dead.contains(host.boot);
}

// One entry and what it did.
struct Step {
  const HonestWorld& world;
  const LogEntry& entry;
  const std::string& refusal;
  const Before& before;
  const ClusterState& after;
  OpId op;  // the operation that it opened, if it did

  template <class T>
  [[nodiscard]] const T* did() const {
    return refusal.empty() ? std::get_if<T>(&entry.message.body) : nullptr;
  }
  [[nodiscard]] const Member* member(NodeId id) const {
    const auto found = before.view.members.find(id);
    return found == before.view.members.end() ? nullptr : &found->second;
  }
  [[nodiscard]] bool synced(NodeId id) const {
    return member(id) != nullptr && member(id)->phase == MemberPhase::synced;
  }
  // The daemon that is a member of the view now said this entry, on this host.
  [[nodiscard]] bool said_on(const Host& host) const {
    const Member* speaker = member(host.node);
    return entry.sender == host.node && speaker != nullptr && speaker->boot == host.boot &&
           speaker->incarnation == entry.message.incarnation;
  }
  [[nodiscard]] bool newly_dead(const Host& host) const {
    return is_dead(after.nodes, host) && !is_dead(before.nodes, host);
  }
};

// ---- position, time, epochs (S7) -------------------------------------------------------------

void check_counters(const Step& step) {
  const Position& was = step.before.position;
  const Position& is = step.after.position;
  REQUIRE(is.index.value == was.index.value + 1);
  REQUIRE(is.chain != was.chain);
  const auto* activate = std::get_if<Activate>(&step.entry.message.body);
  if (activate == nullptr) {
    REQUIRE(is.epoch == was.epoch);
  } else {
    REQUIRE(is.epoch > was.epoch);
  }
  REQUIRE(is.established >= was.established);
  REQUIRE(is.established <= is.epoch);
  REQUIRE(step.after.time >= step.before.time);
  if (activate == nullptr || !activate->cold) {
    REQUIRE((step.after.time - step.before.time) <= std::chrono::seconds(60));
  }
  REQUIRE(step.after.durable_floor >= step.before.durable_floor);
  REQUIRE(step.after.durable_floor <= is.index);
  if (step.entry.message.epoch != was.epoch && activate == nullptr) {
    REQUIRE_FALSE(step.refusal.empty());
  }
}

// A refused entry does nothing. (That time has passed may end a departure's grace all the same.)
void check_refused(const Step& step) {
  if (step.refusal.empty()) return;
  REQUIRE(step.after.config == step.before.config);
  ActiveView view = step.before.view;
  view.authority = std::min(view.authority, step.after.view.authority);
  REQUIRE(step.after.view == view);
  REQUIRE(step.after.accepted == step.before.accepted);
  REQUIRE(step.after.vms.size() == step.before.vms.size());
  for (const auto& [id, vm] : step.after.vms) {
    VmState same = step.before.vms.at(id);
    same.failover = vm.failover;
    // An absence, however old, ends the waiting for this host's word; what it holds stays.
    if (std::holds_alternative<Report>(step.entry.message.body)) same.awaiting = vm.awaiting;
    REQUIRE(vm == same);
  }
  for (const auto& [id, node] : step.after.nodes) {
    REQUIRE(step.before.nodes.contains(id));
    NodeState same = step.before.nodes.at(id);
    same.loss = node.loss;
    same.departure = node.departure;
    if (node.loss) same.fence_ordered = node.fence_ordered;  // it has become a part of the loss
    REQUIRE(node == same);
  }
}

// ---- VMs (S1, S2, R5, R6, R7) ----------------------------------------------------------------

bool may_release(const Step& step, const VmId& id, const VmState& was, const Host& host) {
  if (step.newly_dead(host)) return step.world.has_ended(host);
  if (const auto* report = step.did<Report>()) {
    const bool open = was.operation && was.operation->executor == host;
    return step.said_on(host) && report->vm == id && report->state == DomainState::absent &&
           report->generation == was.generation && !open;
  }
  if (const auto* closed = step.did<VmClosed>()) {
    return step.said_on(host) && closed->vm == id && closed->outcome != Outcome::unknown &&
           closed->state == DomainState::absent && was.operation &&
           was.operation->id == closed->op && was.operation->executor == host;
  }
  return false;
}

bool may_hold(const Step& step, const VmId& id, const Host& host) {
  if (const auto* start = step.did<StartVm>()) return start->vm == id && start->on == host;
  if (const auto* report = step.did<Report>()) {
    return report->vm == id && report->state != DomainState::absent && step.said_on(host);
  }
  return false;
}

void check_holders(const Step& step, const VmId& id, const VmState& was, const VmState& is) {
  for (const auto& [host, ignored] : was.holders) {
    if (!is.holders.contains(host)) REQUIRE(may_release(step, id, was, host));
  }
  for (const auto& [host, ignored] : is.holders) {
    if (!was.holders.contains(host)) REQUIRE(may_hold(step, id, host));
    REQUIRE_FALSE(is_dead(step.after.nodes, host));
  }
}

void check_operation(const Step& step, const VmId& id, const VmState& was, const VmState& is) {
  const bool opened = is.operation && is.operation->id == step.op;
  const auto* start = step.did<StartVm>();
  const auto* stop = step.did<StopVm>();
  const bool asked = (start != nullptr && start->vm == id) || (stop != nullptr && stop->vm == id);
  REQUIRE(opened == asked);
  REQUIRE(is.generation.value == was.generation.value + (opened ? 1 : 0));
  if (is.operation) REQUIRE(is.holders.contains(is.operation->executor));
  if (opened) {
    REQUIRE_FALSE(was.operation);
    REQUIRE(is.operation->executor == (start != nullptr ? start->on : stop->on));
    return;
  }
  if (!was.operation) {
    REQUIRE_FALSE(is.operation);
    return;
  }
  const auto* closed = step.did<VmClosed>();
  const bool ours =
      closed != nullptr && closed->op == was.operation->id && step.said_on(was.operation->executor);
  const bool ended = ours && closed->outcome != Outcome::unknown;
  REQUIRE(is.operation.has_value() == !(ended || step.newly_dead(was.operation->executor)));
  if (!is.operation) return;
  VmOperation same = *was.operation;
  if (ours) same.unknown = is.operation->unknown;
  if (ours) same.detail = is.operation->detail;
  REQUIRE(*is.operation == same);
}

std::uint64_t memory_on(const Step& step, NodeId node) {
  std::uint64_t sum = 0;
  for (const auto& [id, vm] : step.after.vms) {
    const bool here = std::any_of(vm.holders.begin(), vm.holders.end(),
                                  [&](const auto& holder) { return holder.first.node == node; });
    if (here) sum += vm.size.memory;
  }
  return sum;
}

void check_start(const Step& step) {
  const auto* start = step.did<StartVm>();
  if (start == nullptr) return;
  const VmState& vm = step.before.vms.at(start->vm);
  REQUIRE(step.synced(step.entry.sender));
  REQUIRE(vm.generation == start->generation);
  for (const auto& [host, ignored] : vm.holders) REQUIRE(host == start->on);
  REQUIRE(step.synced(start->on.node));
  REQUIRE(step.member(start->on.node)->boot == start->on.boot);
  REQUIRE(step.member(start->on.node)->inventory_done);
  for (const Host& host : vm.awaiting) {
    const Member* silent = step.member(host.node);
    REQUIRE((silent == nullptr || silent->boot != host.boot));
  }
  REQUIRE(step.before.accepted);
  REQUIRE(step.before.view.authority == Authority::established);
  REQUIRE_FALSE(vm.tombstone);
  REQUIRE(vm.ordered.value_or(vm.declared) == DesiredState::running);
  REQUIRE(memory_on(step, start->on.node) <=
          step.before.nodes.at(start->on.node).facts.total.memory);
  REQUIRE(step.after.durable_floor == step.after.position.index);
}

// A VM comes by declaration alone, and goes when it is declared no more and nobody holds it.
void check_vms(const Step& step) {
  std::set<VmId> declared;
  for (const auto& [name, vm] : step.after.config.vms) declared.insert(vm.domain.uuid);
  for (const auto& [id, was] : step.before.vms) {
    CAPTURE(was.name);
    const auto is = step.after.vms.find(id);
    if (is != step.after.vms.end()) {
      check_holders(step, id, was, is->second);
      check_operation(step, id, was, is->second);
      continue;
    }
    REQUIRE_FALSE(declared.contains(id));
    for (const auto& [host, ignored] : was.holders) REQUIRE(may_release(step, id, was, host));
  }
  for (const auto& [id, is] : step.after.vms) {
    REQUIRE(declared.contains(id) == !is.tombstone);
    if (is.tombstone) REQUIRE_FALSE(is.holders.empty());
    if (step.before.vms.contains(id)) continue;
    REQUIRE(step.did<ChangeConfiguration>() != nullptr);
    REQUIRE(is.holders.empty());
    REQUIRE(is.generation == Generation(0));
  }
  check_start(step);
}

// ---- hosts and their power (S2, S6, R16-R19, R25) --------------------------------------------

void check_fenced(const Step& step, NodeId id, BootId boot) {
  const auto* closed = step.did<PowerClosed>();
  REQUIRE(closed != nullptr);
  REQUIRE(closed->target == id);
  REQUIRE(closed->outcome == Outcome::done);
  REQUIRE_FALSE(closed->level.empty());
  const NodeState& was = step.before.nodes.at(id);
  REQUIRE(was.power);
  REQUIRE(was.power->kind == PowerOpKind::fence);
  REQUIRE(step.said_on(was.power->executor));
  for (const std::string& device : closed->level) {
    REQUIRE(closed->readings.at(device) == Power::off);
    REQUIRE(was.calibration.at(device).reading == Power::on);
    REQUIRE(was.calibration.at(device).boot == boot);
  }
}

// R18: read, not switched off; so every device must be known good, and the host none that sleeps.
void check_found_off(const Step& step, NodeId id, BootId boot) {
  const auto* found = step.did<FoundOff>();
  REQUIRE(found != nullptr);
  REQUIRE(found->target == Host{id, boot});
  REQUIRE_FALSE(found->level.empty());
  const NodeState& was = step.before.nodes.at(id);
  REQUIRE(was.loss);
  REQUIRE(was.facts.never_sleeps);
  for (const std::string& device : found->level) {
    REQUIRE(was.calibration.at(device).reading == Power::on);
    REQUIRE(was.calibration.at(device).boot == boot);
  }
}

void check_deaths(const Step& step, NodeId id, const NodeState& was, const NodeState& is) {
  for (const auto& [boot, death] : is.dead) {
    const Host host{id, boot};
    if (was.dead.contains(boot)) continue;
    REQUIRE(step.world.has_ended(host));
    const auto member = step.after.view.members.find(id);
    REQUIRE((member == step.after.view.members.end() || member->second.boot != boot));
    if (death.cause == DeathCause::fenced) check_fenced(step, id, boot);
    if (death.cause == DeathCause::new_boot) REQUIRE(step.did<Activate>() != nullptr);
    if (death.cause == DeathCause::operator_word) REQUIRE(step.did<OrderNode>() != nullptr);
    if (death.cause == DeathCause::found_off) check_found_off(step, id, boot);
    REQUIRE(step.after.durable_floor == step.after.position.index);
  }
  REQUIRE((is.dead.size() >= was.dead.size() || was.dead.size() >= 32));
}

void check_power(const Step& step, NodeId id, const NodeState& was, const NodeState& is) {
  const auto* operate = step.did<OperatePower>();
  const bool opened = is.power && is.power->id == step.op;
  REQUIRE(opened == (operate != nullptr && operate->target.node == id));
  if (!opened) {
    if (is.power) REQUIRE(is.power == was.power);
    return;
  }
  REQUIRE_FALSE(was.power);
  REQUIRE(step.before.accepted);
  REQUIRE(step.synced(step.entry.sender));
  REQUIRE(step.synced(operate->executor));
  if (operate->kind == PowerOpKind::read_power) return;
  REQUIRE(operate->executor != id);
  if (operate->kind == PowerOpKind::power_on) {
    REQUIRE(was.power_on_due == operate->target.boot);
    return;
  }
  const bool alive = step.member(id) != nullptr && step.member(id)->boot == operate->target.boot;
  if (alive) {
    // Only by the order of somebody who knows that it is alive.
    REQUIRE(was.fence_ordered == operate->target.boot);
    return;
  }
  REQUIRE((was.loss || was.fence_ordered == operate->target.boot));
  if (!was.loss) return;
  REQUIRE(was.loss->boot == operate->target.boot);
  REQUIRE((!step.before.armed ? was.loss->ordered : true));
  REQUIRE((step.member(id) == nullptr || step.member(id)->boot != operate->target.boot));
}

void check_nodes(const Step& step) {
  for (const auto& [id, was] : step.before.nodes) {
    CAPTURE(id.value);
    REQUIRE(step.after.nodes.contains(id));
    const NodeState& is = step.after.nodes.at(id);
    check_deaths(step, id, was, is);
    check_power(step, id, was, is);
    if (is.loss) {
      REQUIRE(is.loss->boot == is.boot);
      REQUIRE_FALSE(is.dead.contains(is.boot));
      // A member that has not said Hello yet is not known to be this boot.
      const auto member = step.after.view.members.find(id);
      REQUIRE((member == step.after.view.members.end() || member->second.boot != is.boot));
    }
  }
  for (const auto& [id, member] : step.after.view.members) {
    if (member.phase == MemberPhase::synced) {
      REQUIRE_FALSE(is_dead(step.after.nodes, {id, member.boot}));
    }
  }
}

// ---- the view and what it may do (R8) --------------------------------------------------------

void check_view(const Step& step) {
  if (step.did<Activate>() == nullptr) {
    ActiveView same = step.before.view;
    same.authority = step.after.view.authority;
    for (auto& [id, member] : same.members) {
      const Member& is = step.after.view.members.at(id);
      if (is.phase != member.phase) {
        const bool joined = step.did<Synced>() != nullptr && id == step.entry.sender &&
                            member.phase == MemberPhase::joining && is.phase == MemberPhase::synced;
        const bool demoted = step.did<Demote>() != nullptr && member.phase == MemberPhase::synced &&
                             is.phase == MemberPhase::demoted;
        REQUIRE((joined || demoted));
      }
      if (is.inventory_done && !member.inventory_done) {
        REQUIRE(step.did<InventoryDone>() != nullptr);
        REQUIRE(id == step.entry.sender);
      }
      member.phase = is.phase;
      member.inventory_done = is.inventory_done;
    }
    REQUIRE(step.after.view == same);
  }
  if (step.after.view.authority != Authority::established) return;
  REQUIRE(step.after.accepted);
  std::uint64_t all = step.after.view.device_votes;
  std::uint64_t ours = step.after.view.device_votes;
  bool others_gone = true;
  for (const auto& [id, votes] : step.after.view.votes) {
    const auto member = step.after.view.members.find(id);
    all += votes;
    if (member != step.after.view.members.end() && member->second.phase == MemberPhase::synced) {
      ours += votes;
      continue;
    }
    const NodeState& node = step.after.nodes.at(id);
    if (!node.dead.contains(node.boot) && !node.departure) others_gone = false;
  }
  REQUIRE((ours * 2 > all || (step.after.view.wait_for_all && others_gone)));
}

// ---- configuration and history ---------------------------------------------------------------

void check_records(const Step& step) {
  const auto* change = step.did<ChangeConfiguration>();
  if (change == nullptr) {
    REQUIRE(step.after.config == step.before.config);
  } else {
    REQUIRE(change->base == step.before.config.version);
    REQUIRE(step.after.config.version == step.before.config.version.next());
    for (const auto& name : change->delete_vms) REQUIRE_FALSE(step.after.config.vms.contains(name));
    // A node that was taken out leaves nothing behind that could hold a VM up.
    for (const auto& name : change->delete_nodes) {
      REQUIRE_FALSE(step.after.config.nodes.contains(name));
      for (const auto& [id, vm] : step.after.vms) {
        for (const auto& [host, ignored] : vm.holders) {
          REQUIRE(step.after.nodes.at(host.node).name != name);
        }
      }
    }
  }
  REQUIRE(step.after.next_event >= step.before.next_event);
  REQUIRE(step.after.history.size() <= kHistoryLimit);
  REQUIRE(step.after.failovers.size() <= kFailoverLimit);
  if (!step.after.history.empty()) {
    REQUIRE(step.after.history.rbegin()->first + 1 == step.after.next_event);
  }
}

// How often what matters has happened: else the logs would prove nothing about it.
struct Tally {
  std::map<std::size_t, std::uint64_t> accepted;  // by kind
  std::map<DeathCause, std::uint64_t> deaths;
  std::uint64_t stale_reports = 0;
  std::uint64_t released_by_report = 0;

  void count(const Step& step) {
    const auto* report = std::get_if<Report>(&step.entry.message.body);
    if (report != nullptr && step.refusal.starts_with("stale")) ++stale_reports;
    if (!step.refusal.empty()) return;
    ++accepted[step.entry.message.body.index()];
    for (const auto& [id, node] : step.after.nodes) {
      for (const auto& [boot, death] : node.dead) {
        if (step.newly_dead({id, boot})) ++deaths[death.cause];
      }
    }
    if (report == nullptr || !step.before.vms.contains(report->vm)) return;
    const auto is = step.after.vms.find(report->vm);
    const std::size_t holders = is == step.after.vms.end() ? 0 : is->second.holders.size();
    if (holders < step.before.vms.at(report->vm).holders.size()) ++released_by_report;
  }
};

void take_step(HonestWorld& world, Tally& tally) {
  const LogEntry entry = world.next();
  const Before before(world.state());
  const std::size_t kind = entry.message.body.index();
  CAPTURE(before.position.index.value, kind);
  const std::string refusal = world.deliver(entry);
  CAPTURE(refusal);
  const ClusterState& after = world.state();
  const Step step{world,  entry, refusal,
                  before, after, {after.position.epoch, after.position.index}};
  check_counters(step);
  check_refused(step);
  check_vms(step);
  check_nodes(step);
  check_view(step);
  check_records(step);
  REQUIRE(world.runs_twice() == "");
  REQUIRE(world.runs_unheld() == "");
  tally.count(step);
}

}  // namespace

TEST_CASE("apply property: whatever is planned and asked, the invariants hold after each entry") {
  constexpr std::uint64_t kLogs = 160;
  Tally tally;
  for (std::uint64_t seed = 1; seed <= kLogs; ++seed) {
    CAPTURE(seed);
    HonestWorld world(seed);
    for (int i = 0; i < 500; ++i) take_step(world, tally);
    REQUIRE(validate(world.state()).empty());
  }
  for (std::size_t kind = 3; kind < std::variant_size_v<Body>; ++kind) {
    CAPTURE(kind);
    CHECK(tally.accepted[kind] >= 20);
  }
  for (const DeathCause cause :
       {DeathCause::fenced, DeathCause::found_off, DeathCause::new_boot,
        DeathCause::operator_word}) {
    CAPTURE(cause);
    CHECK(tally.deaths[cause] >= 5);
  }
  CHECK(tally.stale_reports >= 20);
  CHECK(tally.released_by_report >= 20);
}

TEST_CASE("apply property: the history forgets the oldest, and tells no number twice") {
  ClusterState state = ClusterBuilder().node("n1").node("n2").vm("v1").build();
  Message message;
  message.epoch = state.position.epoch;
  message.incarnation = state.view.members.at(NodeId(1)).incarnation;
  message.body = OrderVm{state.vms.begin()->first, VmOrderKind::enable, 1};
  for (std::size_t i = 0; i < kHistoryLimit + 500; ++i) {
    const std::uint64_t next = state.next_event;
    REQUIRE(apply(state, {NodeId(1), message, Digest(i)}).refusal.empty());
    REQUIRE(state.next_event == next + 1);
    REQUIRE(state.history.rbegin()->first == next);
  }
  CHECK(state.history.size() == kHistoryLimit);
  CHECK(state.history.begin()->first == 501);
}
