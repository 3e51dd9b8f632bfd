// LibvirtHypervisor: the Hypervisor port on libvirt's C API, and GuestAgent through libvirt.
//
// Event driven: one connection carries events; calls run on workers, each with a connection and
// a deadline of its own. A call that does not return in time is answered `unknown` (or nullopt);
// what it does later shows as DomainChanged, so that the controller looks again. Nothing is
// polled: an idle host costs libvirt's keepalive.
//
// One at a time in a process, because libvirt's event loop is one. The caller's thread does no
// libvirt call; only grants (tmpfs) and protect() touch files on it.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "clusterd/ports/hypervisor.h"
#include "clusterd/ports/sink.h"
#include "resource-agents/libvirt/guest_agent.h"

namespace clusterd {

struct LibvirtOptions {
  std::string uri = "qemu:///system";
  std::string virt_type = "kvm";  // or qemu: for which domains libvirt is asked what CPUs there are
  bool never_sleeps = false;      // what the host's facts say of it
  std::string run_dir = "/run/clusterd";        // grants; the hook knows the default only
  std::string state_dir = "/var/lib/clusterd";  // protected; the hook knows the default only
  // libvirt's hook: while it is no executable file, the host's facts say that nothing may start
  // here. Empty: not asked for.
  std::string hook;
  std::function<void(const std::string&)> log;  // from any thread, must not block; may be empty
  // Names each libvirt function as it is called; as `log`.
  std::function<void(const char* function)> called;
  Duration look_timeout{5000};                  // then LookedUp{nullopt}
  Duration list_timeout{20000};                 // then DomainsListed{ok=false}
  Duration agent_timeout{3000};                 // of one question to a guest's agent
};

class LibvirtHypervisor final : public Hypervisor, public GuestAgent {
 public:
  // Reads the protected VMs, revokes what an earlier daemon granted, and begins
  // to connect; HypervisorConnection tells how that ended.
  // `sink` must live until the destructor has returned; nothing is posted, logged or counted
  // after it.
  LibvirtHypervisor(LibvirtOptions options, EventSink& sink);
  // Takes at most some seconds; threads stuck in libvirt are left behind.
  ~LibvirtHypervisor() override;
  LibvirtHypervisor(const LibvirtHypervisor&) = delete;
  LibvirtHypervisor& operator=(const LibvirtHypervisor&) = delete;

  void start(const DispatchStart& order) override;
  void stop(const DispatchStop& order) override;
  void revoke_and_look(const RevokeAndLook& order) override;
  void look_up(const LookUp& order) override;
  void list(const ListDomains& order) override;
  [[nodiscard]] Status protect(VmId vm) override;
  [[nodiscard]] std::set<VmId> protected_vms() const override;

  // GuestAgent; from any thread. `silent` is libvirt's own verdict: when libvirt itself does not
  // answer in time, the question was not asked.
  void ping(VmId vm, Duration timeout, Answered<AgentAlive> answered) override;
  void command(VmId vm, std::string json, Duration timeout,
               Answered<std::string> answered) override;
  void addresses(VmId vm, Duration timeout,
                 Answered<std::vector<std::string>> answered) override;
  void output(VmId vm, Answered<GuestOutput> answered) override;

  // For the metrics; thread-safe.
  [[nodiscard]] std::map<std::string, std::uint64_t> calls() const;
  [[nodiscard]] std::size_t stuck_threads() const;

 private:
  struct Core;
  std::shared_ptr<Core> core_;
};

}  // namespace clusterd
