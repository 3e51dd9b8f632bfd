// HonestWorld: random logs, and what they do to hosts.
//
// Hosts say the truth, late. Everybody else does not: planners send any intent at any time,
// operators ask for anything, daemons stutter, damaged fence devices say "off", views come and go
// with cut cables, power cuts and restarted daemons. An executor may carry out what it was told
// long after it was cut off. So whatever keeps a VM from running twice must stand in apply.
//
// It holds its own picture of every host; of the engine it uses nothing but apply.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "clusterd/base/prng.h"
#include "clusterd/engine/apply.h"
#include "clusterd/model/state.h"

namespace clusterd::test {

class HonestWorld {
 public:
  explicit HonestWorld(std::uint64_t seed);

  // The next entry of the log; its digest is of its bytes. Hosts may act meanwhile.
  [[nodiscard]] LogEntry next();
  // Applies the entry to the state, and lets the hosts hear of it. Returns its refusal.
  std::string deliver(const LogEntry& entry);

  [[nodiscard]] const ClusterState& state() const { return state_; }
  // A VM that runs on two hosts at this moment, in words; empty: none.
  [[nodiscard]] std::string runs_twice() const;
  // A VM that runs on a host that does not hold it, in words; empty: none.
  [[nodiscard]] std::string runs_unheld() const;
  // The boot has ended: nothing of it can run any more.
  [[nodiscard]] bool has_ended(const Host& host) const;

 private:
  // An operation that was given to this boot. It may act as long as it has not closed it.
  struct VmTask {
    VmId vm;
    VmOpKind kind = VmOpKind::start;
    std::optional<VmClosed> closing;
  };
  struct PowerTask {
    PowerOpKind kind = PowerOpKind::read_power;
    NodeId target;
  };
  struct Machine {
    std::uint64_t boots = 1;
    std::uint64_t daemons = 1;
    bool powered = true;
    bool reachable = true;  // in the ring, if powered
    bool daemon = true;
    bool miswired = false;  // its fence device is not connected to it, and says off
    std::set<VmId> running;
    std::map<OpId, VmTask> vm_tasks;
    std::map<OpId, PowerTask> power_tasks;
    std::deque<Message> outbox;  // said and not delivered; a member's words keep their order
  };

  void build();

  // What happens without a word.
  void upset_hosts();
  void let_hosts_act();
  void switch_off(NodeId id);
  void switch_on(NodeId id);
  // Makes a host say something; it stands in its outbox.
  void let_host_speak(NodeId id);
  void look(NodeId id, const VmId& vm);
  void end_vm_task(NodeId id);
  void end_power_task(NodeId id);
  // What the device says of its host then; nullopt: no answer.
  std::optional<Power> use_device(const PowerTask& task);

  // Makers of entries. They tell who says it and what.
  struct Said {
    NodeId sender;
    Message message;
  };
  [[nodiscard]] Said say(NodeId sender, Body body);
  [[nodiscard]] std::optional<Said> take_from_an_outbox();
  [[nodiscard]] Body word_of_a_death();
  [[nodiscard]] Said plan();
  [[nodiscard]] Said order();
  [[nodiscard]] Said configure();
  [[nodiscard]] std::optional<Said> new_view();
  [[nodiscard]] Said membership();
  [[nodiscard]] Said nonsense();

  [[nodiscard]] Host host(NodeId id) const;
  [[nodiscard]] Incarnation incarnation(NodeId id) const;
  [[nodiscard]] NodeId any_node();
  [[nodiscard]] NodeId any_synced();
  [[nodiscard]] std::optional<VmId> any_vm();
  // The boot that it has, now and then an earlier one.
  [[nodiscard]] Host any_host();
  [[nodiscard]] Generation any_generation(const VmId& vm);

  Prng prng_;
  ClusterState state_;
  std::map<NodeId, Machine> machines_;
};

}  // namespace clusterd::test
