// cpg-garbage: joins clusterd's group beside the daemon of this node and multicasts what no daemon
// would send. For real Corosync nodes; see tests/lab.
//
//   cpg-garbage RANDOM BROKEN FLIPPED SEED
//
// RANDOM messages of random bytes, a third each behind nothing, a message's header, a fragment's.
// BROKEN ones: what the daemons said since it joined, with some bits flipped and the end cut off
// or prolonged; these two are nothing that may decode. FLIPPED ones have flipped bits only: many
// are valid messages with other content, as a member may send them. Prints what it sent as JSON
// once all of it was delivered.
#include <corosync/cpg.h>
#include <poll.h>
#include <sys/uio.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace {

constexpr const char* kGroup = "clusterd";
constexpr std::size_t kMaxTemplates = 256;
constexpr std::size_t kMinTemplates = 8;
constexpr std::size_t kLongest = 40'000;
constexpr std::size_t kHeader = 6;  // magic and version; kept, so that the inside is looked at
constexpr int kPerTurn = 32;  // sent before the next dispatch
constexpr std::chrono::seconds kPatience{60};

class Garbage {
 public:
  explicit Garbage(std::uint64_t seed) : random_(seed) {}
  ~Garbage() {
    if (handle_ != 0) cpg_finalize(handle_);
  }
  Garbage(const Garbage&) = delete;
  Garbage& operator=(const Garbage&) = delete;

  // Joins; then the daemons greet each other, which is what will be broken.
  bool join();
  bool listen();
  bool send_all(const std::vector<std::string>& messages);

  std::string noise(std::size_t number);
  std::string flipped(std::uint64_t least);
  std::string broken();
  [[nodiscard]] std::size_t templates() const { return heard_.size(); }

 private:
  static void deliver(cpg_handle_t handle, const cpg_name*, std::uint32_t node, std::uint32_t pid,
                      void* bytes, std::size_t size);
  std::uint64_t below(std::uint64_t end) { return random_() % end; }
  bool dispatch(int wait_ms);
  std::optional<bool> send(const std::string& message);

  std::mt19937_64 random_;
  cpg_handle_t handle_ = 0;
  std::uint32_t node_ = 0;
  std::vector<std::string> heard_;
  std::size_t own_ = 0;  // delivered to us
  std::chrono::steady_clock::time_point limit_ = std::chrono::steady_clock::now() + kPatience;
};

void Garbage::deliver(cpg_handle_t handle, const cpg_name*, std::uint32_t node, std::uint32_t pid,
                      void* bytes, std::size_t size) {
  void* context = nullptr;
  if (cpg_context_get(handle, &context) != CS_OK) return;
  auto& self = *static_cast<Garbage*>(context);
  if (node == self.node_ && pid == static_cast<std::uint32_t>(getpid())) {
    ++self.own_;
  } else if (self.heard_.size() < kMaxTemplates && size > kHeader && size <= kLongest) {
    self.heard_.emplace_back(static_cast<const char*>(bytes), size);
  }
}

bool Garbage::join() {
  cpg_model_v1_data_t callbacks{};
  callbacks.model = CPG_MODEL_V1;
  callbacks.cpg_deliver_fn = deliver;
  // Totem changes are of no interest, but the library wants a callback for members.
  callbacks.cpg_confchg_fn = [](cpg_handle_t, const cpg_name*, const cpg_address*, std::size_t,
                                const cpg_address*, std::size_t, const cpg_address*,
                                std::size_t) {};
  auto* model = reinterpret_cast<cpg_model_data_t*>(&callbacks);
  if (cpg_model_initialize(&handle_, CPG_MODEL_V1, model, this) != CS_OK) return false;
  if (cpg_local_get(handle_, &node_) != CS_OK) return false;
  cpg_name name{};
  name.length = std::strlen(kGroup);
  std::memcpy(name.value, kGroup, name.length);
  return cpg_join(handle_, &name) == CS_OK;
}

