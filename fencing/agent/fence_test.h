// FenceTest: asks every fence device of every host for its status, as `clusterctl fence-test`
// orders it, and writes what came of it as JSON:
//   {"nodes":[{"node":"n1","devices":[{"device":"bmc-n1","power":"on","ok":true,
//                                      "seconds":0.312,"problem":""}]}]}
// It changes nothing. Reading a device's secret files is part of asking it.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "fencing/agent/round.h"

namespace clusterd {

class FenceTest {
 public:
  using Ended = std::function<void(FenceTestEnded)>;

  // `runner` outlives this. `ended` is called once, from the runner or from begin(), and must not
  // destroy this object.
  FenceTest(CallRunner& runner, RunFenceTest order, Ended ended);
  void begin();

 private:
  struct Node {
    std::vector<NamedDevice> devices;  // each once, in the order of the levels
    std::unique_ptr<Round> round;
    std::vector<CallResult> results;
  };
  void finish_when_complete();

  CallRunner& runner_;
  const ClientId client_;
  std::map<std::string, Node> nodes_;
  std::size_t open_ = 0;
  Ended ended_;
};

// A JSON string with its quotes. Bytes that are not ASCII become '?'.
[[nodiscard]] std::string json_string(std::string_view text);

}  // namespace clusterd
