// Workload: an operator who uses the cluster while it suffers, and who does at the end what the
// runbook says: accepts a state, confirms what nobody can prove.
#pragma once

#include "tests/sim/cluster.h"

namespace clusterd::sim {

class Workload {
 public:
  explicit Workload(SimCluster& cluster);

  void start(SimTime end);
  // What an operator does when the cluster waits for a word: looks at every node, and gives it.
  void help();

 private:
  void schedule();
  void act();
  void order_vm();
  void change_configuration();
  [[nodiscard]] NodeId any_node();

  SimCluster& cluster_;
  Prng& prng_;
  SimTime mean_;
  SimTime end_{0};
};

}  // namespace clusterd::sim
