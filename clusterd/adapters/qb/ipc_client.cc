#include "clusterd/adapters/qb/ipc_client.h"

#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "clusterd/base/archive.h"

namespace clusterd {

namespace {

using Clock = std::chrono::steady_clock;

int remaining_ms(Clock::time_point deadline) {
  const auto left = std::chrono::duration_cast<Duration>(deadline - Clock::now()).count();
  return static_cast<int>(std::clamp<Duration::rep>(left, 0, 24 * 3600 * 1000));
}

std::string not_reachable(const std::string& name, int error) {
  std::string text = "cannot reach clusterd (control service \"" + name + "\"): ";
  switch (error) {
    case ECONNREFUSED:
    case ENOENT: return text + "it is not running here";
    case EACCES: return text + "permission denied";
    case EBUSY: return text + "it serves too many clients at once";
    case ETIMEDOUT: return text + "it does not answer";
    default: return text + std::strerror(error);
  }
}

}  // namespace

Result<std::unique_ptr<IpcClient>> IpcClient::connect(const std::string& name, Duration timeout) {
  int fd = -1;
  // Asynchronous: the plain connect waits for ever for a daemon that hangs.
  qb_ipcc_connection_t* connection =
      qb_ipcc_connect_async(name.c_str(), ipc::kBufferSize, &fd);
  if (connection == nullptr) return Error{not_reachable(name, errno)};
  pollfd waiting{fd, POLLIN, 0};
  const auto deadline = Clock::now() + timeout;
  int ready = 0;
  do {
    ready = ::poll(&waiting, 1, remaining_ms(deadline));
  } while (ready < 0 && errno == EINTR);
  if (ready <= 0) {
    qb_ipcc_disconnect(connection);
    return Error{not_reachable(name, ETIMEDOUT)};
  }
  const int rc = qb_ipcc_connect_continue(connection);  // frees the connection when it fails
  if (rc != 0) return Error{not_reachable(name, -rc)};
  return std::unique_ptr<IpcClient>(new IpcClient(connection));
}

IpcClient::~IpcClient() { qb_ipcc_disconnect(connection_); }

Status IpcClient::send(const ControlRequest& request, Duration timeout) {
  const Deadline deadline = Clock::now() + timeout;
  const std::string message = ipc::pack(++number_, request);
  if (message.size() > ipc::kMaxMessage + ipc::kHeaderSize) {
    return Error{"the request has " + std::to_string(message.size()) + " bytes, at most " +
                 std::to_string(ipc::kMaxMessage) + " are possible"};
  }
  std::size_t offset = 0;
  while (offset < message.size()) {
    const std::string frame = ipc::cut_frame(message, offset);
    const ssize_t rc = qb_ipcc_send(connection_, frame.data(), frame.size());
    if (rc >= 0) {
      offset += ipc::payload_size(frame);
    } else if (rc != -EAGAIN && rc != -ETIMEDOUT) {
      return Error{std::string("clusterd closed the connection: ") +
                   std::strerror(static_cast<int>(-rc))};
    } else if (remaining_ms(deadline) == 0) {
      return Error{"clusterd does not take the request"};
    } else {
      ::poll(nullptr, 0, 1);  // the ring is full, and nothing tells when it is not
    }
  }
  return ok_status();
}

Result<std::optional<ControlReply>> IpcClient::receive(Duration timeout) {
  const Deadline deadline = Clock::now() + timeout;
  for (;;) {
    const int wait = remaining_ms(deadline);
    const ssize_t rc = qb_ipcc_event_recv(connection_, buffer_.data(), buffer_.size(), wait);
    if (rc == -EAGAIN || rc == -ETIMEDOUT || rc == -EINTR) {
      if (remaining_ms(deadline) == 0) return std::optional<ControlReply>{};
      continue;
    }
    if (rc < 0) return Error{"clusterd closed the connection"};
    const auto opened =
        ipc::open_frame(buffer_.data(), static_cast<std::size_t>(rc), ipc::kBufferSize);
    if (const auto* bad = std::get_if<ipc::BadFrame>(&opened)) {
      return Error{"clusterd sent " + bad->reason};
    }
    const ipc::Progress progress =
        input_.feed(*std::get_if<std::string_view>(&opened), ipc::kMaxMessage);
    if (const auto* broken = std::get_if<ipc::Broken>(&progress)) {
      return Error{"clusterd sent " + broken->reason};
    }
    const auto* whole = std::get_if<ipc::Whole>(&progress);
    if (whole == nullptr) continue;
    // 0: the daemon could not even read our number, so it is about this connection as a whole.
    if (whole->number != number_ && whole->number != 0) continue;
    ControlReply reply;
    Reader reader(whole->body);
    reader.read(reply);
    if (!reader.complete()) return Error{"clusterd's answer does not decode"};
    return std::optional<ControlReply>(std::move(reply));
  }
}

}  // namespace clusterd
