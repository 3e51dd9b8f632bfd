// Session: one libvirt connection that belongs to one worker thread, and the counter of calls.
//
// A connection of its own for each worker, because libvirtd reads only `max_client_requests`
// (5 by default) unanswered calls of one client: on a shared connection five stuck starts would
// hold up every look, and even the keepalive.
#pragma once

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "clusterd/base/result.h"
#include "clusterd/model/ids.h"
#include "clusterd/model/state.h"

namespace clusterd::libvirt {

using Clock = std::chrono::steady_clock;

// How often each libvirt function was called. Thread-safe.
class CallCounter {
 public:
  // Told of each call on the thread that makes it; must not block.
  using Told = std::function<void(const char* function)>;

  explicit CallCounter(Told told = {}) : told_(std::move(told)) {}

  void count(const char* function);
  // From here on nobody is told: a given-up thread must not reach what is dead.
  void close();
  [[nodiscard]] std::map<std::string, std::uint64_t> snapshot() const;

 private:
  mutable std::mutex mutex_;
  Told told_;  // guarded by mutex_, as is the rest
  std::map<std::string, std::uint64_t> calls_;
};

struct CloseConnection {
  void operator()(virConnectPtr connection) const { virConnectClose(connection); }
};
struct FreeDomain {
  void operator()(virDomainPtr domain) const { virDomainFree(domain); }
};
using Connection = std::unique_ptr<virConnect, CloseConnection>;
using Domain = std::unique_ptr<virDomain, FreeDomain>;

// Opens a connection with keepalive (5 s, 3 times): a libvirtd that hangs ends the calls of this
// connection after 20 s. Opening itself may block for ever: never call it on a thread that matters.
[[nodiscard]] Result<Connection> open_connection(const std::string& uri, CallCounter& calls);

class Session {
 public:
  Session(std::string uri, CallCounter& calls) : uri_(std::move(uri)), calls_(calls) {}

  // A living connection, opened again if need be, trying until `deadline`.
  [[nodiscard]] Status ensure(Clock::time_point deadline);
  // Precondition: the last ensure() was ok.
  [[nodiscard]] virConnectPtr connection() const { return connection_.get(); }
  // Names the libvirt function that is called next.
  void count(const char* function) { calls_.count(function); }
  // What this host can run, kept by whoever has read it, so that it is read once a connection; a
  // new connection, maybe to a newer libvirt, forgets it.
  [[nodiscard]] std::optional<HostFacts>& capabilities() { return capabilities_; }

 private:
  std::string uri_;
  CallCounter& calls_;
  Connection connection_;
  std::optional<HostFacts> capabilities_;
};

// What libvirt said of this thread's last failed call.
[[nodiscard]] Error last_error(const std::string& doing);
[[nodiscard]] int last_error_code();
[[nodiscard]] VmId id_of(virDomainPtr domain);

}  // namespace clusterd::libvirt
