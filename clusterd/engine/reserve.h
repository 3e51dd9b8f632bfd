// Reserve: how many hosts may be lost at any time, proven.
//
// A set of hosts may be lost if all guaranteed VMs that would stay nowhere without them find a
// place on the others under every hard rule, while the guaranteed VMs there stay where they are
// (a failover must not depend on a migration) and preemptible VMs may be stopped. What is proven
// is the situation after the present plan: VMs that are about to start count where it puts them,
// VMs that have no place are nobody's reserve. Degraded mode does not count. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "clusterd/engine/fleet.h"
#include "clusterd/engine/remedy.h"

namespace clusterd {

// Whether "is what the reserve demands tolerated?" was decided. Unknown counts as no.
enum class Proof : std::uint8_t { exact, unknown };
constexpr Proof enum_last(Proof) {
  return Proof::unknown;
}
[[nodiscard]] std::string_view name_of(Proof proof);

// A set of hosts that may not be lost, and a VM that finds no place then; without a VM: nobody
// knows, as the search took too long.
struct Blocking {
  std::vector<NodeId> down;
  std::optional<VmId> vm;
  friend bool operator==(const Blocking&, const Blocking&) = default;
};

struct Reserve {
  std::uint32_t required = 0;
  // Every set of up to so many online hosts may be lost. No more than that, unless `at_least`:
  // then larger sets were too many to look at.
  std::uint32_t tolerated = 0;
  bool at_least = false;
  bool ok = false;  // what is required is tolerated, proven
  Proof proof = Proof::exact;
  std::vector<Blocking> blocking;  // sets of tolerated + 1 hosts; ascending, at most kBlockingShown
  std::optional<Remedy> remedy;    // one that is known, unless ok
  friend bool operator==(const Reserve&, const Reserve&) = default;
};

constexpr std::size_t kBlockingShown = 8;

// Limits of the proof, all in work and none in time: the answer is the same everywhere.
struct ReserveEffort {
  std::uint64_t set_steps = kPackingSteps;  // for one set; see packing.h
  std::uint64_t all_steps = 200'000'000;    // for all sets together; about a second
  // Sets of more hosts than required are looked at if all of them together displace at most so
  // many VMs; else only the worst few.
  std::uint64_t beyond = 100'000;
  std::uint64_t remedy_steps = 4'000'000;
};

// Plans, then proves.
[[nodiscard]] Reserve reserve_of(const ClusterState& state, ClusterTime now,
                                 const ReserveEffort& effort = {});

// The same answers again and again, as the state changes. It keeps where the VMs of every set went
// and looks for another place only if that no longer holds. What reserve_of() cannot decide within
// its limits this may know from before: so what every replica must answer alike (apply) asks
// reserve_of().
class ReserveProver {
 public:
  explicit ReserveProver(const ReserveEffort& effort = {}) : effort_(effort) {}

  [[nodiscard]] Reserve prove(const ClusterState& state, ClusterTime now);

 private:
  using Index = Fleet::Index;
  // Where the displaced VMs of a set of nodes go; the VMs ascend.
  struct Recovery {
    std::vector<Index> vms;
    std::vector<Index> targets;
    std::uint64_t round = 0;  // when it was last needed
  };
  struct Finding {
    PackingVerdict verdict = PackingVerdict::fits;
    std::optional<VmId> vm;  // unless it fits
  };
  // What is known of all sets of so many hosts.
  struct Level {
    std::vector<Blocking> refuted;
    std::vector<Blocking> unknown;
    bool complete = true;  // every set was looked at
  };

  void renumber(const Fleet& fleet);
  void forget();
  [[nodiscard]] bool still_known(const Fleet& fleet, const std::vector<Index>& lost,
                                 const std::vector<Index>& displaced);
  [[nodiscard]] Finding judge(const Fleet& fleet, const std::vector<Index>& lost);
  [[nodiscard]] Level prove_level(const Fleet& fleet, const std::vector<Index>& nodes,
                                  std::uint32_t hosts, std::uint64_t most);
  void prove_levels(const Fleet& fleet, Reserve& reserve);
  [[nodiscard]] std::optional<Remedy> remedy(const ClusterState& state, const Fleet& fleet);

  const ReserveEffort effort_;
  std::vector<VmId> vms_;  // what the indices of known_ mean
  std::vector<NodeId> nodes_;
  std::map<std::vector<Index>, Recovery> known_;  // by the lost nodes, ascending
  std::uint64_t round_ = 0;
  std::uint64_t steps_ = 0;
};

}  // namespace clusterd
