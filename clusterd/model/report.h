// Reports: what users are shown, as values. Built by engine/report from the replicated state,
// rendered by codec/json_report; names of states are those of contract.md section 3.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "clusterd/model/state.h"

namespace clusterd {

struct NodeReport {
  std::string name;
  std::string state;   // online, joining, maintenance, unmanaged, lost, fencing, dead, ...
  std::string reason;  // why it is not online, and what happens next
  NodeRole role = NodeRole::worker;
  bool declared = false;
  std::uint64_t memory_total = 0;  // bytes that VMs may have
  std::uint64_t memory_used = 0;
  std::uint64_t vcpus_total = 0;
  std::uint64_t vcpus_used = 0;
  std::size_t vms = 0;
  struct Device {
    std::string name;
    Power reading = Power::unknown;
    bool calibrated = false;  // of this boot: its "off" would count
  };
  std::vector<Device> fence_devices;
  std::string cpu_vendor;  // these three as libvirt tells them; empty: not known
  std::string cpu_model;
  std::string cpu_pool;  // the same on hosts between which live migration is possible
};

struct VmReport {
  std::string name;
  std::string uuid;
  DesiredState desired = DesiredState::running;
  std::string state;
  std::string node;  // where it is, or may be; empty: nowhere
  std::string health;
  std::uint32_t priority = 0;
  std::string reason;  // why it is not where or what it should be
};

struct OperationReport {
  std::string id;
  std::string kind;    // start, stop, fence, read_power, power_on
  std::string vm;      // empty for a power operation
  std::string node;    // executor for a VM, target for power
  std::string executor;
  ClusterTime since;
  bool unknown = false;
};

struct StatusReport {
  std::string name;
  std::string uuid;
  bool founded = false;
  bool quorate = false;  // here
  bool active = false;   // this node follows the group's state; false: an old or local view
  std::uint64_t epoch = 0;
  std::string coordinator;
  std::vector<std::string> members;
  bool armed = true;
  std::string waiting;              // what stands between the cluster and work; empty: nothing
  std::vector<std::string> alarms;  // gravest first
  std::vector<NodeReport> nodes;
  std::vector<VmReport> vms;
  std::vector<OperationReport> operations;
  std::uint64_t config_version = 0;
  ClusterTime time;
};

// `explain vm`: every node, and why the VM could or could not be there.
struct ExplainReport {
  VmReport vm;
  std::vector<std::string> why;  // one sentence each, most important first
  struct Candidate {
    std::string node;
    std::string reason;  // empty: it could run there
  };
  std::vector<Candidate> nodes;
  std::vector<HistoryEvent> history;  // its latest events
};

}  // namespace clusterd
