// What operators declare (contract.md section 2): plain values, no behaviour.
//
// `Declarations` is what a YAML file mentions; `Configuration` is what the cluster stores.
// Profiles are stored unresolved; resolve.h merges a VM with its profile and the defaults.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "clusterd/base/digest.h"
#include "clusterd/base/time.h"
#include "clusterd/model/ids.h"

namespace clusterd {

enum class Admission : std::uint8_t { enforce, warn };
constexpr Admission enum_last(Admission) { return Admission::warn; }
enum class OnQuorumLoss : std::uint8_t { freeze, self_fence };
constexpr OnQuorumLoss enum_last(OnQuorumLoss) { return OnQuorumLoss::self_fence; }
enum class OnDaemonDeath : std::uint8_t { alarm, fence };
constexpr OnDaemonDeath enum_last(OnDaemonDeath) { return OnDaemonDeath::fence; }
enum class AfterFence : std::uint8_t { power_on, stay_off };
constexpr AfterFence enum_last(AfterFence) { return AfterFence::stay_off; }
enum class NodeRole : std::uint8_t { worker, backup };
constexpr NodeRole enum_last(NodeRole) { return NodeRole::backup; }
enum class DesiredState : std::uint8_t { running, stopped, ignored };
constexpr DesiredState enum_last(DesiredState) { return DesiredState::ignored; }
enum class Failback : std::uint8_t { never, automatic };
constexpr Failback enum_last(Failback) { return Failback::automatic; }
enum class MigrationPolicy : std::uint8_t { live, never };
constexpr MigrationPolicy enum_last(MigrationPolicy) { return MigrationPolicy::never; }
enum class OnUnhealthy : std::uint8_t { restart, relocate, alert };
constexpr OnUnhealthy enum_last(OnUnhealthy) { return OnUnhealthy::alert; }
// exec runs in the guest, through its agent; script on the host. heartbeat: what is read from the
// guest's port must have changed since the last time.
enum class ProbeKind : std::uint8_t { tcp, http, exec, script, heartbeat };
constexpr ProbeKind enum_last(ProbeKind) { return ProbeKind::heartbeat; }
// `none`: the XML leaves the CPU to QEMU's default, which every host has.
enum class CpuMode : std::uint8_t { none, custom, host_model, host_passthrough, maximum };
constexpr CpuMode enum_last(CpuMode) {
  return CpuMode::maximum;
}

// Memory in bytes, processors as a count; 0 means nothing.
struct Resources {
  std::uint64_t memory = 0;
  std::uint32_t vcpus = 0;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.memory, s.vcpus);
  }
  friend bool operator==(const Resources&, const Resources&) = default;
};

// Factors in thousandths: 4000 means four virtual for one real.
struct Overcommit {
  std::uint32_t memory = 1000;
  std::uint32_t vcpus = 4000;
  std::uint32_t degraded_memory = 1000;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.memory, s.vcpus, s.degraded_memory);
  }
  friend bool operator==(const Overcommit&, const Overcommit&) = default;
};

// Cluster-wide timers; every key of the `timers` section, with its default.
struct Timers {
  Duration hello_timeout{1000};
  Duration ack_timeout{2000};
  Duration start_timeout{60000};
  Duration destroy_timeout{15000};
  Duration restart_backoff{1000};        // doubles per attempt ...
  Duration restart_backoff_max{300000};  // ... up to this
  Duration failed_retry{600000};
  std::uint32_t fence_retries = 2;     // further attempts of one executor before it hands over
  Duration fence_backoff{5000};        // doubles per attempt ...
  Duration fence_backoff_max{60000};   // ... up to this
  Duration fence_settle{10000};
  Duration leave_grace{600000};
  Duration calibration_interval{3600000};
  Duration start_after_timeout{300000};
  Duration preempt_timeout{10000};  // a guest that makes room gets at most this to shut down
  Duration unhealthy_timeout{10000};  // ... and one that is unhealthy this, before it is destroyed

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.hello_timeout, s.ack_timeout, s.start_timeout, s.destroy_timeout, s.restart_backoff,
      s.restart_backoff_max, s.failed_retry, s.fence_retries, s.fence_backoff,
      s.fence_backoff_max, s.fence_settle, s.leave_grace, s.calibration_interval,
      s.start_after_timeout, s.preempt_timeout, s.unhealthy_timeout);
  }
  friend bool operator==(const Timers&, const Timers&) = default;
};

