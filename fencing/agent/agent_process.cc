#include "fencing/agent/agent_process.h"

#include <utility>

namespace clusterd {

Result<AgentProcess> AgentProcess::spawn(const AgentCall& call, const std::string& search_path) {
  // Most agents are Python: what its next version will drop is no word to an operator.
  auto spawned = ChildProcess::spawn(
      {{call.program},
       {"PATH=" + search_path, "LC_ALL=C", "HOME=/root", "PYTHONWARNINGS=ignore"},
       call.input.view()});
  if (const auto* failed = std::get_if<NotSpawned>(&spawned)) return Error{failed->problem};
  return AgentProcess(std::move(std::get<ChildProcess>(spawned)));
}

void AgentProcess::read_output() {
  process_.read_output([this](std::string_view bytes) { tail_.append(bytes); });
}

AgentProcess::Ended AgentProcess::reap() {
  read_output();
  return process_.reap();
}

}  // namespace clusterd
