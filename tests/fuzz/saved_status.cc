// A saved `status --json`, as a file that an operator hands to `clusterctl plan --state`.
// runs: 20000
#include <set>

#include "clusterd/base/assert.h"
#include "clusterd/codec/json_status.h"
#include "clusterd/model/limits.h"
#include "tests/fuzz/support/fuzz.h"
#include "tests/fuzz/support/told.h"

using namespace clusterd;

// What is accepted has good names, each once, that refer to each other.
void fuzz_one(std::string_view input) {
  const auto read = read_status(input);
  if (const auto* problems = std::get_if<std::vector<StatusProblem>>(&read)) {
    CLUSTERD_ASSERT(!problems->empty());
    for (const StatusProblem& problem : *problems) {
      fuzz::check_told(problem.message);
      CLUSTERD_ASSERT(problem.offset <= input.size());
    }
    return;
  }
  const auto& status = std::get<StatusReport>(read);
  std::set<std::string> nodes;
  for (const NodeReport& node : status.nodes) {
    fuzz::check_told(node.name);
    CLUSTERD_ASSERT(nodes.insert(node.name).second);
    CLUSTERD_ASSERT(node.capacity.memory <= limits::kMemory);
  }
  std::set<std::string> vms;
  for (const VmReport& vm : status.vms) {
    fuzz::check_told(vm.name);
    CLUSTERD_ASSERT(vms.insert(vm.name).second);
    CLUSTERD_ASSERT(vm.node.empty() || nodes.contains(vm.node));
    CLUSTERD_ASSERT(vm.size.memory <= limits::kMemory);
  }
}
