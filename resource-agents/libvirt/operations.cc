#include "resource-agents/libvirt/operations.h"

#include <libvirt/libvirt.h>

#include "resource-agents/libvirt/domain_xml.h"
#include "resource-agents/libvirt/observe.h"

namespace clusterd::libvirt {
namespace {

constexpr int kAgentSeconds = 5;

// A failed create has had no effect only if the grant is gone and then nothing is found.
VmOperationEnded judge_failed_start(Session& session, const Tools& tools,
                                    const DispatchStart& order, const std::string& why) {
  VmOperationEnded ended{order.op, order.vm, Outcome::unknown, DomainState::absent, why};
  const Status revoked = tools.grants.revoke(order.vm, order.op);
  if (!revoked) {
    ended.detail += "; " + revoked.error().message;
    return ended;
  }
  const auto look = look_at(session, tools.agents, order.vm);
  if (!look) {
    ended.detail += "; " + look.error().message;
    return ended;
  }
  ended.state = look.value().observation.state;
  switch (ended.state) {
    case DomainState::absent:
      ended.outcome = Outcome::failed_without_effect;
      break;
    case DomainState::running:
    case DomainState::paused:
    case DomainState::paused_io_error:
    case DomainState::crashed:
      ended.outcome = Outcome::done;
      break;
    // On its way up or down by somebody else's hand: not ours to call.
    case DomainState::paused_incoming:
    case DomainState::shutting_down:
      break;
  }
  return ended;
}

VmOperationEnded stop_ended(const DispatchStop& order, const Result<DomainLook>& look,
                            const std::string& detail) {
  VmOperationEnded ended{order.op, order.vm, Outcome::unknown, DomainState::absent, detail};
  if (!look) {
    ended.detail += (detail.empty() ? "" : "; ") + look.error().message;
    return ended;
  }
  ended.state = look.value().observation.state;
  if (ended.state == DomainState::absent) ended.outcome = Outcome::done;
  return ended;
}

// A handle belongs to its connection, which may be replaced while we wait: found anew each time.
Domain find_domain(Session& session, VmId vm) {
  session.count("virDomainLookupByUUID");
  return Domain(virDomainLookupByUUID(session.connection(), vm.uuid.bytes.data()));
}

// Another call waits for this QEMU's monitor since seconds: the next one would wait behind it, and
// the time for destroying, which needs no monitor, would pass.
bool monitor_hangs(Session& session, virDomainPtr domain) {
  static constexpr unsigned long long kHangs = 2000;  // ms
  virDomainControlInfo info{};
  session.count("virDomainGetControlInfo");
  if (virDomainGetControlInfo(domain, &info, 0) != 0) return false;
  return info.state == VIR_DOMAIN_CONTROL_ERROR ||
         (info.state != VIR_DOMAIN_CONTROL_OK && info.stateTime >= kHangs);
}

// Asks the guest to shut down. Without flags the driver takes the agent if it is there, else the
// ACPI button; `button` presses that one alone.
void ask_to_shut_down(Session& session, VmId vm, bool button) {
  const Domain domain = find_domain(session, vm);
  if (!domain) return;  // the look that follows tells
  if (monitor_hangs(session, domain.get())) return;
  if (!button) {
    session.count("virDomainAgentSetResponseTimeout");
    virDomainAgentSetResponseTimeout(domain.get(), kAgentSeconds, 0);
    session.count("virDomainShutdownFlags");
    if (virDomainShutdownFlags(domain.get(), VIR_DOMAIN_SHUTDOWN_DEFAULT) == 0) return;
  }
  session.count("virDomainShutdownFlags");
  virDomainShutdownFlags(domain.get(), VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN);
}

// True once a look has found the VM absent before `until`. Woken by events only.
bool wait_until_absent(Session& session, const Tools& tools, VmId vm, StopBoard::Mark& since,
                       Clock::time_point until) {
  while (tools.stops.wait(vm, since, until)) {
    since = tools.stops.mark();
    if (!session.ensure(until)) return false;
    const auto look = look_at(session, tools.agents, vm);
    if (look && look.value().observation.state == DomainState::absent) return true;
  }
  return false;
}

// The guest's own time: half of it for the polite way, then the button as well, for a guest
// whose agent took the order and did nothing.
bool shut_down(Session& session, const Tools& tools, const DispatchStop& order,
               Clock::time_point begun) {
  auto since = tools.stops.mark();
  ask_to_shut_down(session, order.vm, false);
  const auto half = begun + order.shutdown_timeout / 2;
  if (wait_until_absent(session, tools, order.vm, since, half)) return true;
  if (tools.ticket.claimed()) return false;
  ask_to_shut_down(session, order.vm, true);
  return wait_until_absent(session, tools, order.vm, since, begun + order.shutdown_timeout);
}

}  // namespace

VmOperationEnded perform_start(Session& session, const Tools& tools, const DispatchStart& order,
                               Clock::time_point deadline) {
  const Status connected = session.ensure(deadline);
  if (!connected) {
    return {order.op, order.vm, Outcome::unknown, DomainState::absent, connected.error().message};
  }
  const auto xml =
      prepare_domain_xml(order.xml, {order.op, order.vm, order.name, order.generation});
  if (!xml) return judge_failed_start(session, tools, order, xml.error().message);
  // The grant is refused when the operation's time is over: its expiry has revoked it.
  const Status granted = tools.grants.issue(order.vm, order.op);
  if (!granted) return judge_failed_start(session, tools, order, granted.error().message);
  session.count("virDomainCreateXML");
  const Domain domain(
      virDomainCreateXML(session.connection(), xml.value().c_str(), VIR_DOMAIN_NONE));
  if (!domain) {
    return judge_failed_start(session, tools, order, last_error("create the domain").message);
  }
  // A grant that stays would let anybody start the VM again after it has stopped.
  const Status revoked = tools.grants.revoke(order.vm, order.op);
  VmOperationEnded ended{order.op, order.vm, Outcome::done, DomainState::running, ""};
  if (!revoked) ended.detail = revoked.error().message;
  return ended;
}

VmOperationEnded perform_stop(Session& session, const Tools& tools, const DispatchStop& order,
                              Clock::time_point begun) {
  const auto deadline = begun + order.shutdown_timeout + order.destroy_timeout;
  const Status connected = session.ensure(deadline);
  if (!connected) {
    return {order.op, order.vm, Outcome::unknown, DomainState::absent, connected.error().message};
  }
  const auto first = look_at(session, tools.agents, order.vm);
  if (first && first.value().observation.state == DomainState::absent) {
    return stop_ended(order, first, "");
  }
  // A paused or crashed guest hears nothing: waiting for it only makes the outage longer.
  const bool hears = first && first.value().observation.state == DomainState::running;
  if (hears && order.shutdown_timeout.count() > 0 && shut_down(session, tools, order, begun)) {
    return {order.op, order.vm, Outcome::done, DomainState::absent, "shut down"};
  }
  if (tools.ticket.claimed()) {
    return {order.op, order.vm, Outcome::unknown, DomainState::absent, "no time was left"};
  }
  std::string detail = "destroyed";
  const Status still = session.ensure(deadline);
  if (!still) {
    return {order.op, order.vm, Outcome::unknown, DomainState::absent, still.error().message};
  }
  if (const Domain domain = find_domain(session, order.vm)) {
    session.count("virDomainDestroyFlags");
    if (virDomainDestroyFlags(domain.get(), VIR_DOMAIN_DESTROY_DEFAULT) < 0) {
      detail = last_error("destroy the domain").message;
    }
  }
  return stop_ended(order, look_at(session, tools.agents, order.vm), detail);
}

}  // namespace clusterd::libvirt
