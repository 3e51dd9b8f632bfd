#include "clusterd/ctl/session.h"

#include <chrono>
#include <cstdio>

#include "clusterd/adapters/qb/ipc_client.h"

namespace clusterd::ctl {
namespace {

ControlReply unavailable(const std::string& why) {
  return {ReplyCode::unavailable, why, {}, false};
}

ControlReply unknown(const std::string& why) {
  return {ReplyCode::unknown,
          why + "; it may still happen: look with `clusterctl status` and `clusterctl history`",
          {}, false};
}

}  // namespace

ControlReply ask(const Options& options, const ControlRequest& request) {
  auto connected = IpcClient::connect(options.ipc_name);
  if (!connected) {
    return unavailable("the daemon of this host does not answer (" + connected.error().message +
                       "): is clusterd running? `systemctl status clusterd`");
  }
  const auto client = std::move(connected).value();
  const bool changes = !only_reads(request);
  if (const Status sent = client->send(request, Duration(10000)); !sent) {
    return changes ? unknown(sent.error().message) : unavailable(sent.error().message);
  }
  const auto deadline = std::chrono::steady_clock::now() + options.timeout;
  while (true) {
    const auto left = std::chrono::duration_cast<Duration>(deadline -
                                                           std::chrono::steady_clock::now());
    if (left.count() <= 0) return unknown("no answer in time");
    auto received = client->receive(left);
    if (!received) {
      return changes ? unknown("the daemon went away: " + received.error().message)
                     : unavailable(received.error().message);
    }
    const auto& reply = received.value();
    if (!reply) return unknown("no answer in time");
    if (!reply->more) return *reply;
    if (options.terminal) std::fprintf(stderr, "%s\n", reply->message.c_str());
  }
}

int finish(const ControlReply& reply) {
  std::FILE* out = reply.code == ReplyCode::done ? stdout : stderr;
  if (!reply.message.empty()) std::fprintf(out, "%s\n", reply.message.c_str());
  return static_cast<int>(reply.code);
}

int read(const Options& options, const ControlRequest& request,
         const std::function<void(const Json&)>& print) {
  const ControlReply reply = ask(options, request);
  if (reply.code != ReplyCode::done && reply.json.empty()) return finish(reply);
  if (options.json) {
    std::printf("%s\n", reply.json.c_str());
    return static_cast<int>(reply.code);
  }
  const Json json = Json::parse(reply.json, nullptr, false);
  if (json.is_discarded()) {
    std::fprintf(stderr, "the daemon's answer is no JSON: clusterctl and clusterd differ\n");
    return static_cast<int>(ReplyCode::refused);
  }
  print(json);
  return static_cast<int>(reply.code);
}

}  // namespace clusterd::ctl
