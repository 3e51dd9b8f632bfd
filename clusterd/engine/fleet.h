// Fleet: hosts and VMs as small numbers, for questions that are asked of many sets of lost hosts.
//
// Made from one ClusterState, which it does not refer to afterwards. What may be where is asked of
// constraints.h, once for all VMs whose rules are equal; nothing is judged anew here. From a Fleet
// comes the packing problem (packing.h) that a set of lost hosts, or a set of VMs to be started,
// poses. Called by the proof of the reserve and by placement.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <vector>

#include "clusterd/engine/capacity.h"
#include "clusterd/engine/packing.h"

namespace clusterd {

enum class Standing : std::uint8_t {
  guaranteed,  // wanted running, and nobody may stop it to make room
  lodger,      // wanted running; may be stopped to make room for a guaranteed VM
  leaving,     // a lodger that is being stopped: its room comes free by itself
  fixed,       // not wanted running: takes room while it is there, and is not recovered
};

// Which hosts can take VMs.
enum class FleetUse : std::uint8_t {
  plan,   // those that can take one now
  proof,  // and those that a fence keeps from it for a moment: that ends by itself
};

struct FleetVm {
  VmId id;
  PackingSize need;     // where it starts next
  PackingSize counted;  // where it is
  std::uint32_t priority = 0;
  Standing standing = Standing::fixed;
  std::uint32_t kind = 0;            // VMs of one kind may go to the same hosts
  std::uint32_t bonds = 0;           // 0: no relations
  std::vector<std::uint32_t> on;     // nodes where it may be active or will be, ascending
  std::vector<std::uint32_t> ghost;  // ... of these, lost hosts: it does not stay there
};

struct FleetNode {
  NodeId id;
  bool online = false;
  PackingSize offer;                      // to all VMs together
  std::uint64_t degraded_memory = 0;      // the same in degraded mode
  PackingSize fixed;                      // taken by all but lodgers
  std::vector<std::uint32_t> guaranteed;  // VMs that stay here, ascending
  std::vector<std::uint32_t> lodgers;     // VMs here that may be stopped, ascending
};

// What a set of VMs needs, as a packing: bins are the fleet's nodes, the lodgers of a bin those of
// the node, in the same order.
struct FleetProblem {
  PackingProblem packing;
  std::vector<std::vector<std::uint32_t>> vms;  // of every item, ascending
};

class Fleet {
 public:
  using Index = std::uint32_t;

  // `planned`: VMs that will be there soon, beside those that are. They stay there, whatever
  // holds them now. O(VMs + nodes * kinds of rules).
  Fleet(const ClusterState& state, ClusterTime now, FleetUse use,
        const std::map<VmId, NodeId>& planned = {});

  // Ascending by id; all that the state knows.
  [[nodiscard]] const std::vector<FleetNode>& nodes() const { return nodes_; }
  [[nodiscard]] const std::vector<FleetVm>& vms() const { return vms_; }
  [[nodiscard]] std::optional<Index> node(NodeId id) const;
  [[nodiscard]] std::optional<Index> vm(const VmId& id) const;

  // The node takes VMs, and the VM's own rules (not its relations) allow it.
  [[nodiscard]] bool eligible(Index vm, Index node) const {
    return kinds_[vms_[vm].kind].allows[node] != 0;
  }
  [[nodiscard]] PackingSize room(Index node, Mode mode = Mode::normal) const;
  // VMs that keep away from this one, and all that are bound to it, with itself; both ascend.
  [[nodiscard]] const std::vector<Index>& apart(Index vm) const;
  [[nodiscard]] const std::vector<Index>& group(Index vm) const;

  // Guaranteed VMs that would stay nowhere without these nodes (ascending), ascending.
  [[nodiscard]] std::vector<Index> displaced(const std::vector<Index>& lost) const;

  // These VMs (ascending, each staying nowhere without the lost nodes), to be placed on what is
  // left: all others stay, but lodgers may leave.
  [[nodiscard]] FleetProblem problem(const std::vector<Index>& vms, const std::vector<Index>& lost,
                                     Mode mode = Mode::normal) const;
  // The answer of a problem still holds: each of these VMs may go to its node. As problem() and
  // packing_fault() would say, but without building anything.
  [[nodiscard]] bool holds(const std::vector<Index>& vms, const std::vector<Index>& targets,
                           const std::vector<Index>& lost) const;

  // The same fleet with one change.
  void add_memory(Index node, std::uint64_t bytes) { nodes_[node].offer.memory += bytes; }
  // Precondition: it is on one node only, and no ghost.
  void move(Index vm, Index to);

 private:
  struct Kind {
    std::vector<Index> nodes;          // ascending
    std::vector<std::uint8_t> allows;  // by node
  };
  struct Bonds {
    std::vector<Index> apart;
    Index group = kNone;
  };
  // Where the others of a group hold its displaced members.
  struct Anchor {
    bool any = false;
    std::vector<Index> nodes;  // that all of them stay on
  };
  static constexpr Index kNone = std::numeric_limits<Index>::max();

  void read_nodes(const ClusterState& state, ClusterTime now, FleetUse use);
  void read_vms(const ClusterState& state, const std::map<VmId, NodeId>& planned);
  void read_policy(const Configuration& config, const VmDeclaration& vm, FleetVm& out) const;
  [[nodiscard]] Kind kind_of(const ClusterState& state, const VmDeclaration& vm) const;
  void read_places(const ClusterState& state, const VmState& vm, std::optional<Index> planned,
                   FleetVm& out) const;
  void read_relations(const ClusterState& state);
  void settle_groups(const ClusterState& state);
  void settle(Index vm);
  void unsettle(Index vm);
  [[nodiscard]] bool is_lost(Index node, const std::vector<Index>& lost) const;
  [[nodiscard]] bool stays(const FleetVm& vm, const std::vector<Index>& lost) const;
  [[nodiscard]] Anchor anchor(Index group, const std::vector<Index>& vms,
                              const std::vector<Index>& lost) const;
  void form_items(FleetProblem& problem, const std::vector<Index>& vms,
                  const std::vector<Index>& lost) const;
  void bind_item(FleetProblem& problem, Index item, const std::vector<Index>& vms,
                 const std::vector<Index>& lost) const;
  [[nodiscard]] bool peaceful(Index vm, Index target, const std::vector<Index>& vms,
                              const std::vector<Index>& targets,
                              const std::vector<Index>& lost) const;

  std::vector<FleetNode> nodes_;
  std::vector<FleetVm> vms_;
  std::vector<Kind> kinds_;
  std::vector<Bonds> bonds_;  // the first is nobody's
  std::vector<std::vector<Index>> groups_;
  const std::vector<Index> nobody_;
};

}  // namespace clusterd
