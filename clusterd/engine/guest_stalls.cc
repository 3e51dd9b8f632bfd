#include "clusterd/engine/guest_stalls.h"

#include <algorithm>
#include <set>

#include "clusterd/engine/health.h"
#include "clusterd/engine/queries.h"

namespace clusterd {
namespace {

// Those who would stand still together: the guests of a host, or of a group.
struct Guests {
  std::size_t judged = 0;
  std::size_t failing = 0;
  bool handled = false;  // one of them is being restarted, or boots

  [[nodiscard]] bool stalled() const { return failing >= 2 && failing * 2 > judged; }
  [[nodiscard]] std::string text() const {
    return std::to_string(failing) + " of " + std::to_string(judged);
  }
};

// Started a moment ago, and not yet judged.
bool boots(const ClusterState& state, const VmState& vm, const Sighting& sighting,
           ClusterTime now) {
  if (sighting.at + kStallTurn <= now) return false;
  if (sighting.health != Health::none) return sighting.health == Health::booting;
  const auto policy = resolved(state, vm);
  return policy && has_checks(policy->health);
}

void count(Guests& guests, const ClusterState& state, const VmState& vm,
           const Sighting& sighting, ClusterTime now) {
  const bool operated = vm.operation && now < vm.operation->since + kStallTurn;
  if (operated || boots(state, vm, sighting, now)) guests.handled = true;
  switch (sighting.health) {
    case Health::none:
    case Health::booting:
      return;
    case Health::healthy:
    case Health::degraded:
      break;
    case Health::suspect:
    case Health::unhealthy:
      ++guests.failing;
      break;
  }
  ++guests.judged;
}

// Between its stop and its start.
bool comes_back(const VmState& vm, ClusterTime now) {
  return vm.holders.empty() && should_run(vm) && vm.last_host && !vm.failures.given_up &&
         now < vm.eligible_since + kStallTurn;
}

Guests of_host(const ClusterState& state, const Host& host, ClusterTime now) {
  Guests guests;
  for (const auto& [id, vm] : state.vms) {
    const auto holder = vm.holders.find(host);
    if (holder != vm.holders.end()) count(guests, state, vm, holder->second, now);
    if (comes_back(vm, now) && vm.last_host == host) guests.handled = true;
  }
  return guests;
}

// What a VM shares with others: what it requires, and its profile, for what all of one kind need
// and nobody has declared (a database that their health pages ask). Named as people know it; a
// profile cannot be taken for a requirement, whose name has no space.
std::set<std::string> groups_of(const ClusterState& state, const VmState& vm) {
  const VmDeclaration* declaration = vm_declaration(state, vm);
  if (declaration == nullptr) return {};
  std::set<std::string> groups = resolve(state.config, *declaration).requires_;
  if (!declaration->profile.empty()) groups.insert("profile " + declaration->profile);
  return groups;
}

Guests of_group(const ClusterState& state, const std::string& name, ClusterTime now) {
  Guests guests;
  for (const auto& [id, vm] : state.vms) {
    if (!groups_of(state, vm).contains(name)) continue;
    if (const auto host = active_on(vm)) count(guests, state, vm, vm.holders.at(*host), now);
    if (comes_back(vm, now)) guests.handled = true;
  }
  return guests;
}

// True if it began.
bool note(std::optional<Stall>& stall, const Guests& guests, ClusterTime now, Moment moment) {
  const bool over = !stall || stall->last + kStallGrace <= now;
  if (!guests.stalled()) {
    if (over) stall.reset();
    return false;
  }
  if (stall && (!over || moment == Moment::before_a_change)) {
    stall->last = now;
    return false;
  }
  stall = Stall{now, now};
  return true;
}

void brake(HealthBrake& result, const std::optional<Stall>& stall, const Guests& guests,
           const std::string& whose, ClusterTime now) {
  if (!stall || !result.reason.empty()) return;
  const bool lasts = guests.stalled();
  if (!lasts && stall->last + kStallGrace <= now) return;
  const ClusterTime most = stall->since + kStallMost;
  if (now < most) {
    result.next = lasts ? most : std::min(most, stall->last + kStallGrace);
    result.reason = lasts ? guests.text() + " guests of " + whose + " fail together"
                          : "the guests of " + whose + " failed together a moment ago";
    result.reason += ": that is no trouble of one guest, and none is restarted for it yet";
  } else if (guests.handled) {
    result.reason = "the guests of " + whose + " fail together: one is restarted at a time";
  } else {
    result.alone = true;
  }
}

}  // namespace

bool heals(const ClusterState& state, const VmState& vm) {
  const auto policy = resolved(state, vm);
  return policy && has_checks(policy->health) &&
         policy->health.on_unhealthy != OnUnhealthy::alert;
}

bool note_stalls(ClusterState& state, const VmId& vm, const Host& host, Moment moment) {
  const ClusterTime now = state.time;
  bool began = note(state.nodes.at(host.node).stall, of_host(state, host, now), now, moment);
  for (const std::string& name : groups_of(state, state.vms.at(vm))) {
    const auto known = state.stalls.find(name);
    std::optional<Stall> stall;
    if (known != state.stalls.end()) stall = known->second;
    if (note(stall, of_group(state, name, now), now, moment)) began = true;
    if (stall) {
      state.stalls[name] = *stall;
    } else {
      state.stalls.erase(name);
    }
  }
  return began;
}

HealthBrake health_brake(const ClusterState& state, const VmId& vm, const Host& host,
                         ClusterTime now) {
  HealthBrake result;
  brake(result, state.nodes.at(host.node).stall, of_host(state, host, now),
        node_name(state, host.node), now);
  for (const std::string& name : groups_of(state, state.vms.at(vm))) {
    const auto known = state.stalls.find(name);
    if (known == state.stalls.end()) continue;
    brake(result, known->second, of_group(state, name, now), name, now);
  }
  return result;
}

}  // namespace clusterd
