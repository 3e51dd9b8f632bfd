#include "tests/sim/checkers.h"

#include <chrono>
#include <utility>

#include "clusterd/base/archive.h"
#include "clusterd/codec/snapshot.h"
#include "clusterd/engine/queries.h"

namespace clusterd::sim {
namespace {

// A daemon that reads its socket may still act on what it was told this long ago.
constexpr SimTime kReading{std::chrono::milliseconds(50)};
// The whole state is hashed only now and then: it is most of the cost of a run.
constexpr std::uint64_t kDigestEvery = 64;
constexpr std::size_t kRemembered = 20000;
// Hosts whose daemons have been in one group for so long know of each other, whatever is slow.
constexpr SimTime kAcquainted{std::chrono::seconds(10)};
// Links that flap make a host lost anew each time; the back-off keeps everything else far below.
constexpr std::size_t kFencesPerMinute = 30;
// What was wrong so long ago is no reason to restart a guest now.
constexpr SimTime kTroubleForgotten{std::chrono::seconds(90)};
using std::chrono::seconds;

}  // namespace

std::string Activity::str() const {
  return std::to_string(starts) + " starts, " + std::to_string(stops) + " stops, " +
         std::to_string(fences) + " fences, " + std::to_string(power_changes) +
         " power changes, " + std::to_string(appeared) + " VMs appeared, " +
         std::to_string(vanished) + " vanished, " + std::to_string(exits) + " daemon exits";
}

void Checkers::fail(std::string rule, std::string detail) {
  env_.trace.say([&] { return "VIOLATION " + rule + ": " + detail; });
  if (!violation_) violation_ = Violation{std::move(rule), std::move(detail)};
}

void Checkers::check_alone(const SimHost& host, VmId vm, const char* when) {
  for (const auto& [id, other] : env_.world.hosts()) {
    if (id == host.id || !other.powered) continue;
    const std::string who = name_of(vm) + " on " + name_of(host.id) + " " + when;
    if (other.active(vm)) {
      fail(std::string(when) == "becomes active" ? "S1" : "S2",
           who + " while it is active on " + name_of(id));
    }
    const auto starting = other.starting.find(vm);
    const auto grant = other.grants.find(vm);
    if (starting != other.starting.end() && grant != other.grants.end() &&
        starting->second == grant->second) {
      fail("S2", who + " while a granted start is under way on " + name_of(id));
    }
  }
}

void Checkers::on_active(const SimHost& host, VmId vm) {
  ++activity_.appeared;
  check_alone(host, vm, "becomes active");
}

void Checkers::on_gone(const SimHost&, VmId) { ++activity_.vanished; }

void Checkers::on_power(const SimHost&) { ++activity_.power_changes; }

void Checkers::check_may_act(const SimHost& host, const std::string& what) {
  const Standing standing = standing_(host.id);
  const std::string who = name_of(host.id) + " " + what;
  if (!standing.known) {
    fail("S3", who + " without a daemon");
  } else if (!standing.local.quorate || !standing.local.active) {
    fail("S3", who + ", but is " + (standing.local.quorate ? "not active" : "not quorate"));
  } else if (!standing.told_quorate && standing.told_for > kReading) {
    fail("S3", who + ", but Corosync has told it that it is not quorate");
  }
}

void Checkers::check_once(const SimHost& host, OpId op, const std::string& what) {
  if (dispatched_.emplace(Host{host.id, host.boot}, op).second) return;
  fail("S2", name_of(host.id) + " " + what + " twice for operation " + op.str());
}

void Checkers::on_start(const SimHost& host, const DispatchStart& order) {
  ++activity_.starts;
  check_may_act(host, "starts " + name_of(order.vm));
  check_alone(host, order.vm, "is started");
  check_once(host, order.op, "starts " + name_of(order.vm));
  check_armed(host, order.op, "starts " + name_of(order.vm));
  check_constraints(host, order.vm);
  started_.insert(order.vm);
}

// What somebody started by hand is nobody's decision.
void Checkers::check_constraints(const SimHost& host, VmId vm) {
  std::set<VmId> there;
  for (const auto& [id, domain] : host.domains) {
    if (domain.started_by != OpId{}) there.insert(id);
  }
  for (const auto& [id, op] : host.starting) {
    const auto grant = host.grants.find(id);
    if (grant != host.grants.end() && grant->second == op) there.insert(id);
  }
  there.erase(vm);
  const std::string who = name_of(vm) + " is started on " + name_of(host.id);
  const auto size_of = [this](VmId id) {
    const auto size = rules_.memory.find(id);
    return size == rules_.memory.end() ? 0 : size->second;
  };
  std::uint64_t needed = size_of(vm);
  for (const VmId id : there) needed += size_of(id);
  const bool in_need = started_.count(vm) != 0 && rules_.preemptible.count(vm) == 0;
  const std::uint64_t offer =
      in_need ? std::max(rules_.host_memory, rules_.degraded_memory) : rules_.host_memory;
  if (rules_.host_memory != 0 && needed > offer) {
    fail("S4", who + " beside " + std::to_string(there.size()) + " VMs: not enough memory");
  }
  const auto enemies = rules_.away_from.find(vm);
  if (enemies == rules_.away_from.end()) return;
  for (const VmId enemy : enemies->second) {
    if (there.count(enemy) != 0) fail("S4", who + " beside " + name_of(enemy));
  }
}

void Checkers::on_stop(const SimHost& host, const DispatchStop& order) {
  ++activity_.stops;
  if (order.op.epoch == kPurgeEpoch) return;  // a condemned boot purges itself (R21)
  check_may_act(host, "stops " + name_of(order.vm));
  check_armed(host, order.op, "stops " + name_of(order.vm));
  if (order.cause == Cause::unhealthy) check_trouble(host, order.vm);
}

// Nothing is restarted for its health but what was troubled a moment ago: not for its agent alone.
void Checkers::check_trouble(const SimHost& host, VmId vm) {
  const auto domain = host.domains.find(vm);
  const auto broken = env_.broken_apps.find(vm);
  const bool was_broken = broken != env_.broken_apps.end() &&
                          env_.queue.now() - broken->second < kTroubleForgotten;
  if (domain == host.domains.end() || was_broken) return;
  const SimDomain& guest = domain->second;
  const bool troubled = guest.troubled >= SimTime(0) &&
                        env_.queue.now() - guest.troubled < kTroubleForgotten;
  if (troubled || guest.hung || guest.app_dead || guest.state != DomainState::running) return;
  // An agent that must answer, and has died before any daemon heard of it.
  const Standing standing = standing_(host.id);
  const auto known = standing.state->vms.find(vm);
  const auto policy = resolved(*standing.state, known->second);
  const auto& agent = policy->health.guest_agent;
  if (guest.agent_dead && agent && agent->required) return;
  fail("H1", name_of(host.id) + " stops " + name_of(vm) + " for its health, and it is well");
}

// R28: what was decided after a disarm is not carried out. Who has not heard of it cannot obey.
void Checkers::check_armed(const SimHost& host, OpId op, const std::string& what) {
  const Standing standing = standing_(host.id);
  if (!standing.known || standing.state->armed) return;
  if (op.index <= standing.state->disarm.index) return;
  fail("R28", name_of(host.id) + " " + what + ", which was decided after a disarm");
}

// An operator wants this host off, whatever hinders the cluster.
bool Checkers::is_ordered(const SimHost& host, NodeId target) const {
  const Standing standing = standing_(host.id);
  if (!standing.known) return false;
  const auto node = standing.state->nodes.find(target);
  if (node == standing.state->nodes.end()) return false;
  return node->second.fence_ordered.has_value() ||
         (node->second.loss && node->second.loss->ordered);
}

void Checkers::on_power_order(const SimHost& host, const DispatchPower& order) {
  // Reading is allowed at any time (R18).
  if (order.kind == PowerOpKind::read_power) return;
  ++(order.kind == PowerOpKind::fence ? activity_.fences : activity_.power_ons);
  check_may_act(host, "acts on the power of " + name_of(order.target));
  check_once(host, order.op, "acts on the power of " + name_of(order.target));
  if (order.target == host.id) fail("S6", name_of(host.id) + " switches itself");
  if (is_ordered(host, order.target)) return;
  const Standing standing = standing_(host.id);
  if (standing.known && !standing.state->armed) {
    fail("R28", name_of(host.id) + " acts on the power of " + name_of(order.target) +
                    " although it is disarmed");
  }
  if (order.kind == PowerOpKind::fence) check_fence(host, order.target);
}

void Checkers::check_fence(const SimHost& host, NodeId target) {
  const std::string who = name_of(host.id) + " fences " + name_of(target);
  const Standing victim = standing_(target);
  const SimTime heard = std::min(victim.responsive_for, together_(host.id, target));
  if (victim.known && heard > kAcquainted) {
    fail("S6", who + ", although their daemons hear each other");
  }
  auto& times = fenced_[target];
  times.push_back(env_.queue.now());
  while (times.front() + seconds(60) < env_.queue.now()) times.pop_front();
  if (times.size() > kFencesPerMinute) {
    fail("S6", who + ": " + std::to_string(times.size()) + " times within a minute");
  }
}

void Checkers::check_epoch(NodeId node, std::uint32_t process, const ClusterState& state) {
  const Epoch epoch = state.position.epoch;
  auto& [run, last] = epoch_of_[node];
  if (run == process && epoch < last) {
    fail("S7", name_of(node) + " goes back from epoch " + std::to_string(last.value) + " to " +
                   std::to_string(epoch.value));
  }
  if (run == process && epoch == last) return;
  run = process;
  last = epoch;
}

void Checkers::on_applied(NodeId node, std::uint32_t process, const ClusterState& state) {
  check_epoch(node, process, state);
  const Position& at = state.position;
  const std::string where = name_of(node) + " at " + std::to_string(at.epoch.value) + "." +
                            std::to_string(at.index.value);
  // Two sides of a partition may count alike; the runs of their daemons tell them apart.
  std::uint64_t runs = 0;
  for (const auto& [id, member] : state.view.members) runs += id.value + member.incarnation.value;
  const auto key = std::tuple(at.epoch, at.index, runs);
  const auto [known, fresh] = chain_at_.emplace(key, at.chain);
  if (!fresh && known->second != at.chain) {
    fail("S5", where + " has applied other entries than another member of the same view");
  }
  if (at.index.value % kDigestEvery != 0) return;
  const Digest digest = state_digest(state);
  const auto [same, first] = state_of_chain_.emplace(at.chain, digest);
  if (!first && same->second != digest) {
    fail("S5", where + " has another state than another member after the same entries");
  }
  if (chain_at_.size() > kRemembered) chain_at_.erase(chain_at_.begin());
  if (state_of_chain_.size() > kRemembered) state_of_chain_.clear();
}

}  // namespace clusterd::sim
