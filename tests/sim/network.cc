#include "tests/sim/network.h"

#include <algorithm>
#include <utility>

namespace clusterd::sim {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

constexpr std::size_t kOutboxLimit = 64;
constexpr std::size_t kOutboxOpen = 32;
constexpr std::size_t kPerToken = 20;

}  // namespace

void SimNetwork::add(SimHost& host) { stations_[host.id].host = &host; }

// ---- topology ----------------------------------------------------------------------------------

void SimNetwork::start(NodeId node) {
  Station& station = stations_.at(node);
  CLUSTERD_ASSERT(!station.up);
  station.up = true;
  station.waits_for_all = options_.wait_for_all;
  topology_changed();
}

void SimNetwork::stop(NodeId node) {
  Station& station = stations_.at(node);
  if (!station.up) return;
  station.up = false;
  station.outbox.clear();
  detach(node);
  topology_changed();
  station.ring.reset();
}

void SimNetwork::freeze_changed(NodeId node) {
  Station& station = stations_.at(node);
  if (!station.up) return;
  topology_changed();
  // A host that slept with an unread token wakes and uses it: it orders, and delivers to itself
  // alone, in a ring that all others may have left long ago (trace 5.1).
  const RingPtr ring = station.ring;
  if (station.host->frozen || !ring || !ring->broken || station.received != ring->end()) return;
  if (!env_.prng.chance(500)) return;
  while (!station.outbox.empty()) {
    Outgoing out = std::move(station.outbox.front());
    station.outbox.pop_front();
    order(ring, node, std::move(out));
  }
}

void SimNetwork::partition(const std::map<NodeId, int>& sides) {
  for (auto& [id, station] : stations_) {
    const auto side = sides.find(id);
    station.side = side == sides.end() ? 0 : side->second;
  }
  topology_changed();
}

void SimNetwork::set_arbiter(bool answers) {
  arbiter_ = answers;
  assign_device();
}

std::vector<std::set<NodeId>> SimNetwork::components() const {
  std::map<int, std::set<NodeId>> by_side;
  for (const auto& [id, station] : stations_) {
    if (reachable(station)) by_side[station.side].insert(id);
  }
  std::vector<std::set<NodeId>> all;
  for (auto& [side, hosts] : by_side) all.push_back(std::move(hosts));
  return all;
}

// What knet knows of its links: a host that is gone, or behind a cut, is down on all of them.
void SimNetwork::tell_links() {
  for (auto& [id, station] : stations_) {
    if (!reachable(station) || station.process == 0) continue;
    std::set<NodeId> silent;
    for (const auto& [other, there] : stations_) {
      if (!reachable(there) || there.side != station.side) silent.insert(other);
    }
    if (silent == station.silent) continue;
    station.silent = silent;
    station.listener->on_silent(silent);
    station.wake();
  }
}

// The token is lost the moment a member of the ring is: nothing more is ordered in that ring.
void SimNetwork::topology_changed() {
  const auto parts = components();
  bool any_broken = false;
  for (auto& [id, station] : stations_) {
    if (!station.ring) continue;
    const bool whole = std::find(parts.begin(), parts.end(), station.ring->hosts) != parts.end();
    const bool part_of_larger =
        std::any_of(parts.begin(), parts.end(), [&](const std::set<NodeId>& part) {
          return std::includes(part.begin(), part.end(), station.ring->hosts.begin(),
                               station.ring->hosts.end());
        });
    if (whole || part_of_larger) continue;
    station.ring->broken = true;
    any_broken = true;
  }
  const SimTime detect = any_broken ? options_.token + env_.between(SimTime(0), options_.token)
                                    : env_.between(milliseconds(50), milliseconds(400));
  env_.queue.after(detect, [this] { reform(); });
  // knet's pings and pongs take 0.4 to 0.5 of a token time (lab).
  env_.queue.after(options_.token * 9 / 20, [this] { tell_links(); });
}

