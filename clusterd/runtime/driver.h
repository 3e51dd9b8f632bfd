// Driver: the only place where the engine's effects meet the world.
//
// It queues what the group and the adapters tell, hands it to the Controller event by event, and
// executes the effects of each step in order, before the next step. It decides nothing. Time is
// passed in. Everything runs on the main loop's thread, except post(), which may be called from
// any thread.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <variant>

#include "clusterd/engine/controller.h"
#include "clusterd/ports/control.h"
#include "clusterd/ports/fencer.h"
#include "clusterd/ports/group.h"
#include "clusterd/ports/hypervisor.h"
#include "clusterd/ports/prober.h"
#include "clusterd/ports/sink.h"
#include "clusterd/ports/store.h"
#include "clusterd/runtime/load.h"
#include "clusterd/runtime/outbox.h"
#include "clusterd/runtime/reassembly.h"
#include "clusterd/runtime/recorder.h"

namespace clusterd {

struct DriverPorts {
  Group& group;
  Store& store;
  Hypervisor& hypervisor;
  Fencer& fencer;
  Control& control;
  Prober& prober;
  Recorder* recorder = nullptr;  // none: nothing is recorded
};

// Each may be empty. All but `wake` are called on the main loop's thread.
struct DriverCallbacks {
  std::function<void()> wake;  // any thread: something was posted, run_pending() soon
  // Makes the adapters hand over everything that waits in their descriptors. Called before
  // InputsDrained, so that no verdict about absence is made while the proof of life lies
  // unread in a socket (protocol R14).
  std::function<void()> poll;
  std::function<void(const std::string& line)> log;
  // From the next start on this host is another boot (Exit::purged); with an error the daemon
  // stays.
  std::function<Status()> renew_boot;
  std::function<void(int code, const std::string& reason)> exit;
  // A message was refused. `reason` is a fixed word: a WireFault's name, fragment, snapshot, or
  // own (this daemon would have sent it).
  std::function<void(NodeId sender, std::string_view reason)> rejected;
  std::function<void(const ClusterState&, const LocalView&)> state;    // after each batch
  std::function<void(const ClusterState&, const LocalView&)> applied;  // after each delivery
};

struct DriverCounters {
  std::uint64_t steps = 0;
  std::uint64_t sent = 0;
  std::uint64_t delivered = 0;
  std::uint64_t rejected = 0;
  std::uint64_t snapshots_cut = 0;
  friend bool operator==(const DriverCounters&, const DriverCounters&) = default;
};

class Driver final : public GroupListener, public EventSink {
 public:
  // A snapshot is cut when this many records, or bytes of records, have been appended.
  static constexpr std::size_t kRecordsPerSnapshot = 4096;
  static constexpr std::size_t kBytesPerSnapshot = 32 * 1024 * 1024;

  Driver(const NodeIdentity& self, Loaded loaded, DriverPorts ports, DriverCallbacks callbacks,
         Instant now);
  Driver(const Driver&) = delete;
  Driver& operator=(const Driver&) = delete;

  // Handles what waits, then lets the controller judge and plan. `now` never decreases.
  void run_pending(Instant now);
  // When run_pending() is due at the latest.
  [[nodiscard]] Instant next_deadline() const;

  void on_view(const ViewChanged& view) override;
  void on_quorum(const QuorumChanged& quorum) override;
  void on_silent(const std::set<NodeId>& hosts) override;
  void on_message(GroupMember sender, std::string_view bytes) override;
  void on_lost(const std::string& reason) override;
  void on_writable() override;
  void post(Event event) override;

  // True after an Exit effect or a failure of the store: nothing is handled any more.
  [[nodiscard]] bool exited() const { return exited_; }
  [[nodiscard]] const Controller& controller() const { return controller_; }
  [[nodiscard]] const DriverCounters& counters() const { return counters_; }

 private:
  struct Packet {
    GroupMember sender;
    std::string bytes;
  };
  struct Writable {};
  struct Lost {
    std::string reason;
  };
  using GroupInput =
      std::variant<ViewChanged, QuorumChanged, Packet, Writable, Lost, PeersSilent>;

  void drain();
  [[nodiscard]] bool idle() const;
  void handle(ViewChanged& view);
  void handle(QuorumChanged& quorum);
  void handle(Packet& packet);
  void handle(Writable&);
  void handle(PeersSilent& silent);
  void handle(Lost& lost);
  void handle_posted(Event event);
  void deliver(GroupMember sender, const std::string& bytes);
  void reject(NodeId sender, std::string_view kind, const std::string& sentence);
  void count_rejected(NodeId sender, std::string_view kind);
  void step(const Event& event);
  void cut_snapshot_when_due();

  void execute(const Multicast& effect);
  void execute(const AppendToLog& effect);
  void execute(const SyncLog& effect);
  void execute(const InstallState& effect);
  void execute(const SetStateAside& effect);
  void execute(const SendSnapshot& effect);
  void execute(const Protect& effect);
  void execute(const DispatchStart& effect);
  void execute(const DispatchStop& effect);
  void execute(const RevokeAndLook& effect);
  void execute(const LookUp& effect);
  void execute(const ListDomains& effect);
  void execute(const DispatchPower& effect);
  void execute(const CancelPower& effect);
  void execute(const RunFenceTest& effect);
  void execute(const Reply& effect);
  void execute(const WatchGuest& effect);
  void execute(const UnwatchGuest& effect);
  void execute(const RepairGuest& effect);
  void execute(const Exit& effect);
  void execute(const LogLine& effect);

  void send(const Message& message);
  bool install();
  void give_up(const std::string& reason);
  void log(const std::string& line);

  const NodeIdentity self_;
  DriverPorts ports_;
  DriverCallbacks callbacks_;
  Controller controller_;
  Outbox outbox_;
  Reassembly reassembly_;
  Instant now_;
  std::deque<GroupInput> group_inputs_;
  mutable std::mutex posted_mutex_;
  std::deque<Event> posted_;  // guarded by posted_mutex_
  ViewChanged last_view_;
  // The message under delivery, as it goes to the log; empty outside of a delivery.
  std::string record_;
  bool store_in_use_ = false;  // holds a snapshot of this history
  std::size_t records_ = 0;    // appended since the last snapshot
  std::size_t record_bytes_ = 0;
  bool exited_ = false;
  DriverCounters counters_;
};

}  // namespace clusterd
