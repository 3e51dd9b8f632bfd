#include "tests/sim/nemesis.h"

#include <algorithm>
#include <utility>

namespace clusterd::sim {

using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

SimTime between(Prng& prng, SimTime low, SimTime high) {
  return SimTime(prng.between(low.count(), high.count()));
}

}  // namespace

const std::vector<Nemesis::Kind>& Nemesis::all_kinds() {
  static const std::vector<Kind> kinds = {
      {"power_cut", &Nemesis::power_cut},
      {"cord_pulled", &Nemesis::cord_pulled},
      {"reboot", &Nemesis::reboot},
      {"freeze_host", &Nemesis::freeze_host},
      {"kill_daemon", &Nemesis::kill_daemon},
      {"stop_daemon", &Nemesis::stop_daemon},
      {"freeze_daemon", &Nemesis::freeze_daemon},
      {"starve_daemon", &Nemesis::starve_daemon},
      {"partition", &Nemesis::partition},
      {"flapping_links", &Nemesis::flapping_links},
      {"deaf_host", &Nemesis::deaf_host},
      {"cut_at_message", &Nemesis::cut_at_message},
      {"flow_closed", &Nemesis::flow_closed},
      {"arbiter_gone", &Nemesis::arbiter_gone},
      {"vm_crash", &Nemesis::vm_crash},
      {"guest_shutdown", &Nemesis::guest_shutdown},
      {"destroyed_by_hand", &Nemesis::destroyed_by_hand},
      {"started_by_hand", &Nemesis::started_by_hand},
      {"start_trouble", &Nemesis::start_trouble},
      {"stop_trouble", &Nemesis::stop_trouble},
      {"libvirt_gone", &Nemesis::libvirt_gone},
      {"device_silent", &Nemesis::device_silent},
      {"device_refuses", &Nemesis::device_refuses},
      {"device_ignores", &Nemesis::device_ignores},
      {"agent_trouble", &Nemesis::agent_trouble},
      {"slow_disk", &Nemesis::slow_disk},
      {"sync_failure", &Nemesis::sync_failure},
      {"full_disk", &Nemesis::full_disk},
      {"wipe_disk", &Nemesis::wipe_disk},
      {"corrupt_disk", &Nemesis::corrupt_disk},
      {"lying_disk", &Nemesis::lying_disk},
      {"crash_loop", &Nemesis::crash_loop},
      {"guest_hangs", &Nemesis::guest_hangs},
      {"agent_dies", &Nemesis::agent_dies},
      {"application_dies", &Nemesis::application_dies},
      {"application_broken", &Nemesis::application_broken},
      {"guest_reboots", &Nemesis::guest_reboots},
      {"guests_stall", &Nemesis::guests_stall},
  };
  return kinds;
}

Nemesis::Nemesis(SimCluster& cluster, std::uint64_t seed, bool every_kind) : cluster_(cluster) {
  Prng prng(seed);
  for (const Kind& kind : all_kinds()) {
    // Each draws all it could need: leaving a kind out changes none of the others.
    Prng own(prng.next());
    if (!every_kind && own.chance(500)) continue;
    // From a few seconds to minutes, each order of magnitude alike.
    std::int64_t mean = 4;
    while (mean < 250 && own.chance(650)) mean *= 2;
    drawn_.push_back({kind, seconds(every_kind ? 64 : mean), own.next()});
  }
  cluster_.network().on_ordered = [this](NodeId sender, const std::string&) {
    if (!cut_armed_ || calm_-- > 0) return;
    cut_armed_ = false;
    // At once, but not inside the network's own call.
    cluster_.env().queue.after(SimTime(0), [this, sender] { cut_sender(sender); });
  };
}

std::string Nemesis::kinds() const {
  std::string text;
  for (const Drawn& drawn : drawn_) {
    text += std::string(text.empty() ? "" : " ") + drawn.kind.name + "/" +
            std::to_string(std::chrono::duration_cast<seconds>(drawn.mean).count()) + "s";
  }
  return text.empty() ? "none" : text;
}

