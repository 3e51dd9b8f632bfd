#include "fencing/agent/agent_metadata.h"

#include <sys/wait.h>

#include <array>
#include <cstdio>

#include "fencing/agent/agent_call.h"

namespace clusterd {

Result<std::string> agent_metadata(const std::string& agent) {
  constexpr std::size_t kMost = 1024 * 1024;
  const auto program = find_agent(agent, agent_search_path(""));
  if (!program) {
    return Error{program.error().message + ": `apt install fence-agents`, on every node"};
  }
  // The name is one plain word, the folder one of PATH.
  const std::string command = "exec timeout 10 '" + program.value() + "' -o metadata 2>/dev/null";
  std::FILE* pipe = ::popen(command.c_str(), "re");
  if (pipe == nullptr) return Error{"agent " + agent + " cannot be run"};
  std::string output;
  std::array<char, 8192> buffer{};
  std::size_t got = 0;
  while (output.size() < kMost && (got = std::fread(buffer.data(), 1, buffer.size(), pipe)) > 0) {
    output.append(buffer.data(), got);
  }
  const int status = ::pclose(pipe);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return output;
  return Error{"agent " + agent + " does not describe itself: look at `" + agent + " -o metadata`"};
}

}  // namespace clusterd
