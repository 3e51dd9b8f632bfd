// SimHypervisor: libvirt, its hook, and the guests of one host. It outlives the daemon: a create
// call under way goes on when clusterd dies, and its answer is lost.
//
// A start is: grant written; the create call waits; the hook asks for the grant; from then on
// the domain is there; the call returns. A start may fail before or after the hook, or hang on
// either side of it.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>

#include "clusterd/ports/hypervisor.h"
#include "clusterd/ports/sink.h"
#include "tests/sim/world.h"

namespace clusterd::sim {

// Sees what the daemons do to the world, before it happens.
class DispatchObserver {
 public:
  virtual ~DispatchObserver() = default;
  virtual void on_start(const SimHost&, const DispatchStart&) {}
  virtual void on_stop(const SimHost&, const DispatchStop&) {}
  virtual void on_power_order(const SimHost&, const DispatchPower&) {}
};

struct SimHostSize {
  Resources total{64ULL << 30, 32};
};

class SimHypervisor final : public Hypervisor {
 public:
  using Post = std::function<void(Event)>;

  SimHypervisor(SimEnv& env, SimHost& host, SimHostSize size, DispatchObserver& observer)
      : env_(env), host_(host), observer_(observer) {
    facts_.total = size.total;
    facts_.cpu_model = "EPYC";
    facts_.virt_type = "kvm";
  }

  // The daemon that runs now; it is told that the connection is up, if it is.
  void connect(Post post);
  void disconnect();
  // libvirtd goes away, or comes back; while it is away nothing is answered but `unknown`.
  void set_available(bool available);

  void start(const DispatchStart& order) override;
  void stop(const DispatchStop& order) override;
  void revoke_and_look(const RevokeAndLook& order) override;
  void look_up(const LookUp& order) override;
  void list(const ListDomains& order) override;
  [[nodiscard]] Status protect(VmId vm) override;
  [[nodiscard]] std::set<VmId> protected_vms() const override { return host_.guarded; }

  // ---- faults and events of the world ----
  void crash(VmId vm) { vanish(vm, StopCause::failed); }
  void guest_shuts_down(VmId vm) { vanish(vm, StopCause::guest_shutdown); }
  void destroyed_by_hand(VmId vm) { vanish(vm, StopCause::destroyed); }
  // What QEMU does with a guest whose disk does not answer, whose kernel panics, or that somebody
  // suspends or resumes. No effect on a VM that is not here.
  void set_domain_state(VmId vm, DomainState state);
  // `virsh start`: false if the hook refuses. Past it: somebody runs QEMU without libvirt's hook.
  enum class Hook : std::uint8_t { asked, bypassed };
  bool start_by_hand(VmId vm, Hook hook = Hook::asked);
  // The next start on this host hangs before (or after) its hook for this long.
  void hang_next_start(SimTime before_hook, SimTime after_hook);
  void fail_next_starts(int count) { failing_starts_ = count; }
  void set_stop_hangs(bool hangs) { stop_hangs_ = hangs; }
  // Every look takes this much longer; what it saw was true when it began.
  void set_look_delay(SimTime extra) { look_delay_ = extra; }
  void set_agents(bool answer) { agents_ = answer; }
  // Called when a guest has come up.
  void on_guest_up(std::function<void(VmId)> told) { guest_up_ = std::move(told); }
  // What libvirt tells of this host; a change shows when it is listed next.
  HostFacts& facts() { return facts_; }

 private:
  struct Plan {
    SimTime before_hook{0};
    SimTime after_hook{0};
    bool fails = false;
  };

  void post(Event event);
  void post_later(SimTime delay, Event event);
  Plan draw_plan();
  void pass_hook(const DispatchStart& order, const Plan& plan, std::uint64_t session);
  void appear(VmId vm, OpId op);
  void vanish(VmId vm, StopCause cause);
  void changed(VmId vm, StopCause cause);
  void answer_look(VmId vm, std::uint64_t look);
  void end(const DispatchStart& order, Outcome outcome, DomainState state, std::string detail);
  void revoke(VmId vm, OpId op);
  void finish_stop(const DispatchStop& order, std::uint64_t session);
  [[nodiscard]] DomainObservation observe(VmId vm) const;

  SimEnv& env_;
  SimHost& host_;
  HostFacts facts_;
  DispatchObserver& observer_;
  Post post_;
  std::function<void(VmId)> guest_up_;
  std::uint64_t session_ = 0;
  bool available_ = true;
  bool agents_ = true;
  bool stop_hangs_ = false;
  int failing_starts_ = 0;
  SimTime look_delay_{0};
  std::optional<Plan> next_plan_;
  std::set<OpId> answered_;  // starts whose deadline has passed or that have ended
};

}  // namespace clusterd::sim