void Nemesis::plan(Schedule& schedule, SimTime begin, SimTime end) {
  for (const Drawn& drawn : drawn_) {
    Prng prng(drawn.seed);
    for (SimTime at = begin; (at += between(prng, SimTime(0), 2 * drawn.mean)) < end;) {
      schedule.add(at, drawn.kind.name, prng.next(), [this, strike = drawn.kind.strike](Prng& own) {
        if (!quiet_) (this->*strike)(own);
      });
    }
  }
}

SimNode& Nemesis::any_node(Prng& prng) {
  return cluster_.node(static_cast<std::uint32_t>(prng.below(cluster_.options().nodes) + 1));
}

SimDevice& Nemesis::any_device(Prng& prng) {
  const auto names = cluster_.devices().names();
  return cluster_.devices().device(names[prng.below(names.size())]);
}

void Nemesis::later(SimTime delay, std::function<void()> undo) {
  cluster_.env().queue.after(delay, [this, run = std::move(undo)] {
    if (!quiet_) run();
  });
}

// ---- hosts and daemons -------------------------------------------------------------------------

void Nemesis::power_back_later(Prng& prng, NodeId id) {
  later(between(prng, seconds(10), seconds(180)), [this, id] { cluster_.power_back(id.value); });
}

void Nemesis::power_cut(Prng& prng) {
  SimNode& node = any_node(prng);
  node.power_off();
  power_back_later(prng, node.id());
}

void Nemesis::cord_pulled(Prng& prng) {
  const NodeId id = any_node(prng).id();
  cluster_.pull_cord(id.value);
  power_back_later(prng, id);
}

void Nemesis::reboot(Prng& prng) {
  SimNode& node = any_node(prng);
  if (!node.host().powered) return;
  node.power_off();
  later(between(prng, milliseconds(0), seconds(5)), [&node] { node.power_on(); });
}

void Nemesis::freeze_host(Prng& prng) {
  SimNode& node = any_node(prng);
  node.freeze();
  later(between(prng, seconds(0), seconds(90)), [&node] { node.thaw(); });
}

void Nemesis::kill_daemon(Prng& prng) {
  SimNode& node = any_node(prng);
  if (node.running()) node.kill_daemon();
}

void Nemesis::crash_daemons(Prng& prng) {
  for (std::uint32_t id = 1; id <= cluster_.options().nodes; ++id) {
    SimNode& node = cluster_.node(id);
    if (prng.chance(700) && node.running()) node.kill_daemon();
  }
}

// What kills one daemon kills its likes: they die together and return together, again and again.
void Nemesis::crash_loop(Prng& prng) {
  SimTime at{0};
  for (std::uint64_t rounds = prng.below(8) + 1; rounds > 0; --rounds) {
    later(at, [this, own = Prng(prng.next())]() mutable { crash_daemons(own); });
    at += between(prng, milliseconds(2000), milliseconds(4000));
  }
}

void Nemesis::stop_daemon(Prng& prng) {
  SimNode& node = any_node(prng);
  node.stop_daemon();
  later(between(prng, seconds(5), seconds(90)), [&node] { node.start_daemon(); });
}

void Nemesis::freeze_daemon(Prng& prng) {
  SimNode& node = any_node(prng);
  node.freeze_daemon();
  later(between(prng, seconds(0), seconds(40)), [&node] { node.thaw_daemon(); });
}

void Nemesis::starve_daemon(Prng& prng) {
  SimNode& node = any_node(prng);
  const SimTime until = cluster_.now() + between(prng, seconds(2), seconds(30));
  starve(node, prng, until);
}

