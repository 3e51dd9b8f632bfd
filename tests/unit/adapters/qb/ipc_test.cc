// Real libqb IPC: the server runs on a loop in this thread, clients in processes of their own,
// because only those can have other rights, vanish, or misbehave.
#include <grp.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <cstring>
#include <functional>

#include "clusterd/adapters/qb/event_queue.h"
#include "clusterd/adapters/qb/ipc_client.h"
#include "clusterd/adapters/qb/ipc_server.h"
#include "clusterd/adapters/qb/main_loop.h"
#include "clusterd/adapters/qb/peer_rights.h"
#include "clusterd/base/archive.h"

namespace clusterd {
namespace {

constexpr Duration kPatience{10'000};
constexpr uid_t kNobody = 65534;

using Kinds = std::vector<std::string>;

class Service {
 public:
  Service() {
    auto made = MainLoop::create();
    REQUIRE(made.ok());
    loop = std::move(made).value();
    queue = std::make_unique<EventQueue>(*loop, [this](Event event) { consume(event); });
    IpcServerOptions options;
    options.name = name;
    auto server_made = IpcServer::create(
        *loop, *queue, options,
        [this](const IpcServer::Rejection& what) { rejected.push_back(what); });
    if (!server_made) FAIL(server_made.error().message);
    server = std::move(server_made).value();
  }

  // Runs `client` in a child; its result must be 0. `on_request` answers meanwhile.
  void serve(const std::function<int(const std::string&)>& client) {
    const pid_t child = fork();
    if (child == 0) {
      // Not into the parent's test report: _exit, and no assertion macros in the child.
      _exit(client(name));
    }
    int status = 0;
    wait_for([&] { return waitpid(child, &status, WNOHANG) == child; });
    CHECK(status == 0);
  }

  void wait_for(const std::function<bool()>& condition) {
    bool met = false;
    bool late = false;
    const auto limit = loop->add_timer(kPatience, [&] {
      late = true;
      loop->stop();
    });
    std::function<void()> poll = [&] {
      met = condition();
      if (met) return loop->stop();
      loop->add_timer(Duration(2), poll);
    };
    poll();
    if (!met) loop->run();
    loop->cancel_timer(limit);
    REQUIRE_FALSE(late);
  }

  [[nodiscard]] Kinds rejected_kinds() const {
    Kinds kinds;
    for (const auto& what : rejected) kinds.emplace_back(what.kind);
    return kinds;
  }

  const std::string name = "clusterd-test-" + std::to_string(getpid());
  std::unique_ptr<MainLoop> loop;
  std::unique_ptr<EventQueue> queue;
  std::unique_ptr<IpcServer> server;
  std::vector<ClientRequest> requests;
  std::vector<ClientId> gone;
  std::vector<IpcServer::Rejection> rejected;
  std::function<void(const ClientRequest&)> on_request = [](const ClientRequest&) {};

 private:
  void consume(const Event& event) {
    if (const auto* request = std::get_if<ClientRequest>(&event)) {
      requests.push_back(*request);
      on_request(*request);
    }
    if (const auto* client = std::get_if<ClientGone>(&event)) gone.push_back(client->client);
  }
};

ControlReply answer(std::string json) {
  ControlReply reply;
  reply.json = std::move(json);
  return reply;
}

// One request, one answer; nullopt when anything went wrong.
std::optional<ControlReply> ask(const std::string& name, const ControlRequest& request) {
  auto client = IpcClient::connect(name);
  if (!client || !client.value()->send(request, kPatience)) return std::nullopt;
  auto reply = client.value()->receive(kPatience);
  if (!reply) return std::nullopt;
  return std::move(reply).value();
}

ApplyConfiguration declaration_of(std::size_t bytes) {
  ApplyConfiguration apply;
  apply.delete_vms.insert(std::string(bytes, 'x'));
  return apply;
}

// A raw connection that speaks libqb but not our protocol.
qb_ipcc_connection_t* raw(const std::string& name) {
  return qb_ipcc_connect(name.c_str(), ipc::kBufferSize);
}
bool send_all(qb_ipcc_connection_t* connection, const std::string& frame) {
  for (int i = 0; i < 5000; ++i) {
    const ssize_t rc = qb_ipcc_send(connection, frame.data(), frame.size());
    if (rc >= 0) return true;
    if (rc != -EAGAIN) return false;
    ::poll(nullptr, 0, 1);
  }
  return false;
}
// The refusal that the server sends before it closes the door.
std::string refusal(qb_ipcc_connection_t* connection) {
  std::string buffer(ipc::kBufferSize, '\0');
  const ssize_t got = qb_ipcc_event_recv(connection, buffer.data(), buffer.size(), 5000);
  if (got < 0) return "nothing";
  const auto opened =
      ipc::open_frame(buffer.data(), static_cast<std::size_t>(got), ipc::kBufferSize);
  ipc::Assembler input;
  const auto progress = input.feed(std::get<std::string_view>(opened), ipc::kMaxMessage);
  ControlReply reply;
  Reader reader(std::get<ipc::Whole>(progress).body);
  reader.read(reply);
  return reply.code == ReplyCode::refused ? reply.message : "not refused";
}

TEST_CASE("ipc: a request is answered, and the daemon knows who asked") {
  Service service;
  service.on_request = [&](const ClientRequest& request) {
    service.server->reply(request.client, answer("{\"status\":1}"));
  };
  service.serve([](const std::string& name) {
    const auto reply = ask(name, GetStatus{});
    return reply && reply->json == "{\"status\":1}" ? 0 : 1;
  });
  REQUIRE(service.requests.size() == 1);
  CHECK(service.requests[0].who == "uid " + std::to_string(getuid()));
  CHECK(std::holds_alternative<GetStatus>(service.requests[0].request));
  service.wait_for([&] { return service.server->clients() == 0; });
  CHECK(service.gone.empty());  // it was answered
}

TEST_CASE("ipc: requests and answers of many megabytes arrive whole") {
  Service service;
  constexpr std::size_t kSize = 5 * 1024 * 1024;
  service.on_request = [&](const ClientRequest& request) {
    const auto& apply = std::get<ApplyConfiguration>(request.request);
    service.server->reply(request.client, answer(*apply.delete_vms.begin() + "!"));
  };
  service.serve([](const std::string& name) {
    const auto reply = ask(name, declaration_of(kSize));
    return reply && reply->json == std::string(kSize, 'x') + "!" ? 0 : 1;
  });
  CHECK(service.requests.size() == 1);
}

TEST_CASE("ipc: an order that is followed gets several answers, others in between") {
  Service service;
  service.on_request = [&](const ClientRequest& request) {
    for (int i = 0; i < 100; ++i) {
      ControlReply reply = answer(std::to_string(i));
      reply.more = i < 99;
      service.server->reply(request.client, reply);
    }
    service.server->reply(request.client, answer("after the end: no effect"));
  };
  service.serve([](const std::string& name) {
    auto client = IpcClient::connect(name);
    GetHistory follow;
    follow.follow = true;
    if (!client || !client.value()->send(follow, kPatience)) return 1;
    for (int i = 0; i < 100; ++i) {
      const auto reply = client.value()->receive(kPatience);
      if (!reply || !reply.value() || reply.value()->json != std::to_string(i)) return 2;
      if (reply.value()->more != (i < 99)) return 3;
    }
    const auto nothing = client.value()->receive(Duration(50));
    return nothing && !nothing.value() ? 0 : 4;
  });
}

TEST_CASE("ipc: twenty clients at once") {
  Service service;
  service.on_request = [&](const ClientRequest& request) {
    if (service.requests.size() < 20) return;
    for (const auto& waiting : service.requests) {
      service.server->reply(waiting.client, answer(waiting.who));
    }
    CHECK(request.client == service.requests.back().client);
  };
  service.serve([](const std::string& name) {
    std::vector<std::unique_ptr<IpcClient>> clients;
    for (int i = 0; i < 20; ++i) {
      auto made = IpcClient::connect(name);
      if (!made) return 1;
      clients.push_back(std::move(made).value());
      if (!clients.back()->send(GetStatus{}, kPatience)) return 2;
    }
    for (auto& client : clients) {
      const auto reply = client->receive(kPatience);
      if (!reply || !reply.value()) return 3;
    }
    return 0;
  });
}

TEST_CASE("ipc: a user without rights may read, and is refused a change with the reason") {
  if (getuid() != 0) {
    WARN("needs root to become another user");
    return;
  }
  Service service;
  service.on_request = [&](const ClientRequest& request) {
    service.server->reply(request.client, answer("read"));
  };
  service.serve([](const std::string& name) {
    if (setgroups(0, nullptr) != 0 || setgid(kNobody) != 0 || setuid(kNobody) != 0) return 1;
    const auto read = ask(name, GetStatus{});
    if (!read || read->code != ReplyCode::done || read->json != "read") return 2;
    const auto change = ask(name, VmCommand{"web", VmOrderKind::stop, false});
    if (!change || change->code != ReplyCode::refused) return 3;
    if (change->message.find("may only read") == std::string::npos) return 4;
    const auto large = ask(name, declaration_of(1024 * 1024));
    return large && large->code == ReplyCode::refused ? 0 : 5;
  });
  CHECK(service.requests.size() == 1);
  CHECK(service.requests[0].who == "uid 65534");
  CHECK(service.rejected_kinds() == Kinds{"not_permitted", "malformed"});
}

TEST_CASE("ipc: rights are root's, and the local group's") {
  CHECK(may_change(0, 0, "no such group"));
  CHECK_FALSE(may_change(kNobody, kNobody, "no such group"));
  CHECK_FALSE(may_change(kNobody, kNobody, "root"));
  CHECK(may_change(kNobody, 0, "root"));
}

TEST_CASE("ipc: garbage is refused and counted, and others are served on") {
  Service service;
  service.on_request = [&](const ClientRequest& request) {
    service.server->reply(request.client, answer("alive"));
  };
  service.serve([](const std::string& name) {
    const std::string good = ipc::pack(7, ControlRequest(GetStatus{}));
    std::string other_version = good;
    other_version[4] = 9;
    std::string too_large = good;
    std::memset(too_large.data() + 12, 0x7f, 4);
    std::string undecodable = good;
    undecodable[ipc::kHeaderSize] = 99;
    const std::vector<std::pair<std::string, std::string>> cases = {
        {ipc::cut_frame(std::string(500, 'z'), 0), "control protocol"},
        {ipc::cut_frame("short", 0), "shorter"},
        {ipc::cut_frame(other_version, 0), "version 9"},
        {ipc::cut_frame(too_large, 0), "at most"},
        {ipc::cut_frame(undecodable, 0), "does not decode"},
        {ipc::cut_frame(good + "tail", 0), "more bytes"},
    };
    for (std::size_t i = 0; i < cases.size(); ++i) {
      qb_ipcc_connection_t* connection = raw(name);
      if (connection == nullptr) return 10;
      if (!send_all(connection, cases[i].first)) return 11;
      if (refusal(connection).find(cases[i].second) == std::string::npos) {
        return 20 + static_cast<int>(i);
      }
      qb_ipcc_disconnect(connection);
    }
    return ask(name, GetStatus{}) ? 0 : 12;
  });
  CHECK(service.rejected_kinds() == Kinds(6, "malformed"));
  CHECK(service.rejected[0].source == "uid " + std::to_string(getuid()));
}

TEST_CASE("ipc: a frame that lies about its size touches nothing behind it") {
  Service service;
  service.on_request = [&](const ClientRequest& request) {
    service.server->reply(request.client, answer("alive"));
  };
  service.serve([](const std::string& name) {
    for (const std::int32_t lie : {-5, 0, 8, 60'000, 200'000, 0x7fffffff}) {
      qb_ipcc_connection_t* connection = raw(name);
      std::string frame = ipc::cut_frame(ipc::pack(1, ControlRequest(GetStatus{})), 0);
      std::memcpy(frame.data() + offsetof(qb_ipc_request_header, size), &lie, sizeof lie);
      if (!send_all(connection, frame)) return 1;
      if (refusal(connection) == "nothing") return 2;
      qb_ipcc_disconnect(connection);
    }
    return ask(name, GetStatus{}) ? 0 : 3;
  });
}

TEST_CASE("ipc: a client that vanishes takes its open request with it") {
  Service service;
  const auto vanish = [](const std::string& name) {
    auto client = IpcClient::connect(name);
    if (!client || !client.value()->send(GetStatus{}, kPatience)) return 1;
    // Half of a large request on top.
    const std::string large = ipc::pack(2, ControlRequest(declaration_of(200'000)));
    auto* second = raw(name);
    if (!send_all(second, ipc::cut_frame(large, 0))) return 2;
    ::poll(nullptr, 0, 100);
    raise(SIGKILL);
    return 3;
  };
  const pid_t child = fork();
  if (child == 0) _exit(vanish(service.name));
  service.wait_for([&] { return service.gone.size() == 1; });
  waitpid(child, nullptr, 0);
  REQUIRE(service.requests.size() == 1);
  CHECK(service.gone[0] == service.requests[0].client);
  service.server->reply(service.gone[0], answer("nobody is there"));
  service.wait_for([&] { return service.server->clients() == 0; });
}

TEST_CASE("ipc: a client that does not take its answers is dropped, and only that one") {
  Service service;
  const pid_t lazy = fork();
  if (lazy == 0) {
    auto client = IpcClient::connect(service.name);
    GetHistory follow;
    follow.follow = true;
    if (!client || !client.value()->send(follow, kPatience)) _exit(1);
    pause();
  }
  service.wait_for([&] { return service.requests.size() == 1; });
  const ClientId follower = service.requests[0].client;
  ControlReply event = answer(std::string(100'000, 'e'));
  event.more = true;
  for (int i = 0; i < 100; ++i) service.server->reply(follower, event);
  service.wait_for([&] { return service.gone.size() == 1; });
  CHECK(service.gone[0] == follower);
  CHECK(service.rejected_kinds() == Kinds{"slow_client"});
  service.on_request = [&](const ClientRequest& request) {
    service.server->reply(request.client, answer("alive"));
  };
  service.serve([](const std::string& name) { return ask(name, GetStatus{}) ? 0 : 1; });
  kill(lazy, SIGKILL);
  waitpid(lazy, nullptr, 0);
}

TEST_CASE("ipc: nobody listens, and a daemon that hangs, are told apart") {
  const auto nobody = IpcClient::connect("clusterd-test-nobody");
  REQUIRE_FALSE(nobody.ok());
  CHECK(nobody.error().message.find("not running") != std::string::npos);
  Service service;  // its loop does not run
  const auto hung = IpcClient::connect(service.name, Duration(100));
  REQUIRE_FALSE(hung.ok());
  CHECK(hung.error().message.find("does not answer") != std::string::npos);
}

TEST_CASE("ipc: a second daemon of the same name is refused") {
  Service service;
  IpcServerOptions options;
  options.name = service.name;
  const auto second = IpcServer::create(*service.loop, *service.queue, options,
                                        [](const IpcServer::Rejection&) {});
  CHECK_FALSE(second.ok());
}

}  // namespace
}  // namespace clusterd
