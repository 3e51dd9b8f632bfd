#include "tests/sim/checkers.h"

#include <chrono>
#include <utility>

#include "clusterd/base/archive.h"
#include "clusterd/codec/snapshot.h"

namespace clusterd::sim {
namespace {

// A daemon that reads its socket may still act on what it was told this long ago.
constexpr SimTime kReading{std::chrono::milliseconds(50)};
// The whole state is hashed only now and then: it is most of the cost of a run.
constexpr std::uint64_t kDigestEvery = 16;
constexpr std::size_t kRemembered = 20000;

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
}

void Checkers::on_stop(const SimHost& host, const DispatchStop& order) {
  ++activity_.stops;
  check_may_act(host, "stops " + name_of(order.vm));
}

void Checkers::on_power_order(const SimHost& host, const DispatchPower& order) {
  // Reading is allowed at any time (R18).
  if (order.kind == PowerOpKind::read_power) return;
  ++(order.kind == PowerOpKind::fence ? activity_.fences : activity_.power_ons);
  check_may_act(host, "acts on the power of " + name_of(order.target));
  check_once(host, order.op, "acts on the power of " + name_of(order.target));
  if (order.target == host.id) fail("S6", name_of(host.id) + " switches itself");
}

void Checkers::on_applied(NodeId node, const ClusterState& state) {
  const Position& at = state.position;
  const std::string where = name_of(node) + " at " + std::to_string(at.epoch.value) + "." +
                            std::to_string(at.index.value);
  Hasher members;
  write(members, state.view.members);
  const auto key = std::tuple(at.epoch, at.index, members.digest());
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
