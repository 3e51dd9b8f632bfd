#include "tests/sim/world.h"

#include <utility>

namespace clusterd::sim {

SimHost& SimWorld::add(NodeId id, MachineId machine) {
  SimHost& host = hosts_[id];
  host.id = id;
  host.machine = machine;
  return host;
}

void SimWorld::domain_active(SimHost& host, VmId vm, SimDomain domain) {
  host.domains[vm] = domain;
  for (WorldObserver* observer : observers_) observer->on_active(host, vm);
}

void SimWorld::domain_gone(SimHost& host, VmId vm) {
  if (host.domains.erase(vm) == 0) return;
  for (WorldObserver* observer : observers_) observer->on_gone(host, vm);
}

void SimWorld::power_on(SimHost& host, BootId boot) {
  CLUSTERD_ASSERT(!host.powered);
  host.powered = true;
  ++host.session;
  host.boot = boot;
  for (WorldObserver* observer : observers_) observer->on_power(host);
}

void SimWorld::power_off(SimHost& host) {
  if (!host.powered) return;
  host.powered = false;
  host.frozen = false;
  host.deferred.clear();
  host.grants.clear();
  host.starting.clear();
  while (!host.domains.empty()) domain_gone(host, host.domains.begin()->first);
  for (WorldObserver* observer : observers_) observer->on_power(host);
}

std::vector<NodeId> SimWorld::active_on(VmId vm) const {
  std::vector<NodeId> found;
  for (const auto& [id, host] : hosts_) {
    if (host.active(vm)) found.push_back(id);
  }
  return found;
}

Uuid SimEnv::uuid() {
  Uuid uuid;
  for (auto& byte : uuid.bytes) byte = static_cast<std::uint8_t>(prng.below(256));
  return uuid;
}

void SimEnv::on_host(SimHost& host, SimTime delay, std::function<void()> what) {
  queue.after(delay, [this, &host, session = host.session, run = std::move(what)] {
    if (!host.powered || host.session != session) return;
    if (host.frozen) {
      host.deferred.push_back([this, &host, run] { on_host(host, SimTime(0), run); });
    } else {
      run();
    }
  });
}

void SimEnv::freeze(SimHost& host) {
  if (host.powered) host.frozen = true;
}

void SimEnv::thaw(SimHost& host) {
  if (!host.frozen) return;
  host.frozen = false;
  for (auto& run : std::exchange(host.deferred, {})) run();
}

std::string name_of(VmId vm) {
  std::uint32_t number = 0;
  for (std::size_t i = 12; i < 16; ++i) number = (number << 8) | vm.uuid.bytes[i];
  return "vm" + std::to_string(number);
}

VmId vm_id(std::uint32_t number) {
  VmId vm;
  vm.uuid.bytes[0] = 0xc1;
  for (std::size_t i = 0; i < 4; ++i) {
    vm.uuid.bytes[15 - i] = static_cast<std::uint8_t>(number >> (8 * i));
  }
  return vm;
}

}  // namespace clusterd::sim
