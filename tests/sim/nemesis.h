// Nemesis: what goes wrong, drawn from the seed.
//
// Swarm testing: for each run some kinds of faults are off entirely and the others have wildly
// different rates, so that rare combinations get their turn. Each fault undoes itself after a
// while; quiet() undoes everything, after which the cluster must converge (L1).
// Source: A. Groce et al., "Swarm Testing", ISSTA 2012.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "tests/sim/cluster.h"

namespace clusterd::sim {

class Nemesis {
 public:
  explicit Nemesis(SimCluster& cluster);

  // Faults happen from now until `end`.
  void start(SimTime end);
  // No new faults, and everything is repaired: links, devices, disks, frozen and dead hosts.
  void quiet();
  // "power_cut partition ...": what this seed draws from.
  [[nodiscard]] std::string kinds() const;

 private:
  enum class Kind : std::uint8_t {
    power_cut,
    cord_pulled,
    partition,
    cut_at_message,  // the sender alone has delivered it (R1)
    kill_daemon,
    stop_daemon,
    freeze_daemon,
    freeze_host,
    vm_crash,
    guest_shutdown,
    start_trouble,
    stop_trouble,
    libvirt_gone,
    device_silent,
    agent_trouble,
    slow_disk,
    sync_failure,
    flow_closed,
    wipe_disk,
    arbiter_gone,
  };
  static constexpr Kind kLastKind = Kind::arbiter_gone;
  static const char* name_of(Kind kind);

  void schedule(Kind kind);
  void strike(Kind kind);
  void strike_host(Kind kind, SimNode& node);
  void strike_guest(Kind kind);
  void strike_faults(Kind kind);
  void partition();
  void cut_sender(NodeId sender);
  void wipe_disk(SimNode& node);
  void power_back_later(NodeId id, bool cord);
  SimNode& any_node();
  SimTime pause(int low_s, int high_s);
  // Runs `undo` later, unless quiet() came first and repaired everything.
  void later(SimTime delay, std::function<void()> undo);

  SimCluster& cluster_;
  Prng& prng_;
  std::map<Kind, SimTime> rates_;  // mean pause between two of this kind
  SimTime end_{0};
  bool quiet_ = false;
  bool cut_armed_ = false;
  std::uint64_t calm_ = 0;  // messages that pass before an armed cut
  std::uint32_t wiped_ = 0;
};

}  // namespace clusterd::sim
