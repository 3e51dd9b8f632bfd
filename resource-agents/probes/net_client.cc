#include "resource-agents/probes/net_client.h"

#include <string.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string_view>
#include <utility>

#include "clusterd/base/assert.h"

namespace clusterd::probes {
namespace {

constexpr std::size_t kKept = 64 * 1024;  // bytes of headers, and of a page
constexpr std::size_t kHeartbeat = 256;   // bytes

Verdict passed(std::string detail) { return {Verdict::Kind::passed, std::move(detail)}; }
Verdict failed(std::string detail) { return {Verdict::Kind::failed, std::move(detail)}; }

// This host is short of something, or has no network: no word on the guest.
bool own_trouble(int error) {
  switch (error) {
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
    case EADDRNOTAVAIL:
    case ENETDOWN:
    case ENETUNREACH:
      return true;
    default:
      return false;
  }
}

}  // namespace

struct NetClient::Talk {
  enum class Cut { none, answered, headers_too_long };

  Id id = 0;
  NetQuestion question;
  Done done;
  CURL* easy = nullptr;
  bool added = false;
  bool no_socket = false;
  Cut cut = Cut::none;
  std::size_t headers = 0;  // bytes seen
  std::string page;
  std::array<char, CURL_ERROR_SIZE> error{};
  curl_socket_t heartbeat = CURL_SOCKET_BAD;
  std::string beat;

  // Called by curl with what came.
  static curl_socket_t open(void* self, curlsocktype purpose, curl_sockaddr* address);
  static std::size_t header(char* bytes, std::size_t size, std::size_t count, void* self);
  static std::size_t body(char* bytes, std::size_t size, std::size_t count, void* self);

  [[nodiscard]] bool found() const {
    return page.find(question.body) != std::string::npos;
  }
  [[nodiscard]] long status() const {
    long code = 0;
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &code);
    return code;
  }
  [[nodiscard]] Verdict judge_page() const;
  [[nodiscard]] Verdict judge_error(CURLcode code) const;
};

curl_socket_t NetClient::Talk::open(void* self, curlsocktype, curl_sockaddr* address) {
  const int fd = ::socket(address->family, address->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK,
                          address->protocol);
  if (fd < 0) static_cast<Talk*>(self)->no_socket = true;
  return fd < 0 ? CURL_SOCKET_BAD : fd;
}

std::size_t NetClient::Talk::header(char*, std::size_t size, std::size_t count, void* self) {
  auto& talk = *static_cast<Talk*>(self);
  talk.headers += size * count;
  if (talk.headers <= kKept) return size * count;
  talk.cut = Cut::headers_too_long;
  return 0;
}

// Returning less than came ends the transfer: its answer is known.
std::size_t NetClient::Talk::body(char* bytes, std::size_t size, std::size_t count, void* self) {
  auto& talk = *static_cast<Talk*>(self);
  const std::string& wanted = talk.question.body;
  const std::size_t before = talk.page.size();
  const std::size_t room = kKept - before;
  talk.page.append(bytes, std::min(size * count, room));
  const std::size_t from = before >= wanted.size() ? before - wanted.size() : 0;
  const bool decided = talk.status() != talk.question.expect || talk.page.size() == kKept ||
                       talk.page.find(wanted, from) != std::string::npos;
  if (!decided) return size * count;
  talk.cut = Cut::answered;
  return size * count + 1;  // never what came, which may be nothing
}

Verdict NetClient::Talk::judge_page() const {
  const std::string said = "HTTP status " + std::to_string(status());
  if (status() != question.expect) {
    return failed(said + ", not " + std::to_string(question.expect));
  }
  if (!found()) return failed(said + ", but the page lacks the text");
  return passed(said);
}

Verdict NetClient::Talk::judge_error(CURLcode code) const {
  if (cut == Cut::answered) return judge_page();
  if (cut == Cut::headers_too_long) return failed("its HTTP headers have no end");
  long number = 0;
  curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, &number);
  std::string detail = error[0] != '\0' ? error.data() : curl_easy_strerror(code);
  if (code == CURLE_COULDNT_CONNECT && number != 0) {
    std::array<char, 128> text{};
    detail = "no connection: " +
             std::string(strerror_r(static_cast<int>(number), text.data(), text.size()));
  }
  const bool ours = no_socket || code == CURLE_OUT_OF_MEMORY || code == CURLE_FAILED_INIT ||
                    code == CURLE_COULDNT_RESOLVE_HOST ||
                    (code == CURLE_COULDNT_CONNECT && own_trouble(static_cast<int>(number)));
  if (ours) return {Verdict::Kind::unclear, detail};
  if (code == CURLE_OPERATION_TIMEDOUT) return {Verdict::Kind::timed_out, detail};
  return failed(detail);
}

