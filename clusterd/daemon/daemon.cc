#include "clusterd/daemon/daemon.h"

#include <chrono>
#include <csignal>
#include <memory>
#include <optional>
#include <random>

#include "clusterd/adapters/corosync/cmap_nodelist.h"
#include "clusterd/adapters/corosync/corosync_group.h"
#include "clusterd/adapters/corosync/corosync_settings.h"
#include "clusterd/adapters/host/sleep.h"
#include "clusterd/adapters/metrics/metrics_exporter.h"
#include "clusterd/adapters/qb/event_queue.h"
#include "clusterd/adapters/qb/ipc_server.h"
#include "clusterd/adapters/qb/log.h"
#include "clusterd/adapters/qb/main_loop.h"
#include "clusterd/adapters/store/file_recording.h"
#include "clusterd/adapters/store/file_store.h"
#include "clusterd/adapters/store/replay_guard.h"
#include "clusterd/daemon/answers.h"
#include "clusterd/daemon/identity.h"
#include "clusterd/engine/queries.h"
#include "clusterd/runtime/driver.h"
#include "clusterd/runtime/observer.h"
#include "fencing/agent/agent_fencer.h"
#include "resource-agents/libvirt/libvirt_hypervisor.h"
#include "resource-agents/probes/guest_prober.h"

namespace clusterd {
namespace {

Instant monotonic_now() {
  return Instant(std::chrono::duration_cast<Duration>(
      std::chrono::steady_clock::now().time_since_epoch()));
}

ClusterTime wall_now() {
  return ClusterTime{std::chrono::duration_cast<Duration>(
                         std::chrono::system_clock::now().time_since_epoch())
                         .count()};
}

// Tells the daemon that the driver has something to do after the present callback.
class Doorbell final : public GroupListener {
 public:
  Doorbell(GroupListener& driver, std::function<void()> ring)
      : driver_(driver), ring_(std::move(ring)) {}

  void on_view(const ViewChanged& view) override {
    driver_.on_view(view);
    ring_();
  }
  void on_quorum(const QuorumChanged& quorum) override {
    driver_.on_quorum(quorum);
    ring_();
  }
  void on_silent(const std::set<NodeId>& hosts) override {
    driver_.on_silent(hosts);
    ring_();
  }
  void on_message(GroupMember sender, std::string_view bytes) override {
    driver_.on_message(sender, bytes);
    ring_();
  }
  void on_lost(const std::string& reason) override {
    driver_.on_lost(reason);
    ring_();
  }
  void on_writable() override {
    driver_.on_writable();
    ring_();
  }

 private:
  GroupListener& driver_;
  std::function<void()> ring_;
};

// The driver is made last and its ports need somebody to talk to before: this stands between.
class LateGroup final : public Group {
 public:
  void set(Group* group) { group_ = group; }
  SendStatus multicast(std::string_view bytes) override {
    return group_ == nullptr ? SendStatus::failed : group_->multicast(bytes);
  }
  void leave() override {
    if (group_ != nullptr) group_->leave();
  }

 private:
  Group* group_ = nullptr;
};

class Daemon {
 public:
  Daemon(MainLoop& loop, Log& log) : loop_(loop), log_(log) {}

  [[nodiscard]] Result<int> run(const NodeSettings& settings, const NodeIdentity& self);

 private:
  void consume(Event event);
  void ring();
  void turn();
  void watch_sleep();
  void end(int code, const std::string& reason);
  [[nodiscard]] Status make_metrics(const NodeSettings& settings);
  [[nodiscard]] Status make_ports(const NodeSettings& settings);
  [[nodiscard]] Status make_control(const NodeSettings& settings);
  void make_recorder(const NodeSettings& settings);
  [[nodiscard]] DriverCallbacks callbacks();
  [[nodiscard]] Result<Loaded> load_state(const std::string& run_dir);
  [[nodiscard]] Status make_driver(const NodeIdentity& self, const std::string& run_dir);

  MainLoop& loop_;
  Log& log_;
  ReserveWatch reserve_;
  int exit_code_ = 0;
  IdentityFiles identity_files_;
  bool never_sleeps_ = false;  // as the others were told
  bool rung_ = false;
  Loop::TimerId timer_ = Loop::kNoTimer;

