// ChildProcess: one running program in a session and process group of its own, watched through a
// pidfd. Its input is on a pipe that is filled before it is spawned, so that writing never blocks
// and never raises SIGPIPE; output and error go into one pipe.
//
// For what may hang or misbehave: fence agents, and scripts that check guests. Obligation of the
// whole process: SIGCHLD is not ignored and nobody waits for "any child".
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "clusterd/base/time.h"

namespace clusterd {

struct ProgramOrder {
  std::vector<std::string> command;      // the first is the program, an absolute path; no shell
  std::vector<std::string> environment;  // NAME=value; nothing is inherited
  std::string_view input;                // at most what a pipe holds (64 KiB); only read by spawn()
};

// No program was run.
struct NotSpawned {
  std::string problem;
  bool host_is_short = false;  // of processes, memory or descriptors: no fault of the program
};

class ChildProcess {
 public:
  [[nodiscard]] static std::variant<ChildProcess, NotSpawned> spawn(const ProgramOrder& order);
  // Kills it if it still runs; waits for that at most a second.
  ~ChildProcess();
  ChildProcess(ChildProcess&& other) noexcept;
  ChildProcess& operator=(ChildProcess&&) = delete;
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  // Readable once the program has ended. -1: it could not be watched and was killed at once.
  [[nodiscard]] int exit_fd() const { return pidfd_; }
  // Readable when there is output; -1 after its end.
  [[nodiscard]] int output_fd() const { return output_; }
  // Hands on what there is, at most 64 KiB a call; leaves no copy of it behind.
  void read_output(const std::function<void(std::string_view)>& take);

  // SIGKILL for the process group and for descendants that left it (an agent that talks through
  // a terminal puts its ssh into another session). A descendant that detached itself from its
  // parent before is not found.
  void kill_all();
  // Kills it, waits at most so long for its end, and leaves it to init's mercy otherwise.
  void end(Duration patience);
  // Precondition: exit_fd() is readable. Ends what is left of the group, and gives the wait
  // status as waitid reports it.
  struct Ended {
    bool by_signal = false;
    int code = 0;  // exit code, or the signal
  };
  [[nodiscard]] Ended reap();

 private:
  ChildProcess() = default;

  pid_t pid_ = -1;  // -1: reaped
  int pidfd_ = -1;
  int output_ = -1;
};

}  // namespace clusterd