// ---- curl and the scheduler ----------------------------------------------------------------

NetClient::NetClient(Scheduler& scheduler) : scheduler_(scheduler) {
  // Nothing but plain HTTP is spoken. It may be called more than once.
  const CURLcode ready = curl_global_init(CURL_GLOBAL_NOTHING);
  CLUSTERD_ASSERT(ready == CURLE_OK);
  multi_ = curl_multi_init();
  headers_ = curl_slist_append(nullptr, "Connection: close");
  CLUSTERD_ASSERT(multi_ != nullptr);
  curl_multi_setopt(multi_, CURLMOPT_SOCKETFUNCTION, on_socket);
  curl_multi_setopt(multi_, CURLMOPT_SOCKETDATA, this);
  curl_multi_setopt(multi_, CURLMOPT_TIMERFUNCTION, on_timer);
  curl_multi_setopt(multi_, CURLMOPT_TIMERDATA, this);
}

NetClient::~NetClient() {
  while (!talks_.empty()) cancel(talks_.begin()->first);
  curl_multi_cleanup(multi_);
  scheduler_.cancel(timer_);
  curl_slist_free_all(headers_);
}

// It never returns an error: that would end all that this client does, for good.
int NetClient::on_socket(CURL* easy, curl_socket_t fd, int what, void* self, void*) {
  auto& client = *static_cast<NetClient*>(self);
  if (what == CURL_POLL_REMOVE) {
    client.scheduler_.forget(fd);
    return 0;
  }
  std::uint32_t events = 0;
  if ((what & CURL_POLL_IN) != 0) events |= EPOLLIN;
  if ((what & CURL_POLL_OUT) != 0) events |= EPOLLOUT;
  // An error is told as readable and writable: curl then reads what came before it.
  const bool watching = client.scheduler_.watch(fd, events, [&client, fd](std::uint32_t seen) {
    const bool broken = (seen & (EPOLLERR | EPOLLHUP)) != 0;
    int bits = 0;
    if (broken || (seen & EPOLLIN) != 0) bits |= CURL_CSELECT_IN;
    if (broken || (seen & EPOLLOUT) != 0) bits |= CURL_CSELECT_OUT;
    client.act(fd, bits);
  });
  if (watching) return 0;
  Talk* talk = nullptr;
  curl_easy_getinfo(easy, CURLINFO_PRIVATE, &talk);
  client.scheduler_.at(Clock::now(), [&client, id = talk->id] {
    client.finish(id, {{Verdict::Kind::unclear, "the connection cannot be watched"}, ""});
  });
  return 0;
}

int NetClient::on_timer(CURLM*, long timeout_ms, void* self) {
  auto& client = *static_cast<NetClient*>(self);
  client.scheduler_.cancel(client.timer_);
  if (timeout_ms < 0) return 0;
  client.timer_ = client.scheduler_.at(Clock::now() + std::chrono::milliseconds(timeout_ms),
                                       [&client] { client.act(CURL_SOCKET_TIMEOUT, 0); });
  return 0;
}

void NetClient::act(curl_socket_t fd, int events) {
  int running = 0;
  curl_multi_socket_action(multi_, fd, events, &running);
  collect();
}

void NetClient::collect() {
  int left = 0;
  while (const CURLMsg* message = curl_multi_info_read(multi_, &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    const CURLcode code = message->data.result;
    Talk* talk = nullptr;
    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &talk);
    if (code == CURLE_OK && talk->question.kind != ProbeKind::http) {
      connected(*talk);
    } else {
      finish(talk->id, {code == CURLE_OK ? talk->judge_page() : talk->judge_error(code), ""});
    }
  }
}

// ---- questions -----------------------------------------------------------------------------

NetClient::Id NetClient::ask(NetQuestion question, Done done) {
  const Id id = next_++;
  auto& talk = *talks_.emplace(id, std::make_unique<Talk>()).first->second;
  talk.id = id;
  talk.question = std::move(question);
  talk.done = std::move(done);
  if (!prepare(talk)) {
    scheduler_.at(Clock::now(), [this, id] {
      finish(id, {{Verdict::Kind::unclear, "no memory for a connection"}, ""});
    });
  }
  return id;
}