void SimNetwork::reform() {
  for (const auto& part : components()) {
    env_.queue.after(env_.between(SimTime(0), milliseconds(150)), [this, part] { form(part); });
  }
}

void SimNetwork::form(const std::set<NodeId>& hosts) {
  const auto parts = components();
  // Somebody came or went meanwhile: a later reform is due.
  if (std::find(parts.begin(), parts.end(), hosts) == parts.end()) return;
  const RingPtr old = stations_.at(*hosts.begin()).ring;
  if (old && !old->broken && old->hosts == hosts) return;
  recover(hosts);
  const auto ring = std::make_shared<Ring>();
  ring->hosts = hosts;
  ring->born = env_.queue.now();
  for (const NodeId node : hosts) {
    Station& station = stations_.at(node);
    // What a host leaves behind has no token any more.
    if (station.ring) station.ring->broken = true;
    station.ring = ring;
    station.received = 0;
    if (station.process != 0) ring->members.push_back({node, station.process});
    // The list of local processes travels with the new ring: joins and leaves need no message.
    std::erase_if(station.outbox, [](const Outgoing& out) { return out.kind != Kind::message; });
  }
  env_.trace.say([&] {
    std::string line = "net     ring";
    for (const NodeId node : hosts) line += " " + name_of(node);
    return line;
  });
  assign_device();
  update_waiting(*ring);
  for (const NodeId node : hosts) {
    Station& station = stations_.at(node);
    station.in_group = station.process != 0;
    if (station.in_group) tell_view(node, ring->members);
  }
  pump(ring);
}

// Hosts that go together from one ring into the next deliver the same messages of the old one:
// everything that any of them holds.
void SimNetwork::recover(const std::set<NodeId>& hosts) {
  std::map<RingPtr, std::uint64_t> held;
  std::vector<RingPtr> rings;  // in an order that does not depend on addresses
  for (const NodeId node : hosts) {
    const Station& station = stations_.at(node);
    if (!station.ring) continue;
    if (held.count(station.ring) == 0) rings.push_back(station.ring);
    held[station.ring] = std::max(held[station.ring], station.received);
  }
  for (const RingPtr& ring : rings) {
    for (const NodeId node : hosts) {
      if (stations_.at(node).ring == ring) advance(node, ring, held[ring]);
    }
  }
}

void SimNetwork::assign_device() {
  if (options_.device_votes == 0) return;
  std::set<NodeId> best;
  for (const auto& part : components()) {
    if (part.size() > best.size()) best = part;  // ties: the side seen first
  }
  std::set<Ring*> seen;
  std::vector<std::pair<NodeId, std::uint32_t>> changes;
  for (auto& [id, station] : stations_) {
    if (!station.ring) continue;
    const std::uint32_t votes =
        arbiter_ && station.ring->hosts == best ? options_.device_votes : 0U;
    if (seen.insert(station.ring.get()).second && station.ring->device_votes != votes) {
      station.ring->device_votes = votes;
      for (const NodeId member : station.ring->hosts) changes.emplace_back(member, votes);
    }
  }
  // Taken away first, then given.
  std::stable_sort(changes.begin(), changes.end(),
                   [](const auto& a, const auto& b) { return a.second < b.second; });
  for (Ring* ring : seen) update_waiting(*ring);
  for (const auto& [node, votes] : changes) {
    if (reachable(stations_.at(node))) tell_quorum(node);
  }
}

// ---- order -------------------------------------------------------------------------------------

void SimNetwork::pump(const RingPtr& ring) {
  if (!ring || ring->broken || ring->token_due) return;
  const bool waiting = std::any_of(ring->hosts.begin(), ring->hosts.end(), [&](NodeId node) {
    return !stations_.at(node).outbox.empty();
  });
  if (!waiting) return;
  ring->token_due = true;
  env_.queue.after(env_.between(microseconds(100), microseconds(600)), [this, ring] {
    ring->token_due = false;
    pass_token(ring);
  });
}

