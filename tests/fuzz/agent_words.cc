// What a guest's agent answers: never read out of something that is no JSON, and shown in few
// clean words.
// runs: 40000
#include "resource-agents/probes/agent_words.h"

#include <nlohmann/json.hpp>

#include "clusterd/base/assert.h"
#include "clusterd/base/text.h"
#include "resource-agents/probes/verdict.h"
#include "tests/fuzz/support/fuzz.h"

using namespace clusterd;
using namespace clusterd::probes;

void fuzz_one(std::string_view input) {
  const AgentAnswer<std::string> answer{std::string(input)};
  const auto pid = read_pid(answer);
  const auto status = read_status(answer);
  const bool taken = std::holds_alternative<std::int64_t>(pid) ||
                     std::holds_alternative<ExecStatus>(status);
  if (taken) {
    const auto tree = nlohmann::json::parse(input, nullptr, false);
    CLUSTERD_ASSERT(tree.is_object());
    CLUSTERD_ASSERT(tree.contains("return"));
  }
  if (const auto* ended = std::get_if<ExecStatus>(&status)) {
    CLUSTERD_ASSERT(ended->words.size() <= 160);
    for (const char c : ended->words) CLUSTERD_ASSERT(c >= ' ' && c <= '~');
  }
  const std::string detail = tidy_detail(input);
  CLUSTERD_ASSERT(detail.size() <= kDetail);
  CLUSTERD_ASSERT(is_utf8(detail));
  CLUSTERD_ASSERT(!has_control(detail));
  CLUSTERD_ASSERT(decode_base64(input).size() <= input.size());
}
