// The judgement on guests: from how their checks end to a verdict. Pure. Each node judges the
// guests that it runs, the cluster acts on the verdicts (planner_vm.cc, docs/decisions/0014).
//
// A check that has never answered since the guest started accuses nobody, unless it is `required`
// and boot_grace is over. One that has answered accuses after as many failures in a row as it may
// have. An agent that is silent while its guest writes and sends is no accusation.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>

#include "clusterd/model/event.h"
#include "clusterd/model/resolve.h"

namespace clusterd {

// What one check has told since its watch began.
struct CheckMemory {
  bool answered = false;       // has ever passed since the guest booted
  bool heard = false;          // has told anything since this watch began
  bool busy = false;           // the last word: only the agent is silent
  std::uint32_t failures = 0;  // in a row
  std::string detail;          // of the last failure

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.answered, s.heard, s.busy, s.failures, s.detail);
  }
};

// How far the repair command of a watch is.
enum class Repair : std::uint8_t { untried, running, tried };
constexpr Repair enum_last(Repair) { return Repair::tried; }

struct Verdict {
  Health health = Health::none;
  std::string reason;  // empty when there is nothing to say

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.health, s.reason);
  }
  friend bool operator==(const Verdict&, const Verdict&) = default;
};

// A guest that is being checked.
struct GuestWatch {
  std::uint64_t number = 0;
  std::string name;  // of the VM
  HealthPolicy policy;
  Instant since;
  std::map<std::string, CheckMemory> checks;  // by name
  Verdict inherited;                          // when it began: counts until its checks are heard
  Verdict verdict;                            // the present one, as it is reported
  Repair repair = Repair::untried;
  Instant healthy_since;  // while the verdict is healthy

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.number, s.name, s.policy, s.since, s.checks, s.inherited, s.verdict, s.repair,
      s.healthy_since);
  }
};

// The check of this name asks the same thing under both policies.
[[nodiscard]] bool same_check(const std::string& name, const HealthPolicy& one,
                              const HealthPolicy& other);
// There is something to ask.
[[nodiscard]] bool has_checks(const HealthPolicy& policy);

// Notes how a check ended; of a check that the policy does not have: nothing.
void note_check(GuestWatch& watch, const GuestChecked& ended);
// The checks that have passed. A watch that begins beside a guest that runs already is given them.
[[nodiscard]] std::set<std::string> answered(const GuestWatch& watch);

// The verdict now. `next`, if set: when time alone may change it (boot_grace ends).
struct Judgement {
  Verdict verdict;
  std::optional<Instant> next;
};
[[nodiscard]] Judgement judge(const GuestWatch& watch, Instant now);

}  // namespace clusterd
