#include "resource-agents/libvirt/link.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <utility>
#include <vector>

namespace clusterd::libvirt {
namespace {

constexpr std::chrono::milliseconds kFirstPause{100};
constexpr std::chrono::milliseconds kLongestPause{5000};
constexpr std::chrono::milliseconds kParting{1000};

// libvirt would print every error to stderr; errors are read from return values instead.
void ignore_error(void*, virErrorPtr) {}
void ignore_timer(int, void*) {}

// Registration is for the whole process and for ever, and must precede the first connection.
bool register_event_loop() {
  virSetErrorFunc(nullptr, ignore_error);
  return virEventRegisterDefaultImpl() == 0;
}

using Handlers = std::shared_ptr<const LinkHandlers>;

const LinkHandlers& handlers_of(void* opaque) {
  return **static_cast<Handlers*>(opaque);
}
void free_handlers(void* opaque) {
  delete static_cast<Handlers*>(opaque);
}

int on_lifecycle(virConnectPtr, virDomainPtr domain, int event, int detail, void* opaque) {
  handlers_of(opaque).lifecycle(id_of(domain), event, detail);
  return 0;
}

void on_agent(virConnectPtr, virDomainPtr domain, int state, int, void* opaque) {
  if (state == VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_STATE_CONNECTED) {
    handlers_of(opaque).agent_connected(id_of(domain));
  }
}

void on_reboot(virConnectPtr, virDomainPtr domain, void* opaque) {
  handlers_of(opaque).rebooted(id_of(domain), "");
}

// Of the actions only the reset leaves QEMU and its domain as they are; the others show in the
// lifecycle.
void on_watchdog(virConnectPtr, virDomainPtr domain, int action, void* opaque) {
  if (action != VIR_DOMAIN_EVENT_WATCHDOG_RESET) return;
  handlers_of(opaque).rebooted(id_of(domain), "its watchdog reset it");
}

// libvirt keeps callbacks of all kinds as one function type and casts back by event id.
template <class Function>
virConnectDomainEventGenericCallback generic(Function* function) {
  return reinterpret_cast<virConnectDomainEventGenericCallback>(
      reinterpret_cast<void (*)()>(function));
}

}  // namespace

// ---- EventLoop -----------------------------------------------------------------------------

struct EventLoop::State {
  std::atomic<bool> stopping{false};
};

EventLoop::EventLoop() : state_(std::make_shared<State>()) {
  static const bool registered = register_event_loop();
  if (!registered) return;
  wake_timer_ = virEventAddTimeout(-1, ignore_timer, nullptr, nullptr);
  thread_ = std::thread([state = state_] {
    while (!state->stopping) virEventRunDefaultImpl();
  });
}

EventLoop::~EventLoop() {
  state_->stopping = true;
  if (!thread_.joinable()) return;
  virEventUpdateTimeout(wake_timer_, 0);
  thread_.join();
  virEventRemoveTimeout(wake_timer_);
}

// ---- Link ----------------------------------------------------------------------------------

struct Link::State {
  State(std::string uri_, CallCounter& calls_, std::shared_ptr<void> keep_alive_,
        LinkHandlers handlers_)
      : uri(std::move(uri_)),
        calls(calls_),
        keep_alive(std::move(keep_alive_)),
        handlers(std::make_shared<const LinkHandlers>(std::move(handlers_))) {}