void Nemesis::starve(SimNode& node, Prng prng, SimTime until) {
  if (cluster_.now() > until) return;
  node.freeze_daemon();
  const SimTime stalled = between(prng, milliseconds(50), milliseconds(2500));
  const SimTime runs = between(prng, milliseconds(1), milliseconds(50));
  later(stalled, [this, &node, prng, until, runs] {
    node.thaw_daemon();
    later(runs, [this, &node, prng, until] { starve(node, prng, until); });
  });
}

// ---- guests ------------------------------------------------------------------------------------

std::optional<std::pair<SimNode*, VmId>> Nemesis::any_guest(Prng& prng) {
  const auto number = static_cast<std::uint32_t>(prng.below(cluster_.options().vms) + 1);
  const auto on = cluster_.active_on(number);
  if (on.empty()) return std::nullopt;
  return std::pair(&cluster_.node(on.front()), vm_id(number));
}

void Nemesis::guest_hangs(Prng& prng) {
  const auto guest = any_guest(prng);
  if (guest) guest->first->prober().set_hung(guest->second, true);
}

void Nemesis::agent_dies(Prng& prng) {
  const auto guest = any_guest(prng);
  if (guest) guest->first->prober().set_agent_dead(guest->second, true);
}

void Nemesis::application_dies(Prng& prng) {
  const auto guest = any_guest(prng);
  if (guest) guest->first->prober().set_app_dead(guest->second, true);
}

void Nemesis::application_broken(Prng& prng) {
  const auto guest = any_guest(prng);
  if (!guest) return;
  const SimTime until = cluster_.now() + between(prng, seconds(60), seconds(600));
  guest->first->prober().break_app(guest->second, until);
}

void Nemesis::guest_reboots(Prng& prng) {
  const auto guest = any_guest(prng);
  if (guest) guest->first->prober().reboot(guest->second, "");
}

void Nemesis::guests_stall(Prng& prng) {
  SimNode& node = any_node(prng);
  std::vector<VmId> guests;
  for (const auto& [vm, domain] : node.host().domains) guests.push_back(vm);
  for (const VmId& vm : guests) node.prober().set_hung(vm, true);
  later(between(prng, seconds(2), seconds(120)), [&node, guests] {
    for (const VmId& vm : guests) node.prober().set_hung(vm, false);
  });
}

// ---- network -----------------------------------------------------------------------------------

Nemesis::Sides Nemesis::draw_sides(Prng& prng) const {
  Sides sides(prng.chance(800) ? 2 : 3);
  for (std::uint32_t number = 1; number <= cluster_.options().nodes; ++number) {
    sides[prng.below(sides.size())].push_back(number);
  }
  return sides;
}

void Nemesis::partition(Prng& prng) {
  cluster_.partition(draw_sides(prng));
  later(between(prng, seconds(1), seconds(60)), [this] { cluster_.heal(); });
}

// Who hears whom changes faster than rings form: what a half-dead switch does.
void Nemesis::flapping_links(Prng& prng) {
  const SimTime until = cluster_.now() + between(prng, seconds(2), seconds(30));
  flap(prng, until);
}

void Nemesis::flap(Prng prng, SimTime until) {
  if (cluster_.now() > until) {
    cluster_.heal();
    return;
  }
  if (prng.chance(300)) {
    cluster_.heal();
  } else {
    cluster_.partition(draw_sides(prng));
  }
  const SimTime pause = between(prng, milliseconds(100), milliseconds(4000));
  later(pause, [this, prng, until] { flap(prng, until); });
}

// The others form a ring without it; it tries again and again, each time alone.
void Nemesis::deaf_host(Prng& prng) {
  const NodeId id = any_node(prng).id();
  cluster_.partition({{id.value}});
  const SimTime until = cluster_.now() + between(prng, seconds(1), seconds(40));
  shake(id, prng, until);
}

void Nemesis::shake(NodeId node, Prng prng, SimTime until) {
  if (cluster_.now() > until) {
    cluster_.heal();
    return;
  }
  cluster_.network().disturb(node);
  const SimTime pause = between(prng, milliseconds(500), milliseconds(4000));
  later(pause, [this, node, prng, until] { shake(node, prng, until); });
}

