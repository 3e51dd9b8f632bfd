// CheckBoard: the checks of all watched guests: when each is asked, how, and what of its answers is
// told. Lives on the scheduler's thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "clusterd/base/prng.h"
#include "clusterd/model/effect.h"
#include "resource-agents/libvirt/guest_agent.h"
#include "resource-agents/probes/guest_exec.h"
#include "resource-agents/probes/guest_prober.h"
#include "resource-agents/probes/net_client.h"
#include "resource-agents/probes/scheduler.h"
#include "resource-agents/probes/script_runner.h"
#include "resource-agents/probes/teller.h"

namespace clusterd::probes {

// By outcome; read from any thread.
struct Tally {
  std::atomic<std::uint64_t> passed{0}, failed{0}, busy{0}, inconclusive{0};
};

class CheckBoard {
 public:
  CheckBoard(const GuestProberOptions& options, Scheduler& scheduler, GuestAgent& agent,
             Teller& teller, Tally& tally);
  ~CheckBoard();
  CheckBoard(const CheckBoard&) = delete;
  CheckBoard& operator=(const CheckBoard&) = delete;

  void watch(const WatchGuest& order, Teller::Serial serial);
  void unwatch(VmId vm);
  void repair(const RepairGuest& order);

 private:
  using QuestionId = std::uint64_t;

  struct Question {
    QuestionId id = 0;
    Time begun;
    Scheduler::Timer limit;
    NetClient::Id net = 0;      // 0: none
    bool no_address = false;    // still waits for one
    bool overdue = false;       // its time passed while it waited for one
  };
  struct Check {
    std::optional<Probe> probe;  // none: the guest agent
    std::string name;
    Duration interval{0};
    Duration timeout{0};
    Time due;
    Scheduler::Timer timer;
    std::optional<Question> question;     // under way
    std::optional<CheckOutcome> told;     // last
    std::optional<GuestOutput> output;    // at the last ping that failed, if none passed since
    std::optional<std::string> heartbeat;  // last read
    ScriptRunner::Id script = 0;          // last run
  };
  struct Watch {
    Teller::Serial serial = 0;
    WatchGuest order;
    std::vector<Check> checks;
    std::string address;                // as the agent said; empty: not known, or to be asked anew
    std::string last_address;           // if the agent does not say another one
    bool asking_address = false;
    std::vector<QuestionId> waiting;    // for the address
    bool repairing = false;
    Scheduler::Timer repair_limit;
  };
  struct Found {
    Watch& watch;
    Check& check;
    Question& question;
  };
  struct Place {
    VmId vm;
    std::size_t check;
  };

  std::optional<Found> find(QuestionId id);
  Watch* find(VmId vm, Teller::Serial serial);
  void schedule(VmId vm, Watch& watch, std::size_t index);
  void begin(VmId vm, Teller::Serial serial, std::size_t index);
  void ask(const Found& found);
  void ask_agent(const Found& found);
  void on_ping(QuestionId id, const AgentAnswer<AgentAlive>& answer);
  void weigh(QuestionId id, Verdict verdict);
  void on_output(QuestionId id, const Verdict& silent, const AgentAnswer<GuestOutput>& answer);
  void ask_network(const Found& found);
  void ask_address(const Found& found);
  void on_addresses(VmId vm, Teller::Serial serial,
                    const AgentAnswer<std::vector<std::string>>& answer);
  void on_network(QuestionId id, NetAnswer answer);
  void ask_script(const Found& found);
  void on_limit(QuestionId id);
  void conclude(QuestionId id, Verdict verdict);
  void count(std::atomic<std::uint64_t>& tally, const char* outcome);
  void tell(Watch& watch, Check& check, CheckOutcome outcome, const std::string& detail);
  void end_repair(VmId vm, Teller::Serial serial, const Verdict& verdict);

  Scheduler& scheduler_;
  GuestAgent& agent_;
  Teller& teller_;
  Tally& tally_;
  Prng prng_;
  NetClient net_;
  ScriptRunner scripts_;
  GuestExec exec_;
  std::function<void(const char*)> counted_;
  QuestionId next_question_ = 1;
  std::map<QuestionId, Place> questions_;
  std::map<VmId, Watch> watches_;
};

}  // namespace clusterd::probes
