// AgentProcess: one running fence agent: a ChildProcess that is given its options on standard input
// and whose last words are kept.
#pragma once

#include <string>

#include "clusterd/adapters/process/child_process.h"
#include "clusterd/base/result.h"
#include "fencing/agent/agent_call.h"
#include "fencing/agent/redact.h"

namespace clusterd {

class AgentProcess {
 public:
  using Ended = ChildProcess::Ended;

  // An error: no program was run.
  [[nodiscard]] static Result<AgentProcess> spawn(const AgentCall& call,
                                                  const std::string& search_path);

  // As those of ChildProcess.
  [[nodiscard]] int exit_fd() const { return process_.exit_fd(); }
  [[nodiscard]] int output_fd() const { return process_.output_fd(); }
  void kill_all() { process_.kill_all(); }
  [[nodiscard]] Ended reap();

  void read_output();
  [[nodiscard]] const OutputTail& output() const { return tail_; }

 private:
  explicit AgentProcess(ChildProcess process) : process_(std::move(process)) {}

  ChildProcess process_;
  OutputTail tail_;
};

}  // namespace clusterd
