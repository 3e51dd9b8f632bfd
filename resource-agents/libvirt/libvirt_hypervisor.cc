#include "resource-agents/libvirt/libvirt_hypervisor.h"

#include <libvirt/libvirt.h>
#include <unistd.h>

#include <mutex>
#include <utility>

#include "resource-agents/libvirt/agent_calls.h"
#include "resource-agents/libvirt/boards.h"
#include "resource-agents/libvirt/guard_files.h"
#include "resource-agents/libvirt/link.h"
#include "resource-agents/libvirt/observe.h"
#include "resource-agents/libvirt/operations.h"
#include "resource-agents/libvirt/worker_pool.h"

namespace clusterd {

using libvirt::Clock;
using libvirt::Session;
using libvirt::Ticket;
using libvirt::Work;
using libvirt::WorkKind;

namespace {

constexpr int kPingTries = 4;
constexpr std::chrono::milliseconds kFirstPingPause{1000};

// Beyond a question's timeout, for libvirt's own verdict to arrive: it counts in whole seconds.
constexpr Duration kVerdictGrace{1500};
constexpr Duration kOutputTimeout{500};

}  // namespace

// Shared with the workers: one that is stuck keeps it alive beyond the hypervisor.
struct LibvirtHypervisor::Core : std::enable_shared_from_this<LibvirtHypervisor::Core> {
  Core(LibvirtOptions options_, EventSink& sink)
      : options(std::move(options_)),
        outbox(sink),
        calls(options.called),
        grants(options.run_dir),
        protection(options.state_dir),
        pool([this] { return std::make_unique<Session>(options.uri, calls); }, {}) {}

  void connect();
  void close();
  void log(const std::string& line) {
    const std::lock_guard lock(log_mutex);
    if (options.log && !log_closed) options.log(line);
  }
  void on_lifecycle(VmId vm, int event, int detail);
  void finish(VmOperationEnded ended, Ticket& ticket);
  void give_up(OpId op, VmId vm, const std::string& detail);
  void submit_look(VmId vm, std::uint64_t look);
  void answer_look(Session& session, Ticket& ticket, VmId vm, std::uint64_t look,
                   Clock::time_point deadline);
  void answer_list(Session& session, Ticket& ticket, const ListDomains& order,
                   Clock::time_point deadline);
  void ping_if_new(const libvirt::DomainLook& look);
  void submit_ping(VmId vm);
  void ping(Session& session, Ticket& ticket, VmId vm, Clock::time_point deadline);
  template <class T>
  using Answered = std::function<void(AgentAnswer<T>)>;
  template <class T>
  void ask(WorkKind kind, std::optional<VmId> lane, Duration timeout,
           std::function<AgentAnswer<T>(Session&)> call, Answered<T> answered);

