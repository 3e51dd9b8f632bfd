// IpcServer: the daemon's door for local clients, on libqb's qb_ipcs.
//
// Requests become ClientRequest events, answers go through Control. Peers are told apart by the
// kernel's word on their uid and gid. Input that does not decode is refused and counted; a client
// that does not take its answers is dropped; neither touches anybody else.
#pragma once

#include <qb/qbipcs.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "clusterd/adapters/qb/ipc_frames.h"
#include "clusterd/ports/control.h"
#include "clusterd/ports/loop.h"
#include "clusterd/ports/sink.h"

namespace clusterd {

struct IpcServerOptions {
  // What local users without rights get. libqb's IPC shares memory with its clients, so a hostile
  // one that is admitted can do harm that no check of ours sees.
  enum class Strangers { may_read, stay_outside };

  std::string name = "clusterd";   // contract: `ipc_name`
  std::string group = "clusterd";  // its members may change
  Strangers strangers = Strangers::may_read;
  std::size_t max_clients = 64;    // each costs about 0.8 MiB of /dev/shm
};

class IpcServer final : public Control {
 public:
  struct Rejection {
    std::string source;  // "uid 1000"
    // too_many_clients, not_permitted, malformed, too_many_requests, slow_client
    const char* kind = "malformed";
    std::string reason;  // a sentence for the log
  };
  using OnRejected = std::function<void(const Rejection& rejection)>;

  // The process's only MainLoop must be `loop`. Fails when the name is taken (another daemon).
  [[nodiscard]] static Result<std::unique_ptr<IpcServer>> create(Loop& loop, EventSink& sink,
                                                                 const IpcServerOptions& options,
                                                                 OnRejected on_rejected);
  ~IpcServer() override;
  IpcServer(const IpcServer&) = delete;
  IpcServer& operator=(const IpcServer&) = delete;

  void reply(ClientId client, const ControlReply& reply) override;
  [[nodiscard]] std::size_t clients() const { return connections_.size(); }

 private:
  enum class Rights { unknown, read, change };
  struct Connection {
    qb_ipcs_connection_t* handle = nullptr;
    uid_t uid = 0;
    gid_t gid = 0;
    Rights rights = Rights::unknown;
    bool doomed = false;  // input is ignored; ends when the client goes or after kFarewell
    ipc::Assembler input;
    std::map<ClientId, std::uint32_t> open;  // unanswered requests, with the client's number
    std::deque<std::string> output;
    std::size_t output_bytes = 0;
    std::size_t output_offset = 0;   // sent of output.front()
    Duration unmoved{0};             // how long the client has taken nothing
    Duration pause{0};               // between tries
    Loop::TimerId retry = Loop::kNoTimer;
    Loop::TimerId farewell = Loop::kNoTimer;
  };

  IpcServer(Loop& loop, EventSink& sink, const IpcServerOptions& options, OnRejected on_rejected);
  [[nodiscard]] Status listen();
  std::int32_t accept(qb_ipcs_connection_t* handle, uid_t uid, gid_t gid);
  void receive(Connection& from, const void* data, std::size_t claimed);
  void take_request(Connection& from, std::uint32_t number, std::string_view body);
  void refuse(Connection& to, std::uint32_t number, const char* kind, const std::string& reason);
  void doom(Connection& connection, std::uint32_t number, const std::string& reason);
  void disconnect_soon(Connection& connection);
  void closed(qb_ipcs_connection_t* handle);
  [[nodiscard]] bool may_change(Connection& connection) const;
  void enqueue(Connection& to, std::uint32_t number, const ControlReply& reply);
  void pump(Connection& to);
  void retry_later(Connection& to);
  [[nodiscard]] Connection* find(qb_ipcs_connection_t* handle);
  [[nodiscard]] static IpcServer& of(qb_ipcs_connection_t* handle);
  [[nodiscard]] static qb_ipcs_service_handlers handlers();

  Loop& loop_;
  EventSink& sink_;
  const IpcServerOptions options_;
  const OnRejected on_rejected_;
  qb_ipcs_service_t* service_ = nullptr;
  bool stopping_ = false;
  ClientId last_client_;
  std::map<qb_ipcs_connection_t*, std::unique_ptr<Connection>> connections_;
  std::map<ClientId, Connection*> clients_;
};

}  // namespace clusterd
