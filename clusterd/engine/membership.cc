#include "clusterd/engine/membership.h"

#include <algorithm>
#include <set>
#include <tuple>

namespace clusterd {
namespace {

auto rank(const Hello& hello) {
  return std::make_tuple(hello.position.established, hello.position.epoch, hello.in_last_activate,
                         hello.position.index);
}

bool can_win(const Hello& hello) {
  return hello.condition == StoreCondition::intact;
}

}  // namespace

bool better_state(NodeId a_id, const Hello& a, NodeId b_id, const Hello& b) {
  const auto ra = rank(a);
  const auto rb = rank(b);
  if (ra != rb) return ra > rb;
  return a_id < b_id;
}

std::vector<NodeId> candidates(const Hellos& hellos) {
  std::vector<NodeId> order;
  for (const auto& [id, heard] : hellos) {
    if (can_win(heard.hello)) order.push_back(id);
  }
  std::sort(order.begin(), order.end(), [&](NodeId a, NodeId b) {
    return better_state(a, hellos.at(a).hello, b, hellos.at(b).hello);
  });
  return order;
}

bool is_trusted(const Hellos& hellos, const Hello& winner, std::size_t nodes) {
  std::size_t intact = 0;
  bool unbroken = false;
  for (const auto& [id, heard] : hellos) {
    const Hello& hello = heard.hello;
    if (hello.condition != StoreCondition::intact || hello.cluster != winner.cluster) continue;
    if (hello.accepted) ++intact;
    if (hello.unbroken && hello.accepted && hello.position.epoch == winner.position.epoch) {
      unbroken = true;
    }
  }
  return winner.accepted && (unbroken || intact * 2 > nodes);
}

Epoch next_epoch(const Hellos& hellos, NodeId sender, Epoch active) {
  const auto from = hellos.find(sender);
  if (from == hellos.end()) return active.next();
  for (const auto& [id, heard] : hellos) {
    if (heard.hello.cluster == from->second.hello.cluster) {
      active = std::max(active, heard.hello.position.epoch);
    }
  }
  return active.next();
}

bool reopens(const Hello& late, const Hello& opened_by, Epoch active) {
  if (!can_win(late) || late.cluster == ClusterId{} || late.cluster != opened_by.cluster) {
    return false;
  }
  return late.position.established > opened_by.position.established ||
         late.position.epoch >= active;
}

Activate build_activate(NodeId self, const ViewChanged& view, const Hellos& hellos,
                        const ClusterState& state, ClusterTime ring) {
  const Hello& own = hellos.at(self).hello;
  Activate activate;
  activate.epoch = next_epoch(hellos, self, own.position.epoch);
  std::set<std::string> configured;
  for (const auto& [name, node] : state.config.nodes) configured.insert(name);
  for (const auto& [id, name] : view.quorum.names) configured.insert(name);
  activate.trusted = is_trusted(hellos, own, configured.size());
  activate.cold = true;
  activate.wait_for_all = true;
  for (const GroupMember& process : view.members) {
    Member member;
    if (const auto heard = hellos.find(process.node); heard != hellos.end()) {
      const Hello& hello = heard->second.hello;
      member.boot = hello.boot;
      member.incarnation = heard->second.incarnation;
      member.machine = hello.machine;
      const bool same =
          can_win(hello) && hello.cluster == own.cluster && hello.position == own.position;
      member.phase = same ? MemberPhase::synced : MemberPhase::joining;
      if (hello.unbroken) activate.cold = false;
      if (!hello.wait_for_all) activate.wait_for_all = false;
    }
    activate.members.emplace(process.node, member);
  }
  for (const NodeId& host : view.ring) {
    if (!activate.members.contains(host)) activate.ring_only.insert(host);
  }
  activate.names = view.quorum.names;
  activate.votes = view.quorum.votes;
  activate.device_votes = view.quorum.device_votes;
  activate.ring = ring;
  return activate;
}

std::string check_founding(const ViewChanged& view, const Hellos& hellos) {
  if (!view.quorum.quorate) return "this node is not quorate";
  std::string missing;
  for (const auto& [id, name] : view.quorum.names) {
    if (!hellos.contains(id)) missing += (missing.empty() ? "" : ", ") + name;
  }
  if (!missing.empty()) {
    return "every node of corosync.conf must run clusterd; missing: " + missing;
  }
  for (const auto& [id, heard] : hellos) {
    if (heard.hello.condition != StoreCondition::blank) {
      return heard.hello.name +
             " already has a cluster's state: if it is to be given up, stop "
             "its daemon and move its state_dir away";
    }
    if (heard.hello.ha_domains) {
      return heard.hello.name +
             " guards VMs of an earlier cluster (state_dir/protected): remove "
             "them by hand when you know that nothing runs them";
    }
  }
  return {};
}

std::string check_activate(NodeId sender, const Activate& activate, const ViewChanged& view,
                           const Hellos& hellos) {
  const auto from = hellos.find(sender);
  if (from == hellos.end()) return "its sender has not said Hello in this view";
  std::set<NodeId> nodes;
  for (const GroupMember& process : view.members) nodes.insert(process.node);
  std::set<NodeId> named;
  for (const auto& [id, member] : activate.members) named.insert(id);
  if (nodes != named) return "its members are not those of this view";
  if (activate.founding) return check_founding(view, hellos);

  const Hello& winner = from->second.hello;
  if (!can_win(winner)) return "its sender has no intact state";
  if (activate.epoch != next_epoch(hellos, sender, winner.position.epoch)) {
    return "its epoch does not follow those that are known";
  }
  for (const auto& [id, member] : activate.members) {
    if (member.boot == BootId{}) {
      if (member.phase != MemberPhase::joining) return "a silent member cannot be synced";
      continue;
    }
    const auto heard = hellos.find(id);
    if (heard == hellos.end()) return "it knows a Hello that was not delivered";
    const Hello& hello = heard->second.hello;
    const bool true_to = hello.boot == member.boot && hello.machine == member.machine &&
                         heard->second.incarnation == member.incarnation;
    if (!true_to) return "it misquotes a Hello";
    if (member.phase == MemberPhase::demoted) return "a member cannot begin demoted";
    if (member.phase == MemberPhase::synced && hello.position != winner.position) {
      return "it calls a member synced whose state differs";
    }
  }
  // Whoever the sender had heard by then: all who judge have heard the same (R9).
  for (const auto& [id, heard] : hellos) {
    const bool rival = can_win(heard.hello) && heard.hello.cluster == winner.cluster;
    if (rival && rank(heard.hello) > rank(winner)) {
      return "a member has a better state";
    }
  }
  return {};
}

}  // namespace clusterd
