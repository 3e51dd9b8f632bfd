#include "resource-agents/libvirt/observe.h"

#include <cstdlib>
#include <memory>
#include <thread>

#include "resource-agents/libvirt/domain_xml.h"
#include "resource-agents/libvirt/host_capabilities.h"
#include "resource-agents/libvirt/process_scan.h"

namespace clusterd::libvirt {
namespace {

constexpr std::uint64_t kKibibyte = 1024;
// A QEMU that has just died may take a moment to leave the process table.
constexpr int kProcessTries = 4;
constexpr std::chrono::milliseconds kProcessPause{100};

struct FreeText {
  void operator()(char* text) const { std::free(text); }  // NOLINT: libvirt allocates by malloc
};
using Text = std::unique_ptr<char, FreeText>;

// An active domain, nullopt if it is not active (any more), or an error.
Result<std::optional<DomainLook>> describe(Session& session, const AgentBoard& agents,
                                           virDomainPtr domain) {
  using Answer = Result<std::optional<DomainLook>>;
  const VmId vm = id_of(domain);
  const std::string about = "domain " + vm.str();
  int state = 0;
  int reason = 0;
  session.count("virDomainGetState");
  if (virDomainGetState(domain, &state, &reason, 0) < 0) {
    if (last_error_code() == VIR_ERR_NO_DOMAIN) return Answer(std::nullopt);
    return last_error("state of " + about);
  }
  const auto known = domain_state(state, reason);
  if (!known) {
    return Error{about + ": libvirt says unknown state " + std::to_string(state)};
  }
  if (*known == DomainState::absent) return Answer(std::nullopt);
  session.count("virDomainGetXMLDesc");
  const Text xml(virDomainGetXMLDesc(domain, 0));
  if (!xml) {
    if (last_error_code() == VIR_ERR_NO_DOMAIN) return Answer(std::nullopt);
    return last_error("description of " + about);
  }
  const DomainFacts facts = read_domain_facts(xml.get());
  DomainLook look;
  // The number stands in the handle: no call. It may be older than the state; then the agent's
  // answer simply does not match and is learned again.
  look.domain_id = static_cast<int>(virDomainGetID(domain));
  look.agent_connected = facts.agent_connected;
  look.observation = {vm, *known, agents.has_answered(vm, look.domain_id), facts.started_by};
  return Answer(look);
}

// Ok if no process carries the UUID.
Status no_process(VmId vm) {
  for (int tries = 1;; ++tries) {
    const auto processes = processes_by_uuid();
    if (!processes) return processes.error();
    const auto found = processes.value().find(vm);
    if (found == processes.value().end()) return ok_status();
    if (tries == kProcessTries) {
      return Error{"libvirt knows no active domain " + vm.str() + ", but process " +
                   std::to_string(found->second) + " carries its UUID"};
    }
    std::this_thread::sleep_for(kProcessPause);
  }
}

void add_problem(std::string& problems, const std::string& problem) {
  if (!problems.empty()) problems += "; ";
  problems += problem;
}

// What may start this HA domain behind the cluster's back (trace 7.6); empty if nothing.
Result<std::string> persistence_of(Session& session, virDomainPtr domain) {
  const std::string about = "domain " + id_of(domain).str();
  session.count("virDomainIsPersistent");
  const int persistent = virDomainIsPersistent(domain);
  if (persistent < 0) {
    if (last_error_code() == VIR_ERR_NO_DOMAIN) return std::string();
    return last_error("persistence of " + about);
  }
  if (persistent == 0) return std::string();
  std::string problem = "HA domain " + std::string(virDomainGetName(domain)) + " (" +
                        id_of(domain).str() + ") has a persistent definition";
  int autostart = 0;
  session.count("virDomainGetAutostart");
  if (virDomainGetAutostart(domain, &autostart) == 0 && autostart != 0) problem += ", autostart";
  session.count("virDomainHasManagedSaveImage");
  if (virDomainHasManagedSaveImage(domain, 0) == 1) problem += ", a managed save image";
  return problem + " on this host: remove it (virsh undefine --managed-save)";
}

// Everything but the host's size; `note` says what of it libvirt does not tell. No reason to do
// without this host: what is not known excludes nothing.
Status read_capabilities_of(Session& session, const std::string& virt_type, HostFacts& facts,
                            std::string& note) {
  if (session.capabilities()) {
    facts = *session.capabilities();
    return ok_status();
  }
  facts.virt_type = virt_type;
  session.count("virConnectGetCapabilities");
  const Text host(virConnectGetCapabilities(session.connection()));
  if (!host) return last_error("read the host's capabilities");
  read_capabilities(host.get(), facts);
  session.count("virConnectGetDomainCapabilities");
  const Text domains(virConnectGetDomainCapabilities(session.connection(), nullptr, nullptr,
                                                     nullptr, virt_type.c_str(), 0));
  if (!domains) {
    note = last_error("the CPU models of this host for " + virt_type + " domains are not known")
               .message;
    return ok_status();
  }
  read_domain_capabilities(domains.get(), facts);
  session.capabilities() = facts;
  return ok_status();
}

Status read_host(Session& session, const std::string& virt_type, HostFacts& facts,
                 std::string& note) {
  Status capabilities = read_capabilities_of(session, virt_type, facts, note);
  if (!capabilities) return capabilities;
  virNodeInfo info{};
  session.count("virNodeGetInfo");
  if (virNodeGetInfo(session.connection(), &info) < 0) return last_error("read the host's size");
  facts.total.memory = static_cast<std::uint64_t>(info.memory) * kKibibyte;
  facts.total.vcpus = info.cpus;
  return ok_status();
}

using Domains = std::vector<Domain>;

Result<Domains> all_domains(Session& session) {
  virDomainPtr* raw = nullptr;
  session.count("virConnectListAllDomains");
  const int count = virConnectListAllDomains(session.connection(), &raw, 0);
  if (count < 0) return last_error("list domains");
  Domains domains;
  for (int i = 0; i < count; ++i) domains.emplace_back(raw[i]);
  std::free(raw);  // NOLINT: libvirt allocates by malloc
  return Result<Domains>(std::move(domains));
}

// Adds a VM whose process lives without libvirt knowing it: it may be active and must not pass
// for absent, and nobody but the operator can end it.
Status add_orphans(Session& session, const AgentBoard& agents, const std::set<VmId>& wanted,
                   std::map<VmId, DomainLook>& looks, std::string& problem) {
  const auto processes = processes_by_uuid();
  if (!processes) return processes.error();
  for (const auto& [vm, pid] : processes.value()) {
    if (wanted.count(vm) == 0 || looks.count(vm) != 0) continue;
    // It may have been started since the list, or be on its way out: look once more.
    const auto again = look_at(session, agents, vm);
    if (again && again.value().observation.state == DomainState::absent) continue;
    if (again) {
      looks[vm] = again.value();
      continue;
    }
    DomainLook orphan;
    orphan.observation = {vm, DomainState::running, false, std::nullopt};
    looks[vm] = orphan;
    add_problem(problem, again.error().message);
  }
  return ok_status();
}

Status fill_listing(Session& session, const AgentBoard& agents, const std::string& virt_type,
                    const std::set<VmId>& wanted, Listing& listing) {
  HostFacts& facts = listing.answer.facts;
  Status host = read_host(session, virt_type, facts, listing.note);
  if (!host) return host;
  const auto domains = all_domains(session);
  if (!domains) return domains.error();
  std::map<VmId, DomainLook> looks;
  std::map<VmId, std::string> persistent;
  for (const Domain& domain : domains.value()) {
    const VmId vm = id_of(domain.get());
    if (wanted.count(vm) == 0) continue;
    const auto look = describe(session, agents, domain.get());
    if (!look) return look.error();
    if (look.value()) looks[vm] = *look.value();
    const auto problem = persistence_of(session, domain.get());
    if (!problem) return problem.error();
    if (!problem.value().empty()) persistent[vm] = problem.value();
  }
  for (const auto& [vm, problem] : persistent) add_problem(facts.problem, problem);
  Status orphans = add_orphans(session, agents, wanted, looks, facts.problem);
  if (!orphans) return orphans;
  for (const auto& [vm, look] : looks) {
    listing.answer.domains.push_back(look.observation);
    listing.looks.push_back(look);
  }
  return ok_status();
}

}  // namespace

std::optional<DomainState> domain_state(int state, int reason) {
  switch (static_cast<virDomainState>(state)) {
    case VIR_DOMAIN_NOSTATE:
      return std::nullopt;
    case VIR_DOMAIN_RUNNING:
    case VIR_DOMAIN_BLOCKED:
      return DomainState::running;
    case VIR_DOMAIN_PAUSED:
      if (reason == VIR_DOMAIN_PAUSED_IOERROR) return DomainState::paused_io_error;
      if (reason == VIR_DOMAIN_PAUSED_MIGRATION || reason == VIR_DOMAIN_PAUSED_STARTING_UP) {
        return DomainState::paused_incoming;
      }
      if (reason == VIR_DOMAIN_PAUSED_CRASHED || reason == VIR_DOMAIN_PAUSED_WATCHDOG) {
        return DomainState::crashed;
      }
      return DomainState::paused;
    case VIR_DOMAIN_SHUTDOWN:
      return DomainState::shutting_down;
    case VIR_DOMAIN_SHUTOFF:
      return DomainState::absent;
    case VIR_DOMAIN_CRASHED:
      return DomainState::crashed;
    case VIR_DOMAIN_PMSUSPENDED:
      return DomainState::paused;
  }
  return std::nullopt;
}

Result<DomainLook> look_at(Session& session, const AgentBoard& agents, VmId vm) {
  session.count("virDomainLookupByUUID");
  const Domain domain(virDomainLookupByUUID(session.connection(), vm.uuid.bytes.data()));
  if (!domain && last_error_code() != VIR_ERR_NO_DOMAIN) return last_error("look up " + vm.str());
  if (domain) {
    const auto described = describe(session, agents, domain.get());
    if (!described) return described.error();
    if (described.value()) return *described.value();
  }
  Status gone = no_process(vm);
  if (!gone) return gone.error();
  DomainLook absent;
  absent.observation.vm = vm;
  return absent;
}

Listing list_domains(Session& session, const AgentBoard& agents, const ListRequest& request) {
  std::set<VmId> wanted = request.order.known;
  wanted.insert(request.protected_vms.begin(), request.protected_vms.end());
  Listing listing;
  listing.answer.look = request.order.look;
  const Status filled = fill_listing(session, agents, request.virt_type, wanted, listing);
  listing.answer.ok = filled.ok();
  if (!filled) listing.answer.facts.problem = "libvirt: " + filled.error().message;
  return listing;
}

}  // namespace clusterd::libvirt
