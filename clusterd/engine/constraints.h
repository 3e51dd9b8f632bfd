// Constraints: why a VM may not be started on a node. Every refusal is typed, and reaches the
// log, the metrics and `explain` unchanged.
//
// Only hard rules stand here; what is merely better or worse is placement.cc's business. Whether
// a VM may be started at all (holders, R5) is judged by apply, never here. Called by placement
// and by apply (refuses).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "clusterd/engine/capacity.h"
#include "clusterd/model/resolve.h"

namespace clusterd {

// In the order in which they are judged: the first one found is the one told.
enum class ExclusionKind : std::uint8_t {
  lost,          // out of the ring and not proven dead
  left,          // said goodbye
  unmanaged,     // in the ring without a daemon (R22)
  not_a_member,  // proven dead, or never seen
  condemned,     // a member, but this boot is proven dead (R16)
  not_synced,
  inventory,   // has not reported every domain it sees (R10)
  undeclared,  // in Corosync's nodelist but not in the configuration
  fencing,     // a fence of it is open (R19)
  settling,    // ... or was, less than fence_settle ago
  maintenance,
  hypervisor,  // the host says that it can run nothing now
  requires_,   // lacks storage or a network
  allow,
  avoid,
  exclusive,  // the node takes only VMs that name it
  machine,    // the host has no such machine type
  cpu,        // the host's CPU cannot be what the domain demands
  away_from,
  together_with,
  memory,
  vcpus,
};
constexpr ExclusionKind enum_last(ExclusionKind) { return ExclusionKind::vcpus; }

// The name of the kind as people and metrics read it: "memory", "away_from".
[[nodiscard]] std::string_view name_of(ExclusionKind kind);

struct Exclusion {
  NodeId node;
  ExclusionKind kind = ExclusionKind::not_a_member;
  std::string detail;  // may be empty

  friend bool operator==(const Exclusion&, const Exclusion&) = default;
};

// "32 GiB" or "19.5 GiB" in the unit that suits `scale`, to a tenth. Need is rounded up and free
// space down, so that what does not fit never reads as if it did.
enum class Rounding : std::uint8_t { up, down };
[[nodiscard]] std::string size_text(std::uint64_t bytes, std::uint64_t scale, Rounding rounding);

// For people, without the node: "memory: needs 32 GiB, 20 GiB free".
[[nodiscard]] std::string sentence(const Exclusion& exclusion);

// Details cost an allocation each and a plan asks for thousands: they are made only to be shown.
enum class Detail : std::uint8_t { omit, tell };

// Nothing if the node may take VMs at all.
[[nodiscard]] std::optional<Exclusion> node_exclusion(const ClusterState& state, NodeId node,
                                                      ClusterTime now);

// requires, allow and avoid of one VM on one node, exclusive nodes, and what the domain demands of
// the host. An undeclared node provides nothing. What a host has not reported hinders nobody; of
// the CPU counts only what a start needs (live migration needs a common pool: cpu_pools.h).
[[nodiscard]] std::optional<Exclusion> rule_exclusion(const ResolvedVm& vm, NodeId node,
                                                      const NodeState& state,
                                                      const NodeDeclaration* declaration,
                                                      Detail detail);

// What rule_exclusion reads of a VM, without resolving it whole: VMs whose keys are equal get equal
// answers. Refers to the configuration.
class RuleKey {
 public:
  RuleKey(const Configuration& config, const VmDeclaration& vm);
  [[nodiscard]] bool operator<(const RuleKey& other) const;

