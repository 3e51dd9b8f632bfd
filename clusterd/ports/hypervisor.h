// Hypervisor: the hands on VMs of this host. No call blocks; answers come as events
// (VmOperationEnded, LookedUp, DomainsListed, DomainChanged, HypervisorConnection).
#pragma once

#include "clusterd/base/result.h"
#include "clusterd/model/effect.h"

namespace clusterd {

class Hypervisor {
 public:
  virtual ~Hypervisor() = default;

  // Writes the start grant, then creates a transient domain, never autostarted. Answers
  // VmOperationEnded: done (it is active), failed_without_effect (revoked, then found absent), or
  // unknown after `timeout`.
  virtual void start(const DispatchStart& order) = 0;
  // Shutdown, then destroy, then a look. Answers VmOperationEnded: done means found absent;
  // failed_without_effect never occurs; unknown when libvirt does not tell in time.
  virtual void stop(const DispatchStop& order) = 0;
  // See RevokeAndLook, LookUp, ListDomains in effect.h. Each is answered exactly once.
  virtual void revoke_and_look(const RevokeAndLook& order) = 0;
  virtual void look_up(const LookUp& order) = 0;
  virtual void list(const ListDomains& order) = 0;
  // Durable when it returns. An error means that the hook cannot guard this VM.
  [[nodiscard]] virtual Status protect(VmId vm) = 0;
  // VMs that this host's hook guards.
  [[nodiscard]] virtual std::set<VmId> protected_vms() const = 0;
};

}  // namespace clusterd