  const LibvirtOptions options;
  std::mutex log_mutex;
  bool log_closed = false;  // a given-up thread must not reach a dead log either
  libvirt::Outbox outbox;
  libvirt::CallCounter calls;
  libvirt::Grants grants;
  libvirt::Protection protection;
  libvirt::StopBoard stops;
  libvirt::AgentBoard agents;
  std::set<VmId> signalled;  // event thread only: QEMU got a signal, STOPPED has yet to come
  libvirt::WorkerPool pool;
  std::unique_ptr<libvirt::EventLoop> loop;
  std::unique_ptr<libvirt::Link> link;
};

// ---- events --------------------------------------------------------------------------------

void LibvirtHypervisor::Core::connect() {
  loop = std::make_unique<libvirt::EventLoop>();
  libvirt::LinkHandlers handlers;
  handlers.up = [this] {
    stops.all_may_have_changed();
    outbox.post(HypervisorConnection{true, ""});
  };
  handlers.down = [this](const std::string& problem) {
    outbox.post(HypervisorConnection{false, problem});
  };
  handlers.lifecycle = [this](VmId vm, int event, int detail) { on_lifecycle(vm, event, detail); };
  handlers.agent_connected = [this](VmId vm) { submit_ping(vm); };
  handlers.rebooted = [this](VmId vm, const std::string& reason) {
    outbox.post(GuestRebooted{vm, reason});
  };
  link =
      std::make_unique<libvirt::Link>(options.uri, calls, shared_from_this(), std::move(handlers));
}

void LibvirtHypervisor::Core::close() {
  outbox.close();
  {
    const std::lock_guard lock(log_mutex);
    log_closed = true;
  }
  calls.close();
  stops.close();
  pool.shut_down();
  link.reset();
  loop.reset();
}

void LibvirtHypervisor::Core::on_lifecycle(VmId vm, int event, int detail) {
  if (event == VIR_DOMAIN_EVENT_STARTED) signalled.erase(vm);
  if (event == VIR_DOMAIN_EVENT_SHUTDOWN && detail == VIR_DOMAIN_EVENT_SHUTDOWN_HOST) {
    signalled.insert(vm);
  }
  const bool stopped = event == VIR_DOMAIN_EVENT_STOPPED;
  const bool by_signal = stopped && signalled.erase(vm) != 0;
  if (stopped || event == VIR_DOMAIN_EVENT_STARTED) agents.forget(vm);
  outbox.post(DomainChanged{vm, libvirt::stop_cause(event, detail, by_signal)});
  if (stopped) stops.stopped(vm);
}

// ---- answers -------------------------------------------------------------------------------

void LibvirtHypervisor::Core::finish(VmOperationEnded ended, Ticket& ticket) {
  if (ticket.claim()) {
    outbox.post(std::move(ended));
    return;
  }
  log("operation " + ended.op.str() + " on " + ended.vm.str() +
      " came back after its deadline; looking again");
  outbox.post(DomainChanged{ended.vm, StopCause::none});
}

// At the deadline. The grant goes as well, so that a create which still waits in front of the
// hook dies there instead of surprising everybody later.
void LibvirtHypervisor::Core::give_up(OpId op, VmId vm, const std::string& detail) {
  const Status revoked = grants.revoke(vm, op);
  if (!revoked) log(revoked.error().message);
  log("operation " + op.str() + " on " + vm.str() + ": " + detail);
  outbox.post(VmOperationEnded{op, vm, Outcome::unknown, DomainState::absent, detail});
}

void LibvirtHypervisor::Core::submit_look(VmId vm, std::uint64_t look) {
  const auto deadline = Clock::now() + options.look_timeout;
  const auto self = shared_from_this();
  pool.submit({WorkKind::look, vm, deadline,
               [self, vm, look, deadline](Session& session, Ticket& ticket) {
                 self->answer_look(session, ticket, vm, look, deadline);
               },
               [self, vm, look] {
                 self->outbox.post(LookedUp{vm, look, std::nullopt});
               }});
}

void LibvirtHypervisor::Core::answer_look(Session& session, Ticket& ticket, VmId vm,
                                          std::uint64_t look, Clock::time_point deadline) {
  const Status connected = session.ensure(deadline);
  const auto seen = connected ? libvirt::look_at(session, agents, vm)
                              : Result<libvirt::DomainLook>(connected.error());
  if (!ticket.claim()) {
    // The controller was told nullopt; now there is something to be seen.
    if (seen) outbox.post(DomainChanged{vm, StopCause::none});
    return;
  }
  if (!seen) {
    log("look at " + vm.str() + ": " + seen.error().message);
    outbox.post(LookedUp{vm, look, std::nullopt});
    return;
  }
  outbox.post(LookedUp{vm, look, seen.value().observation});
  ping_if_new(seen.value());
}

void LibvirtHypervisor::Core::answer_list(Session& session, Ticket& ticket,
                                          const ListDomains& order, Clock::time_point deadline) {
  libvirt::Listing listing;
  const Status connected = session.ensure(deadline);
  if (connected) {
    listing = libvirt::list_domains(session, agents, {order, protection.all(), options.virt_type});
    if (!listing.note.empty()) log(listing.note);
  } else {
    listing.answer.look = order.look;
    listing.answer.facts.problem = "libvirt: " + connected.error().message;
  }
  listing.answer.facts.never_sleeps = options.never_sleeps;
  if (!options.hook.empty() && ::access(options.hook.c_str(), X_OK) != 0) {
    std::string& problem = listing.answer.facts.problem;
    problem = "libvirt's hook " + options.hook + " is not installed, so nothing would keep a VM " +
              "from being started by hand: install it, then restart libvirt and clusterd" +
              (problem.empty() ? "" : "; " + problem);
  }
  if (!ticket.claim()) return;
  outbox.post(std::move(listing.answer));
  for (const auto& look : listing.looks) ping_if_new(look);
}

// ---- guest agents --------------------------------------------------------------------------

// The agent had connected before we listened (adoption), so no event will tell.
void LibvirtHypervisor::Core::ping_if_new(const libvirt::DomainLook& look) {
  if (look.agent_connected && !look.observation.agent) submit_ping(look.observation.vm);
}

void LibvirtHypervisor::Core::submit_ping(VmId vm) {
  if (!agents.begin_ping(vm)) return;
  const auto longest = options.agent_timeout * kPingTries + kFirstPingPause * (1 << kPingTries);
  const auto deadline = Clock::now() + longest;
  const auto self = shared_from_this();
  pool.submit({WorkKind::agent, vm, deadline,
               [self, vm, deadline](Session& session, Ticket& ticket) {
                 self->ping(session, ticket, vm, deadline);
                 self->agents.end_ping(vm);
               },
               [self, vm] { self->agents.end_ping(vm); }});
}

void LibvirtHypervisor::Core::ping(Session& session, Ticket& ticket, VmId vm,
                                   Clock::time_point deadline) {
  auto pause = kFirstPingPause;
  for (int tries = 1; tries <= kPingTries && session.ensure(deadline); ++tries) {
    const auto answer = libvirt::ping_agent(session, vm, options.agent_timeout);
    if (const int* domain_id = std::get_if<int>(&answer)) {
      agents.answered(vm, *domain_id);
      outbox.post(DomainChanged{vm, StopCause::none});
      break;
    }
    if (ticket.claimed() || !stops.pause(pause)) break;
    pause *= 2;
  }
  (void)ticket.claim();  // nobody waits for an answer; this only calls the timer off
}

// A question of a probe.
template <class T>
void LibvirtHypervisor::Core::ask(WorkKind kind, std::optional<VmId> lane, Duration timeout,
                                  std::function<AgentAnswer<T>(Session&)> call,
                                  Answered<T> answered) {
  const auto deadline = Clock::now() + timeout + kVerdictGrace;
  pool.submit({kind, lane, deadline,
               [call = std::move(call), answered, deadline, timeout](Session& session,
                                                                     Ticket& ticket) {
                 // It waited for others: what is left would not do for an answer.
                 if (deadline - Clock::now() < timeout) {
                   if (!ticket.claim()) return;
                   answered(AgentFailure{AgentFailure::Kind::not_asked,
                                         "too many agents of this host are silent"});
                   return;
                 }
                 const Status connected = session.ensure(deadline);
                 AgentAnswer<T> answer = AgentFailure{};
                 if (connected) {
                   answer = call(session);
                 } else {
                   std::get<AgentFailure>(answer).detail = connected.error().message;
                 }
                 if (ticket.claim()) answered(std::move(answer));
               },
               [answered] {
                 answered(AgentFailure{AgentFailure::Kind::not_asked,
                                       "libvirt did not answer in time"});
               }});
}

// ---- the port ------------------------------------------------------------------------------

LibvirtHypervisor::LibvirtHypervisor(LibvirtOptions options, EventSink& sink)
    : core_(std::make_shared<Core>(std::move(options), sink)) {
  const Status loaded = core_->protection.load();
  if (!loaded) core_->log("protected VMs: " + loaded.error().message);
  // A create that an earlier daemon left in libvirt's queue is refused from here on.
  const Status cleared = core_->grants.clear();
  if (!cleared) core_->log("old grants: " + cleared.error().message);
  core_->connect();
}

LibvirtHypervisor::~LibvirtHypervisor() {
  core_->close();
}

void LibvirtHypervisor::start(const DispatchStart& order) {
  const auto deadline = Clock::now() + order.timeout;
  const auto core = core_;
  core->pool.submit({WorkKind::start, order.vm, deadline,
                     [core, order, deadline](Session& session, Ticket& ticket) {
                       const libvirt::Tools tools{core->grants, core->stops, core->agents, ticket};
                       core->finish(libvirt::perform_start(session, tools, order, deadline),
                                    ticket);
                     },
                     [core, op = order.op, vm = order.vm] {
                       core->give_up(op, vm, "libvirt did not answer in time");
                     }});
}

void LibvirtHypervisor::stop(const DispatchStop& order) {
  const auto core = core_;
  const auto begun = Clock::now();
  // At once, on this thread: a start that still waits in the lane gets no grant any more.
  const Status revoked = core->grants.revoke(order.vm, order.op);
  if (!revoked) core->log(revoked.error().message);
  core->pool.submit({WorkKind::stop, order.vm,
                     begun + order.shutdown_timeout + order.destroy_timeout,
                     [core, order, begun](Session& session, Ticket& ticket) {
                       const libvirt::Tools tools{core->grants, core->stops, core->agents, ticket};
                       core->finish(libvirt::perform_stop(session, tools, order, begun), ticket);
                     },
                     [core, op = order.op, vm = order.vm] {
                       core->give_up(op, vm, "the VM was not seen to stop in time");
                     }});
}

void LibvirtHypervisor::revoke_and_look(const RevokeAndLook& order) {
  // On this thread, so that it can never run after a grant that is ordered later.
  const Status revoked = core_->grants.revoke(order.vm, order.op);
  if (!revoked) {
    core_->log(revoked.error().message);
    core_->outbox.post(LookedUp{order.vm, order.look, std::nullopt});
    return;
  }
  core_->submit_look(order.vm, order.look);
}

void LibvirtHypervisor::look_up(const LookUp& order) {
  core_->submit_look(order.vm, order.look);
}

void LibvirtHypervisor::list(const ListDomains& order) {
  const auto deadline = Clock::now() + core_->options.list_timeout;
  const auto core = core_;
  core->pool.submit({WorkKind::look, std::nullopt, deadline,
                     [core, order, deadline](Session& session, Ticket& ticket) {
                       core->answer_list(session, ticket, order, deadline);
                     },
                     [core, look = order.look] {
                       DomainsListed answer;
                       answer.look = look;
                       answer.facts.problem = "libvirt did not answer in time";
                       core->outbox.post(std::move(answer));
                     }});
}

Status LibvirtHypervisor::protect(VmId vm) {
  return core_->protection.add(vm);
}

std::set<VmId> LibvirtHypervisor::protected_vms() const {
  return core_->protection.all();
}

void LibvirtHypervisor::ping(VmId vm, Duration timeout, Answered<AgentAlive> answered) {
  core_->ask<AgentAlive>(
      WorkKind::probe, vm, timeout,
      [vm, timeout](Session& session) -> AgentAnswer<AgentAlive> {
        auto answer = libvirt::ping_agent(session, vm, timeout);
        if (auto* failed = std::get_if<AgentFailure>(&answer)) return std::move(*failed);
        return AgentAlive{};
      },
      std::move(answered));
}

void LibvirtHypervisor::command(VmId vm, std::string json, Duration timeout,
                                Answered<std::string> answered) {
  core_->ask<std::string>(
      WorkKind::probe, vm, timeout,
      [vm, timeout, json = std::move(json)](Session& session) {
        return libvirt::ask_agent(session, vm, json, timeout);
      },
      std::move(answered));
}

void LibvirtHypervisor::addresses(VmId vm, Duration timeout,
                                  Answered<std::vector<std::string>> answered) {
  core_->ask<std::vector<std::string>>(
      WorkKind::probe, vm, timeout,
      [vm, timeout](Session& session) { return libvirt::read_addresses(session, vm, timeout); },
      std::move(answered));
}

// Not among the questions to agents, which may all be waiting for hung ones: it waits for nobody.
// A QEMU whose monitor hangs does not tell, and a verdict on its guest waits for this.
void LibvirtHypervisor::output(VmId vm, Answered<GuestOutput> answered) {
  core_->ask<GuestOutput>(
      WorkKind::look, std::nullopt, kOutputTimeout,
      [vm](Session& session) { return libvirt::read_output(session, vm); }, std::move(answered));
}

std::map<std::string, std::uint64_t> LibvirtHypervisor::calls() const {
  return core_->calls.snapshot();
}

std::size_t LibvirtHypervisor::stuck_threads() const {
  return core_->pool.stuck();
}

}  // namespace clusterd
