#include "clusterd/adapters/qb/ipc_server.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "clusterd/adapters/qb/peer_rights.h"
#include "clusterd/base/archive.h"
#include "clusterd/base/overloaded.h"

namespace clusterd {

namespace {

constexpr std::size_t kMaxOpenRequests = 16;             // of one connection
constexpr std::size_t kMaxBacklog = 4 * 1024 * 1024;     // beyond the answer being sent
constexpr Duration kFirstPause{2};
constexpr Duration kLongestPause{100};
constexpr Duration kPatience{30'000};  // with a client that takes nothing
constexpr Duration kFarewell{5'000};   // for the client to read why it is refused

std::string source_of(uid_t uid) { return "uid " + std::to_string(uid); }

}  // namespace

Result<std::unique_ptr<IpcServer>> IpcServer::create(Loop& loop, EventSink& sink,
                                                     const IpcServerOptions& options,
                                                     OnRejected on_rejected) {
  std::unique_ptr<IpcServer> server(
      new IpcServer(loop, sink, options, std::move(on_rejected)));
  const Status listening = server->listen();
  if (!listening) return listening.error();
  return server;
}

IpcServer::IpcServer(Loop& loop, EventSink& sink, const IpcServerOptions& options,
                     OnRejected on_rejected)
    : loop_(loop), sink_(sink), options_(options), on_rejected_(std::move(on_rejected)) {}

IpcServer::~IpcServer() {
  stopping_ = true;
  if (service_ != nullptr) qb_ipcs_destroy(service_);
  for (auto& [handle, connection] : connections_) {
    loop_.cancel_timer(connection->retry);
    loop_.cancel_timer(connection->farewell);
  }
}

IpcServer& IpcServer::of(qb_ipcs_connection_t* handle) {
  return *static_cast<IpcServer*>(qb_ipcs_connection_service_context_get(handle));
}

qb_ipcs_service_handlers IpcServer::handlers() {
  qb_ipcs_service_handlers handlers{};
  handlers.connection_accept = [](qb_ipcs_connection_t* c, uid_t uid, gid_t gid) -> std::int32_t {
    return of(c).accept(c, uid, gid);
  };
  handlers.msg_process = [](qb_ipcs_connection_t* c, void* data, std::size_t size) -> std::int32_t {
    IpcServer& self = of(c);
    if (Connection* from = self.find(c)) self.receive(*from, data, size);
    return 0;  // negative would make libqb throw the request away and slow the client down
  };
  handlers.connection_closed = [](qb_ipcs_connection_t* c) -> std::int32_t {
    of(c).closed(c);
    return 0;
  };
  // Refused connections are destroyed without having been closed.
  handlers.connection_destroyed = [](qb_ipcs_connection_t* c) { of(c).closed(c); };
  return handlers;
}

Status IpcServer::listen() {
  qb_ipcs_service_handlers own = handlers();
  service_ = qb_ipcs_create(options_.name.c_str(), 0, QB_IPC_NATIVE, &own);
  if (service_ == nullptr) {
    return Error{"cannot create the control service \"" + options_.name + "\""};
  }
  // nullptr stands for the default loop, which is the only one (MainLoop).
  qb_ipcs_poll_handlers poll{};
  poll.job_add = [](qb_loop_priority p, void* data, qb_loop_job_dispatch_fn fn) {
    return qb_loop_job_add(nullptr, p, data, fn);
  };
  poll.dispatch_add = [](qb_loop_priority p, std::int32_t fd, std::int32_t events, void* data,
                         qb_ipcs_dispatch_fn_t fn) {
    return qb_loop_poll_add(nullptr, p, fd, events, data, fn);
  };
  poll.dispatch_mod = [](qb_loop_priority p, std::int32_t fd, std::int32_t events, void* data,
                         qb_ipcs_dispatch_fn_t fn) {
    return qb_loop_poll_mod(nullptr, p, fd, events, data, fn);
  };
  poll.dispatch_del = [](std::int32_t fd) { return qb_loop_poll_del(nullptr, fd); };
  qb_ipcs_poll_handlers_set(service_, &poll);
  qb_ipcs_service_context_set(service_, this);
  qb_ipcs_enforce_buffer_size(service_, ipc::kBufferSize);
  const std::int32_t rc = qb_ipcs_run(service_);
  if (rc == 0) return ok_status();
  service_ = nullptr;  // qb_ipcs_run has freed it
  return Error{"cannot listen on \"" + options_.name + "\": " + std::strerror(-rc) +
               (rc == -EADDRINUSE ? " (another clusterd is running here)" : "")};
}

std::int32_t IpcServer::accept(qb_ipcs_connection_t* handle, uid_t uid, gid_t gid) {
  if (stopping_) return -ESHUTDOWN;
  if (connections_.size() >= options_.max_clients) {
    on_rejected_({source_of(uid), "too_many_clients", "too many clients at once"});
    return -EBUSY;
  }
  auto connection = std::make_unique<Connection>();
  connection->handle = handle;
  connection->uid = uid;
  connection->gid = gid;
  if (options_.strangers == IpcServerOptions::Strangers::stay_outside &&
      !may_change(*connection)) {
    on_rejected_({source_of(uid), "not_permitted", "not a member of group " + options_.group});
    return -EACCES;
  }
  connections_.emplace(handle, std::move(connection));
  return 0;
}

bool IpcServer::may_change(Connection& connection) const {
  if (connection.rights == Rights::unknown) {
    const bool yes = clusterd::may_change(connection.uid, connection.gid, options_.group);
    connection.rights = yes ? Rights::change : Rights::read;
  }
  return connection.rights == Rights::change;
}

IpcServer::Connection* IpcServer::find(qb_ipcs_connection_t* handle) {
  const auto found = connections_.find(handle);
  return found == connections_.end() ? nullptr : found->second.get();
}

void IpcServer::receive(Connection& from, const void* data, std::size_t claimed) {
  if (from.doomed) return;
  const auto opened = ipc::open_frame(data, claimed, ipc::kBufferSize);
  if (const auto* bad = std::get_if<ipc::BadFrame>(&opened)) return doom(from, 0, bad->reason);
  const auto payload = *std::get_if<std::string_view>(&opened);
  std::size_t limit = ipc::kMaxMessageOfStranger;
  const bool large =
      from.input.in_message() || ipc::Assembler::announced_length(payload) > limit;
  if (large && may_change(from)) limit = ipc::kMaxMessage;
  std::visit(overloaded{
                 [](const ipc::Incomplete&) {},
                 [&](const ipc::Whole& whole) { take_request(from, whole.number, whole.body); },
                 [&](const ipc::Broken& broken) { doom(from, broken.number, broken.reason); },
             },
             from.input.feed(payload, limit));
}

void IpcServer::take_request(Connection& from, std::uint32_t number, std::string_view body) {
  ControlRequest request;
  Reader reader(body);
  reader.read(request);
  if (!reader.complete()) return refuse(from, number, "malformed", "the request does not decode");
  if (!only_reads(request) && !may_change(from)) {
    return refuse(from, number, "not_permitted",
                  source_of(from.uid) + " may only read: changes need root or a member of group " +
                      options_.group);
  }
  if (from.open.size() >= kMaxOpenRequests) {
    return refuse(from, number, "too_many_requests",
                  "too many unanswered requests on one connection");
  }
  last_client_ = last_client_.next();
  from.open.emplace(last_client_, number);
  clients_.emplace(last_client_, &from);
  sink_.post(ClientRequest{last_client_, std::move(request), source_of(from.uid)});
}

void IpcServer::refuse(Connection& to, std::uint32_t number, const char* kind,
                       const std::string& reason) {
  on_rejected_({source_of(to.uid), kind, reason});
  ControlReply refusal;
  refusal.code = ReplyCode::refused;
  refusal.message = reason;
  enqueue(to, number, refusal);
}

void IpcServer::doom(Connection& connection, std::uint32_t number, const std::string& reason) {
  refuse(connection, number, "malformed", reason);
  if (connection.doomed) return;  // dropped already, for not taking its answers
  connection.doomed = true;
  connection.farewell = loop_.add_timer(kFarewell, [this, handle = connection.handle] {
    if (Connection* still = find(handle)) {
      still->farewell = Loop::kNoTimer;
      qb_ipcs_disconnect(handle);
    }
  });
}

void IpcServer::disconnect_soon(Connection& connection) {
  // Not now: this may run within libqb's handling of that very connection.
  connection.doomed = true;
  connection.output.clear();
  connection.output_bytes = 0;
  connection.output_offset = 0;
  loop_.cancel_timer(std::exchange(connection.farewell, Loop::kNoTimer));
  connection.farewell = loop_.add_timer(Duration(0), [this, handle = connection.handle] {
    if (Connection* still = find(handle)) {
      still->farewell = Loop::kNoTimer;
      qb_ipcs_disconnect(handle);
    }
  });
}

void IpcServer::closed(qb_ipcs_connection_t* handle) {
  const auto found = connections_.find(handle);
  if (found == connections_.end()) return;
  const std::unique_ptr<Connection> gone = std::move(found->second);
  connections_.erase(found);
  loop_.cancel_timer(gone->retry);
  loop_.cancel_timer(gone->farewell);
  for (const auto& [client, number] : gone->open) {
    clients_.erase(client);
    if (!stopping_) sink_.post(ClientGone{client});
  }
}

void IpcServer::reply(ClientId client, const ControlReply& reply) {
  const auto found = clients_.find(client);
  if (found == clients_.end()) return;
  Connection& to = *found->second;
  const auto open = to.open.find(client);
  const std::uint32_t number = open->second;
  if (!reply.more) {
    to.open.erase(open);
    clients_.erase(found);
  }
  enqueue(to, number, reply);
}

void IpcServer::enqueue(Connection& to, std::uint32_t number, const ControlReply& reply) {
  if (to.doomed) return;
  // The answer on its way may be of any size; what gathers behind it may not.
  const std::size_t front = to.output.empty() ? 0 : to.output.front().size();
  if (to.output_bytes - front > kMaxBacklog) {
    on_rejected_({source_of(to.uid), "slow_client", "dropped: does not take its answers"});
    return disconnect_soon(to);
  }
  std::string message = ipc::pack(number, reply);
  if (message.size() > ipc::kMaxMessage + ipc::kHeaderSize) {
    ControlReply too_large;
    too_large.code = ReplyCode::refused;
    too_large.message = "the answer is too large; ask for less";
    message = ipc::pack(number, too_large);
  }
  to.output_bytes += message.size();
  to.output.push_back(std::move(message));
  if (to.retry == Loop::kNoTimer) pump(to);
}

void IpcServer::pump(Connection& to) {
  while (!to.output.empty()) {
    const std::string frame = ipc::cut_frame(to.output.front(), to.output_offset);
    const ssize_t rc = qb_ipcs_event_send(to.handle, frame.data(), frame.size());
    if (rc == -EAGAIN || rc == -ENOBUFS || rc == -ETIMEDOUT) return retry_later(to);
    if (rc < 0) return disconnect_soon(to);
    to.pause = kFirstPause;
    to.unmoved = Duration(0);
    to.output_offset += ipc::payload_size(frame);
    if (to.output_offset < to.output.front().size()) continue;
    to.output_bytes -= to.output.front().size();
    to.output.pop_front();
    to.output_offset = 0;
  }
}

// The ring has no descriptor that tells of room in it: only trying again does.
void IpcServer::retry_later(Connection& to) {
  if (to.unmoved >= kPatience) {
    on_rejected_({source_of(to.uid), "slow_client", "dropped: took no answer for 30 s"});
    return disconnect_soon(to);
  }
  to.pause = std::max(to.pause, kFirstPause);
  to.retry = loop_.add_timer(to.pause, [this, handle = to.handle] {
    if (Connection* still = find(handle)) {
      still->retry = Loop::kNoTimer;
      pump(*still);
    }
  });
  to.unmoved += to.pause;
  to.pause = std::min(to.pause * 2, kLongestPause);
}

}  // namespace clusterd