  // In the order of their making; destroyed in reverse, so that nobody talks to the dead.
  LateGroup group_;
  std::unique_ptr<MetricsExporter> metrics_;
  std::unique_ptr<EventQueue> events_;
  std::string state_folder_;
  std::unique_ptr<FileStore> store_;
  std::unique_ptr<LibvirtHypervisor> hypervisor_;
  std::unique_ptr<AgentFencer> fencer_;
  std::unique_ptr<GuestProber> prober_;
  std::unique_ptr<IpcServer> control_;
  std::unique_ptr<Observer> observer_;
  std::unique_ptr<FileRecording> recording_;  // none: the settings say so
  std::unique_ptr<Recorder> recorder_;
  std::unique_ptr<Driver> driver_;
  std::unique_ptr<Doorbell> doorbell_;
  std::unique_ptr<CorosyncGroup> corosync_;
};

// Reading requests are answered here, from the replica; everything else is the controller's.
void Daemon::consume(Event event) {
  if (!driver_) return;
  if (const auto* request = std::get_if<ClientRequest>(&event)) {
    const bool here = only_reads(request->request) &&
                      !std::holds_alternative<TestFencing>(request->request);
    if (here) {
      const Controller& controller = driver_->controller();
      control_->reply(request->client,
                      answer(request->request, controller.state(), controller.local_view(),
                             controller.cluster_time(monotonic_now()), reserve_));
      return;
    }
  }
  driver_->post(std::move(event));
  ring();
}

void Daemon::ring() {
  if (rung_) return;
  rung_ = true;
  loop_.post([this] { turn(); });
}

void Daemon::turn() {
  rung_ = false;
  driver_->run_pending(monotonic_now());
  if (driver_->exited()) return;
  if (timer_ != Loop::kNoTimer) loop_.cancel_timer(timer_);
  const Duration left = driver_->next_deadline() - monotonic_now();
  timer_ = loop_.add_timer(std::max(left, Duration(1)), [this] {
    timer_ = Loop::kNoTimer;
    turn();
  });
}

// What the others were told decides whether an "off" of this host is a proof (R18).
void Daemon::watch_sleep() {
  static constexpr Duration kInterval{60'000};
  if (never_sleeps() != never_sleeps_) {
    return end(1,
               "whether this host may be suspended has changed: starting over to tell the others");
  }
  loop_.add_timer(kInterval, [this] { watch_sleep(); });
}

void Daemon::end(int code, const std::string& reason) {
  exit_code_ = code;
  log_.log(code == 0 ? LogLevel::notice : LogLevel::error, reason);
  loop_.stop();
}

Status Daemon::make_metrics(const NodeSettings& settings) {
  auto metrics = MetricsExporter::open(settings.metrics_listen, CLUSTERD_VERSION);
  if (!metrics) {
    return Error{metrics.error().message + "; end what else listens there, or set metrics_listen " +
                 "in this node's settings to another HOST:PORT"};
  }
  metrics_ = std::move(metrics).value();
  observer_ = std::make_unique<Observer>(loop_, *metrics_, [this] {
    const Controller& controller = driver_->controller();
    const ClusterTime now = controller.cluster_time(monotonic_now());
    MetricsSnapshot snapshot = snapshot_of(controller.state(), controller.local_view(), now);
    if (const auto& reserve = reserve_.look(controller.state(), now)) {
      snapshot.reserve = {reserve->required, reserve->tolerated};
    }
    snapshot.recording =
        recording_ != nullptr && recording_->wants() != Recording::Wants::nothing;
    return snapshot;
  });
  return ok_status();
}

Status Daemon::make_ports(const NodeSettings& settings) {
  events_ = std::make_unique<EventQueue>(loop_, [this](Event event) { consume(std::move(event)); });
  state_folder_ = settings.state_dir + "/state";
  store_ = std::make_unique<FileStore>(state_folder_, *events_);
  LibvirtOptions options;
  options.uri = settings.libvirt_uri;
  options.virt_type = settings.virt_type;
  options.never_sleeps = never_sleeps_ = never_sleeps();
  options.run_dir = settings.run_dir;
  options.state_dir = settings.state_dir;
  options.hook = "/etc/libvirt/hooks/qemu.d/clusterd";
  options.log = [this](const std::string& line) {
    loop_.post([this, line] { log_.log(LogLevel::info, line); });
  };
  options.called = [this](const char* function) { metrics_->count_libvirt_call(function); };
  hypervisor_ = std::make_unique<LibvirtHypervisor>(std::move(options), *events_);
  fencer_ = std::make_unique<AgentFencer>(*events_);
  GuestProberOptions probing;
  probing.seed = std::random_device{}();
  probing.counted = [this](const char* outcome) { metrics_->count_guest_check(outcome); };
  prober_ = std::make_unique<GuestProber>(std::move(probing), *hypervisor_, *events_);
  make_recorder(settings);
  return make_control(settings);
}

void Daemon::make_recorder(const NodeSettings& settings) {
  if (settings.recording_size == 0) return;
  FileRecordingOptions options;
  options.limit = settings.recording_size;
  options.log = [this](const std::string& line) {
    loop_.post([this, line] { log_.log(LogLevel::warning, line); });
  };
  recording_ =
      std::make_unique<FileRecording>(settings.state_dir + "/recording", std::move(options));
  recording_->survive_crash();
  recorder_ = std::make_unique<Recorder>(*recording_, CLUSTERD_VERSION);
}

Status Daemon::make_control(const NodeSettings& settings) {
  IpcServerOptions ipc;
  ipc.name = settings.ipc_name;
  auto control = IpcServer::create(
      loop_, *events_, ipc, [this](const IpcServer::Rejection& refused) {
        metrics_->count_rejected("local_client", refused.kind);
        log_.log(LogLevel::warning,
                 "refused a request of " + refused.source + ": " + refused.reason);
      });
  if (!control) return control.error();
  control_ = std::move(control).value();
  return ok_status();
}

DriverCallbacks Daemon::callbacks() {
  DriverCallbacks callbacks;
  callbacks.log = [this](const std::string& line) { log_.log(LogLevel::info, line); };
  callbacks.renew_boot = [this] { return renew_boot(identity_files_); };
  callbacks.exit = [this](int code, const std::string& reason) { end(code, reason); };
  callbacks.rejected = [this](NodeId sender, std::string_view reason) {
    metrics_->count_rejected(node_name(driver_->controller().state(), sender),
                             std::string(reason));
  };
  callbacks.state = [this](const ClusterState& state, const LocalView& local) {
    observer_->look(state, local);
  };
  return callbacks;
}

Result<Loaded> Daemon::load_state(const std::string& run_dir) {
  const ReplayGuard guard(run_dir + "/replaying");
  const auto crashed = guard.begin();
  if (!crashed) return crashed.error();
  if (crashed.value() >= ReplayGuard::kMost) {
    log_.log(LogLevel::error,
             "this daemon died twice while it read its state: it goes on without it; the state is "
             "kept as *.diverged for a report of this bug");
    if (const Status aside = store_->set_aside(""); !aside) return aside.error();
    store_ = std::make_unique<FileStore>(state_folder_, *events_);
  }
  auto loaded = load(*store_, *hypervisor_, wall_now());
  if (const Status ended = guard.end(); !ended) return ended.error();
  return loaded;
}

Status Daemon::make_driver(const NodeIdentity& self, const std::string& run_dir) {
  auto loaded = load_state(run_dir);
  if (!loaded) return loaded.error();
  if (!loaded.value().problem.empty()) {
    log_.log(LogLevel::error, "the stored state is lost: " + loaded.value().problem);
  }
  driver_ = std::make_unique<Driver>(
      self, std::move(loaded).value(),
      DriverPorts{group_, *store_, *hypervisor_, *fencer_, *control_, *prober_, recorder_.get()},
      callbacks(),
      monotonic_now());
  doorbell_ = std::make_unique<Doorbell>(*driver_, [this] { ring(); });
  corosync_ = std::make_unique<CorosyncGroup>(loop_, *doorbell_);
  group_.set(corosync_.get());
  return ok_status();
}

// R8: with some settings Corosync would take two sides for a majority.
Status check_corosync() {
  const auto settings = read_corosync_settings();
  if (!settings) return settings.error();
  std::string refused;
  for (const SettingFinding& finding : judge(settings.value())) {
    if (finding.gravity != Gravity::refused) continue;
    refused += (refused.empty() ? "" : "; ") + finding.text;
  }
  if (!refused.empty()) return Error{"corosync.conf: " + refused};
  return ok_status();
}

IdentityFiles identity_files(const NodeSettings& settings) {
  return {settings.machine_id_file, settings.boot_id_file, settings.run_dir + "/renewed-boot"};
}

Result<int> Daemon::run(const NodeSettings& settings, const NodeIdentity& self) {
  identity_files_ = identity_files(settings);
  if (const Status made = make_metrics(settings); !made) return made.error();
  if (const Status made = make_ports(settings); !made) return made.error();
  if (const Status made = make_driver(self, settings.run_dir); !made) return made.error();
  for (const int signal : {SIGTERM, SIGINT}) {
    const Status set = loop_.on_signal(signal, [this] { consume(StopRequested{}); });
    if (!set) return set.error();
  }
  watch_sleep();
  ring();
  loop_.run();
  group_.set(nullptr);
  return exit_code_;
}

}  // namespace

Result<int> run_daemon(const NodeSettings& settings) {
  const auto lock = HostLock::take(settings.run_dir);
  if (!lock) return lock.error();
  const auto nodelist = read_nodelist();
  if (!nodelist) return nodelist.error().in("corosync must run before clusterd");
  if (const Status sound = check_corosync(); !sound) return sound.error();
  const auto self = read_identity(nodelist.value().self, identity_files(settings));
  if (!self) return self.error();
  auto loop = MainLoop::create();
  if (!loop) return loop.error();
  Log log(LogOptions{});
  Daemon daemon(*loop.value(), log);
  return daemon.run(settings, self.value());
}

}  // namespace clusterd
