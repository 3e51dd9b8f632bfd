// What is said to a guest's agent and what it answers, as JSON. Answers come from the guest and are
// believed in nothing: they are read in one pass, nothing of them is kept but what is named here.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "resource-agents/libvirt/guest_agent.h"

namespace clusterd::probes {

// guest-exec: runs the command, keeps what it prints. Precondition: the command is not empty.
[[nodiscard]] std::string exec_command(const std::vector<std::string>& command);
// guest-exec-status
[[nodiscard]] std::string status_command(std::int64_t pid);

struct ExecStatus {
  bool exited = false;
  int code = 0;                // exit code
  std::optional<int> killed;   // by this signal, or by this exception
  std::string words;           // the last it printed, error before output; one line, short
};

// An answer that is no answer is `silent`.
[[nodiscard]] AgentAnswer<std::int64_t> read_pid(const AgentAnswer<std::string>& answer);
[[nodiscard]] AgentAnswer<ExecStatus> read_status(const AgentAnswer<std::string>& answer);

// The bytes of the text in base64, as far as it is some.
[[nodiscard]] std::string decode_base64(std::string_view text);

}  // namespace clusterd::probes