void Nemesis::cut_at_message(Prng& prng) {
  cut_armed_ = true;
  calm_ = prng.below(40);
  cut_prng_ = prng;
}

void Nemesis::cut_sender(NodeId sender) {
  Sides sides(2);
  for (std::uint32_t number = 1; number <= cluster_.options().nodes; ++number) {
    // Mostly alone; sometimes others go with it.
    const bool with_sender = number == sender.value || cut_prng_.chance(200);
    sides[with_sender ? 0 : 1].push_back(number);
  }
  cluster_.partition(sides);
  later(between(cut_prng_, seconds(1), seconds(40)), [this] { cluster_.heal(); });
}

void Nemesis::flow_closed(Prng& prng) {
  const NodeId id = any_node(prng).id();
  cluster_.network().set_flow(id, false);
  later(between(prng, milliseconds(10), milliseconds(4000)),
        [this, id] { cluster_.network().set_flow(id, true); });
}

void Nemesis::arbiter_gone(Prng& prng) {
  cluster_.network().set_arbiter(false);
  later(between(prng, seconds(1), seconds(60)), [this] { cluster_.network().set_arbiter(true); });
}

// ---- guests and libvirt ------------------------------------------------------------------------

void Nemesis::active_vm(Prng& prng, const std::function<void(SimNode&, VmId)>& strike) {
  const VmId vm = vm_id(static_cast<std::uint32_t>(prng.below(cluster_.options().vms) + 1));
  for (const NodeId id : cluster_.env().world.active_on(vm)) {
    if (!cluster_.node(id).host().frozen) strike(cluster_.node(id), vm);
  }
}

void Nemesis::vm_crash(Prng& prng) {
  active_vm(prng, [](SimNode& node, VmId vm) { node.hypervisor().crash(vm); });
}

void Nemesis::guest_shutdown(Prng& prng) {
  active_vm(prng, [](SimNode& node, VmId vm) { node.hypervisor().guest_shuts_down(vm); });
}

void Nemesis::destroyed_by_hand(Prng& prng) {
  active_vm(prng, [](SimNode& node, VmId vm) { node.hypervisor().destroyed_by_hand(vm); });
}

// The hook refuses it almost always; that is its job.
void Nemesis::started_by_hand(Prng& prng) {
  SimNode& node = any_node(prng);
  if (node.host().frozen) return;
  const auto vm = static_cast<std::uint32_t>(prng.below(cluster_.options().vms) + 1);
  node.hypervisor().start_by_hand(vm_id(vm));
}

void Nemesis::faults_end_later(Prng& prng) {
  later(between(prng, seconds(5), seconds(60)), [this] { cluster_.env().faults = SimFaults{}; });
}

void Nemesis::start_trouble(Prng& prng) {
  const auto share = static_cast<std::uint32_t>(prng.between(50, 600));
  cluster_.env().faults.start_fails = share;
  cluster_.env().faults.start_hangs = share / 3;
  faults_end_later(prng);
}

void Nemesis::stop_trouble(Prng& prng) {
  const auto share = static_cast<std::uint32_t>(prng.between(50, 600));
  cluster_.env().faults.stop_hangs = share;
  cluster_.env().faults.look_silent = share / 3;
  faults_end_later(prng);
}

void Nemesis::libvirt_gone(Prng& prng) {
  SimNode& node = any_node(prng);
  node.hypervisor().set_available(false);
  later(between(prng, seconds(1), seconds(60)), [&node] { node.hypervisor().set_available(true); });
}

// ---- fence devices -----------------------------------------------------------------------------

void Nemesis::device_silent(Prng& prng) {
  SimDevice& device = any_device(prng);
  device.answers = false;
  device.acts_late = prng.chance(500);
  later(between(prng, seconds(5), seconds(120)), [&device] { device.answers = true; });
}

