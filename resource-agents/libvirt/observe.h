// Looks at domains: the translation from what libvirt and /proc say to a DomainObservation.
#pragma once

#include <libvirt/libvirt.h>

#include <optional>
#include <set>
#include <vector>

#include "clusterd/model/effect.h"
#include "resource-agents/libvirt/boards.h"
#include "resource-agents/libvirt/session.h"

namespace clusterd::libvirt {

// nullopt: libvirt said a state that we do not know; nothing may be concluded from it.
[[nodiscard]] std::optional<DomainState> domain_state(int state, int reason);

struct DomainLook {
  DomainObservation observation;
  int domain_id = -1;            // libvirt's number of this start
  bool agent_connected = false;  // the agent's channel is open
};

// The truth about one VM, or why it is not known. Absent only if libvirt knows no active domain
// and no process carries the UUID.
[[nodiscard]] Result<DomainLook> look_at(Session& session, const AgentBoard& agents, VmId vm);

struct Listing {
  DomainsListed answer;
  std::vector<DomainLook> looks;  // of the same domains
  std::string note;               // for the log; empty: nothing to say
};
struct ListRequest {
  ListDomains order;
  std::set<VmId> protected_vms;
  std::string virt_type;  // kvm or qemu: which domains the host's CPU and machine facts are about
};
// The active domains among `order.known` and `protected_vms`, and the facts of this host. A libvirt
// that does not tell the host's CPU models leaves those facts unknown, and the note says why.
[[nodiscard]] Listing list_domains(Session& session, const AgentBoard& agents,
                                   const ListRequest& request);

}  // namespace clusterd::libvirt