void SimNetwork::pass_token(const RingPtr& ring) {
  const std::vector<NodeId> hosts(ring->hosts.begin(), ring->hosts.end());
  const std::uint64_t before = ring->end();
  ring->turn = (ring->turn + 1) % hosts.size();
  for (std::size_t i = 0; i < hosts.size() && !ring->broken; ++i) {
    const NodeId node = hosts[(ring->turn + i) % hosts.size()];
    Station& station = stations_.at(node);
    for (std::size_t n = 0; n < kPerToken && !station.outbox.empty() && !ring->broken; ++n) {
      Outgoing out = std::move(station.outbox.front());
      station.outbox.pop_front();
      order(ring, node, std::move(out));
    }
    offer_writable(station);
  }
  if (ring->end() != before) {
    for (const NodeId node : hosts) {
      env_.queue.after(env_.between(microseconds(50), microseconds(500)),
                       [this, node, ring, upto = ring->end()] {
                         const Station& station = stations_.at(node);
                         if (station.ring == ring && !ring->broken) advance(node, ring, upto);
                       });
    }
  }
  trim(*ring, stations_);
  pump(ring);
}

void SimNetwork::order(const RingPtr& ring, NodeId node, Outgoing out) {
  const GroupMember member{node, out.process};
  Entry entry;
  entry.sender = member;
  entry.is_change = out.kind != Kind::message;
  if (entry.is_change) {
    std::erase(ring->members, member);
    if (out.kind == Kind::join) ring->members.push_back(member);
    std::sort(ring->members.begin(), ring->members.end());
    entry.members = ring->members;
  } else {
    entry.bytes = std::move(out.bytes);
  }
  ring->log.push_back(std::move(entry));
  // The sender has its message before anybody else holds it.
  advance(node, ring, ring->end());
  if (on_ordered && out.kind == Kind::message) on_ordered(node, ring->log.back().bytes);
}

void SimNetwork::advance(NodeId node, const RingPtr& ring, std::uint64_t upto) {
  Station& station = stations_.at(node);
  while (station.received < upto) {
    const Entry& entry = ring->log.at(station.received - ring->base);
    ++station.received;
    deliver(node, entry);
  }
}

void SimNetwork::deliver(NodeId node, const Entry& entry) {
  Station& station = stations_.at(node);
  if (station.process == 0) return;
  if (entry.is_change) {
    const GroupMember self{node, station.process};
    station.in_group =
        std::find(entry.members.begin(), entry.members.end(), self) != entry.members.end();
    if (station.in_group) tell_view(node, entry.members);
  } else if (station.in_group) {
    station.listener->on_message(entry.sender, entry.bytes);
    station.wake();
  }
}

void SimNetwork::trim(Ring& ring, const std::map<NodeId, Station>& stations) {
  std::uint64_t least = ring.end();
  for (const NodeId node : ring.hosts) {
    const Station& station = stations.at(node);
    if (station.ring.get() == &ring) least = std::min(least, station.received);
  }
  while (ring.base < least) {
    ring.log.pop_front();
    ++ring.base;
  }
}

// ---- daemons -----------------------------------------------------------------------------------

bool SimNetwork::has_votes(const Ring& ring) const {
  const std::size_t here = ring.hosts.size() + ring.device_votes;
  if (options_.two_node && stations_.size() == 2) return here >= 1;
  return 2 * here > stations_.size() + options_.device_votes;
}

void SimNetwork::update_waiting(const Ring& ring) {
  if (!options_.wait_for_all) return;
  const bool votes = has_votes(ring);
  const bool ends = votes && (ring.hosts.size() == stations_.size() ||
                              std::any_of(ring.hosts.begin(), ring.hosts.end(), [&](NodeId node) {
                                return !stations_.at(node).waits_for_all;
                              }));
  for (const NodeId node : ring.hosts) {
    Station& station = stations_.at(node);
    if (station.ring.get() != &ring) continue;  // it has gone on, and this ring is a memory
    station.waits_for_all = !votes || (station.waits_for_all && !ends);
  }
}

