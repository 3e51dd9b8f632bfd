#include "resource-agents/libvirt/session.h"

#include <algorithm>
#include <thread>

namespace clusterd::libvirt {
namespace {

constexpr int kKeepAliveSeconds = 5;
constexpr unsigned kKeepAliveCount = 3;
constexpr std::chrono::milliseconds kFirstPause{50};
constexpr std::chrono::milliseconds kLongestPause{1000};

}  // namespace

void CallCounter::count(const char* function) {
  const std::lock_guard lock(mutex_);
  ++calls_[function];
  if (told_) told_(function);
}

void CallCounter::close() {
  const std::lock_guard lock(mutex_);
  told_ = nullptr;
}

std::map<std::string, std::uint64_t> CallCounter::snapshot() const {
  const std::lock_guard lock(mutex_);
  return calls_;
}

Result<Connection> open_connection(const std::string& uri, CallCounter& calls) {
  calls.count("virConnectOpen");
  Connection connection(virConnectOpen(uri.c_str()));
  if (!connection) return last_error("connect to " + uri);
  calls.count("virConnectSetKeepAlive");
  // Drivers inside the own process (test:///) have none; their calls cannot hang on a daemon.
  if (virConnectSetKeepAlive(connection.get(), kKeepAliveSeconds, kKeepAliveCount) < 0) {
    virResetLastError();
  }
  return Result<Connection>(std::move(connection));
}

Status Session::ensure(Clock::time_point deadline) {
  auto pause = kFirstPause;
  for (;;) {
    if (connection_ && virConnectIsAlive(connection_.get()) == 1) return ok_status();
    connection_.reset();
    capabilities_.reset();
    Result<Connection> opened = open_connection(uri_, calls_);
    if (opened) {
      connection_ = std::move(opened).value();
      return ok_status();
    }
    // A restart of libvirtd takes some 100 ms: worth waiting for within the caller's deadline.
    if (Clock::now() + pause >= deadline) return opened.error();
    std::this_thread::sleep_for(pause);
    pause = std::min(pause * 2, kLongestPause);
  }
}

Error last_error(const std::string& doing) {
  const char* message = virGetLastErrorMessage();
  return Error{doing + ": " + (message != nullptr ? message : "no message from libvirt")};
}

int last_error_code() {
  return virGetLastErrorCode();
}

VmId id_of(virDomainPtr domain) {
  VmId vm;
  virDomainGetUUID(domain, vm.uuid.bytes.data());
  return vm;
}

}  // namespace clusterd::libvirt
