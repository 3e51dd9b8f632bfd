// IpcClient: clusterctl's end of the control connection. Blocking, with a deadline on every call.
#pragma once

#include <qb/qbipcc.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "clusterd/adapters/qb/ipc_frames.h"
#include "clusterd/base/result.h"
#include "clusterd/base/time.h"

namespace clusterd {

class IpcClient {
 public:
  // An error: nobody listens there, the daemon does not answer, or it admits no more clients.
  [[nodiscard]] static Result<std::unique_ptr<IpcClient>> connect(
      const std::string& name, Duration timeout = Duration(5'000));
  ~IpcClient();
  IpcClient(const IpcClient&) = delete;
  IpcClient& operator=(const IpcClient&) = delete;

  // Starts a request; answers to earlier ones are no longer waited for. After an error nobody
  // knows whether the daemon has it.
  [[nodiscard]] Status send(const ControlRequest& request, Duration timeout);
  // The next answer to the last request. nullopt: none came in time (asking again is fine). An
  // error: the connection is gone. Whether the request took effect is unknown in both cases.
  [[nodiscard]] Result<std::optional<ControlReply>> receive(Duration timeout);

 private:
  using Deadline = std::chrono::steady_clock::time_point;
  explicit IpcClient(qb_ipcc_connection_t* connection) : connection_(connection) {}

  qb_ipcc_connection_t* connection_;
  std::uint32_t number_ = 0;
  ipc::Assembler input_;
  std::string buffer_ = std::string(ipc::kBufferSize, '\0');
};

}  // namespace clusterd
