// GuestAgent: questions to a guest's agent, and to the host about what the guest does.
//
// No call blocks. Each is answered exactly once, on a thread of the implementation's that must not
// be held up, at the latest some two seconds after its timeout. While the implementation is being
// destroyed answers may be lost, or come from a thread that outlives it: callbacks own what they
// touch. What failed is told by whose fault it is: only `silent` speaks against the guest.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "clusterd/base/time.h"
#include "clusterd/model/ids.h"

namespace clusterd {

struct AgentFailure {
  // silent: no agent is connected, or it did not answer in time, or what it said was no answer.
  // refused: it answered, and the answer is an error. It lives.
  // frozen: it answered that the guest's file systems are frozen (a backup is being made).
  // not_asked: the question did not get through, for a reason that is not the guest's: libvirt is
  //            busy or away, somebody else has the agent, the domain is paused or gone.
  enum class Kind : std::uint8_t { silent, refused, frozen, not_asked };

  Kind kind = Kind::not_asked;
  std::string detail;  // as it came: neither checked nor bounded
};

template <class T>
using AgentAnswer = std::variant<T, AgentFailure>;

struct AgentAlive {};

// What the guest has written and sent since it was started. nullopt: the host cannot tell now.
struct GuestOutput {
  std::optional<std::uint64_t> block_writes;  // requests, of all its disks
  std::optional<std::uint64_t> packets_sent;  // of all its interfaces
};

class GuestAgent {
 public:
  template <class T>
  using Answered = std::function<void(AgentAnswer<T>)>;

  virtual ~GuestAgent() = default;

  // Whether the agent answers at all.
  virtual void ping(VmId vm, Duration timeout, Answered<AgentAlive> answered) = 0;
  // Sends one command as it stands; the answer is the agent's JSON, up to some megabytes of it.
  virtual void command(VmId vm, std::string json, Duration timeout,
                       Answered<std::string> answered) = 0;
  // The guest's IP addresses as its agent names them, the likeliest to reach it first: those of
  // interfaces that libvirt knows, in the agent's order. No loopback, link-local, multicast ones.
  virtual void addresses(VmId vm, Duration timeout,
                         Answered<std::vector<std::string>> answered) = 0;
  // Asks neither agent nor guest: it is answered within seconds.
  virtual void output(VmId vm, Answered<GuestOutput> answered) = 0;
};

}  // namespace clusterd