 private:
  const std::set<std::string>* requires_ = nullptr;  // null: empty
  const PlacementRules* placement_ = nullptr;
  const DomainFacts* domain_;
};

// memory and vcpus, on top of what is used.
[[nodiscard]] std::optional<Exclusion> room_exclusion(NodeId node, const NodeCapacity& capacity,
                                                      const Need& need, Detail detail,
                                                      Mode mode = Mode::normal);

// Whom a VM is bound to, whoever of the two declared it. All lists ascend.
struct VmRelations {
  std::vector<VmId> apart;            // away_from
  std::vector<VmId> group;            // all VMs bound by together_with, directly or through
                                      // others; includes the VM itself; empty: not bound
  std::vector<VmId> prefer_apart;     // soft
  std::vector<VmId> prefer_together;  // soft
};

// The relations of all declared VMs. VMs without any are not stored: O(declared relations).
class Relations {
 public:
  explicit Relations(const Configuration& config);
  // Valid as long as this object.
  [[nodiscard]] const VmRelations& of(const VmId& vm) const;
  // Of every VM that has some.
  [[nodiscard]] const std::map<VmId, VmRelations>& all() const { return relations_; }

 private:
  std::map<VmId, VmRelations> relations_;
  VmRelations none_;
};

// True if the VM may be stopped to make room for a guaranteed one: it is declared preemptible, and
// so is everybody that together_with binds it to. A VM that is not declared is not.
[[nodiscard]] bool is_preemptible(const ClusterState& state, const Relations& relations,
                                  const VmId& vm);

// Whether the VM may have memory in degraded mode at its next start: it is guaranteed and ran
// before.
[[nodiscard]] Mode mode_of(const ClusterState& state, const Relations& relations, const VmId& vm);

// Where VMs are, as far as rules between VMs care: where they may be active, or where the plan
// in the making has put them.
class Whereabouts {
 public:
  explicit Whereabouts(const ClusterState& state) : state_(state) {}

  void put(const VmId& vm, NodeId node) { planned_[vm] = node; }
  void forget(const VmId& vm) { planned_.erase(vm); }
  [[nodiscard]] bool is_planned(const VmId& vm) const { return planned_.count(vm) != 0; }
  // Planned there, or may be active there in a boot that is not proven dead.
  [[nodiscard]] bool on(const VmId& vm, NodeId node) const;
  // Where the VM stays: planned, else every node that holds it and is not lost. A VM held by
  // lost hosts only stays nowhere: it will be recovered.
  [[nodiscard]] std::vector<NodeId> stays_on(const VmId& vm) const;

 private:
  const ClusterState& state_;
  std::map<VmId, NodeId> planned_;
};

// away_from and together_with of one VM on one node. A group whose members stay on different
// nodes already (it was declared later) leaves no place for a further one: the reason says so.
[[nodiscard]] std::optional<Exclusion> relation_exclusion(const ClusterState& state,
                                                          const VmRelations& relations,
                                                          const Whereabouts& whereabouts,
                                                          const VmId& vm, NodeId node,
                                                          Detail detail);

// ---- soft rules: what they say of one VM on one node; placement and rebalance weigh it ---------

// How many of prefer's away_from and together_with the node breaks. A VM that stays nowhere breaks
// nothing.
[[nodiscard]] std::uint64_t broken_wishes(const VmRelations& relations,
                                          const Whereabouts& whereabouts, NodeId node);
// How far down prefer's list the node stands; its length if it is not on it.
[[nodiscard]] std::uint64_t prefer_rank(const PlacementRules& rules, const std::string& node);
// The VM failed there too often lately.
[[nodiscard]] bool avoids(const VmState& vm, NodeId node, ClusterTime now);

// The guard of S4 inside apply: why this VM may not start on this node now. O(VMs).
[[nodiscard]] std::optional<Exclusion> refuses(const ClusterState& state, const VmId& vm,
                                               NodeId node, ClusterTime now);

// Why the VM should wait for the VMs of its start_after, or nothing: they run, or are not wanted
// to run, or start_after_timeout has passed since `since`, when this VM could first have started.
[[nodiscard]] std::optional<std::string> waits_for(const ClusterState& state, const VmId& vm,
                                                   ClusterTime since, ClusterTime now);

}  // namespace clusterd
