// Metrics: where the daemon puts what operators watch (contract.md section 4).
//
// What *is* comes as a whole snapshot, so that a scrape never sees half a change and nothing stays
// behind of what was removed. What *happened* is counted one by one, from any thread; counts begin
// at 0 with the daemon and are those of this node's view of the cluster.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "clusterd/base/time.h"
#include "clusterd/model/outcome.h"
#include "clusterd/model/state.h"

namespace clusterd {

struct MetricsSnapshot {
  struct Node {
    std::string name;
    std::string state;  // a node state of contract.md section 3
  };
  struct Vm {
    std::string name;
    std::string state;   // a VM state of contract.md section 3
    std::string health;  // a health of contract.md section 3, degraded or suspect
    std::optional<Duration> predicted_failover;
  };
  struct Reserve {
    std::uint32_t required = 0;
    std::uint32_t tolerated = 0;
  };

  bool quorate = false;
  bool synced = false;  // the rest is the group's present state; false: the last that was known
  bool armed = true;
  bool recording = false;  // what happens here is recorded for replay
  std::uint64_t epoch = 0;
  std::size_t alarms = 0;           // that stand now
  std::size_t unprotected_vms = 0;  // of which nobody could recover one if its host failed now
  std::optional<Reserve> reserve;   // nullopt: not known, and then not exported
  std::vector<Node> nodes;
  std::vector<Vm> vms;
};

class Metrics {
 public:
  virtual ~Metrics() = default;

  // Any thread. Costs a move; build the snapshot when something changed, at most once a second.
  virtual void publish(MetricsSnapshot snapshot) = 0;

  // Any thread. The counts of a node or VM end with the first snapshot that does not have it.
  virtual void count_fence(const std::string& node, const std::string& device,
                           Outcome outcome) = 0;
  virtual void count_restart(const std::string& vm, Cause cause) = 0;
  // `source`: the sending node, or local_client; `reason`: a short fixed word, never text from
  // the wire.
  virtual void count_rejected(const std::string& source, const std::string& reason) = 0;
  virtual void count_libvirt_call(const std::string& call) = 0;
  // `outcome`: passed, failed, busy, or inconclusive (it said nothing about the guest).
  virtual void count_guest_check(const std::string& outcome) = 0;
  // `phase`: a phase name of the failover record; `since_ring`: counted from the new ring.
  virtual void observe_failover(const std::string& phase, Duration since_ring) = 0;
};

}  // namespace clusterd
