// Whole controllers on one log: whatever happens locally between deliveries, and in whatever
// order, they agree on the state at every position (S5); and what one dispatches rests on what
// every synced member has applied and made durable (R1).
//
// Looks, ends of operations, clients and time come at random, and need not make sense. Daemons
// crash and come back with what they had on disk; views come and go.
#include <algorithm>
#include <catch2/catch.hpp>
#include <deque>
#include <memory>
#include <vector>

#include "clusterd/base/overloaded.h"
#include "clusterd/codec/record.h"
#include "clusterd/codec/snapshot.h"
#include "clusterd/engine/controller.h"
#include "tests/support/cluster_builder.h"
#include "tests/support/random_value.h"

namespace {

using namespace clusterd;
using namespace clusterd::test;
using std::chrono::milliseconds;

constexpr std::uint32_t kNodes = 3;
const std::string kXml = "<domain/>";

// The group's total order: views and messages.
struct Packet {
  GroupMember sender;
  Message message;
};
using Item = std::variant<ViewChanged, Packet>;

struct Daemon {
  std::unique_ptr<Controller> controller;
  NodeIdentity self;
  Instant now{};
  std::size_t next = 0;        // item of the stream
  std::deque<Message> outbox;  // sent, not yet ordered
  std::vector<Event> pending;  // answers under way
  LogIndex durable;            // on its disk, and it has been told so
  std::optional<LogIndex> hanging;  // a sync that is answered when an install ends it
  std::size_t stale = 0;       // pending answers of the store about a log that was replaced
  bool exited = false;
};

bool from_store(const Event& event) { return std::holds_alternative<StoreSynced>(event); }

class Group {
 public:
  explicit Group(std::uint64_t seed) : prng_(seed) {
    for (std::uint32_t id = 1; id <= kNodes; ++id) begin(NodeId(id), StartingPoint{});
    change_view();
  }

  void found();
  void stir(int steps);
  // A daemon comes back with entries that nobody else has, and whose sync hangs.
  void return_ahead(NodeId id);
  // No more faults: everything is delivered and answered.
  void calm();
  void check_agreement();

  std::size_t positions() const { return digests_.size(); }
  std::size_t starts() const { return dispatched_.size(); }

 private:
  void begin(NodeId id, StartingPoint start);
  void crash(NodeId id, LogIndex ahead = {});
  void reboot(NodeId id);
  void cut(NodeId id);
  void reboot_condemned();
  void change_view();
  GroupMember member(NodeId id) const {
    return {id, static_cast<std::uint32_t>(daemons_.at(id).self.incarnation.value)};
  }

  void step(Daemon& daemon, const Event& event);
  void perform(Daemon& daemon, const Effect& effect);
  void check_dispatch(const Daemon& daemon, const OpId& op);
  void check_position(const Daemon& daemon);
  void deliver(Daemon& daemon);
  void order(Daemon& daemon);
  void drain(Daemon& daemon);
  void answer(Daemon& daemon);
  void disturb(Daemon& daemon);
  ControlRequest some_request(const Daemon& daemon);
  VmId some_vm(const Daemon& daemon);
  Event power_answer(const DispatchPower& what);

