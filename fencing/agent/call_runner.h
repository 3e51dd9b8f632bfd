// CallRunner: runs calls of fence agents side by side, each with a deadline, and never two against
// one device at a time. It sleeps in poll() until something happens; at idle it does nothing.
//
// Everything here runs on the fencer's worker thread.
#pragma once

#include <poll.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "clusterd/model/effect.h"
#include "fencing/agent/agent_process.h"

namespace clusterd {

// A fence or power-on comes before readings and tests, and a running reading of the same device
// gives way to it: a recovery waits for the one, nobody's VMs for the other.
enum class Urgency { quiet, urgent };

struct CallOrder {
  NamedDevice device;
  std::string action;  // off, on, status
  std::string node;
  Urgency urgency = Urgency::quiet;
  Duration delay{0};   // not spawned before
};

struct Exited {
  int code = 0;
};
struct Crashed {
  int signal = 0;
};
struct TimedOut {};
struct GaveWay {};
struct NotStarted {  // no program was run: certainly without effect
  std::string problem;
};
using CallEnd = std::variant<Exited, Crashed, TimedOut, GaveWay, NotStarted>;

struct CallResult {
  CallEnd end;
  std::string output;  // its last 4 KiB, redacted
  Duration ran{0};
};

// What a status call says. Exit code 2 alone is not believed: interpreters use it for their own
// errors, while every ClusterLabs agent also prints "Status: OFF" (R17: garbage is never off).
[[nodiscard]] Power power_of(const CallResult& status);

// One sentence for a person, e.g. "bmc-n1: off took longer than 20 s and was killed".
[[nodiscard]] std::string describe(const std::string& device, const std::string& action,
                                   Duration timeout, const CallResult& result);

class CallRunner {
 public:
  using CallId = std::uint64_t;
  using Done = std::function<void(const CallResult&)>;
  // Readings and tests at a time: agents are Python programs, and a test of 32 hosts must not
  // take the processors from the VMs.
  static constexpr std::size_t kQuietCalls = 8;

  explicit CallRunner(std::string search_path) : search_path_(std::move(search_path)) {}
  CallRunner(const CallRunner&) = delete;
  CallRunner& operator=(const CallRunner&) = delete;

  // `done` is called once, from wait_and_run(), never from within start() or cancel().
  CallId start(CallOrder order, Done done);
  // Kills what runs; `done` is not called any more. No effect when it has ended.
  void cancel(CallId id);
  // Sleeps until something is due or `wake_fd` is readable, then handles it.
  void wait_and_run(int wake_fd);

 private:
  using Clock = std::chrono::steady_clock;
  struct Waiting {
    Clock::time_point not_before;
  };
  struct Running {
    AgentProcess process;
    std::vector<WipedText> secrets;
    Clock::time_point since;
    Clock::time_point deadline;
  };
  struct Call {
    CallOrder order;
    Done done;
    std::string lane;
    std::variant<Waiting, Running> state;
  };
  struct Ended {
    CallId id;
    CallResult result;
  };

  void admit(Clock::time_point now);
  bool make_room(const Call& call, Clock::time_point now);
  void spawn(CallId id, Call& call, Clock::time_point now);
  void collect(const std::vector<pollfd>& fds, Clock::time_point now);
  void kill(CallId id, Call& call, CallEnd end, Clock::time_point now);
  void retire(AgentProcess process);
  void report();
  [[nodiscard]] int patience(Clock::time_point now) const;

  const std::string search_path_;
  CallId next_id_ = 1;
  std::map<CallId, Call> calls_;
  std::vector<Ended> ended_;           // results that report() has still to tell
  std::list<AgentProcess> dying_;      // killed, not yet reaped
};

}  // namespace clusterd
