// Local clients: what they ask for becomes log entries, and is answered when it is safe.
#include <algorithm>

#include "clusterd/base/overloaded.h"
#include "clusterd/engine/controller_impl.h"

namespace clusterd {
namespace {

std::uint64_t command_of(const Body& body) {
  return std::visit(overloaded{[](const ChangeConfiguration& b) { return b.command; },
                               [](const OrderVm& b) { return b.command; },
                               [](const OrderNode& b) { return b.command; },
                               [](const AcceptState& b) { return b.command; },
                               [](const OrderCluster& b) { return b.command; },
                               [](const auto&) { return std::uint64_t{0}; }},
                    body);
}

void set_command(Body& body, std::uint64_t command) {
  std::visit(overloaded{[&](ChangeConfiguration& b) { b.command = command; },
                        [&](OrderVm& b) { b.command = command; },
                        [&](OrderNode& b) { b.command = command; },
                        [&](AcceptState& b) { b.command = command; },
                        [&](OrderCluster& b) { b.command = command; }, [](auto&) {}},
             body);
}

std::optional<VmId> vm_by_name(const ClusterState& state, const std::string& name) {
  const auto found = state.config.vms.find(name);
  if (found == state.config.vms.end()) return std::nullopt;
  return found->second.domain.uuid;
}

std::string known_names(const ClusterState& state) {
  std::string names;
  for (const auto& [id, node] : state.nodes) names += (names.empty() ? "" : ", ") + node.name;
  return names;
}

}  // namespace

void Controller::Impl::on(const ClientRequest& event) {
  std::visit([&](const auto& what) { request(event.client, what); }, event.request);
}

void Controller::Impl::on(const ClientGone& event) {
  // What was sent may still happen; nobody waits for it any more.
  std::erase_if(waiters, [&](const auto& waiter) { return waiter.second.client == event.client; });
  if (founding && founding->first == event.client) founding.reset();
}

void Controller::Impl::on(const FenceTestEnded& event) {
  ControlReply reply;
  reply.code = event.ok ? ReplyCode::done : ReplyCode::refused;
  reply.json = event.json;
  effects.push_back(Reply{event.client, std::move(reply)});
}

void Controller::Impl::answer(ClientId client, ReplyCode code, std::string message, bool more) {
  effects.push_back(Reply{client, ControlReply{code, std::move(message), {}, more}});
}

// Reading requests are answered by the daemon from state(); they do not come here.
template <class Reading>
void Controller::Impl::request(ClientId client, const Reading&) {
  answer(client, ReplyCode::usage, "this request is not for the controller");
}

void Controller::Impl::request(ClientId client, const InitCluster& what) {
  if (state.cluster != ClusterId{}) {
    answer(client, ReplyCode::refused, "this node belongs to cluster " + state.name + " already");
    return;
  }
  if (!view) {
    answer(client, ReplyCode::unavailable, "Corosync has not told a membership yet");
    return;
  }
  if (std::string no = check_founding(*view, hellos); !no.empty()) {
    answer(client, view->quorum.quorate ? ReplyCode::refused : ReplyCode::unavailable, no);
    return;
  }
  founding = {client, what.name};
}

void Controller::Impl::enqueue(ClientId client, Body body) {
  if (!may_act()) {
    answer(client, ReplyCode::unavailable,
           waiting.empty() ? "this node is not quorate and synced" : waiting);
    return;
  }
  const std::uint64_t command = self.incarnation.value + next_command++;
  set_command(body, command);
  Waiter& waiter = waiters[command];
  waiter.client = client;
  waiter.body = std::move(body);
}

void Controller::Impl::request(ClientId client, const ApplyConfiguration& what) {
  enqueue(client, change_of(what));
}

void Controller::Impl::request(ClientId client, const VmCommand& what) {
  const auto vm = vm_by_name(state, what.name);
  if (!vm) {
    answer(client, ReplyCode::refused, "there is no VM " + what.name);
    return;
  }
  const std::uint64_t command = self.incarnation.value + next_command;
  enqueue(client, OrderVm{*vm, what.order, 0});
  const auto waiter = waiters.find(command);
  if (waiter == waiters.end() || !what.wait) return;
  waiter->second.wait_vm = *vm;
  waiter->second.order = what.order;
}

void Controller::Impl::request(ClientId client, const NodeCommand& what) {
  const auto node = node_by_name(state, what.name);
  if (!node) {
    answer(client, ReplyCode::refused,
           "there is no node " + what.name + "; known are " + known_names(state));
    return;
  }
  enqueue(client, OrderNode{{*node, state.nodes.at(*node).boot}, what.order, what.force, 0});
}

void Controller::Impl::request(ClientId client, const RecoverCluster& what) {
  const auto node = node_by_name(state, what.node);
  if (!node) {
    answer(client, ReplyCode::refused,
           "there is no node " + what.node + "; known are " + known_names(state));
    return;
  }
  enqueue(client, AcceptState{*node, 0});
}

void Controller::Impl::request(ClientId client, const ClusterCommand& what) {
  enqueue(client, OrderCluster{what.order, what.reason, 0});
}

void Controller::Impl::request(ClientId client, const TestFencing& what) {
  RunFenceTest test;
  test.client = client;
  for (const auto& [id, node] : state.nodes) {
    if (!what.node.empty() && node.name != what.node) continue;
    if (auto levels = devices_of(id, false); !levels.empty()) {
      test.nodes.emplace(node.name, std::move(levels));
    }
  }
  if (test.nodes.empty()) {
    answer(client, ReplyCode::refused, "no fence device is declared" +
                                           (what.node.empty() ? "" : " for " + what.node));
    return;
  }
  effects.push_back(std::move(test));
}

void Controller::Impl::note_delivered(const Body& body, const Applied& applied) {
  const auto waiter = waiters.find(command_of(body));
  if (waiter == waiters.end() || waiter->second.index) return;
  waiter->second.index = state.position.index;
  waiter->second.refusal = applied.refusal;
  waiter->second.note = applied.note;
}

// R28: an order that nobody carries out now is not waited for.
std::optional<ControlReply> Controller::Impl::disarmed_outcome(const VmState& vm) const {
  if (state.armed || vm.operation) return std::nullopt;
  return ControlReply{ReplyCode::refused,
                      "the order for " + vm.name + " stands, and is not carried out now: " +
                          disarm_text(state),
                      {}, false};
}

// nullopt: not there yet. A wait that cannot end well now is told as progress, once a reason.
std::optional<ControlReply> Controller::Impl::vm_outcome(Waiter& waiter) const {
  const auto found = state.vms.find(*waiter.wait_vm);
  if (found == state.vms.end()) return ControlReply{ReplyCode::done, "it is gone", {}, false};
  const VmState& vm = found->second;
  const auto host = active_on(vm);
  const bool stops = waiter.order == VmOrderKind::stop || waiter.order == VmOrderKind::restart;
  if (stops && vm.stops_failed > 0) {
    return ControlReply{
        ReplyCode::refused, vm.name + ": " + vm.failures.reason + "; it is tried again", {}, false};
  }
  switch (waiter.order) {
    case VmOrderKind::start:
    case VmOrderKind::restart: {
      const bool there = host && !vm.operation && !vm.restart_ordered &&
                         vm.holders.at(*host).state == DomainState::running;
      if (there) {
        return ControlReply{ReplyCode::done, vm.name + " runs on " + node_name(state, host->node),
                            {}, false};
      }
      if (vm.failures.given_up) {
        return ControlReply{ReplyCode::refused, vm.name + " failed: " + vm.failures.reason, {},
                            false};
      }
      if (!should_run(vm)) {
        return ControlReply{ReplyCode::refused,
                            vm.name + " is not to run any more: it was ordered otherwise, or its "
                                      "guest has shut down",
                            {}, false};
      }
      return disarmed_outcome(vm);
    }
    case VmOrderKind::stop:
      if (desired(vm) != DesiredState::stopped) {
        return ControlReply{ReplyCode::refused,
                            vm.name + " is not to be stopped any more: it was ordered otherwise",
                            {}, false};
      }
      if (!vm.holders.empty() || vm.operation) return disarmed_outcome(vm);
      return ControlReply{ReplyCode::done, vm.name + " is stopped", {}, false};
    case VmOrderKind::enable:
    case VmOrderKind::disable:
      return ControlReply{ReplyCode::done, "", {}, false};
  }
  return std::nullopt;
}

// R11: an answer rests on what every synced member has made durable.
void Controller::Impl::answer_clients() {
  if (founding && synced_here()) {
    answer(founding->first, ReplyCode::done, "cluster " + state.name + " is founded");
    founding.reset();
  }
  for (auto next = waiters.begin(); next != waiters.end();) {
    const auto current = next++;
    Waiter& waiter = current->second;
    if (!waiter.index) {
      // Not delivered, or void: asked again as soon as this node may.
      if (may_act()) multicast_once(waiter.body);
      continue;
    }
    if (!waiter.refusal.empty()) {
      answer(waiter.client, ReplyCode::refused, waiter.refusal);
      waiters.erase(current);
      continue;
    }
    if (!may_act() || !stable(*waiter.index) || !durable_everywhere(*waiter.index)) continue;
    if (state.view.authority == Authority::entitled) continue;  // for a moment
    ControlReply reply;
    if (waiter.wait_vm) {
      const auto outcome = vm_outcome(waiter);
      if (!outcome) continue;
      reply = *outcome;
    }
    const bool lasting = std::holds_alternative<ChangeConfiguration>(waiter.body) ||
                         std::holds_alternative<OrderVm>(waiter.body) ||
                         std::holds_alternative<OrderCluster>(waiter.body);
    const bool restricted = state.view.authority == Authority::restricted;
    if (lasting && restricted && reply.code == ReplyCode::done) {
      reply.message += std::string(reply.message.empty() ? "" : "; ") +
                       "the nodes that are not here do not know of it, and may meet without "
                       "this one: look again when `clusterctl status` waits for nothing";
    }
    if (!waiter.note.empty()) {
      reply.message += (reply.message.empty() ? "" : "; ") + waiter.note;
    }
    effects.push_back(Reply{waiter.client, reply});
    waiters.erase(current);
  }
}

}  // namespace clusterd