  Prng prng_;
  std::map<NodeId, Daemon> daemons_;
  std::vector<Item> stream_;
  std::uint64_t incarnations_ = 0;
  std::map<NodeId, std::uint64_t> boots_;
  std::set<NodeId> fenced_;
  std::optional<NodeId> cut_off_;                          // alone, and not quorate
  std::map<std::pair<LogIndex, Digest>, Digest> digests_;  // by index and chain
  std::set<std::pair<Incarnation, OpId>> dispatched_;
};

// ---- daemons and views -----------------------------------------------------------------------

void Group::begin(NodeId id, StartingPoint start) {
  Daemon& daemon = daemons_[id];
  daemon = Daemon{};
  daemon.self = {id, MachineId{numbered_uuid(2, id.value)},
                 BootId{numbered_uuid(4, (std::uint64_t{id.value} << 32) + boots_[id])},
                 Incarnation(++incarnations_)};
  daemon.now = Instant(milliseconds(prng_.between(0, 1000000)));
  daemon.durable = start.state.position.index;
  daemon.next = stream_.size();  // the view that will have it
  daemon.controller = std::make_unique<Controller>(daemon.self, std::move(start), daemon.now);
}

// The daemon dies and begins anew with what is on its disk; the page cache survives it.
void Group::crash(NodeId id, LogIndex ahead) {
  const Daemon& dead = daemons_.at(id);
  StartingPoint start;
  start.state = dead.controller->state();
  start.condition =
      start.state.cluster == ClusterId{} ? StoreCondition::blank : StoreCondition::intact;
  Position& at = start.state.position;
  if (ahead.value > 0) at = {Epoch(0), at.epoch, LogIndex(at.index.value + ahead.value), Digest(1)};
  begin(id, std::move(start));
  if (cut_off_ == id) cut_off_.reset();
  change_view();
  step(daemons_.at(id), HypervisorConnection{true, ""});
}

void Group::return_ahead(NodeId id) {
  crash(id, LogIndex(30));
  Daemon& daemon = daemons_.at(id);
  daemon.hanging = daemon.durable;
}

void Group::reboot(NodeId id) {
  ++boots_[id];
  crash(id);
}

// Its network is gone: the others go on without it. Of two cut ones the first one returns.
void Group::cut(NodeId id) {
  if (cut_off_) daemons_.at(*cut_off_).next = stream_.size();
  cut_off_ = id;
  change_view();
  Daemon& daemon = daemons_.at(id);
  daemon.outbox.clear();
  ViewChanged alone = std::get<ViewChanged>(stream_.back());
  alone.members = {member(id)};
  alone.ring = {id};
  alone.quorum.quorate = false;
  step(daemon, alone);
}

// A boot that was proven dead stays out until it boots again.
void Group::reboot_condemned() {
  std::set<NodeId> condemned;
  for (const auto& [id, daemon] : daemons_) {
    for (const auto& [other, judge] : daemons_) {
      const auto& nodes = judge.controller->state().nodes;
      const auto known = nodes.find(id);
      if (known != nodes.end() && known->second.dead.contains(daemon.self.boot)) {
        condemned.insert(id);
      }
    }
  }
  for (const NodeId id : condemned) reboot(id);
}

void Group::change_view() {
  ViewChanged view;
  for (const auto& [id, daemon] : daemons_) {
    view.quorum.votes[id] = 1;
    view.quorum.names[id] = "n" + std::to_string(id.value);
    if (cut_off_ == id) continue;
    view.members.push_back(member(id));
    view.ring.insert(id);
  }
  view.quorum.quorate = true;
  view.quorum.wait_for_all = prng_.chance(500);
  stream_.emplace_back(view);
}

// ---- one step of one controller --------------------------------------------------------------

void Group::step(Daemon& daemon, const Event& event) {
  if (daemon.exited) return;
  for (const Effect& effect : daemon.controller->step(daemon.now, event)) perform(daemon, effect);
  check_position(daemon);
}

// Whoever stands at the same place of the same history has the same state.
void Group::check_position(const Daemon& daemon) {
  const ClusterState& state = daemon.controller->state();
  const Position& at = state.position;
  const auto [known, fresh] = digests_.try_emplace({at.index, at.chain}, Digest{});
  if (fresh) {
    known->second = state_digest(state);
  } else {
    REQUIRE(known->second == state_digest(state));
  }
}

void Group::check_dispatch(const Daemon& daemon, const OpId& op) {
  const ClusterState& state = daemon.controller->state();
  REQUIRE(dispatched_.insert({daemon.self.incarnation, op}).second);
  REQUIRE(op.epoch <= state.position.epoch);
  for (const auto& [id, known] : state.view.members) {
    const Daemon& other = daemons_.at(id);
    // One that has crashed since had acknowledged before.
    if (known.phase != MemberPhase::synced || known.incarnation != other.self.incarnation) continue;
    REQUIRE(other.controller->state().position.index >= op.index);
    REQUIRE(other.durable >= state.durable_floor);
  }
}

Event Group::power_answer(const DispatchPower& what) {
  PowerOperationEnded ended{what.op, what.target, Outcome::unknown, {}, {}, "silent"};
  const bool acts = what.kind == PowerOpKind::fence && cut_off_ == what.target;
  const bool reads = what.kind == PowerOpKind::read_power;
  if (!prng_.chance(700) || what.levels.empty() || !(acts || reads)) return ended;
  if (acts) fenced_.insert(what.target);
  ended.outcome = Outcome::done;
  for (const NamedDevice& device : what.levels.front()) {
    ended.readings[device.name] = what.kind == PowerOpKind::read_power ? Power::on : Power::off;
    ended.level.push_back(device.name);
  }
  return ended;
}

void Group::perform(Daemon& daemon, const Effect& effect) {
  RandomValue random(prng_, 0);
  const auto later = [&](Event event) { daemon.pending.push_back(std::move(event)); };
  const auto look = [&](const VmId& vm, std::uint64_t number) {
    LookedUp answer{vm, number, std::nullopt};
    if (prng_.chance(700))
      answer.found = DomainObservation{vm, random.make<DomainState>(), false, {}};
    later(answer);
  };
  std::visit(
      overloaded{
          [&](const Multicast& what) {
            const auto* ack = std::get_if<Ack>(&what.message.body);
            if (ack != nullptr) REQUIRE(ack->durable <= daemon.durable);
            daemon.outbox.push_back(what.message);
          },
          [&](const SyncLog& what) {
            later(StoreSynced{what.upto, true, ""});
          },
          [&](const InstallState& what) {
            if (daemon.hanging) later(StoreSynced{*daemon.hanging, true, ""});
            daemon.hanging.reset();
            daemon.stale = static_cast<std::size_t>(
                std::count_if(daemon.pending.begin(), daemon.pending.end(), from_store));
            daemon.durable = what.upto;
            later(StoreSynced{what.upto, true, ""});
          },
          [&](const SendSnapshot& what) {
            Message message;
            message.incarnation = daemon.self.incarnation;
            message.body = Snapshot{what.mark, encode_state(daemon.controller->state())};
            daemon.outbox.push_back(std::move(message));
          },
          [&](const DispatchStart& what) {
            check_dispatch(daemon, what.op);
            REQUIRE(daemon.controller->state().durable_floor >= what.op.index);
            const auto& holders = daemon.controller->state().vms.at(what.vm).holders;
            REQUIRE(holders.size() == 1);
            REQUIRE(holders.begin()->first == Host{daemon.self.node, daemon.self.boot});
            const bool there = prng_.chance(500);
            later(VmOperationEnded{what.op, what.vm, there ? Outcome::done : random.make<Outcome>(),
                                   there ? DomainState::running : DomainState::absent, ""});
          },
          [&](const DispatchStop& what) {
            check_dispatch(daemon, what.op);
            later(VmOperationEnded{what.op, what.vm, Outcome::done, DomainState::absent, ""});
          },
          [&](const DispatchPower& what) {
            check_dispatch(daemon, what.op);
            later(power_answer(what));
          },
          [&](const RevokeAndLook& what) { look(what.vm, what.look); },
          [&](const LookUp& what) { look(what.vm, what.look); },
          [&](const ListDomains& what) {
            DomainsListed listed{what.look, prng_.chance(900), {}, {}};
            for (const VmId& vm : what.known) {
              if (prng_.chance(300)) listed.domains.push_back({vm, DomainState::running, true, {}});
            }
            listed.facts.total = {gib(64), 32};
            later(listed);
          },
          [&](const SetStateAside&) { FAIL("a replica differs"); },
          [&](const Exit&) { daemon.exited = true; }, [](const auto&) {}},
      effect);
}

void Group::deliver(Daemon& daemon) {
  if (daemon.next == stream_.size() || cut_off_ == daemon.self.node) return;
  const Item item = stream_[daemon.next++];
  if (const auto* view = std::get_if<ViewChanged>(&item)) {
    step(daemon, *view);
    return;
  }
  const auto& packet = std::get<Packet>(item);
  const Digest digest = record_digest(packet.sender.node, encode(packet.message));
  if (const auto* snapshot = std::get_if<Snapshot>(&packet.message.body)) {
    auto state = decode_state(snapshot->state);
    REQUIRE(std::holds_alternative<ClusterState>(state));
    step(daemon, SnapshotArrived{snapshot->mark, std::get<ClusterState>(std::move(state))});
    return;
  }
  step(daemon, Delivered{packet.sender, packet.message, digest});
}

// What was sent in an older view may still be delivered in a newer one.
void Group::order(Daemon& daemon) {
  if (daemon.outbox.empty() || cut_off_ == daemon.self.node) return;
  stream_.emplace_back(Packet{member(daemon.self.node), daemon.outbox.front()});
  daemon.outbox.pop_front();
}

void Group::drain(Daemon& daemon) {
  daemon.now += milliseconds(prng_.between(0, prng_.chance(50) ? 3000 : 60));
  step(daemon, InputsDrained{});
}

void Group::answer(Daemon& daemon) {
  if (daemon.pending.empty()) return;
  auto chosen = std::next(daemon.pending.begin(),
                          static_cast<std::ptrdiff_t>(prng_.below(daemon.pending.size())));
  // A store answers in the order in which it was asked.
  if (from_store(*chosen)) {
    chosen = std::find_if(daemon.pending.begin(), daemon.pending.end(), from_store);
  }
  const Event event = *chosen;
  daemon.pending.erase(chosen);
  if (const auto* synced = std::get_if<StoreSynced>(&event)) {
    if (daemon.stale > 0) {
      --daemon.stale;
    } else {
      daemon.durable = std::max(daemon.durable, synced->upto);
    }
  }
  step(daemon, event);
}

// ---- what comes from outside -----------------------------------------------------------------

VmId Group::some_vm(const Daemon& daemon) {
  const auto& vms = daemon.controller->state().vms;
  if (vms.empty() || prng_.chance(50)) return VmId{numbered_uuid(3, 99)};
  return std::next(vms.begin(), static_cast<std::ptrdiff_t>(prng_.below(vms.size())))->first;
}

ControlRequest Group::some_request(const Daemon& daemon) {
  RandomValue random(prng_, 0);
  const std::string vm = "v" + std::to_string(1 + prng_.below(4));
  const std::string node = "n" + std::to_string(1 + prng_.below(kNodes + 1));
  switch (prng_.below(6)) {
    case 0:
      return NodeCommand{node, random.make<NodeOrderKind>(), prng_.chance(500)};
    case 1:
      return TestFencing{prng_.chance(500) ? node : ""};
    case 2:
      return RecoverCluster{node};
    case 3:
      return VmCommand{vm, random.make<VmOrderKind>(), prng_.chance(500)};
    default:
      break;
  }
  ApplyConfiguration apply;
  apply.base = daemon.controller->state().config.version;
  if (prng_.chance(100)) {
    apply.delete_vms = {vm};
    return apply;
  }
  for (std::uint32_t id = 1; id <= kNodes; ++id) {
    const std::string name = "n" + std::to_string(id);
    apply.upsert.fence_devices["bmc-" + name].agent = "fence_test";
    apply.upsert.nodes[name].fencing = {{"bmc-" + name}};
  }
  apply.upsert.domain_xml[digest_of(kXml)] = kXml;
  VmDeclaration& declared = apply.upsert.vms[vm];
  declared.domain.uuid = VmId{numbered_uuid(3, vm.back() - std::uint64_t{'0'})};
  declared.domain.xml = digest_of(kXml);
  declared.domain.size = {gib(1 + prng_.below(4)), 1};
  return apply;
}

void Group::disturb(Daemon& daemon) {
  RandomValue random(prng_, 0);
  switch (prng_.below(8)) {
    case 0:
      step(daemon, DomainChanged{some_vm(daemon), random.make<StopCause>()});
      break;
    case 1:
      step(daemon, LookedUp{some_vm(daemon), prng_.below(100), std::nullopt});
      break;
    case 2:
      step(daemon, HypervisorConnection{prng_.chance(800), "gone"});
      break;
    case 3:
      step(daemon, ClientGone{ClientId(prng_.below(9))});
      break;
    case 4:
      step(daemon, MessageRejected{NodeId(2), "malformed"});
      break;
    case 5:
      daemon.now += milliseconds(prng_.between(0, 40000));
      break;
    default:
      step(daemon, ClientRequest{ClientId(prng_.below(9)), some_request(daemon), "uid 0"});
      break;
  }
}

// ---- runs ------------------------------------------------------------------------------------

void Group::found() {
  for (auto& [id, daemon] : daemons_) step(daemon, HypervisorConnection{true, ""});
  calm();
  Daemon& first = daemons_.at(NodeId(1));
  step(first, ClientRequest{ClientId(1), InitCluster{"test"}, "uid 0"});
  calm();
  REQUIRE(first.controller->state().cluster != ClusterId{});
}

void Group::stir(int steps) {
  for (int i = 0; i < steps; ++i) {
    const NodeId id(1 + static_cast<std::uint32_t>(prng_.below(kNodes)));
    Daemon& daemon = daemons_.at(id);
    const std::uint64_t kind = prng_.below(1000);
    if (!fenced_.empty()) {
      reboot(*fenced_.begin());
      fenced_.erase(fenced_.begin());
    } else if (daemon.exited || kind < 2) {
      crash(id);
    } else if (kind < 4) {
      step(daemon, StopRequested{});
    } else if (kind < 7) {
      cut(id);
    } else if (kind < 450) {
      deliver(daemon);
    } else if (kind < 650) {
      order(daemon);
    } else if (kind < 800) {
      drain(daemon);
    } else if (kind < 970) {
      answer(daemon);
    } else {
      disturb(daemon);
    }
  }
}

void Group::calm() {
  if (cut_off_) daemons_.at(*cut_off_).next = stream_.size();
  if (cut_off_) cut_off_.reset();
  change_view();
  fenced_.clear();
  for (int round = 0; round < 60; ++round) {
    reboot_condemned();
    for (auto& [id, daemon] : daemons_) {
      if (daemon.exited) crash(id);
      while (!daemon.pending.empty()) answer(daemon);
      while (!daemon.outbox.empty()) order(daemon);
    }
    for (auto& [id, daemon] : daemons_) {
      while (daemon.next < stream_.size()) deliver(daemon);
      daemon.now += milliseconds(300);
      step(daemon, InputsDrained{});
    }
  }
}

void Group::check_agreement() {
  std::set<std::pair<LogIndex, Digest>> places;
  std::size_t active = 0;
  for (auto& [id, daemon] : daemons_) {
    if (!daemon.controller->local_view().active) continue;
    ++active;
    while (daemon.next < stream_.size()) deliver(daemon);
    const Position& at = daemon.controller->state().position;
    places.insert({at.index, at.chain});
  }
  REQUIRE(active == kNodes);
  REQUIRE(places.size() == 1);
}

}  // namespace

TEST_CASE("replicas property: the same log gives the same state, whatever happens in between") {
  std::size_t positions = 0;
  std::size_t starts = 0;
  for (std::uint64_t seed = 1; seed <= 25; ++seed) {
    CAPTURE(seed);
    Group group(seed);
    group.found();
    for (int act = 0; act < 3; ++act) {
      group.stir(1500);
      group.calm();
    }
    group.check_agreement();
    positions += group.positions();
    starts += group.starts();
  }
  // A log that stands still would prove nothing.
  CHECK(positions > 2500);
  CHECK(starts > 100);
}

TEST_CASE("replicas property: a sync of the log that was replaced is no acknowledgement") {
  for (std::uint64_t seed = 1; seed <= 25; ++seed) {
    CAPTURE(seed);
    Group group(seed);
    group.found();
    group.return_ahead(NodeId(3));
    group.stir(400);
    group.calm();
    group.check_agreement();
  }
}
