// AgentFencer: the Fencer that runs ClusterLabs fence agents (ports/fencer.h).
//
// It owns one thread, which sleeps until it is given an order or an agent does something.
// Operations on several hosts run at once; two calls to one device never do.
#pragma once

#include <memory>
#include <string>

#include "clusterd/ports/fencer.h"
#include "clusterd/ports/sink.h"

namespace clusterd {

struct AgentFencerOptions {
  // Where agents are looked for, and what they get as PATH. Empty: the daemon's PATH. The folders
  // that Debian installs agents and their tools in are searched in any case.
  std::string search_path;
  Duration pause{1000};  // between two attempts at a device
};

class AgentFencer final : public Fencer {
 public:
  // `sink` outlives this.
  explicit AgentFencer(EventSink& sink, AgentFencerOptions options = {});
  // Kills every agent that runs; open operations are not answered.
  ~AgentFencer() override;
  AgentFencer(const AgentFencer&) = delete;
  AgentFencer& operator=(const AgentFencer&) = delete;

  void operate(const DispatchPower& order) override;
  void cancel(OpId op) override;
  void test(const RunFenceTest& order) override;

 private:
  class Worker;
  std::unique_ptr<Worker> worker_;
};

}  // namespace clusterd
