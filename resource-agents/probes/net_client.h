// NetClient: TCP connections, HTTP GETs and heartbeats, any number side by side on the scheduler's
// thread, through libcurl. Deadlines are the caller's: it cancels.
//
// A server may say what it likes for as long as it likes: at most 64 KiB of headers and of a page
// are kept, and a question ends as soon as its answer is certain. No redirects, no proxies.
#pragma once

#include <curl/curl.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "clusterd/model/declarations.h"
#include "resource-agents/probes/scheduler.h"
#include "resource-agents/probes/verdict.h"

namespace clusterd::probes {

struct NetQuestion {
  ProbeKind kind = ProbeKind::tcp;  // tcp, http, heartbeat
  std::string address;              // IP address or name
  std::uint16_t port = 0;
  std::string path;                 // http
  std::uint16_t expect = 200;       // http
  std::string body;                 // http: what the page must contain; empty: anything
};

struct NetAnswer {
  Verdict verdict;
  std::string read;  // heartbeat that passed: its line, at most 256 bytes, as it came
};

class NetClient {
 public:
  using Id = std::uint64_t;
  using Done = std::function<void(NetAnswer)>;

  explicit NetClient(Scheduler& scheduler);
  ~NetClient();
  NetClient(const NetClient&) = delete;
  NetClient& operator=(const NetClient&) = delete;

  // `done` is called once, never from within ask().
  Id ask(NetQuestion question, Done done);
  // `done` is not called any more. No effect when it was.
  void cancel(Id id);

 private:
  struct Talk;

  static int on_socket(CURL* easy, curl_socket_t fd, int what, void* self, void* unused);
  static int on_timer(CURLM* multi, long timeout_ms, void* self);
  bool prepare(Talk& talk);
  void act(curl_socket_t fd, int events);
  void collect();
  void connected(Talk& talk);
  void read_heartbeat(Id id);
  void finish(Id id, NetAnswer answer);

  Scheduler& scheduler_;
  CURLM* multi_;
  curl_slist* headers_;
  Scheduler::Timer timer_;
  Id next_ = 1;
  std::map<Id, std::unique_ptr<Talk>> talks_;
};

}  // namespace clusterd::probes
