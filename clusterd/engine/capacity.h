// Capacity: what every node can still take.
//
// A node offers its capacity (declared, else what libvirt reports) less host_reserved, times the
// overcommit. A VM counts on every node where it may be active: on every holder whose boot is not
// proven dead (protocol R27), an open start included, as it is a holder already. Built once in
// O(VMs), then changed by reserve(). It judges nothing: constraints.h turns it into refusals.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>

#include "clusterd/model/state.h"

namespace clusterd {

// What VMs need together. Sums saturate: a declared size, however absurd, never wraps.
struct Need {
  std::uint64_t memory = 0;  // bytes
  std::uint64_t vcpus = 0;
  std::size_t vms = 0;

  void add(const Resources& size);
};

// Whose room it is. In degraded mode a guaranteed VM that ran before may have memory at
// overcommit.degraded_memory, where that is more, so that it runs at all.
enum class Mode : std::uint8_t { normal, degraded };

struct NodeCapacity {
  std::uint64_t memory = 0;  // bytes all VMs here may have together
  std::uint64_t vcpus = 0;
  std::uint64_t memory_used = 0;
  std::uint64_t vcpus_used = 0;
  std::uint64_t degraded_memory = 0;  // bytes in degraded mode; never less than `memory`

  // 0 when more is used than offered: a node may be overfull after its capacity was lowered.
  [[nodiscard]] std::uint64_t memory_free(Mode mode = Mode::normal) const {
    const std::uint64_t offer = mode == Mode::normal ? memory : degraded_memory;
    return offer > memory_used ? offer - memory_used : 0;
  }
  [[nodiscard]] std::uint64_t vcpus_free() const {
    return vcpus > vcpus_used ? vcpus - vcpus_used : 0;
  }
  void take(const Resources& size);
  void give_back(const Resources& size);  // precondition: it was taken before

  friend bool operator==(const NodeCapacity&, const NodeCapacity&) = default;
};

class Capacity {
 public:
  explicit Capacity(const ClusterState& state);

  // A node that the state does not know offers nothing.
  [[nodiscard]] NodeCapacity of(NodeId node) const;

  // Counts a VM of this size on the node; a node that the state does not know is ignored.
  void reserve(const Resources& size, NodeId node);
  // Takes that back; precondition: it was counted.
  void release(const Resources& size, NodeId node);

 private:
  std::map<NodeId, NodeCapacity> nodes_;
};

// What the node offers while nothing uses it.
[[nodiscard]] NodeCapacity offer_of(const ClusterState& state, const NodeState& node);

// The same for one node alone, without building the rest.
[[nodiscard]] NodeCapacity capacity_of(const ClusterState& state, NodeId node);

// True if this host is out of the ring and not proven dead.
[[nodiscard]] bool is_lost(const ClusterState& state, const Host& host);

// True if the VM may be active on this node, in a boot that is not proven dead.
[[nodiscard]] bool may_be_active_on(const ClusterState& state, const VmState& vm, NodeId node);

}  // namespace clusterd
