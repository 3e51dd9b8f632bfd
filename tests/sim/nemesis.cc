#include "tests/sim/nemesis.h"

#include <algorithm>
#include <utility>

namespace clusterd::sim {

using std::chrono::milliseconds;
using std::chrono::seconds;

Nemesis::Nemesis(SimCluster& cluster) : cluster_(cluster), prng_(cluster.env().prng) {
  for (int i = 0; i <= static_cast<int>(kLastKind); ++i) {
    if (prng_.chance(500)) continue;
    // From a second to minutes, each order of magnitude alike.
    std::int64_t mean = 4;
    while (mean < 250 && prng_.chance(650)) mean *= 2;
    rates_[static_cast<Kind>(i)] = seconds(mean);
  }
  cluster_.network().on_ordered = [this](NodeId sender, const std::string&) {
    if (!cut_armed_ || calm_-- > 0) return;
    cut_armed_ = false;
    // At once, but not inside the network's own call.
    cluster_.env().queue.after(SimTime(0), [this, sender] { cut_sender(sender); });
  };
}

const char* Nemesis::name_of(Kind kind) {
  switch (kind) {
    case Kind::power_cut: return "power_cut";
    case Kind::cord_pulled: return "cord_pulled";
    case Kind::partition: return "partition";
    case Kind::cut_at_message: return "cut_at_message";
    case Kind::kill_daemon: return "kill_daemon";
    case Kind::stop_daemon: return "stop_daemon";
    case Kind::freeze_daemon: return "freeze_daemon";
    case Kind::freeze_host: return "freeze_host";
    case Kind::vm_crash: return "vm_crash";
    case Kind::guest_shutdown: return "guest_shutdown";
    case Kind::start_trouble: return "start_trouble";
    case Kind::stop_trouble: return "stop_trouble";
    case Kind::libvirt_gone: return "libvirt_gone";
    case Kind::device_silent: return "device_silent";
    case Kind::agent_trouble: return "agent_trouble";
    case Kind::slow_disk: return "slow_disk";
    case Kind::sync_failure: return "sync_failure";
    case Kind::flow_closed: return "flow_closed";
    case Kind::wipe_disk: return "wipe_disk";
    case Kind::arbiter_gone: return "arbiter_gone";
  }
  return "";
}

std::string Nemesis::kinds() const {
  std::string text;
  for (const auto& [kind, mean] : rates_) {
    text += std::string(text.empty() ? "" : " ") + name_of(kind) + "/" +
            std::to_string(std::chrono::duration_cast<seconds>(mean).count()) + "s";
  }
  return text.empty() ? "none" : text;
}

void Nemesis::start(SimTime end) {
  end_ = end;
  for (const auto& [kind, mean] : rates_) schedule(kind);
}

void Nemesis::schedule(Kind kind) {
  const SimTime mean = rates_.at(kind);
  cluster_.env().queue.after(cluster_.env().between(SimTime(0), 2 * mean), [this, kind] {
    if (quiet_ || cluster_.now() >= end_) return;
    strike(kind);
    schedule(kind);
  });
}

SimNode& Nemesis::any_node() {
  const auto number = prng_.below(cluster_.options().nodes) + 1;
  return cluster_.node(static_cast<std::uint32_t>(number));
}

SimTime Nemesis::pause(int low_s, int high_s) {
  return cluster_.env().between(seconds(low_s), seconds(high_s));
}

void Nemesis::later(SimTime delay, std::function<void()> undo) {
  cluster_.env().queue.after(delay, [this, run = std::move(undo)] {
    if (!quiet_) run();
  });
}

void Nemesis::strike(Kind kind) {
  cluster_.env().trace.say([&] { return std::string("nemesis ") + name_of(kind); });
  switch (kind) {
    case Kind::power_cut:
    case Kind::cord_pulled:
    case Kind::kill_daemon:
    case Kind::stop_daemon:
    case Kind::freeze_daemon:
    case Kind::freeze_host:
    case Kind::libvirt_gone:
    case Kind::slow_disk:
    case Kind::flow_closed:
    case Kind::wipe_disk:
    case Kind::device_silent:
      strike_host(kind, any_node());
      return;
    case Kind::vm_crash:
    case Kind::guest_shutdown:
      strike_guest(kind);
      return;
    case Kind::partition:
      partition();
      return;
    case Kind::cut_at_message:
      cut_armed_ = true;
      calm_ = prng_.below(40);
      return;
    case Kind::arbiter_gone:
      cluster_.network().set_arbiter(false);
      later(pause(1, 60), [this] { cluster_.network().set_arbiter(true); });
      return;
    case Kind::start_trouble:
    case Kind::stop_trouble:
    case Kind::agent_trouble:
    case Kind::sync_failure:
      strike_faults(kind);
      return;
  }
}

void Nemesis::strike_host(Kind kind, SimNode& node) {
  const NodeId id = node.id();
  SimCluster& all = cluster_;
  switch (kind) {
    case Kind::power_cut:
      node.power_off();
      power_back_later(id, false);
      return;
    case Kind::cord_pulled:
      all.pull_cord(id.value);
      power_back_later(id, true);
      return;
    case Kind::kill_daemon:
      if (node.running()) node.kill_daemon();
      return;
    case Kind::stop_daemon:
      node.stop_daemon();
      later(pause(5, 90), [&node] { node.start_daemon(); });
      return;
    case Kind::freeze_daemon:
      node.freeze_daemon();
      later(pause(0, 40), [&node] { node.thaw_daemon(); });
      return;
    case Kind::freeze_host:
      node.freeze();
      later(pause(0, 90), [&node] { node.thaw(); });
      return;
    case Kind::libvirt_gone:
      node.hypervisor().set_available(false);
      later(pause(1, 60), [&node] { node.hypervisor().set_available(true); });
      return;
    case Kind::slow_disk:
      node.store().set_delay(all.env().between(milliseconds(50), milliseconds(5000)));
      later(pause(2, 30), [&node] { node.store().set_delay(SimTime(0)); });
      return;
    case Kind::flow_closed:
      all.network().set_flow(id, false);
      later(all.env().between(milliseconds(10), milliseconds(4000)),
            [&all, id] { all.network().set_flow(id, true); });
      return;
    case Kind::wipe_disk:
      wipe_disk(node);
      return;
    case Kind::device_silent:
      all.device(id.value).answers = false;
      all.device(id.value).acts_late = prng_.chance(500);
      later(pause(5, 120), [&all, id] { all.device(id.value).answers = true; });
      return;
    default:
      return;
  }
}

void Nemesis::power_back_later(NodeId id, bool cord) {
  later(pause(10, 180), [this, id, cord] {
    if (cord) cluster_.plug_cord(id.value);
    cluster_.node(id).power_on();
  });
}

void Nemesis::strike_guest(Kind kind) {
  const auto vm = vm_id(static_cast<std::uint32_t>(prng_.below(cluster_.options().vms) + 1));
  for (const NodeId id : cluster_.env().world.active_on(vm)) {
    SimNode& node = cluster_.node(id);
    if (node.host().frozen) continue;
    if (kind == Kind::vm_crash) {
      node.hypervisor().crash(vm);
    } else {
      node.hypervisor().guest_shuts_down(vm);
    }
  }
}

void Nemesis::strike_faults(Kind kind) {
  SimFaults& faults = cluster_.env().faults;
  const auto share = static_cast<std::uint32_t>(prng_.between(50, 600));
  switch (kind) {
    case Kind::start_trouble:
      faults.start_fails = share;
      faults.start_hangs = share / 3;
      break;
    case Kind::stop_trouble:
      faults.stop_hangs = share;
      faults.look_silent = share / 3;
      break;
    case Kind::agent_trouble:
      faults.agent_dies = share;
      break;
    case Kind::sync_failure:
      faults.sync_fails = share / 20;
      faults.sync_slow = share / 4;
      break;
    default:
      break;
  }
  later(pause(5, 60), [this] { cluster_.env().faults = SimFaults{}; });
}

void Nemesis::partition() {
  std::vector<std::vector<std::uint32_t>> sides(prng_.chance(800) ? 2 : 3);
  for (std::uint32_t number = 1; number <= cluster_.options().nodes; ++number) {
    sides[prng_.below(sides.size())].push_back(number);
  }
  cluster_.partition(sides);
  later(pause(1, 60), [this] { cluster_.heal(); });
}

void Nemesis::cut_sender(NodeId sender) {
  std::vector<std::vector<std::uint32_t>> sides(2);
  for (std::uint32_t number = 1; number <= cluster_.options().nodes; ++number) {
    // Mostly alone; sometimes others go with it.
    const bool with_sender = number == sender.value || prng_.chance(200);
    sides[with_sender ? 0 : 1].push_back(number);
  }
  cluster_.partition(sides);
  later(pause(1, 40), [this] { cluster_.heal(); });
}

// A new disk, while the others keep the state: never on so many nodes that only an operator can
// tell what is true (R10); that has its own scenarios.
void Nemesis::wipe_disk(SimNode& node) {
  if (2 * (wiped_ + 1) >= cluster_.options().nodes) return;
  ++wiped_;
  node.power_off();
  node.store().wipe();
  power_back_later(node.id(), false);
}

void Nemesis::quiet() {
  quiet_ = true;
  cut_armed_ = false;
  cluster_.env().trace.say([] { return std::string("nemesis is quiet"); });
  cluster_.env().faults = SimFaults{};
  cluster_.heal();
  cluster_.network().set_arbiter(true);
  for (std::uint32_t number = 1; number <= cluster_.options().nodes; ++number) {
    SimNode& node = cluster_.node(number);
    cluster_.device(number) = SimDevice{node.id()};
    node.store().set_delay(SimTime(0));
    cluster_.network().set_flow(node.id(), true);
    node.hypervisor().set_available(true);
    node.thaw();
    node.thaw_daemon();
    node.power_on();
    node.start_daemon();
    // A daemon that was asked to stop while its host was frozen stops only now.
    cluster_.env().queue.after(seconds(20), [&node] { node.start_daemon(); });
  }
}

}  // namespace clusterd::sim
