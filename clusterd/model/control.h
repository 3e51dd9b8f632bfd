// What clusterctl asks and the daemon answers, over local IPC.
//
// A reading request is answered at once from the local replica. A changing request is answered
// when its effect is stable and durable on every synced member; with `wait`, VM orders are
// answered when the VM has reached the ordered state.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>

#include "clusterd/model/message.h"

namespace clusterd {

struct GetStatus {
  template <class Self, class F>
  static void fields(Self&, F&& f) {
    f();
  }
};
struct GetConfiguration {
  template <class Self, class F>
  static void fields(Self&, F&& f) {
    f();
  }
};
struct ExplainVm {
  std::string name;
  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.name);
  }
};
struct GetHistory {
  std::uint64_t after_sequence = 0;
  std::optional<ClusterTime> since;
  std::string vm;    // empty: all
  std::string node;  // empty: all
  bool follow = false;  // go on sending new events as they come (reply.more)
  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.after_sequence, s.since, s.vm, s.node, s.follow);
  }
};
struct GetFailovers {
  std::optional<std::uint64_t> id;  // nullopt: all
  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.id);
  }
};
struct InitCluster {
  std::string name;
  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.name);
  }
};
// With `dry_run` it only reads: the answer is a review as JSON (review_json), `base` is ignored.
struct ApplyConfiguration {
  ConfigVersion base;
  Declarations upsert;
  std::set<std::string> delete_vms;
  std::set<std::string> delete_nodes;
  std::set<std::string> delete_fence_devices;
  bool dry_run = false;
  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.base, s.upsert, s.delete_vms, s.delete_nodes, s.delete_fence_devices, s.dry_run);
  }
};
struct VmCommand {
  std::string name;
  VmOrderKind order = VmOrderKind::start;
  bool wait = true;
  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.name, s.order, s.wait);
  }
};
struct NodeCommand {
  std::string name;
  NodeOrderKind order = NodeOrderKind::fence;
  bool force = false;
  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.name, s.order, s.force);
  }
};
struct ClusterCommand {
  ClusterOrderKind order = ClusterOrderKind::disarm;
  std::string reason;
  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.order, s.reason);
  }
};
struct RecoverCluster {
  std::string node;
  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.node);
  }
};
struct TestFencing {
  std::string node;  // empty: all
  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.node);
  }
};
// What would happen if these nodes died now.
struct WhatIf {
  std::set<std::string> down;
  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.down);
  }
};

using ControlRequest =
    std::variant<GetStatus, GetConfiguration, ExplainVm, GetHistory, GetFailovers, InitCluster,
                 ApplyConfiguration, VmCommand, NodeCommand, RecoverCluster, TestFencing, WhatIf,
                 ClusterCommand>;

// True for requests that only read; anybody may send those.
[[nodiscard]] inline bool only_reads(const ControlRequest& request) {
  const auto* apply = std::get_if<ApplyConfiguration>(&request);
  return request.index() < 5 || std::holds_alternative<TestFencing>(request) ||
         std::holds_alternative<WhatIf>(request) || (apply != nullptr && apply->dry_run);
}

// What an apply says to the group.
[[nodiscard]] inline ChangeConfiguration change_of(const ApplyConfiguration& apply) {
  ChangeConfiguration change;
  change.base = apply.base;
  change.upsert = apply.upsert;
  change.delete_vms = apply.delete_vms;
  change.delete_nodes = apply.delete_nodes;
  change.delete_fence_devices = apply.delete_fence_devices;
  return change;
}

// clusterctl's exit codes (contract.md section 3).
enum class ReplyCode : std::uint8_t {
  done = 0,
  refused = 1,
  usage = 2,
  unavailable = 3,
  unknown = 4
};
constexpr ReplyCode enum_last(ReplyCode) { return ReplyCode::unknown; }

// How an answer is shaped: the state's parts as JSON text, made by the daemon.
struct ControlReply {
  ReplyCode code = ReplyCode::done;
  std::string message;  // for a person: the reason of a refusal, or progress
  std::string json;     // for reading requests; empty otherwise
  bool more = false;    // further replies to the same request follow
  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.code, s.message, s.json, s.more);
  }
};

// Names one request of one connected client until it is answered.
using ClientId = StrongId<struct ClientIdTag>;

}  // namespace clusterd
