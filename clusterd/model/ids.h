// The identities of the cluster. Evidence is always about a *boot* of a machine, never about a
// machine: death of a boot is a stable fact, death of a node is not (protocol R16).
#pragma once

#include <compare>
#include <cstdint>
#include <string>

#include "clusterd/base/strong_id.h"
#include "clusterd/base/uuid.h"

namespace clusterd {

using NodeId = StrongId<struct NodeIdTag, std::uint32_t>;  // Corosync's node id, never 0
using Epoch = StrongId<struct EpochTag>;                   // number of Activates; 0: not founded
using LogIndex = StrongId<struct LogIndexTag>;             // applied log entries since founding
using Generation = StrongId<struct GenerationTag>;         // +1 per intent on a VM
using Incarnation = StrongId<struct IncarnationTag>;       // one run of a daemon, random, never 0
using ConfigVersion = StrongId<struct ConfigVersionTag>;   // +1 per accepted configuration change

// An id made of a Uuid; the tag keeps a boot from being passed for a machine.
template <class Tag>
struct UuidId {
  Uuid uuid;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.uuid);
  }
  [[nodiscard]] std::string str() const { return uuid.str(); }
  friend auto operator<=>(const UuidId&, const UuidId&) = default;
};
using BootId = UuidId<struct BootIdTag>;        // one boot of one machine
using MachineId = UuidId<struct MachineIdTag>;  // a machine, over all its boots
using ClusterId = UuidId<struct ClusterIdTag>;  // created by `init`
using VmId = UuidId<struct VmIdTag>;            // the libvirt domain's UUID

// What may run VMs, and what a death proof names.
struct Host {
  NodeId node;
  BootId boot;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.node, s.boot);
  }
  friend auto operator<=>(const Host&, const Host&) = default;
};

// Of what a condemned boot does to its VMs: later than every intent.
inline constexpr Epoch kPurgeEpoch{~std::uint64_t{0}};

// An operation is named by the log position of its intent.
struct OpId {
  Epoch epoch;
  LogIndex index;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.epoch, s.index);
  }
  // "epoch.index", as every user interface prints it.
  [[nodiscard]] std::string str() const {
    return std::to_string(epoch.value) + "." + std::to_string(index.value);
  }
  friend auto operator<=>(const OpId&, const OpId&) = default;
};

}  // namespace clusterd