struct ClusterSettings {
  std::string name;
  std::uint32_t reserve_host_failures = 1;
  Admission admission = Admission::enforce;
  OnQuorumLoss on_quorum_loss = OnQuorumLoss::freeze;
  OnDaemonDeath on_daemon_death = OnDaemonDeath::alarm;
  Overcommit overcommit;
  std::optional<std::uint32_t> parallel_starts_per_node = 16;  // nullopt: no limit
  std::optional<std::uint32_t> parallel_migrations_per_node = 2;
  std::uint32_t min_healthy_percent = 50;
  Duration startup_wait{180000};
  AfterFence after_fence = AfterFence::power_on;
  Timers timers;
  std::optional<std::uint32_t> fences_per_hour;  // of all hosts together; nullopt: no limit
  // Of two nodes that lose each other the one whose VMs matter less waits so long before it fences.
  Duration priority_delay{5000};

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.name, s.reserve_host_failures, s.admission, s.on_quorum_loss, s.on_daemon_death,
      s.overcommit, s.parallel_starts_per_node, s.parallel_migrations_per_node,
      s.min_healthy_percent, s.startup_wait, s.after_fence, s.timers, s.fences_per_hour,
      s.priority_delay);
  }
  friend bool operator==(const ClusterSettings&, const ClusterSettings&) = default;
};

struct FenceDevice {
  std::string agent;                           // a ClusterLabs agent on PATH: fence_ipmilan
  std::map<std::string, std::string> options;  // never a secret
  std::map<std::string, std::string> secrets;  // option -> file on the executing node
  Duration timeout{20000};                     // of one call of the agent

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.agent, s.options, s.secrets, s.timeout);
  }
  friend bool operator==(const FenceDevice&, const FenceDevice&) = default;
};

struct NodeDeclaration {
  NodeRole role = NodeRole::worker;
  std::set<std::string> provides;  // storage and networks this host can reach
  std::map<std::string, std::string> labels;
  Resources host_reserved;
  std::optional<Resources> capacity;              // nullopt: what libvirt reports
  std::vector<std::vector<std::string>> fencing;  // levels in order; all devices of a level
  bool exclusive = false;                         // takes only VMs whose placement.allow names it

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.role, s.provides, s.labels, s.host_reserved, s.capacity, s.fencing, s.exclusive);
  }
  friend bool operator==(const NodeDeclaration&, const NodeDeclaration&) = default;
};

struct Preference {
  std::vector<std::string> nodes;  // best first
  std::set<std::string> away_from;
  std::set<std::string> together_with;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.nodes, s.away_from, s.together_with);
  }
  friend bool operator==(const Preference&, const Preference&) = default;
};

// Hard: allow (empty: every node), avoid, away_from, together_with. Soft: prefer.
// `allow`, `avoid` and `prefer.nodes` name nodes, the others name VMs.
struct PlacementRules {
  std::set<std::string> allow;
  std::set<std::string> avoid;
  std::set<std::string> away_from;
  std::set<std::string> together_with;
  Preference prefer;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.allow, s.avoid, s.away_from, s.together_with, s.prefer);
  }
  friend bool operator==(const PlacementRules&, const PlacementRules&) = default;
};

struct RestartPolicy {
  std::uint32_t attempts = 3;     // restarts in place within the window
  Duration window{3600000};
  std::uint32_t relocations = 1;  // then tries on other nodes; then `failed` with slow retry

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.attempts, s.window, s.relocations);
  }
  friend bool operator==(const RestartPolicy&, const RestartPolicy&) = default;
};

struct GuestAgentCheck {
  Duration interval{10000};
  Duration timeout{5000};
  std::uint32_t failures = 3;
  bool required = false;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.interval, s.timeout, s.failures, s.required);
  }
  friend bool operator==(const GuestAgentCheck&, const GuestAgentCheck&) = default;
};

struct Probe {
  std::string name;
  ProbeKind kind = ProbeKind::tcp;
  std::uint16_t port = 0;            // tcp, http, heartbeat
  std::string path;                  // http
  std::uint16_t expect = 200;        // http: status
  std::vector<std::string> command;  // exec, script
  Duration interval{10000};
  Duration timeout{5000};
  std::uint32_t failures = 3;
  std::string body;       // http: what the page must contain; empty: anything
  bool required = false;  // it counts although it has never answered, once boot_grace is over

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.name, s.kind, s.port, s.path, s.expect, s.command, s.interval, s.timeout, s.failures,
      s.body, s.required);
  }
  friend bool operator==(const Probe&, const Probe&) = default;
};

