// Nemesis: what goes wrong, drawn from the seed.
//
// Swarm testing: for each run some kinds of faults are off entirely and the others have wildly
// different rates, so that rare combinations get their turn. Each fault undoes itself after a
// while; quiet() undoes everything, after which the cluster must converge (L1).
// Source: A. Groce et al., "Swarm Testing", ISSTA 2012.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "tests/sim/cluster.h"
#include "tests/sim/schedule.h"

namespace clusterd::sim {

class Nemesis {
 public:
  // `every_kind`: all kinds, each at a middling rate, instead of what the seed draws.
  Nemesis(SimCluster& cluster, std::uint64_t seed, bool every_kind);

  // Adds what goes wrong from `begin` to `end`.
  void plan(Schedule& schedule, SimTime begin, SimTime end);
  // Nothing goes wrong any more, and everything is repaired: links, devices, disks, frozen and
  // dead hosts.
  void quiet();
  // Some daemons, or all, die in one instant.
  void crash_daemons(Prng& prng);
  // "power_cut/4s partition/64s ...": the kinds and their mean pauses.
  [[nodiscard]] std::string kinds() const;

 private:
  using Strike = void (Nemesis::*)(Prng&);
  struct Kind {
    const char* name;
    Strike strike;
  };
  static const std::vector<Kind>& all_kinds();
  struct Drawn {
    Kind kind;
    SimTime mean;  // pause between two
    std::uint64_t seed;
  };

  // ---- hosts and daemons ----
  void power_cut(Prng& prng);
  void cord_pulled(Prng& prng);
  void reboot(Prng& prng);
  void freeze_host(Prng& prng);
  void kill_daemon(Prng& prng);
  void crash_loop(Prng& prng);
  void stop_daemon(Prng& prng);
  void freeze_daemon(Prng& prng);
  void starve_daemon(Prng& prng);
  // ---- guests ----
  void guest_hangs(Prng& prng);
  void agent_dies(Prng& prng);
  void application_dies(Prng& prng);
  void application_broken(Prng& prng);
  void guest_reboots(Prng& prng);
  void guests_stall(Prng& prng);  // all of one host, for a while
  static void end_stall(SimNode& node);
  // A VM that is active somewhere, and where; nullopt: this one is not.
  [[nodiscard]] std::optional<std::pair<SimNode*, VmId>> any_guest(Prng& prng);
  // ---- network ----
  void partition(Prng& prng);
  void flapping_links(Prng& prng);
  void deaf_host(Prng& prng);       // it hears, and nobody hears it
  void cut_at_message(Prng& prng);  // the sender alone has delivered it (R1)
  void flow_closed(Prng& prng);
  void arbiter_gone(Prng& prng);
  // ---- guests and libvirt ----
  void vm_crash(Prng& prng);
  void guest_shutdown(Prng& prng);
  void destroyed_by_hand(Prng& prng);
  void started_by_hand(Prng& prng);
  void start_trouble(Prng& prng);
  void stop_trouble(Prng& prng);
  void libvirt_gone(Prng& prng);
  // ---- fence devices ----
  void device_silent(Prng& prng);
  void device_refuses(Prng& prng);
  void device_ignores(Prng& prng);  // says yes, does nothing
  void agent_trouble(Prng& prng);
  // ---- disks ----
  void slow_disk(Prng& prng);
  void sync_failure(Prng& prng);
  void full_disk(Prng& prng);
  void wipe_disk(Prng& prng);
  void corrupt_disk(Prng& prng);
  void lying_disk(Prng& prng);  // what it said was written is not there after the power returns

  using Sides = std::vector<std::vector<std::uint32_t>>;
  [[nodiscard]] Sides draw_sides(Prng& prng) const;
  void flap(Prng prng, SimTime until);
  void shake(NodeId node, Prng prng, SimTime until);
  void starve(SimNode& node, Prng prng, SimTime until);
  void cut_sender(NodeId sender);
  void active_vm(Prng& prng, const std::function<void(SimNode&, VmId)>& strike);
  // True if one more host may lose its state; its power is cut then.
  bool lose_state(Prng& prng, SimNode& node);
  void power_back_later(Prng& prng, NodeId id);
  SimDevice& any_device(Prng& prng);
  SimNode& any_node(Prng& prng);
  void faults_end_later(Prng& prng);
  // Runs `undo` later, unless quiet() came first and repaired everything.
  void later(SimTime delay, std::function<void()> undo);

  SimCluster& cluster_;
  std::vector<Drawn> drawn_;
  bool quiet_ = false;
  bool cut_armed_ = false;
  Prng cut_prng_{0};
  std::uint64_t calm_ = 0;  // messages that pass before an armed cut
  std::uint32_t lost_states_ = 0;
};

}  // namespace clusterd::sim
