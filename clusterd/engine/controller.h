// Controller: one node's brain. Turns events into effects; does no I/O, reads no clock.
//
// It owns the local replica of ClusterState and everything local that replicas need not agree
// on: the current membership, Hellos, acknowledgements, what was dispatched here, who waits for
// an answer. Only runtime/driver calls it.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "clusterd/base/time.h"
#include "clusterd/engine/apply.h"
#include "clusterd/model/effect.h"

namespace clusterd {

// Who this daemon is; fixed for its life.
struct NodeIdentity {
  NodeId node;
  MachineId machine;
  BootId boot;
  Incarnation incarnation;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.node, s.machine, s.boot, s.incarnation);
  }
};

// What the store held when the daemon started: snapshot plus replayed log (by apply).
struct StartingPoint {
  StoreCondition condition = StoreCondition::blank;
  ClusterState state;     // default when not intact
  std::set<VmId> guarded = {};  // VMs that the host's hook guards
  ClusterTime wall;       // wall time now; only a first guess for display (R15)
};

// Local facts for metrics and `status`, beside state().
struct LocalView {
  bool in_view = false;   // a view was delivered since the group was joined or lost
  bool quorate = false;
  bool active = false;    // the view is activated here and this node is synced
  bool coordinator = false;
  bool hypervisor_up = false;
  std::string waiting;    // what stands between this node and work; empty: nothing
};

class Controller {
 public:
  Controller(const NodeIdentity& self, StartingPoint start, Instant now);
  ~Controller();
  Controller(const Controller&) = delete;
  Controller& operator=(const Controller&) = delete;

  // Never blocks, throws, logs, or fails. `now` never decreases. The caller executes the effects
  // in order before the next step, and hands over InputsDrained whenever its queue ran empty and
  // when next_deadline() has come.
  [[nodiscard]] Effects step(Instant now, const Event& event);

  // When an InputsDrained step is due at the latest.
  [[nodiscard]] Instant next_deadline() const;

  [[nodiscard]] const NodeIdentity& self() const;
  [[nodiscard]] const ClusterState& state() const;
  [[nodiscard]] LocalView local_view() const;
  // The cluster time that `now` corresponds to on this node.
  [[nodiscard]] ClusterTime cluster_time(Instant now) const;

  // All that the steps to come depend on. Later versions understand it (Layout::sized).
  [[nodiscard]] std::string checkpoint() const;
  // A controller that goes on exactly as the one that gave the checkpoint. nullptr: it does not
  // decode. Only for bytes of our own: what they say is not validated.
  [[nodiscard]] static std::unique_ptr<Controller> restore(std::string_view checkpoint);

 private:
  struct Impl;
  explicit Controller(std::unique_ptr<Impl> impl);

  std::unique_ptr<Impl> impl_;
};

}  // namespace clusterd
