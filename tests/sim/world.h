// SimWorld: the truth. Which host has power, which VM is active where, at every instant.
//
// Nothing of the product is asked for it: the checkers look at this from above. SimEnv is what
// all models of the outside world share: time, chance, trace, faults, world.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "clusterd/base/prng.h"
#include "clusterd/model/effect.h"
#include "tests/sim/queue.h"
#include "tests/sim/trace.h"

namespace clusterd::sim {

struct SimDomain {
  DomainState state = DomainState::running;
  OpId started_by;
  bool agent = false;  // the guest is up
  bool hung = false;
  bool agent_dead = false;
  bool app_dead = false;
  std::uint64_t boots = 0;  // since QEMU started
  SimTime troubled{-1};     // when it last had what may cost it its life; negative: never
};

struct SimHost {
  NodeId id;
  MachineId machine;
  BootId boot;
  std::uint64_t session = 0;  // times that it was switched on; a purge changes the boot only
  bool powered = false;
  bool frozen = false;
  std::map<VmId, SimDomain> domains;
  std::map<VmId, OpId> grants;       // start grants, on tmpfs
  std::map<VmId, OpId> starting;     // create calls under way whose hook has not been asked yet
  std::set<VmId> guarded;            // on disk: the hook refuses these without a grant
  std::vector<std::function<void()>> deferred;  // what waits for the host to thaw

  [[nodiscard]] bool active(VmId vm) const { return domains.count(vm) != 0; }
};

// What a checker may see, as it happens.
class WorldObserver {
 public:
  virtual ~WorldObserver() = default;
  virtual void on_active(const SimHost&, VmId) {}
  virtual void on_gone(const SimHost&, VmId) {}
  virtual void on_power(const SimHost&) {}
};

// How often things go wrong, in thousandths, and how slow they are. Changed during a run.
struct SimFaults {
  std::uint32_t start_fails = 0;
  std::uint32_t start_hangs = 0;      // the create call answers after minutes, if at all
  std::uint32_t stop_hangs = 0;
  std::uint32_t look_silent = 0;      // libvirt does not tell in time
  std::uint32_t sync_slow = 0;        // a sync of seconds
  std::uint32_t sync_fails = 0;
  std::uint32_t agent_dies = 0;       // a fence agent ends without an answer
};

class SimWorld {
 public:
  SimHost& add(NodeId id, MachineId machine);
  [[nodiscard]] SimHost& host(NodeId id) { return hosts_.at(id); }
  [[nodiscard]] const std::map<NodeId, SimHost>& hosts() const { return hosts_; }
  void observe(WorldObserver& observer) { observers_.push_back(&observer); }

  void domain_active(SimHost& host, VmId vm, SimDomain domain);
  void domain_gone(SimHost& host, VmId vm);
  void power_on(SimHost& host, BootId boot);
  void power_off(SimHost& host);

  // Hosts on which the VM is active now, ascending.
  [[nodiscard]] std::vector<NodeId> active_on(VmId vm) const;

 private:
  std::map<NodeId, SimHost> hosts_;
  std::vector<WorldObserver*> observers_;
};

struct SimEnv {
  explicit SimEnv(std::uint64_t seed) : prng(seed), trace(queue) {}
  SimEnv(const SimEnv&) = delete;
  SimEnv& operator=(const SimEnv&) = delete;

  // Uniform.
  SimTime between(SimTime low, SimTime high) {
    return SimTime(prng.between(low.count(), high.count()));
  }
  Uuid uuid();
  // Runs `what` after `delay` on a host: never if it has been switched off or rebooted meanwhile,
  // and not before it thaws if it is frozen.
  void on_host(SimHost& host, SimTime delay, std::function<void()> what);
  void freeze(SimHost& host);
  void thaw(SimHost& host);

  SimQueue queue;
  Prng prng;
  SimTrace trace;
  SimFaults faults;
  std::map<VmId, SimTime> broken_apps;  // dead until then, whatever is done
  SimWorld world;
};

// "n3", as the simulated Corosync names its nodes.
[[nodiscard]] inline std::string name_of(NodeId id) { return "n" + std::to_string(id.value); }
// "vm12": the simulator makes UUIDs that tell their number.
[[nodiscard]] std::string name_of(VmId vm);
[[nodiscard]] VmId vm_id(std::uint32_t number);

}  // namespace clusterd::sim