QuorumFacts SimNetwork::facts(const Station& station) const {
  QuorumFacts facts;
  for (const auto& [id, other] : stations_) {
    facts.votes[id] = 1;
    facts.names[id] = name_of(id);
  }
  facts.device_votes = station.ring->device_votes;
  facts.wait_for_all = options_.wait_for_all;
  facts.quorate = has_votes(*station.ring) && !station.waits_for_all;
  return facts;
}

void SimNetwork::tell_view(NodeId node, const std::vector<GroupMember>& members) {
  Station& station = stations_.at(node);
  ViewChanged view{members, station.ring->hosts, facts(station)};
  if (station.told.quorate != view.quorum.quorate) station.told.since = env_.queue.now();
  station.told.quorate = view.quorum.quorate;
  station.listener->on_view(view);
  station.wake();
}

void SimNetwork::tell_quorum(NodeId node) {
  Station& station = stations_.at(node);
  if (!station.in_group) return;
  const QuorumFacts now = facts(station);
  if (station.told.quorate != now.quorate) station.told.since = env_.queue.now();
  station.told.quorate = now.quorate;
  station.listener->on_quorum(QuorumChanged{now});
  station.wake();
}

void SimNetwork::attach(NodeId node, std::uint32_t process, GroupListener& listener,
                        std::function<void()> wake) {
  Station& station = stations_.at(node);
  CLUSTERD_ASSERT(station.up && station.process == 0);
  station.process = process;
  station.listener = &listener;
  station.wake = std::move(wake);
  station.in_group = false;
  station.attached = env_.queue.now();
  station.told = Told{false, env_.queue.now()};
  station.silent.clear();
  station.writable_wanted = false;
  station.outbox.push_back({Kind::join, process, {}});
  pump(station.ring);
  tell_links();
}

SimTime SimNetwork::together_for(NodeId a, NodeId b) const {
  const Station& one = stations_.at(a);
  const Station& other = stations_.at(b);
  if (!one.ring || one.ring != other.ring || one.ring->broken) return SimTime(0);
  if (!one.in_group || !other.in_group) return SimTime(0);
  return env_.queue.now() - std::max({one.ring->born, one.attached, other.attached});
}

void SimNetwork::detach(NodeId node) {
  Station& station = stations_.at(node);
  if (station.process == 0) return;
  // What it has sent is still under way, and stands before its leaving.
  if (station.up) station.outbox.push_back({Kind::leave, station.process, {}});
  station.process = 0;
  station.listener = nullptr;
  station.in_group = false;
  pump(station.ring);
}

SendStatus SimNetwork::multicast(NodeId node, std::string_view bytes) {
  Station& station = stations_.at(node);
  CLUSTERD_ASSERT(bytes.size() <= Group::kMaxMessage);
  if (station.process == 0) return SendStatus::failed;
  if (!station.flow_open || station.outbox.size() >= kOutboxLimit) {
    station.writable_wanted = true;
    return SendStatus::try_again;
  }
  station.outbox.push_back({Kind::message, station.process, std::string(bytes)});
  pump(station.ring);
  return SendStatus::queued;
}

void SimNetwork::set_flow(NodeId node, bool open) {
  Station& station = stations_.at(node);
  station.flow_open = open;
  offer_writable(station);
}

void SimNetwork::offer_writable(Station& station) {
  if (!station.writable_wanted || !station.flow_open || station.process == 0) return;
  if (station.outbox.size() > kOutboxOpen) return;
  station.writable_wanted = false;
  station.listener->on_writable();
  station.wake();
}

void SimNetwork::disturb(NodeId node) {
  const RingPtr ring = stations_.at(node).ring;
  if (!ring) return;
  ring->broken = true;
  topology_changed();
}

}  // namespace clusterd::sim