bool NetClient::prepare(Talk& talk) {
  talk.easy = curl_easy_init();
  if (talk.easy == nullptr) return false;
  const NetQuestion& question = talk.question;
  const bool six = question.address.find(':') != std::string::npos;
  std::string url = "http://" + (six ? "[" + question.address + "]" : question.address) + ":" +
                    std::to_string(question.port);
  if (!question.path.starts_with('/')) url += '/';
  url += question.path;
  const auto set = [&](CURLoption option, auto value) {
    curl_easy_setopt(talk.easy, option, value);
  };
  set(CURLOPT_URL, url.c_str());
  set(CURLOPT_PRIVATE, &talk);
  set(CURLOPT_ERRORBUFFER, talk.error.data());
  set(CURLOPT_PROTOCOLS_STR, "http");
  set(CURLOPT_PROXY, "");  // none, whatever the environment says
  set(CURLOPT_HTTP_VERSION, long{CURL_HTTP_VERSION_1_1});
  set(CURLOPT_USERAGENT, "clusterd");
  set(CURLOPT_HTTPHEADER, headers_);
  set(CURLOPT_PATH_AS_IS, 1L);
  set(CURLOPT_NOSIGNAL, 1L);
  set(CURLOPT_BUFFERSIZE, 4096L);  // thousands may hang at a time
  set(CURLOPT_QUICK_EXIT, 1L);  // a name that is being looked up holds nobody up
  set(CURLOPT_FRESH_CONNECT, 1L);
  // A heartbeat is read from the connection after curl has done its part.
  set(CURLOPT_FORBID_REUSE, question.kind == ProbeKind::heartbeat ? 0L : 1L);
  set(CURLOPT_CONNECTTIMEOUT_MS, 86'400'000L);  // the caller's deadline counts
  set(CURLOPT_OPENSOCKETFUNCTION, Talk::open);
  set(CURLOPT_OPENSOCKETDATA, &talk);
  set(CURLOPT_HEADERFUNCTION, Talk::header);
  set(CURLOPT_HEADERDATA, &talk);
  set(CURLOPT_WRITEFUNCTION, Talk::body);
  set(CURLOPT_WRITEDATA, &talk);
  if (question.kind != ProbeKind::http) set(CURLOPT_CONNECT_ONLY, 1L);
  talk.added = curl_multi_add_handle(multi_, talk.easy) == CURLM_OK;
  return talk.added;
}

void NetClient::connected(Talk& talk) {
  if (talk.question.kind == ProbeKind::tcp) return finish(talk.id, {passed("connected"), ""});
  curl_easy_getinfo(talk.easy, CURLINFO_ACTIVESOCKET, &talk.heartbeat);
  const auto read = [this, id = talk.id](std::uint32_t) { read_heartbeat(id); };
  if (talk.heartbeat == CURL_SOCKET_BAD || !scheduler_.watch(talk.heartbeat, EPOLLIN, read)) {
    finish(talk.id, {{Verdict::Kind::unclear, "the connection cannot be watched"}, ""});
  }
}

// To the end of its line, or of the connection, or of our patience.
void NetClient::read_heartbeat(Id id) {
  Talk& talk = *talks_.at(id);
  std::array<char, kHeartbeat> buffer{};
  const ssize_t got =
      ::recv(talk.heartbeat, buffer.data(), kHeartbeat - talk.beat.size(), MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got > 0) {
    const std::string_view bytes(buffer.data(), static_cast<std::size_t>(got));
    const auto end = bytes.find('\n');
    talk.beat.append(bytes.substr(0, end));
    if (end == bytes.npos && talk.beat.size() < kHeartbeat) return;
  }
  if (got <= 0 && talk.beat.empty()) return finish(id, {failed("it closed without a word"), ""});
  std::string beat = std::move(talk.beat);
  finish(id, {passed("heartbeat"), std::move(beat)});
}

void NetClient::cancel(Id id) {
  const auto found = talks_.find(id);
  if (found == talks_.end()) return;
  Talk& talk = *found->second;
  if (talk.heartbeat != CURL_SOCKET_BAD) scheduler_.forget(talk.heartbeat);
  if (talk.added) curl_multi_remove_handle(multi_, talk.easy);
  if (talk.easy != nullptr) curl_easy_cleanup(talk.easy);
  talks_.erase(found);
}

void NetClient::finish(Id id, NetAnswer answer) {
  const auto found = talks_.find(id);
  if (found == talks_.end()) return;
  const Done done = std::move(found->second->done);
  cancel(id);
  done(std::move(answer));
}

}  // namespace clusterd::probes
