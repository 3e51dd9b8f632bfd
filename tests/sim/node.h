// SimNode: one host with its disk, Corosync's end, hypervisor and fence agents, and the real
// Driver and Controller on it. The daemon is a process: it can be killed, stopped, restarted.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>

#include "clusterd/runtime/driver.h"
#include "tests/sim/fencer.h"
#include "tests/sim/hypervisor.h"
#include "tests/sim/network.h"
#include "tests/sim/prober.h"
#include "tests/sim/recording.h"
#include "tests/sim/store.h"
#include "tests/sim/world.h"

namespace clusterd::sim {

class SimControl final : public Control {
 public:
  using Listener = std::function<void(ClientId, const ControlReply&)>;
  explicit SimControl(Listener listener) : listener_(std::move(listener)) {}
  void reply(ClientId client, const ControlReply& reply) override { listener_(client, reply); }

 private:
  Listener listener_;
};

struct SimNodeOptions {
  SimTime boot{std::chrono::seconds(20)};     // power to Corosync
  SimTime restart{std::chrono::seconds(2)};   // systemd's RestartSec
  // At most this long from joining the group until the daemon handles what it is told.
  SimTime startup{0};
  SimHostSize size;
  bool never_sleeps = false;  // so its "off" may be a proof by itself
  bool record = false;
};

class SimNode {
 public:
  struct Hooks {
    std::function<void(SimNode&)> applied;  // after each delivery
    std::function<void(SimNode&, int code, const std::string&)> exited;
    SimControl::Listener replied;
    std::function<void(SimNode&)> misspoke;  // it would have sent what every member refuses
  };

  SimNode(SimEnv& env, SimHost& host, SimNetwork& network, SimDevices& devices,
          DispatchObserver& observer, SimNodeOptions options, Hooks hooks);
  SimNode(const SimNode&) = delete;
  SimNode& operator=(const SimNode&) = delete;

  // ---- the host ----
  void power_on();
  void power_off();
  void freeze();
  void thaw();

  // ---- the daemon ----
  // No effect while the host is down, booting (the boot starts it) or frozen.
  void start_daemon();
  // kill -9; started again after `restart` unless `stay_down`.
  void kill_daemon(bool stay_down = false);
  void stop_daemon();  // SIGTERM; not started again by itself
  void freeze_daemon();
  void thaw_daemon();
  // A bit of the replica in memory is not what was applied (R29). S5 is not asked of this daemon
  // any more; it must find out by itself.
  void flip_bit();
  // ntpd, or a person, sets wall time; monotonic time goes on.
  void step_wall_clock(Duration by) { wall_skew_ += by; }
  // Monotonic time runs at this share of the true one from now on; 1000: as it should.
  void set_clock_speed(std::int64_t thousandths);
  // `systemctl stop corosync` under a running daemon and running VMs.
  void stop_corosync();
  [[nodiscard]] bool flipped() const { return flipped_; }
  void request(ClientId client, ControlRequest what);

  // Names this run of the daemon; 0: none runs.
  [[nodiscard]] std::uint32_t process() const { return process_; }
  [[nodiscard]] bool running() const { return driver_ != nullptr; }
  // Powered, awake, and its daemon as well.
  [[nodiscard]] bool responsive() const {
    return driver_ != nullptr && !host_.frozen && !daemon_frozen_;
  }
  // For how long it has been so without a break; a daemon that starts counts from its host's thaw.
  [[nodiscard]] SimTime responsive_for() const {
    return responsive() ? env_.queue.now() - thawed_ : SimTime(0);
  }
  [[nodiscard]] NodeId id() const { return host_.id; }
  [[nodiscard]] const SimHost& host() const { return host_; }
  // Precondition of both: running().
  [[nodiscard]] const ClusterState& state() const { return driver_->controller().state(); }
  [[nodiscard]] LocalView local() const { return driver_->controller().local_view(); }
  [[nodiscard]] const DriverCounters& counters() const { return driver_->counters(); }

  SimStore& store() { return store_; }
  SimHypervisor& hypervisor() { return hypervisor_; }
  SimProber& prober() { return prober_; }
  [[nodiscard]] bool supervised() const { return supervised_; }
  // Of all its daemons, one after the other.
  [[nodiscard]] const SimRecording& recording() const { return recording_; }

 private:
  [[nodiscard]] Instant local_now() const;
  [[nodiscard]] ClusterTime wall_now() const;
  void wake();
  void run_at(SimTime when);
  void run();
  void end_daemon();
  void restart_later();
  DriverCallbacks callbacks();
  void post(std::uint32_t process, Event event);

  SimEnv& env_;
  SimHost& host_;
  SimNetwork& network_;
  SimNodeOptions options_;
  Hooks hooks_;
  SimStore store_;
  SimHypervisor hypervisor_;
  SimFencer fencer_;
  SimProber prober_;
  SimControl control_;
  SimGroup group_;
  SimRecording recording_;
  std::unique_ptr<Recorder> recorder_;  // of the running daemon
  std::unique_ptr<Driver> driver_;
  std::uint32_t process_ = 0;  // of the running daemon
  std::uint32_t last_process_ = 100;
  bool daemon_frozen_ = false;
  SimTime thawed_{0};  // the host or its daemon, last
  bool flipped_ = false;
  bool supervised_ = true;     // systemd starts the daemon again when it ends
  Duration clock_offset_;
  std::int64_t drift_ppm_ = 0;
  Duration wall_skew_;
  SimTime ready_{0};  // not before this
  SimTime next_run_;
  std::uint64_t run_token_ = 0;
};

}  // namespace clusterd::sim
