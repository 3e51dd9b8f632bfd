// Link: the connection that carries libvirt's events. Keeps itself up: connects, registers,
// waits until libvirt closes it, says so, connects again with a growing pause.
//
// Owns the thread of libvirt's event loop. libvirt has one event loop in a process: so there can
// be one Link at a time. Callbacks translate and push; they decide nothing.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "clusterd/model/outcome.h"
#include "resource-agents/libvirt/session.h"

namespace clusterd::libvirt {

// Called on the event thread (the domain ones) and on the link's own thread; none may block.
struct LinkHandlers {
  std::function<void()> up;
  std::function<void(const std::string& problem)> down;
  std::function<void(VmId vm, int event, int detail)> lifecycle;
  std::function<void(VmId vm)> agent_connected;
  // The guest began anew in the same QEMU process. `reason`: empty unless a watchdog reset it,
  // which is told once more without.
  std::function<void(VmId vm, const std::string& reason)> rebooted;
};

// The thread that runs libvirt's default event loop.
class EventLoop {
 public:
  EventLoop();
  ~EventLoop();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

 private:
  struct State;
  std::shared_ptr<State> state_;
  int wake_timer_ = -1;
  std::thread thread_;
};

class Link {
 public:
  Link(std::string uri, CallCounter& calls, std::shared_ptr<void> keep_alive,
       LinkHandlers handlers);
  // Waits a moment for its thread; gives it up if it hangs inside libvirt.
  ~Link();
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

 private:
  struct State;
  static void run(const std::shared_ptr<State>& state);
  static void serve(const std::shared_ptr<State>& state, virConnectPtr connection);

  std::shared_ptr<State> state_;
};

// Why a domain stopped, as a STOPPED or CRASHED lifecycle event tells. A guest that QEMU closed
// because of a signal to QEMU reports SHUTDOWN as well; `killed_by_host` keeps it apart.
[[nodiscard]] StopCause stop_cause(int event, int detail, bool killed_by_host);

}  // namespace clusterd::libvirt
