// Membership entries: Activate, Leave, Synced, Demote, and what a view means for hosts.
#include <algorithm>

#include "clusterd/engine/apply_detail.h"

namespace clusterd::apply_detail {
namespace {

// It left without a goodbye: too often within an hour is a quarantine.
void note_unclean_exit(ClusterState& state, NodeId id) {
  NodeState& node = state.nodes.at(id);
  const bool before = quarantined_until(node, state.time).has_value();
  std::erase_if(node.unclean_exits,
                [&](ClusterTime at) { return at + kUncleanWindow <= state.time; });
  node.unclean_exits.push_back(state.time);
  if (node.unclean_exits.size() > kUncleanExits) {
    node.unclean_exits.erase(node.unclean_exits.begin());
  }
  if (before || !quarantined_until(node, state.time)) return;
  record(state, EventKind::alarm, id, std::nullopt,
         node_name(state, id) + " went without a goodbye " + std::to_string(kUncleanExits) +
             " times within an hour: it is in quarantine, and gets VMs only when no other node "
             "has room");
}

// A new boot of the same machine proves every earlier boot dead (trace 4.10).
void prove_earlier_boots(ClusterState& state, NodeId id, const Member& member) {
  std::set<BootId> earlier;
  const NodeState& node = state.nodes.at(id);
  if (node.boot != BootId{} && node.boot != member.boot) earlier.insert(node.boot);
  for (const auto& [vm_id, vm] : state.vms) {
    for (const auto& [host, sighting] : vm.holders) {
      if (host.node == id && host.boot != member.boot) earlier.insert(host.boot);
    }
  }
  for (const BootId& boot : earlier) {
    if (!node.dead.contains(boot)) {
      prove_dead(state, {id, boot}, DeathCause::new_boot, "the machine has booted again");
    }
  }
}

// The fence of a boot that is back has lost its reason; a spawned agent may still fire, so the
// node gets no new VM until fence_settle is over (R19).
void note_return(ClusterState& state, NodeState& node, const Member& member) {
  if (node.power && node.power->kind != PowerOpKind::power_on) {
    if (node.power->kind == PowerOpKind::fence) {
      node.settle_until = state.time + state.config.cluster.timers.fence_settle;
    }
    node.power.reset();
  }
  if (node.fence_ordered != member.boot) node.fence_ordered.reset();
  node.power_on_due.reset();
  node.power_on_attempts = 0;
  node.loss.reset();
  if (node.departure && node.departure->boot != member.boot) node.departure.reset();
}

void welcome(ClusterState& state, NodeId id, Member& member, const ActiveView& before, bool cold) {
  NodeState& node = state.nodes[id];
  const auto previous = before.members.find(id);
  const bool known = previous != before.members.end() &&
                     previous->second.incarnation == member.incarnation;
  member.inventory_done =
      known && previous->second.inventory_done && previous->second.phase == MemberPhase::synced &&
      member.phase == MemberPhase::synced;
  if (member.boot == BootId{}) return;  // silent so far: nothing is known of it but its place

  const bool other_machine = node.machine != MachineId{} && node.machine != member.machine;
  const bool unproven = node.boot != BootId{} && !node.dead.contains(node.boot);
  if (other_machine && unproven && node.boot != member.boot) {
    member.phase = MemberPhase::joining;
    record(state, EventKind::alarm, id, std::nullopt,
           node_name(state, id) + " is another machine now, and the old one is not proven dead: "
           "it stays out until `clusterctl node confirm-dead " + node_name(state, id) + "`");
    return;
  }
  if (node.dead.contains(member.boot)) {
    member.phase = MemberPhase::joining;
    record(state, EventKind::alarm, id, std::nullopt,
           "false death proof: " + node_name(state, id) +
               " was proven dead and its boot is alive: its VMs there are destroyed, then it "
               "comes back as a new boot");
    return;
  }
  // Only now: a boot that came back from the dead proves nothing about those after it.
  if (!other_machine) prove_earlier_boots(state, id, member);
  // Its daemon was here, and it has booted since: no view in between missed it. That all hosts
  // lost their power says nothing of this one.
  const bool rebooted = previous != before.members.end() && previous->second.boot != BootId{} &&
                        node.boot != BootId{} && node.boot != member.boot && !node.departure;
  if (rebooted && !cold) note_unclean_exit(state, id);
  const bool returned = node.loss.has_value() || before.members.count(id) == 0;
  note_return(state, node, member);
  node.machine = member.machine;
  node.boot = member.boot;
  if (node.departure && !known) node.departure.reset();
  if (returned) {
    record(state, EventKind::node_joined, id, std::nullopt, node_name(state, id) + " joined");
  }
}

// A power operation whose executor is no synced member any more is over without a word: another
// one takes its turn (R19). Its agent may still be at work, so the target settles first.
void abandon_power(ClusterState& state) {
  for (auto& [id, node] : state.nodes) {
    if (!node.power) continue;
    const Member* executor = synced_member(state, node.power->executor.node);
    const bool goes_on =
        executor != nullptr && executor->incarnation == node.power->executor_incarnation;
    if (goes_on) continue;
    if (node.power->kind == PowerOpKind::fence) {
      node.settle_until = state.time + state.config.cluster.timers.fence_settle;
    }
    if (node.loss) {
      ++node.loss->attempts;
      node.loss->next_attempt = state.time;
      node.loss->last_failure =
          "its executor " + node_name(state, node.power->executor.node) + " dropped out";
    }
    node.power.reset();
  }
}

// Who is admitted late changes nothing for the others: what has stood in the log since the sender
// wrote this, a Synced or a Demote, still holds.
void keep_phases(ActiveView& view, const ActiveView& before) {
  for (auto& [id, member] : view.members) {
    const auto known = before.members.find(id);
    const bool same = known != before.members.end() &&
                      known->second.incarnation == member.incarnation;
    if (same) member.phase = known->second.phase;
  }
}

bool gone_unproven(const ClusterState& state, NodeId id) {
  const NodeState& node = state.nodes.at(id);
  return member_of(state, id) == nullptr && !state.view.ring_only.contains(id) &&
         node.boot != BootId{} && !node.dead.contains(node.boot);
}

// Hosts that the new view no longer has: lost, unmanaged, or gone with a goodbye.
std::set<NodeId> miss_absent(ClusterState& state, const ActiveView& before, bool cold) {
  std::set<NodeId> lost;
  for (auto& [id, node] : state.nodes) {
    const bool newly_unmanaged = state.view.ring_only.contains(id) &&
                                 !before.ring_only.contains(id) && !node.departure;
    if (newly_unmanaged) {
      const bool ran = before.members.contains(id);
      record(state, EventKind::node_unmanaged, id, std::nullopt,
             ran ? "the daemon on " + node_name(state, id) +
                       " is gone, its host is alive: nothing is fenced, its VMs run on unwatched"
                 : node_name(state, id) + " is in the ring, its daemon does not run yet");
    }
    const bool gone = member_of(state, id) == nullptr && !state.view.ring_only.contains(id);
    if (gone && !gone_unproven(state, id)) node.fence_ordered.reset();  // nothing is left to do
    if (node.loss || !gone_unproven(state, id)) continue;
    const bool waits = node.departure && node.departure->boot == node.boot &&
                       state.time < node.departure->deadline;
    if (waits) continue;
    mark_lost(state, id, cold);
    if (!cold) note_unclean_exit(state, id);
    lost.insert(id);
  }
  return lost;
}

}  // namespace

std::string on(Entry& entry, const Activate& body) {
  ClusterState& state = entry.state;
  const ActiveView before = state.view;
  state.position.epoch = body.epoch;
  if (body.founding) {
    state.cluster = body.founding->cluster;
    state.name = body.founding->name;
    state.config.cluster.name = body.founding->name;
    record(state, EventKind::founded, entry.sender, std::nullopt,
           "cluster " + state.name + " was founded");
  }
  state.accepted = state.accepted && (body.trusted || body.admits);
  state.view = ActiveView{body.members,      body.ring_only, body.votes, body.device_votes,
                          body.wait_for_all, body.trusted,   Authority::restricted};
  if (body.admits) keep_phases(state.view, before);
  for (const auto& [id, name] : body.names) state.nodes[id].name = name;
  for (auto& [id, member] : state.view.members) welcome(state, id, member, before, body.cold);
  const std::set<NodeId> lost = miss_absent(state, before, body.cold);
  abandon_power(state);
  update_authority(state);
  std::string members;
  for (const auto& [id, member] : state.view.members) {
    members += (members.empty() ? "" : " ") + node_name(state, id);
  }
  record(state, EventKind::activated, entry.sender, std::nullopt,
         "epoch " + std::to_string(state.position.epoch.value) + ": " + members);
  open_failover(state, lost, std::min(body.ring, state.time), entry.sender);
  demand_durable(state);
  return {};
}

std::string on(Entry& entry, const Leave& body) {
  ClusterState& state = entry.state;
  const auto member = state.view.members.find(entry.sender);
  if (member == state.view.members.end() || member->second.boot != body.boot) {
    return "not a member";
  }
  NodeState& node = state.nodes[entry.sender];
  // 7.1: a leaver that may still hold VMs leaves them running, whatever it says.
  const Duration grace = state.config.cluster.timers.leave_grace;
  node.departure = Departure{body.boot, true, state.time, state.time + grace};
  record(state, EventKind::node_left, entry.sender, std::nullopt,
         node_name(state, entry.sender) + " leaves, its VMs run on");
  demand_durable(state);
  return {};
}

std::string on(Entry& entry, const Synced&) {
  ClusterState& state = entry.state;
  const auto found = state.view.members.find(entry.sender);
  if (found == state.view.members.end()) return "not a member";
  Member& member = found->second;
  if (member.incarnation != entry.message.incarnation) return "an earlier daemon said this";
  if (member.phase != MemberPhase::joining) return "is not joining";
  const NodeState& node = state.nodes[entry.sender];
  if (node.dead.contains(member.boot)) return "this boot is condemned";
  if (node.machine != member.machine) return "another machine under the same node id";
  member.phase = MemberPhase::synced;
  update_authority(state);
  return {};
}

// It changes nothing here: whom it speaks of has no state yet, and acts on it.
std::string on(Entry& entry, const Condemn& body) {
  const bool synced = synced_member(entry.state, entry.sender) != nullptr;
  if (!synced) return "only a synced member may say this";
  return is_dead(entry.state, body.host) ? "" : "that boot is not proven dead";
}

std::string on(Entry& entry, const Establish&) {
  ClusterState& state = entry.state;
  if (synced_member(state, entry.sender) == nullptr) return "only a synced member may say this";
  if (state.view.authority != Authority::entitled) return "nothing waits for it";
  state.view.authority = Authority::established;
  state.position.established = state.position.epoch;
  return {};
}

std::string on(Entry& entry, const Demote& body) {
  ClusterState& state = entry.state;
  if (synced_member(state, entry.sender) == nullptr) return "only a synced member may say this";
  const auto found = state.view.members.find(body.node);
  if (found == state.view.members.end()) return "not a member";
  Member& member = found->second;
  if (member.incarnation != body.incarnation) return "it has a new daemon";
  if (member.phase != MemberPhase::synced) return "is not synced";
  if (!synced_majority(state, body.node)) {
    return "the remaining synced members would be no majority";
  }
  member.phase = MemberPhase::demoted;
  member.inventory_done = false;
  abandon_power(state);
  update_authority(state);
  record(state, EventKind::node_demoted, body.node, std::nullopt,
         node_name(state, body.node) + " is set aside: " + body.reason);
  demand_durable(state);
  return {};
}

void mark_lost(ClusterState& state, NodeId id, bool cold_start) {
  NodeState& node = state.nodes.at(id);
  Loss loss;
  loss.boot = node.boot;
  loss.since = state.time;
  loss.cold_start = cold_start;
  loss.next_attempt = state.time;
  loss.ordered = node.fence_ordered == node.boot;
  node.fence_ordered.reset();
  node.loss = loss;
  node.departure.reset();
  record(state, EventKind::node_lost, id, std::nullopt,
         node_name(state, id) + (cold_start ? " has not come back" : " was lost"));
}

void expire_departures(ClusterState& state) {
  std::set<NodeId> lost;
  for (auto& [id, node] : state.nodes) {
    if (!node.departure || node.loss || !gone_unproven(state, id)) continue;
    if (state.time < node.departure->deadline) continue;
    mark_lost(state, id, false);
    lost.insert(id);
  }
  if (lost.empty()) return;
  update_authority(state);  // a goodbye counts no more: its host may do anything now
  if (const auto planner = coordinator(state)) open_failover(state, lost, state.time, *planner);
}

void update_authority(ClusterState& state) {
  bool others_gone = true;
  bool some_awake = false;
  for (const auto& [id, votes] : state.view.votes) {
    if (synced_member(state, id) != nullptr) continue;
    const NodeState& node = state.nodes[id];
    const bool dead = node.boot != BootId{} && node.dead.contains(node.boot);
    if (!dead && !node.departure) others_gone = false;
    if (!dead || state.view.ring_only.contains(id)) some_awake = true;
  }
  // A host that booted anew waits for all (WFA), unless it meets a Corosync that does not wait:
  // one whose daemon left, or one in our own ring. With such a one the others may activate what
  // they remember, if they are a majority: then nothing is done here that they do not know.
  const bool others_may_meet = some_awake && !synced_half(state);
  const bool sub_majority_may = state.view.wait_for_all && others_gone && !others_may_meet;
  // Half of the nodes and an arbiter's vote are a majority of votes, but the other half may get
  // that vote next, and knows nothing of what is done here: it must be gone first (seed 52557).
  const bool majority = synced_majority(state) && (others_gone || synced_most(state));
  if (!state.accepted || !(majority || sub_majority_may)) {
    state.view.authority = Authority::restricted;
  } else if (state.view.authority == Authority::restricted) {
    state.view.authority = Authority::entitled;
    demand_durable(state);
  }
}

}  // namespace clusterd::apply_detail
