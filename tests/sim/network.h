// SimNetwork: Corosync on all hosts: rings, quorum, the process group with its agreed order.
//
// What is nasty in the real one is nasty here: a sender delivers its own message before anybody
// else holds it; members that go together into the next ring deliver the same messages of the
// old one, others may miss a suffix (protocol R1); what is queued when a ring breaks is delivered
// in a later view; a daemon restarts without a new ring; the queue is bounded (try_again).
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "clusterd/ports/group.h"
#include "tests/sim/world.h"

namespace clusterd::sim {

struct SimNetworkOptions {
  SimTime token{std::chrono::milliseconds(1000)};
  std::uint32_t device_votes = 0;  // of an arbiter; cast for the largest side
  // As votequorum does it: without quorum a node waits until it meets one that has not lost it, or
  // all nodes at once. Source: corosync 3.1.7, exec/votequorum.c.
  bool wait_for_all = false;
  bool two_node = false;  // one vote of two is a quorum; implies wait_for_all
};

class SimNetwork {
 public:
  SimNetwork(SimEnv& env, SimNetworkOptions options) : env_(env), options_(options) {}

  void add(SimHost& host);

  // ---- hosts ----
  void start(NodeId node);  // Corosync starts
  void stop(NodeId node);   // the host or its Corosync is gone
  // A host froze or thawed (SimHost::frozen says which).
  void freeze_changed(NodeId node);
  // Hosts with different sides cannot hear each other.
  void partition(const std::map<NodeId, int>& sides);
  void heal() { partition({}); }
  // Somebody whom the ring cannot hear talks into it (a one-way loss): it forms anew.
  void disturb(NodeId node);
  // The arbiter answers nobody, or again.
  void set_arbiter(bool answers);

  // ---- daemons ----
  // `wake` is called after each call of the listener.
  void attach(NodeId node, std::uint32_t process, GroupListener& listener,
              std::function<void()> wake);
  void detach(NodeId node);  // the process is gone, whatever it wanted
  [[nodiscard]] SendStatus multicast(NodeId node, std::string_view bytes);
  void set_flow(NodeId node, bool open);

  // ---- for checkers and scenarios ----
  // What the daemon on this node was told last, and when.
  struct Told {
    bool quorate = false;
    SimTime since{0};
  };
  [[nodiscard]] Told told(NodeId node) const { return stations_.at(node).told; }
  // For how long both have been in one ring with their daemons in the group; zero: they are not.
  [[nodiscard]] SimTime together_for(NodeId a, NodeId b) const;
  [[nodiscard]] bool is_up(NodeId node) const { return stations_.at(node).up; }
  [[nodiscard]] int side(NodeId node) const { return stations_.at(node).side; }
  // Called when a message has its place in the order, and only its sender has delivered it.
  std::function<void(NodeId sender, const std::string& bytes)> on_ordered;

 private:
  struct Entry {
    GroupMember sender;
    std::string bytes;
    bool is_change = false;
    std::vector<GroupMember> members;  // of a change
  };
  struct Ring {
    std::set<NodeId> hosts;
    std::deque<Entry> log;
    std::uint64_t base = 0;  // entries before the log's front
    std::vector<GroupMember> members;
    std::uint32_t device_votes = 0;
    SimTime born{0};
    bool broken = false;
    bool token_due = false;
    std::size_t turn = 0;
    [[nodiscard]] std::uint64_t end() const { return base + log.size(); }
  };
  using RingPtr = std::shared_ptr<Ring>;
  enum class Kind { message, join, leave };
  struct Outgoing {
    Kind kind = Kind::message;
    std::uint32_t process = 0;
    std::string bytes;
  };
  struct Station {
    SimHost* host = nullptr;
    bool up = false;
    bool waits_for_all = false;  // booted, and has met no quorum yet
    int side = 0;
    RingPtr ring;
    std::uint64_t received = 0;
    std::deque<Outgoing> outbox;
    std::uint32_t process = 0;  // 0: no daemon
    GroupListener* listener = nullptr;
    std::function<void()> wake;
    bool in_group = false;  // has delivered its own join
    SimTime attached{0};
    bool flow_open = true;
    bool writable_wanted = false;
    Told told;
    std::set<NodeId> silent;  // what its daemon was told of its links
  };

  [[nodiscard]] bool reachable(const Station& station) const {
    return station.up && !station.host->frozen;
  }
  [[nodiscard]] std::vector<std::set<NodeId>> components() const;
  void topology_changed();
  void tell_links();
  void reform();
  void form(const std::set<NodeId>& hosts);
  void recover(const std::set<NodeId>& hosts);
  void assign_device();
  void pump(const RingPtr& ring);
  void pass_token(const RingPtr& ring);
  void order(const RingPtr& ring, NodeId node, Outgoing out);
  void advance(NodeId node, const RingPtr& ring, std::uint64_t upto);
  void deliver(NodeId node, const Entry& entry);
  void tell_view(NodeId node, const std::vector<GroupMember>& members);
  void tell_quorum(NodeId node);
  void offer_writable(Station& station);
  void update_waiting(const Ring& ring);
  [[nodiscard]] bool has_votes(const Ring& ring) const;
  [[nodiscard]] QuorumFacts facts(const Station& station) const;
  static void trim(Ring& ring, const std::map<NodeId, Station>& stations);

  SimEnv& env_;
  SimNetworkOptions options_;
  std::map<NodeId, Station> stations_;
  bool arbiter_ = true;
};

// The Group port of one run of a daemon.
class SimGroup final : public Group {
 public:
  SimGroup(SimNetwork& network, NodeId node) : network_(network), node_(node) {}
  [[nodiscard]] SendStatus multicast(std::string_view bytes) override {
    return network_.multicast(node_, bytes);
  }
  void leave() override { network_.detach(node_); }

 private:
  SimNetwork& network_;
  NodeId node_;
};

}  // namespace clusterd::sim
