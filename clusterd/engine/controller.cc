#include "clusterd/engine/controller.h"

#include <algorithm>

#include "clusterd/base/archive.h"
#include "clusterd/base/assert.h"
#include "clusterd/base/overloaded.h"
#include "clusterd/engine/controller_impl.h"

namespace clusterd {

Controller::Impl::Impl(const NodeIdentity& identity, StartingPoint start, Instant at)
    : self(identity) {
  CLUSTERD_ASSERT(self.node != NodeId{});
  CLUSTERD_ASSERT(self.incarnation != Incarnation{});
  now = deadline = started = time_anchor = judge_from = last_drain = at;
  state = std::move(start.state);
  condition = start.condition;
  wall_at_start = start.wall;
  durable = sync_asked = state.position.index;
  guarded = std::move(start.guarded);
  ha_domains = !guarded.empty();
  for (const auto& [id, vm] : state.vms) guarded.insert(id);
}

Effects Controller::Impl::step(Instant at, const Event& event) {
  now = std::max(now, at);
  effects.clear();
  const auto* delivered = std::get_if<Delivered>(&event);
  const bool acknowledged = delivered != nullptr &&
                            std::holds_alternative<Ack>(delivered->message.body);
  if (!acknowledged && !std::holds_alternative<InputsDrained>(event) &&
      !std::holds_alternative<StoreSynced>(event)) {
    news = true;
  }
  std::visit([this](const auto& what) { on(what); }, event);
  return std::move(effects);
}

void Controller::Impl::on(const ViewChanged& event) {
  view = event;
  if (!event.quorum.quorate) unbroken = false;
  open_view();
}

// Everybody says what it has; then one Activate counts.
void Controller::Impl::open_view() {
  view_since = now;
  hellos.clear();
  hello_delivered = false;
  activated = false;
  member_synced = false;
  joining.reset();
  acks.clear();
  told_digests.clear();
  applied_at.clear();
  floors_at.clear();
  transfers.clear();
  under_way.clear();
  changed = true;
  hello();
}

void Controller::Impl::on(const QuorumChanged& event) {
  if (!view) return;
  view->quorum = event.quorum;
  if (!event.quorum.quorate) unbroken = false;
  changed = true;
}

void Controller::Impl::on(const Delivered& event) {
  if (!view) return;
  const Body& body = event.message.body;
  if (const auto* said = std::get_if<Hello>(&body)) {
    hear(event, *said);
  } else if (const auto* ack = std::get_if<Ack>(&body)) {
    // Only of the active epoch, and of the daemon that is a member now.
    const Member* member = member_of(state, event.sender.node);
    const bool current = activated && event.message.epoch == state.position.epoch &&
                         member != nullptr &&
                         member->incarnation == event.message.incarnation;
    if (!current) return;
    acks[event.sender.node] = *ack;
    count_digest(event.sender.node, *ack);
  } else if (is_log_entry(body)) {
    deliver_entry(event);
  }
}

// All verdicts, plans and acknowledgements are made here, once the inputs ran empty (R14).
void Controller::Impl::on(const InputsDrained&) {
  static constexpr Duration kLag{1000};
  static constexpr Duration kCalm{30000};
  if (now - last_drain > kLag && now > deadline + kLag) judge_from = now;
  last_drain = now;
  deadline = now + kCalm;
  keep_view();
  say_synced();
  purge_guests();
  tell_condemned();
  transfer();
  keep_log();
  acknowledge();
  judge();
  look_early();
  establish();
  take_inventory();
  watch_guests();
  report();
  cancel_stale();
  close_operations();
  look_after_unknown();
  dispatch();
  plan();
  keep_time();
  answer_clients();
  leave();
  start_over();
}

void Controller::Impl::on(const StoreSynced& event) {
  if (!event.ok) {
    // A failed fsync is never retried on the same file (R11): start over from what is durable.
    effects.push_back(Exit{1, "the store failed: " + event.problem});
    return;
  }
  // What was asked of the log that an arriving state replaces says nothing about this one.
  if (installing && event.upto != *installing) return;
  installing.reset();
  durable = std::max(durable, event.upto);
}

void Controller::Impl::on(const MessageRejected& event) {
  log("a message of " + node_name(state, event.sender) + " was refused: " + event.reason);
}

void Controller::Impl::on(const StopRequested&) {
  if (!leaving) leaving = now;
}

void Controller::Impl::multicast(Body body) {
  const Epoch epoch = activated ? view_epoch : state.position.epoch;
  effects.push_back(
      Multicast{Message{epoch, self.incarnation, cluster_now(), std::move(body)}});
}

namespace {

// Two bodies with one key are the same wish: the second is not sent while the first is under way.
std::string wish(const Body& body) {
  const auto command = [](const auto& order) { return "command " + std::to_string(order.command); };
  return std::visit(
      overloaded{
          [](const StartVm& b) { return "vm " + b.vm.str(); },
          [](const StopVm& b) { return "vm " + b.vm.str(); },
          [](const Report& b) { return "report " + b.vm.str(); },
          [](const OperatePower& b) { return "power " + std::to_string(b.target.node.value); },
          [](const VmClosed& b) { return "close " + b.op.str(); },
          [](const PowerClosed& b) { return "close " + b.op.str(); },
          [](const Condemn& b) { return "condemn " + std::to_string(b.host.node.value); },
          [](const FoundOff& b) { return "off " + std::to_string(b.target.node.value); },
          [](const Demote& b) { return "demote " + std::to_string(b.node.value); },
          [&](const ChangeConfiguration& b) { return command(b); },
          [&](const OrderVm& b) { return command(b); },
          [&](const OrderNode& b) { return command(b); },
          [&](const AcceptState& b) { return command(b); },
          [&](const OrderCluster& b) { return command(b); },
          [](const auto&) { return std::string(); }},
      body);
}

// The others are alone of their kind.
std::string key_of(const Body& body) {
  std::string key = wish(body);
  return key.empty() ? "kind " + std::to_string(body.index()) : key;
}

}  // namespace

void Controller::Impl::multicast_once(Body body) {
  const std::string key = key_of(body);
  const auto sent = under_way.find(key);
  if (sent != under_way.end() && now - sent->second < kSendPatience) {
    wake_at(sent->second + kSendPatience);
    return;
  }
  under_way[key] = now;
  wake_at(now + kSendPatience);
  multicast(std::move(body));
}

void Controller::Impl::note_own(const Body& body) { under_way.erase(key_of(body)); }

// R22: goodbye when nothing is open here; bounded, since a plain exit is safe too. While a view is
// being installed nobody would hear it: a host that is rebooted then would count as lost.
void Controller::Impl::leave() {
  static constexpr Duration kMost{5000};
  if (!leaving) return;
  const bool said = state.nodes.contains(self.node) && state.nodes[self.node].departure;
  const bool known = said && stable(state.position.index);
  const bool nobody_hears = state.cluster == ClusterId{} || !view || !view->quorum.quorate;
  if (known || now - *leaving >= kMost || nobody_hears) {
    effects.push_back(Exit{0, "stopped; VMs run on"});
    return;
  }
  wake_at(*leaving + kMost);
  if (!said && synced_here() && vm_operations.empty() && power_operations.empty()) {
    multicast_once(Leave{self.boot, true});
  }
}

void Controller::Impl::log(std::string line) { effects.push_back(LogLine{std::move(line)}); }

void Controller::Impl::wake_at(Instant at) { deadline = std::min(deadline, std::max(at, now)); }

void Controller::Impl::wake_at(ClusterTime at) {
  const Duration left = at - cluster_now();
  wake_at(now + std::max(left, Duration(1)));
}

ClusterTime Controller::Impl::cluster_now() const {
  const ClusterTime replicated = state.time + (now - time_anchor);
  if (time_known) return replicated;
  // What the disk remembers stood still while this daemon was away: the wall clock did not.
  return std::max(replicated, wall_at_start + (now - started));
}

bool Controller::Impl::synced_here() const {
  if (!activated || !member_synced || diverged) return false;
  const Member* member = synced_member(state, self.node);
  return member != nullptr && member->incarnation == self.incarnation;
}

bool Controller::Impl::may_act() const { return synced_here() && view && view->quorum.quorate; }

bool Controller::Impl::is_coordinator() const {
  return may_act() && coordinator(state) == self.node;
}

Controller::Controller(const NodeIdentity& self, StartingPoint start, Instant now)
    : impl_(std::make_unique<Impl>(self, std::move(start), now)) {}
Controller::Controller(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Controller::~Controller() = default;

Effects Controller::step(Instant now, const Event& event) { return impl_->step(now, event); }
Instant Controller::next_deadline() const { return impl_->deadline; }
const NodeIdentity& Controller::self() const { return impl_->self; }
const ClusterState& Controller::state() const { return impl_->state; }

ClusterTime Controller::cluster_time(Instant now) const {
  return impl_->cluster_now() + std::max(now - impl_->now, Duration(0));
}

LocalView Controller::local_view() const {
  LocalView local;
  local.in_view = impl_->view.has_value();
  local.quorate = impl_->view && impl_->view->quorum.quorate;
  local.active = impl_->synced_here();
  local.coordinator = impl_->is_coordinator();
  local.hypervisor_up = impl_->hypervisor_up;
  local.waiting = impl_->waiting;
  return local;
}

std::string Controller::checkpoint() const {
  SizedSink sink;
  write(sink, impl_->self);
  write(sink, static_cast<const ControllerMemory&>(*impl_));
  return std::move(sink).take();
}

std::unique_ptr<Controller> Controller::restore(std::string_view checkpoint) {
  Reader reader(checkpoint, Layout::sized);
  NodeIdentity self;
  reader.read(self);
  if (!reader.ok() || self.node == NodeId{} || self.incarnation == Incarnation{}) return nullptr;
  auto impl = std::make_unique<Impl>(self, StartingPoint{}, Instant{});
  reader.read(static_cast<ControllerMemory&>(*impl));
  if (!reader.complete()) return nullptr;
  return std::unique_ptr<Controller>(new Controller(std::move(impl)));
}

}  // namespace clusterd