void Nemesis::device_refuses(Prng& prng) {
  SimDevice& device = any_device(prng);
  device.refuses = true;
  later(between(prng, seconds(5), seconds(120)), [&device] { device.refuses = false; });
}

void Nemesis::device_ignores(Prng& prng) {
  SimDevice& device = any_device(prng);
  device.ignores = true;
  later(between(prng, seconds(5), seconds(120)), [&device] { device.ignores = false; });
}

void Nemesis::agent_trouble(Prng& prng) {
  cluster_.env().faults.agent_dies = static_cast<std::uint32_t>(prng.between(50, 600));
  faults_end_later(prng);
}

// ---- disks -------------------------------------------------------------------------------------

void Nemesis::slow_disk(Prng& prng) {
  SimNode& node = any_node(prng);
  node.store().set_delay(between(prng, milliseconds(50), milliseconds(5000)));
  later(between(prng, seconds(2), seconds(30)), [&node] { node.store().set_delay(SimTime(0)); });
}

void Nemesis::sync_failure(Prng& prng) {
  const auto share = static_cast<std::uint32_t>(prng.between(50, 600));
  cluster_.env().faults.sync_fails = share / 20;
  cluster_.env().faults.sync_slow = share / 4;
  faults_end_later(prng);
}

void Nemesis::full_disk(Prng& prng) {
  SimNode& node = any_node(prng);
  node.store().set_full(true);
  later(between(prng, seconds(5), seconds(90)), [&node] { node.store().set_full(false); });
}

// While the others keep the state: never on so many nodes that only an operator can tell what is
// true (R10); that has its own scenarios.
bool Nemesis::lose_state(Prng& prng, SimNode& node) {
  if (2 * (lost_states_ + 1) >= cluster_.options().nodes) return false;
  ++lost_states_;
  node.power_off();
  power_back_later(prng, node.id());
  return true;
}

void Nemesis::wipe_disk(Prng& prng) {
  SimNode& node = any_node(prng);
  if (lose_state(prng, node)) node.store().wipe();
}

void Nemesis::corrupt_disk(Prng& prng) {
  SimNode& node = any_node(prng);
  if (lose_state(prng, node)) node.store().corrupt();
}

void Nemesis::lying_disk(Prng& prng) {
  SimNode& node = any_node(prng);
  if (lose_state(prng, node)) node.store().cut_acked_tail(prng.below(20) + 1);
}

// ---- the end -----------------------------------------------------------------------------------

// One guest that hangs is for the cluster to find; whole hosts of them take it too long.
void Nemesis::end_stall(SimNode& node) {
  std::vector<VmId> hung;
  for (const auto& [vm, domain] : node.host().domains) {
    if (domain.hung || domain.app_dead) hung.push_back(vm);
  }
  if (hung.size() < 2) return;
  for (const VmId& vm : hung) {
    node.prober().set_hung(vm, false);
    node.prober().set_app_dead(vm, false);
  }
}

void Nemesis::quiet() {
  quiet_ = true;
  cut_armed_ = false;
  cluster_.env().trace.say([] { return std::string("nemesis is quiet"); });
  cluster_.env().faults = SimFaults{};
  for (auto& [vm, until] : cluster_.env().broken_apps) until = std::min(until, cluster_.now());
  cluster_.heal();
  cluster_.network().set_arbiter(true);
  cluster_.devices().repair();
  for (std::uint32_t number = 1; number <= cluster_.options().nodes; ++number) {
    SimNode& node = cluster_.node(number);
    node.store().set_delay(SimTime(0));
    node.store().set_full(false);
    cluster_.network().set_flow(node.id(), true);
    node.hypervisor().set_available(true);
    node.thaw();
    node.thaw_daemon();
    end_stall(node);
    cluster_.power_back(number);
    node.start_daemon();
    // A daemon that was asked to stop while its host was frozen stops only now.
    cluster_.env().queue.after(seconds(20), [&node] { node.start_daemon(); });
  }
}

}  // namespace clusterd::sim
