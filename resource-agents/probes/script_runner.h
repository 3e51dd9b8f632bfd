// ScriptRunner: runs scripts of the operator's on this host, side by side, on the scheduler's
// thread. Exit code 0 passes. Deadlines are the caller's: it kills.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "clusterd/adapters/process/child_process.h"
#include "resource-agents/probes/scheduler.h"
#include "resource-agents/probes/verdict.h"

namespace clusterd::probes {

class ScriptRunner {
 public:
  using Id = std::uint64_t;
  using Done = std::function<void(Verdict)>;

  // At most so many at a time; one more is not run, and its verdict unclear.
  ScriptRunner(Scheduler& scheduler, std::size_t most) : scheduler_(scheduler), most_(most) {}
  // Kills what runs; takes at most a second.
  ~ScriptRunner();
  ScriptRunner(const ScriptRunner&) = delete;
  ScriptRunner& operator=(const ScriptRunner&) = delete;

  // `done` is called once, never from within run(). The command is an absolute path and its
  // arguments; no shell.
  Id run(std::vector<std::string> command, std::vector<std::string> environment, Done done);
  // Kills it with all its descendants; `done` is not called any more.
  void kill(Id id);
  // Not ended, though it may have been killed: a process that hangs in the kernel does not die.
  [[nodiscard]] bool alive(Id id) const;

 private:
  struct Script {
    std::optional<ChildProcess> process;  // none: it was not started
    Done done;                            // empty: killed
    std::string output;                   // the end of it
  };

  void watch(Id id);
  void read(Id id);
  void ended(Id id);
  void finish(Id id, Verdict verdict);

  Scheduler& scheduler_;
  const std::size_t most_;
  Id next_ = 1;
  std::map<Id, Script> scripts_;
};

}  // namespace clusterd::probes
