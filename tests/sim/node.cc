#include "tests/sim/node.h"

#include <algorithm>
#include <utility>

namespace clusterd::sim {

using std::chrono::microseconds;
using std::chrono::milliseconds;

namespace {

constexpr SimTime kNever = SimTime::max();
constexpr std::int64_t kFoundingWall = 1767225600000;  // 2026-01-01

}  // namespace

SimNode::SimNode(SimEnv& env, SimHost& host, SimNetwork& network, SimDevices& devices,
                 DispatchObserver& observer, SimNodeOptions options, Hooks hooks)
    : env_(env),
      host_(host),
      network_(network),
      options_(options),
      hooks_(std::move(hooks)),
      store_(env, host),
      hypervisor_(env, host, options.size, observer),
      fencer_(env, host, devices, observer),
      prober_(env, host),
      control_(hooks_.replied),
      group_(network, host.id),
      recording_(host.id.value),
      clock_offset_(env.prng.between(1000, 1000000000)),
      drift_ppm_(env.prng.between(-200, 200)),
      wall_skew_(env.prng.between(-2000, 2000)),
      next_run_(kNever) {
  hypervisor_.on_guest_up([this](VmId vm) { prober_.changed(vm); });
}

// ---- the host ----------------------------------------------------------------------------------

void SimNode::power_on() {
  if (host_.powered) return;
  env_.world.power_on(host_, BootId{env_.uuid()});
  env_.trace.say([&] { return name_of(id()) + "      powered on"; });
  env_.on_host(host_, options_.boot, [this] { network_.start(id()); });
  env_.on_host(host_, options_.boot + milliseconds(500), [this] { start_daemon(); });
}

void SimNode::power_off() {
  if (!host_.powered) return;
  env_.trace.say([&] { return name_of(id()) + "      power is cut"; });
  end_daemon();
  network_.stop(id());
  store_.power_cut();
  env_.world.power_off(host_);
}

void SimNode::freeze() {
  if (!host_.powered || host_.frozen) return;
  env_.trace.say([&] { return name_of(id()) + "      freezes"; });
  env_.freeze(host_);
  network_.freeze_changed(id());
}

void SimNode::thaw() {
  if (!host_.frozen) return;
  env_.trace.say([&] { return name_of(id()) + "      thaws"; });
  env_.thaw(host_);
  thawed_ = env_.queue.now();
  network_.freeze_changed(id());
  wake();
}

// ---- the daemon --------------------------------------------------------------------------------

DriverCallbacks SimNode::callbacks() {
  DriverCallbacks calls;
  calls.wake = [this] { wake(); };
  calls.log = [this](const std::string& line) {
    env_.trace.say([&] { return name_of(id()) + "      log: " + line; });
  };
  calls.rejected = [this](NodeId, std::string_view reason) {
    if (reason == "own" && !flipped_) hooks_.misspoke(*this);
  };
  calls.renew_boot = [this] {
    host_.boot = BootId{env_.uuid()};
    return ok_status();
  };
  calls.exit = [this](int code, const std::string& reason) {
    env_.trace.say(
        [&] { return name_of(id()) + "      exit " + std::to_string(code) + ": " + reason; });
    hooks_.exited(*this, code, reason);
    if (code == 0) supervised_ = false;
  };
  calls.applied = [this](const ClusterState&, const LocalView&) {
    if (!flipped_) hooks_.applied(*this);
  };
  return calls;
}

void SimNode::post(std::uint32_t process, Event event) {
  if (driver_ && process == process_) driver_->post(std::move(event));
}

void SimNode::start_daemon() {
  if (driver_ || !host_.powered || host_.frozen || !network_.is_up(id())) return;
  supervised_ = true;
  process_ = ++last_process_;
  daemon_frozen_ = false;
  const auto sink = [this, process = process_](Event event) { post(process, std::move(event)); };
  store_.connect(sink);
  fencer_.connect(sink);
  prober_.connect(sink);
  auto loaded = load(store_, hypervisor_, wall_now());
  if (!loaded.ok()) {
    process_ = 0;
    env_.trace.say([&] { return name_of(id()) + "      exit 1: " + loaded.error().message; });
    hooks_.exited(*this, 1, loaded.error().message);
    restart_later();
    return;
  }
  const NodeIdentity identity{id(), host_.machine, host_.boot, Incarnation(env_.prng.next() | 1U)};
  env_.trace.say([&] {
    static constexpr const char* kNames[] = {"blank", "intact", "amnesiac"};
    return name_of(id()) + "      daemon starts, state " +
           kNames[static_cast<int>(loaded.value().start.condition)] + " at " +
           std::to_string(loaded.value().start.state.position.epoch.value) + "." +
           std::to_string(loaded.value().start.state.position.index.value);
  });
  if (options_.record) recorder_ = std::make_unique<Recorder>(recording_, CLUSTERD_VERSION);
  const DriverPorts ports{group_,   store_,  hypervisor_,    fencer_,
                          control_, prober_, recorder_.get()};
  driver_ = std::make_unique<Driver>(identity, std::move(loaded).value(), ports, callbacks(),
                                     local_now());
  hypervisor_.connect(sink);
  if (options_.startup > SimTime(0)) {
    ready_ = env_.queue.now() + env_.between(SimTime(0), options_.startup);
  }
  network_.attach(id(), process_, *driver_, [this] { wake(); });
  wake();
}

void SimNode::end_daemon() {
  if (!driver_) return;
  driver_.reset();
  process_ = 0;
  daemon_frozen_ = false;
  flipped_ = false;
  hypervisor_.disconnect();
  fencer_.disconnect();
  prober_.disconnect();
  store_.connect([](const Event&) {});
  network_.detach(id());
  ++run_token_;
  next_run_ = kNever;
}

void SimNode::restart_later() {
  env_.on_host(host_, options_.restart, [this] {
    if (supervised_) start_daemon();
  });
}

void SimNode::kill_daemon(bool stay_down) {
  env_.trace.say([&] { return name_of(id()) + "      daemon is killed"; });
  end_daemon();
  supervised_ = !stay_down;
  if (!stay_down) restart_later();
}

void SimNode::stop_daemon() {
  if (driver_) driver_->post(StopRequested{});
}

void SimNode::freeze_daemon() {
  daemon_frozen_ = driver_ != nullptr;
}

void SimNode::stop_corosync() {
  if (driver_) {
    driver_->on_lost("the connection was closed");
    wake();
  }
  network_.stop(id());
}

void SimNode::thaw_daemon() {
  if (!daemon_frozen_) return;
  daemon_frozen_ = false;
  thawed_ = env_.queue.now();
  wake();
}

// The state is the controller's own and const only to its readers; memory does not ask.
void SimNode::flip_bit() {
  if (!driver_ || state().vms.empty()) return;
  auto& replica = const_cast<ClusterState&>(state());
  replica.vms.begin()->second.failures.reason += "!";
  flipped_ = true;
}

void SimNode::request(ClientId client, ControlRequest what) {
  if (!driver_) {
    hooks_.replied(client, ControlReply{ReplyCode::unavailable, "no daemon", "", false});
    return;
  }
  driver_->post(ClientRequest{client, std::move(what), "uid 0"});
}

// ---- its time ----------------------------------------------------------------------------------

Instant SimNode::local_now() const {
  const std::int64_t us = env_.queue.now().count();
  const std::int64_t drifted = us + us / 1000000 * drift_ppm_;
  return Instant(clock_offset_ + Duration(drifted / 1000));
}

void SimNode::set_clock_speed(std::int64_t thousandths) {
  const Instant before = local_now();
  drift_ppm_ = (thousandths - 1000) * 1000;
  clock_offset_ += before - local_now();
  wake();
}

ClusterTime SimNode::wall_now() const {
  return ClusterTime{kFoundingWall + env_.queue.now().count() / 1000 + wall_skew_.count()};
}

void SimNode::wake() {
  run_at(std::max(ready_, env_.queue.now() + env_.between(microseconds(20), microseconds(300))));
}

void SimNode::run_at(SimTime when) {
  if (when >= next_run_) return;
  next_run_ = when;
  const std::uint64_t token = ++run_token_;
  env_.queue.at(when, [this, token] {
    if (token == run_token_) run();
  });
}

void SimNode::run() {
  next_run_ = kNever;
  // What comes meanwhile waits in the driver's queue, as it would in the socket.
  if (!responsive()) return;
  const Instant now = local_now();
  driver_->run_pending(now);
  if (driver_->exited()) {
    end_daemon();
    if (supervised_) restart_later();
    return;
  }
  const Duration wait = std::max(driver_->next_deadline() - now, Duration(1));
  run_at(env_.queue.now() + SimTime(wait));
}

}  // namespace clusterd::sim