  std::string uri;
  CallCounter& calls;                // lives in keep_alive
  std::shared_ptr<void> keep_alive;  // what a given-up thread may still touch
  Handlers handlers;
  std::mutex mutex;
  std::condition_variable changed;
  bool closed = false;
  std::string close_reason;
  bool stopping = false;
  bool ended = false;
};

namespace {

const char* reason_text(int reason) {
  switch (static_cast<virConnectCloseReason>(reason)) {
    case VIR_CONNECT_CLOSE_REASON_ERROR:
      return "connection broke";
    case VIR_CONNECT_CLOSE_REASON_EOF:
      return "libvirt's daemon ended";
    case VIR_CONNECT_CLOSE_REASON_KEEPALIVE:
      return "libvirt's daemon does not answer";
    case VIR_CONNECT_CLOSE_REASON_CLIENT:
      return "closed by this process";
  }
  return "closed for an unknown reason";
}

}  // namespace

Link::Link(std::string uri, CallCounter& calls, std::shared_ptr<void> keep_alive,
           LinkHandlers handlers)
    : state_(std::make_shared<State>(std::move(uri), calls, std::move(keep_alive),
                                     std::move(handlers))) {
  std::thread([state = state_] { run(state); }).detach();
}

Link::~Link() {
  std::unique_lock lock(state_->mutex);
  state_->stopping = true;
  state_->changed.notify_all();
  state_->changed.wait_for(lock, kParting, [&] { return state_->ended; });
}

void Link::run(const std::shared_ptr<State>& state) {
  auto pause = kFirstPause;
  bool told_down = false;
  const auto stopping = [&] { return state->stopping; };
  for (;;) {
    Result<Connection> opened = open_connection(state->uri, state->calls);
    if (opened) {
      const Connection connection = std::move(opened).value();
      serve(state, connection.get());
      pause = kFirstPause;
      told_down = true;  // serve() has said so
    } else if (!told_down) {
      state->handlers->down(opened.error().message);
      told_down = true;
    }
    std::unique_lock lock(state->mutex);
    if (state->changed.wait_for(lock, pause, stopping)) break;
    pause = std::min(pause * 2, kLongestPause);
  }
  const std::lock_guard lock(state->mutex);
  state->ended = true;
  state->changed.notify_all();
}

// Returns when the connection is closed or the link is to end.
void Link::serve(const std::shared_ptr<State>& state, virConnectPtr connection) {
  {
    const std::lock_guard lock(state->mutex);
    state->closed = false;
  }
  const auto on_close = [](virConnectPtr, int reason, void* opaque) {
    auto& s = *static_cast<State*>(opaque);
    const std::lock_guard lock(s.mutex);
    s.closed = true;
    s.close_reason = reason_text(reason);
    s.changed.notify_all();
  };
  state->calls.count("virConnectRegisterCloseCallback");
  // A plain pointer: libvirt calls back under the lock that unregistering takes, so none comes
  // after serve(). Drivers inside this process accept a free callback and then never call it.
  const bool has_close =
      virConnectRegisterCloseCallback(connection, on_close, state.get(), nullptr) == 0;
  const std::array<std::pair<int, virConnectDomainEventGenericCallback>, 4> wanted{{
      {VIR_DOMAIN_EVENT_ID_LIFECYCLE, generic(on_lifecycle)},  // I/O errors show as SUSPENDED
      {VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE, generic(on_agent)},
      {VIR_DOMAIN_EVENT_ID_REBOOT, generic(on_reboot)},
      {VIR_DOMAIN_EVENT_ID_WATCHDOG, generic(on_watchdog)},
  }};
  std::vector<int> callbacks;
  for (const auto& [id, callback] : wanted) {
    state->calls.count("virConnectDomainEventRegisterAny");
    auto* opaque = new Handlers(state->handlers);
    const int handle =
        virConnectDomainEventRegisterAny(connection, nullptr, id, callback, opaque, free_handlers);
    if (handle >= 0) callbacks.push_back(handle);
    if (handle < 0) delete static_cast<Handlers*>(opaque);
  }
  if (callbacks.size() == wanted.size()) {
    state->handlers->up();
    std::unique_lock lock(state->mutex);
    state->changed.wait(lock, [&] { return state->closed || state->stopping; });
    if (state->stopping) state->close_reason = "clusterd ends";
  } else {
    state->close_reason = last_error("register for libvirt's events").message;
  }
  state->handlers->down(state->close_reason);
  for (const int handle : callbacks) virConnectDomainEventDeregisterAny(connection, handle);
  if (has_close) virConnectUnregisterCloseCallback(connection, on_close);
}

StopCause stop_cause(int event, int detail, bool killed_by_host) {
  if (event == VIR_DOMAIN_EVENT_CRASHED) {
    // A crash-loaded guest runs its crash kernel: it is not to be touched, so no cause.
    return detail == VIR_DOMAIN_EVENT_CRASHED_PANICKED ? StopCause::crashed : StopCause::none;
  }
  if (event != VIR_DOMAIN_EVENT_STOPPED) return StopCause::none;
  switch (static_cast<virDomainEventStoppedDetailType>(detail)) {
    case VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN:
      return killed_by_host ? StopCause::destroyed : StopCause::guest_shutdown;
    case VIR_DOMAIN_EVENT_STOPPED_DESTROYED:
      return StopCause::destroyed;
    case VIR_DOMAIN_EVENT_STOPPED_CRASHED:
      return StopCause::crashed;
    case VIR_DOMAIN_EVENT_STOPPED_MIGRATED:
      return StopCause::migrated;
    case VIR_DOMAIN_EVENT_STOPPED_SAVED:
      return StopCause::destroyed;
    case VIR_DOMAIN_EVENT_STOPPED_FAILED:
      return StopCause::failed;
    case VIR_DOMAIN_EVENT_STOPPED_FROM_SNAPSHOT:
      return StopCause::none;
  }
  return StopCause::none;
}

}  // namespace clusterd::libvirt