// False when Corosync is gone or time is up.
bool Garbage::dispatch(int wait_ms) {
  int fd = -1;
  if (cpg_fd_get(handle_, &fd) != CS_OK) return false;
  pollfd wait{fd, POLLIN, 0};
  ::poll(&wait, 1, wait_ms);
  const cs_error_t rc = cpg_dispatch(handle_, CS_DISPATCH_ALL);
  if (rc != CS_OK && rc != CS_ERR_TRY_AGAIN) return false;
  return std::chrono::steady_clock::now() < limit_;
}

bool Garbage::listen() {
  while (heard_.size() < kMinTemplates) {
    if (!dispatch(100)) return false;
  }
  return true;
}

std::string Garbage::noise(std::size_t number) {
  static constexpr std::string_view kHeaders[] = {"", {"CLDM\x01\x00", 6}, {"CLDF\x01\x00", 6}};
  std::string bytes(kHeaders[number % 3]);
  const std::size_t longest = number % 50 == 0 ? kLongest : 600;
  const std::size_t size = bytes.size() + 1 + below(longest);
  while (bytes.size() < size) bytes += static_cast<char>(below(256));
  return bytes;
}

std::string Garbage::flipped(std::uint64_t least) {
  std::string bytes = heard_[below(heard_.size())];
  for (std::uint64_t flips = least + below(8); flips > 0; --flips) {
    char& victim = bytes[kHeader + below(bytes.size() - kHeader)];
    victim = static_cast<char>(victim ^ (1 << below(8)));
  }
  return bytes;
}

std::string Garbage::broken() {
  std::string bytes = flipped(0);
  if (below(2) == 0) {
    bytes.resize(kHeader + below(bytes.size() - kHeader));
  } else {
    for (std::uint64_t more = 1 + below(64); more > 0; --more) {
      bytes += static_cast<char>(below(256));
    }
  }
  return bytes;
}

// True: sent; false: not now; nullopt: never.
std::optional<bool> Garbage::send(const std::string& message) {
  iovec part{const_cast<char*>(message.data()), message.size()};
  const cs_error_t rc = cpg_mcast_joined(handle_, CPG_TYPE_AGREED, &part, 1);
  if (rc == CS_OK) return true;
  if (rc == CS_ERR_TRY_AGAIN) return false;
  return std::nullopt;
}

bool Garbage::send_all(const std::vector<std::string>& messages) {
  const std::size_t delivered_before = own_;
  std::size_t next = 0;
  while (own_ - delivered_before < messages.size()) {
    for (int i = 0; i < kPerTurn && next < messages.size(); ++i) {
      const auto sent = send(messages[next]);
      if (!sent) return false;
      if (!*sent) break;
      ++next;
    }
    if (!dispatch(next < messages.size() ? 1 : 50)) return false;
  }
  return true;
}

int fail(const char* what) {
  std::fprintf(stderr, "cpg-garbage: %s\n", what);
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) return fail("usage: cpg-garbage RANDOM BROKEN FLIPPED SEED");
  const auto random = std::strtoul(argv[1], nullptr, 10);
  const auto broken = std::strtoul(argv[2], nullptr, 10);
  const auto flipped = std::strtoul(argv[3], nullptr, 10);
  Garbage garbage(std::strtoull(argv[4], nullptr, 10));
  if (!garbage.join()) return fail("cannot join the group");
  if (!garbage.listen()) return fail("the daemons say nothing that could be broken");
  std::vector<std::string> messages;
  for (std::size_t i = 0; i < random; ++i) messages.push_back(garbage.noise(i));
  for (std::size_t i = 0; i < broken; ++i) messages.push_back(garbage.broken());
  for (std::size_t i = 0; i < flipped; ++i) messages.push_back(garbage.flipped(1));
  if (!garbage.send_all(messages)) return fail("not all of it was delivered");
  std::printf("{\"random\":%lu,\"broken\":%lu,\"flipped\":%lu,\"templates\":%zu}\n", random,
              broken, flipped, garbage.templates());
  return 0;
}
