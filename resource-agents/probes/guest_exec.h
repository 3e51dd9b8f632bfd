// GuestExec: runs commands inside guests through their agents: guest-exec, then guest-exec-status
// with growing pauses until the command is over. Lives on the scheduler's thread.
//
// Of one key at most one command is ever alive in a guest: one that was given up is still asked
// after until it has ended (which is also what makes the agent forget it), and before that no other
// is begun. Only a command whose number was lost with the agent's answer escapes this.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "resource-agents/libvirt/guest_agent.h"
#include "resource-agents/probes/agent_words.h"
#include "resource-agents/probes/scheduler.h"
#include "resource-agents/probes/verdict.h"

namespace clusterd::probes {

struct ExecPauses {
  Duration first{50};
  Duration longest{1000};         // while somebody waits
  Duration longest_alone{60000};  // while a command that was given up is waited for
  int tries_alone = 40;           // then it is forgotten
};

class GuestExec {
 public:
  using Key = std::pair<VmId, std::string>;
  using Done = std::function<void(Verdict)>;

  GuestExec(Scheduler& scheduler, GuestAgent& agent, ExecPauses pauses)
      : scheduler_(scheduler), agent_(agent), pauses_(pauses) {}
  GuestExec(const GuestExec&) = delete;
  GuestExec& operator=(const GuestExec&) = delete;

  // `done` is called once, never from within run(), at the latest when the agent has answered what
  // it was asked before the timeout was over. Precondition: nobody waits under this key.
  void run(const Key& key, std::vector<std::string> command, Duration timeout, Done done);
  // `done` is not called any more.
  void give_up(const Key& key);

 private:
  struct Run {
    std::uint64_t number = 0;
    std::vector<std::string> command;
    std::optional<std::int64_t> pid;
    bool earlier = false;  // what runs was begun for somebody who gave it up; `command` comes next
    bool asked = false;    // an answer of the agent's is under way
    bool overdue = false;  // the timeout passed meanwhile
    Done done;             // empty: nobody waits
    Duration timeout{0};
    Time deadline;
    Scheduler::Timer limit;
    Scheduler::Timer next;
    Duration pause{0};
    int tries = 0;
  };

  void start(const Key& key, Run& run);
  void poll(const Key& key, Run& run);
  void poll_later(const Key& key, Run& run);
  void started(const Key& key, std::uint64_t number, const AgentAnswer<std::int64_t>& answer);
  void polled(const Key& key, std::uint64_t number, const AgentAnswer<ExecStatus>& answer);
  void poll_failed(const Key& key, Run& run, const AgentFailure& failure);
  void exited(const Key& key, Run& run, const ExecStatus& status);
  void on_limit(const Key& key);
  void expire(Run& run);
  void answer(Run& run, Verdict verdict);
  void forget(const Key& key);
  Run* find(const Key& key, std::uint64_t number);
  [[nodiscard]] Duration patience(const Run& run) const;

  Scheduler& scheduler_;
  GuestAgent& agent_;
  const ExecPauses pauses_;
  std::uint64_t next_ = 1;
  std::map<Key, Run> runs_;
};

}  // namespace clusterd::probes
