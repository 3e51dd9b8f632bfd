// AgentProcess: one running agent in a session and process group of its own, watched through a
// pidfd. It gets its input on a pipe that is filled before it is spawned, so that writing never
// blocks and never raises SIGPIPE; output and error go into one pipe.
//
// Obligation of the whole process: SIGCHLD is not ignored and nobody waits for "any child".
#pragma once

#include <sys/types.h>

#include <string>

#include "clusterd/base/result.h"
#include "fencing/agent/agent_call.h"
#include "fencing/agent/redact.h"

namespace clusterd {

class AgentProcess {
 public:
  // An error: no program was run.
  [[nodiscard]] static Result<AgentProcess> spawn(const AgentCall& call,
                                                  const std::string& search_path);
  // Kills it if it still runs; waits for that at most a second.
  ~AgentProcess();
  AgentProcess(AgentProcess&& other) noexcept;
  AgentProcess& operator=(AgentProcess&&) = delete;
  AgentProcess(const AgentProcess&) = delete;
  AgentProcess& operator=(const AgentProcess&) = delete;

  // Readable once the agent has ended.
  [[nodiscard]] int exit_fd() const { return pidfd_; }
  // Readable when there is output; -1 after its end.
  [[nodiscard]] int output_fd() const { return output_; }
  void read_output();
  [[nodiscard]] const OutputTail& output() const { return tail_; }

  // SIGKILL for the process group and for descendants that left it (an agent that talks through
  // a terminal puts its ssh into another session). A descendant that detached itself from its
  // parent before is not found.
  void kill_all();
  // Precondition: exit_fd() is readable. Ends what is left of the group, and gives the wait
  // status as waitid reports it.
  struct Ended {
    bool by_signal = false;
    int code = 0;  // exit code, or the signal
  };
  [[nodiscard]] Ended reap();

 private:
  AgentProcess() = default;

  pid_t pid_ = -1;  // -1: reaped
  int pidfd_ = -1;
  int output_ = -1;
  OutputTail tail_;
};

}  // namespace clusterd
