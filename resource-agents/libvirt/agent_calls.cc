#include "resource-agents/libvirt/agent_calls.h"

#include <arpa/inet.h>
#include <libvirt/libvirt-qemu.h>
#include <libvirt/libvirt.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <set>
#include <string_view>

#include "clusterd/base/text.h"
#include "resource-agents/libvirt/domain_xml.h"

namespace clusterd::libvirt {
namespace {

struct FreeText {
  void operator()(char* text) const { std::free(text); }  // NOLINT: libvirt allocates by malloc
};
using Text = std::unique_ptr<char, FreeText>;

bool contains(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

// Of this thread's last call: freeing a domain forgets it, so this comes first.
AgentFailure failure(const std::string& doing) {
  const int code = last_error_code();
  Error error = last_error(doing);
  const auto kind = agent_failure_kind(code, error.message);
  return {kind, std::move(error.message)};
}

Domain find_domain(Session& session, VmId vm) {
  session.count("virDomainLookupByUUID");
  return Domain(virDomainLookupByUUID(session.connection(), vm.uuid.bytes.data()));
}

// Without it a call to a silent agent blocks for ever, and with it the domain's agent job. It is
// also what bounds the handshake in front of every command.
bool bound_the_wait(Session& session, virDomainPtr domain, Duration timeout) {
  session.count("virDomainAgentSetResponseTimeout");
  return virDomainAgentSetResponseTimeout(domain, whole_seconds(timeout), 0) == 0;
}

// Agents before QEMU 6.0 call a command of a frozen guest "disabled", as they call one that the
// guest's administrator has switched off.
bool is_frozen(Session& session, virDomainPtr domain, Duration timeout) {
  session.count("virDomainQemuAgentCommand");
  const Text status(virDomainQemuAgentCommand(domain, R"({"execute":"guest-fsfreeze-status"})",
                                              whole_seconds(timeout), 0));
  return status && contains(status.get(), "\"frozen\"");
}

struct FreeInterfaces {
  virDomainInterfacePtr* list = nullptr;
  int count = 0;
  ~FreeInterfaces() {
    for (int i = 0; i < count; ++i) virDomainInterfaceFree(list[i]);
    std::free(list);  // NOLINT: libvirt allocates by malloc
  }
};

// The MACs that libvirt gave the guest: a bridge or tunnel inside it has another one. Nothing when
// libvirt does not say.
std::set<std::string> macs_of(Session& session, virDomainPtr domain) {
  session.count("virDomainGetXMLDesc");
  const Text xml(virDomainGetXMLDesc(domain, 0));
  return xml ? read_domain_facts(xml.get()).macs : std::set<std::string>();
}

}  // namespace

AgentFailure::Kind agent_failure_kind(int code, const std::string& message) {
  using Kind = AgentFailure::Kind;
  if (code == VIR_ERR_AGENT_UNRESPONSIVE || code == VIR_ERR_AGENT_UNSYNCED) return Kind::silent;
  if (contains(message, "agent is not configured")) return Kind::silent;
  if (contains(message, "in frozen state")) return Kind::frozen;
  if (contains(message, "unable to execute QEMU agent command")) return Kind::refused;
  if (contains(message, "has been disabled")) return Kind::refused;
  // Libvirt could make nothing of what came from the guest.
  const bool garbled = code == VIR_ERR_INTERNAL_ERROR && contains(lower_ascii(message), "agent");
  return garbled ? Kind::silent : Kind::not_asked;
}

bool reachable_address(const std::string& text) {
  in_addr four{};
  if (::inet_pton(AF_INET, text.c_str(), &four) == 1) {
    const std::uint32_t bits = ntohl(four.s_addr);
    const bool local = bits >> 24 == 127 || bits >> 24 == 0 || bits >> 16 == 0xa9fe;
    return !local && bits >> 28 < 0xe;
  }
  in6_addr six{};
  if (::inet_pton(AF_INET6, text.c_str(), &six) != 1) return false;
  return !IN6_IS_ADDR_UNSPECIFIED(&six) && !IN6_IS_ADDR_LOOPBACK(&six) &&
         !IN6_IS_ADDR_LINKLOCAL(&six) && !IN6_IS_ADDR_MULTICAST(&six) &&
         !IN6_IS_ADDR_V4MAPPED(&six);
}

int whole_seconds(Duration length) {
  return std::max(1, static_cast<int>((length.count() + 999) / 1000));
}

AgentAnswer<int> ping_agent(Session& session, VmId vm, Duration timeout) {
  const Domain domain = find_domain(session, vm);
  if (!domain) return failure("look up " + vm.str());
  const int id = static_cast<int>(virDomainGetID(domain.get()));
  if (!bound_the_wait(session, domain.get(), timeout)) {
    return failure("set the agent's timeout");
  }
  // Not guest-ping by the raw agent interface: that marks the domain as tainted. libvirt syncs
  // with the agent in front of every command, so any small one will do.
  long long seconds = 0;
  unsigned int nanoseconds = 0;
  session.count("virDomainGetTime");
  if (virDomainGetTime(domain.get(), &seconds, &nanoseconds, 0) < 0) {
    return failure("ask the agent");
  }
  return id;
}

AgentAnswer<std::string> ask_agent(Session& session, VmId vm, const std::string& json,
                                   Duration timeout) {
  const Domain domain = find_domain(session, vm);
  if (!domain) return failure("look up " + vm.str());
  if (!bound_the_wait(session, domain.get(), timeout)) {
    return failure("set the agent's timeout");
  }
  session.count("virDomainQemuAgentCommand");
  const Text answer(
      virDomainQemuAgentCommand(domain.get(), json.c_str(), whole_seconds(timeout), 0));
  if (answer) return std::string(answer.get());
  AgentFailure failed = failure("ask the agent");
  const bool maybe_frozen =
      failed.kind == AgentFailure::Kind::refused && contains(failed.detail, "disabled");
  if (maybe_frozen && is_frozen(session, domain.get(), timeout)) {
    failed.kind = AgentFailure::Kind::frozen;
  }
  return failed;
}

AgentAnswer<std::vector<std::string>> read_addresses(Session& session, VmId vm,
                                                     Duration timeout) {
  const Domain domain = find_domain(session, vm);
  if (!domain) return failure("look up " + vm.str());
  if (!bound_the_wait(session, domain.get(), timeout)) {
    return failure("set the agent's timeout");
  }
  const std::set<std::string> macs = macs_of(session, domain.get());
  FreeInterfaces interfaces;
  session.count("virDomainInterfaceAddresses");
  interfaces.count = virDomainInterfaceAddresses(
      domain.get(), &interfaces.list, VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT, 0);
  if (interfaces.count < 0) return failure("ask the agent for addresses");
  std::vector<std::string> known;
  std::vector<std::string> others;
  for (int i = 0; i < interfaces.count; ++i) {
    const virDomainInterface& nic = *interfaces.list[i];
    const bool ours = nic.hwaddr != nullptr && macs.count(lower_ascii(nic.hwaddr)) != 0;
    for (unsigned int n = 0; n < nic.naddrs; ++n) {
      const std::string address = nic.addrs[n].addr;
      if (reachable_address(address)) (ours ? known : others).push_back(address);
    }
  }
  known.insert(known.end(), others.begin(), others.end());
  return known;
}

AgentAnswer<GuestOutput> read_output(Session& session, VmId vm) {
  const Domain domain = find_domain(session, vm);
  if (!domain) return failure("look up " + vm.str());
  virDomainPtr list[] = {domain.get(), nullptr};
  virDomainStatsRecordPtr* records = nullptr;
  session.count("virDomainListGetStats");
  // Not what arrives, which broadcasts raise for a dead guest as well; not processor time, which a
  // guest that spins uses up. A domain whose monitor is busy tells nothing of its disks.
  const int count =
      virDomainListGetStats(list, VIR_DOMAIN_STATS_BLOCK | VIR_DOMAIN_STATS_INTERFACE, &records,
                            VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT);
  if (count < 0) return failure("read its statistics");
  GuestOutput output;
  const auto add = [](std::optional<std::uint64_t>& sum, std::uint64_t more) {
    sum = sum.value_or(0) + more;
  };
  for (int i = 0; i < count; ++i) {
    for (int n = 0; n < records[i]->nparams; ++n) {
      const virTypedParameter& value = records[i]->params[n];
      if (value.type != VIR_TYPED_PARAM_ULLONG) continue;
      const std::string_view field = value.field;
      if (field.starts_with("block.") && field.ends_with(".wr.reqs")) {
        add(output.block_writes, value.value.ul);
      } else if (field.starts_with("net.") && field.ends_with(".tx.pkts")) {
        add(output.packets_sent, value.value.ul);
      }
    }
  }
  virDomainStatsRecordListFree(records);
  return output;
}

}  // namespace clusterd::libvirt