struct HealthPolicy {
  Duration boot_grace{120000};
  std::optional<GuestAgentCheck> guest_agent;
  std::vector<Probe> probes;
  OnUnhealthy on_unhealthy = OnUnhealthy::restart;
  std::string address;              // of the guest, for tcp, http, heartbeat; empty: ask its agent
  std::vector<std::string> repair;  // run in the guest, once, before anything else is done
  Duration repair_timeout{30000};

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.boot_grace, s.guest_agent, s.probes, s.on_unhealthy, s.address, s.repair,
      s.repair_timeout);
  }
  friend bool operator==(const HealthPolicy&, const HealthPolicy&) = default;
};

// What a profile or a VM says; nullopt: not said here (profile, then default decide).
struct VmPolicy {
  std::optional<std::uint32_t> priority;  // higher is more important
  std::optional<std::set<std::string>> requires_;
  std::optional<DesiredState> state;
  std::optional<PlacementRules> placement;
  std::optional<Failback> failback;
  std::optional<std::set<std::string>> start_after;
  std::optional<RestartPolicy> restart;
  std::optional<Duration> shutdown_timeout;
  std::optional<MigrationPolicy> migration;
  std::optional<HealthPolicy> health;
  std::optional<Duration> rto;
  std::optional<bool> preemptible;
  std::optional<std::uint64_t> memory;  // bytes; overrides the XML for planning
  std::optional<std::uint32_t> vcpus;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.priority, s.requires_, s.state, s.placement, s.failback, s.start_after, s.restart,
      s.shutdown_timeout, s.migration, s.health, s.rto, s.preemptible, s.memory, s.vcpus);
  }
  friend bool operator==(const VmPolicy&, const VmPolicy&) = default;
};

// What a domain's XML says of its CPU.
struct DomainCpu {
  CpuMode mode = CpuMode::none;
  std::string model;   // custom: e.g. EPYC-Milan
  std::string vendor;  // custom: the host's must be this one; empty: any
  // libvirt refuses a start where the model is not usable as it stands. False when the XML asks
  // for no check, or switches features of the model off.
  bool checked = false;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.mode, s.model, s.vendor, s.checked);
  }
  friend bool operator==(const DomainCpu&, const DomainCpu&) = default;
};

// What the planner needs to know of a domain's XML, read once by the loader.
struct DomainFacts {
  VmId uuid;
  Digest xml;  // key of the XML text in Configuration::domain_xml
  Resources size;
  std::string machine;               // e.g. pc-i440fx-7.2
  std::set<std::string> macs;        // lower case
  std::set<std::string> disks;       // sources that only one VM may write (not <shareable/>)
  std::string virt_type;             // kvm, qemu
  DomainCpu cpu;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.uuid, s.xml, s.size, s.machine, s.macs, s.disks, s.virt_type, s.cpu);
  }
  friend bool operator==(const DomainFacts&, const DomainFacts&) = default;
};

struct VmDeclaration {
  std::string profile;  // empty: none
  DomainFacts domain;
  VmPolicy policy;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.profile, s.domain, s.policy);
  }
  friend bool operator==(const VmDeclaration&, const VmDeclaration&) = default;
};

// What files mention. Applying it changes what it mentions and removes nothing.
struct Declarations {
  std::optional<ClusterSettings> cluster;
  std::map<std::string, FenceDevice> fence_devices;
  std::map<std::string, NodeDeclaration> nodes;
  std::map<std::string, VmPolicy> profiles;
  std::map<std::string, VmDeclaration> vms;
  std::map<Digest, std::string> domain_xml;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.cluster, s.fence_devices, s.nodes, s.profiles, s.vms, s.domain_xml);
  }
  friend bool operator==(const Declarations&, const Declarations&) = default;
};

// What the cluster stores.
struct Configuration {
  ConfigVersion version;
  ClusterSettings cluster;
  std::map<std::string, FenceDevice> fence_devices;
  std::map<std::string, NodeDeclaration> nodes;
  std::map<std::string, VmPolicy> profiles;
  std::map<std::string, VmDeclaration> vms;
  std::map<Digest, std::string> domain_xml;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.version, s.cluster, s.fence_devices, s.nodes, s.profiles, s.vms, s.domain_xml);
  }
  friend bool operator==(const Configuration&, const Configuration&) = default;
};

}  // namespace clusterd
