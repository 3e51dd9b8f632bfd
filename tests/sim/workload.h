// Workload: operators who use the cluster while it suffers, and who do at the end what the runbook
// says: accept a state, confirm what nobody can prove.
#pragma once

#include "tests/sim/cluster.h"
#include "tests/sim/schedule.h"

namespace clusterd::sim {

class Workload {
 public:
  Workload(SimCluster& cluster, std::uint64_t seed) : cluster_(cluster), seed_(seed) {}

  // Adds what operators do from `begin` to `end`.
  void plan(Schedule& schedule, SimTime begin, SimTime end);
  // Nothing more is ordered.
  void quiet();
  // What an operator does when the cluster waits for a word: looks at every node, and gives it.
  void help();

 private:
  using Act = void (Workload::*)(Prng&);
  void order_vm(Prng& prng);
  void change_priority(Prng& prng);
  void delete_vm(Prng& prng);
  void declare_all(Prng& prng);
  void fence_node(Prng& prng);
  void disarm(Prng& prng);
  void arm(Prng& prng);
  void order_held_fences(const SimNode& node);
  void confirm_dead(Prng& prng);
  void apply(NodeId to, ApplyConfiguration what);
  [[nodiscard]] NodeId any_node(Prng& prng) const;

  SimCluster& cluster_;
  std::uint64_t seed_;
  bool quiet_ = false;
};

}  // namespace clusterd::sim
