// The calls behind GuestAgent, as they run on a worker: each blocks, for at most its timeout and
// libvirt's own moment.
#pragma once

#include <string>
#include <vector>

#include "resource-agents/libvirt/guest_agent.h"
#include "resource-agents/libvirt/session.h"

namespace clusterd::libvirt {

// Whose fault a failed call is, from libvirt's error code and its message.
[[nodiscard]] AgentFailure::Kind agent_failure_kind(int code, const std::string& message);

// False for text that is no IP address, and for addresses by which no other host reaches a guest:
// loopback, link-local, multicast, unspecified.
[[nodiscard]] bool reachable_address(const std::string& text);

// libvirt counts in whole seconds, at least one.
[[nodiscard]] int whole_seconds(Duration length);

// Asks for the guest's clock. Answers the domain's id, which numbers this start.
[[nodiscard]] AgentAnswer<int> ping_agent(Session& session, VmId vm, Duration timeout);
[[nodiscard]] AgentAnswer<std::string> ask_agent(Session& session, VmId vm,
                                                 const std::string& json, Duration timeout);
[[nodiscard]] AgentAnswer<std::vector<std::string>> read_addresses(Session& session, VmId vm,
                                                                   Duration timeout);
[[nodiscard]] AgentAnswer<GuestOutput> read_output(Session& session, VmId vm);

}  // namespace clusterd::libvirt
