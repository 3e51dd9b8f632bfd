// AgentCall: one call of a ClusterLabs fence agent, ready to be spawned: which program, and what
// it reads on standard input. Secrets are read here, right before the spawn, and nowhere else.
//
// The target argument (`plug` or `port`) is passed only when the device's options name it. An
// operator declares one device for each outlet: guessing it from the agent's metadata would
// override what fence_ipmilan and its kin have by default.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "clusterd/base/result.h"
#include "clusterd/model/declarations.h"
#include "fencing/agent/wiped_text.h"

namespace clusterd {

struct AgentCall {
  std::string program;  // absolute path
  WipedText input;      // key=value lines
  std::vector<WipedText> secrets;  // what must not be seen in the agent's output
};

// `node` is the name of the host that the device belongs to, `search_path` as in PATH. The error
// says what the operator has to repair, and has no secret in it.
[[nodiscard]] Result<AgentCall> prepare_call(const FenceDevice& device, std::string_view action,
                                             const std::string& node,
                                             const std::string& search_path);

// Where agents are looked for: `given`, or PATH if that is empty, and the folders that Debian
// installs agents and their tools in.
[[nodiscard]] std::string agent_search_path(const std::string& given);

// The program of that name; only a plain name that begins with fence_ is accepted, so that a
// declaration cannot run any other program as root.
[[nodiscard]] Result<std::string> find_agent(const std::string& name,
                                             const std::string& search_path);

// The value in a secret file, without its final newline. The file must be a regular one, owned by
// root and closed to group and others.
[[nodiscard]] Result<WipedText> read_secret(const std::string& path);

}  // namespace clusterd
