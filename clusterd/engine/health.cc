#include "clusterd/engine/health.h"

#include <algorithm>
#include <vector>

namespace clusterd {
namespace {

struct Check {
  std::string name;  // as in GuestChecked
  std::string spoken;
  std::uint32_t failures = 1;
  bool required = false;
};

std::vector<Check> checks_of(const HealthPolicy& policy) {
  std::vector<Check> checks;
  if (const auto& agent = policy.guest_agent) {
    checks.push_back({kAgentCheck, "the guest agent", agent->failures, agent->required});
  }
  for (const Probe& probe : policy.probes) {
    checks.push_back({probe.name, "probe " + probe.name, probe.failures, probe.required});
  }
  return checks;
}

std::string times(std::uint32_t count) {
  return count == 1 ? "once" : std::to_string(count) + " times in a row";
}

std::string failed(const Check& check, const CheckMemory& memory) {
  return check.spoken + " failed " + times(memory.failures) +
         (memory.detail.empty() ? "" : ": " + memory.detail);
}

std::string never(const Check& check) {
  return check.spoken + " has not answered since the start";
}

// What was known of a guest before a daemon began to watch it. A hang it must see itself.
Verdict until_heard(const Verdict& inherited) {
  if (inherited.health == Health::none) return {Health::booting, "its checks have just begun"};
  if (inherited.health == Health::unhealthy) return {Health::suspect, inherited.reason};
  return inherited;
}

// What one check says of the guest; none: nothing, as it has never answered and need not.
Verdict word_of(const Check& check, const CheckMemory& memory, const Verdict& inherited,
                bool booting) {
  if (memory.busy) {
    return Verdict{Health::degraded, "the guest agent is silent, but the guest writes or sends"};
  }
  if (!memory.answered) {
    if (booting) return Verdict{Health::booting, check.spoken + " has not answered yet"};
    if (!check.required) return Verdict{Health::none, never(check)};
    const bool too_often = memory.failures >= check.failures;
    return Verdict{too_often ? Health::unhealthy : Health::suspect,
                   never(check) + (memory.detail.empty() ? "" : ": " + memory.detail)};
  }
  if (!memory.heard) return until_heard(inherited);
  if (memory.failures == 0) return Verdict{Health::healthy, ""};
  const bool too_often = memory.failures >= check.failures;
  return Verdict{too_often ? Health::unhealthy : Health::suspect, failed(check, memory)};
}

// Of two words the graver one counts; who boots is not healthy yet.
int gravity(Health health) {
  switch (health) {
    case Health::none:
      return 0;
    case Health::healthy:
      return 1;
    case Health::degraded:
      return 2;
    case Health::booting:
      return 3;
    case Health::suspect:
      return 4;
    case Health::unhealthy:
      return 5;
  }
  return 0;
}

}  // namespace

bool same_check(const std::string& name, const HealthPolicy& one, const HealthPolicy& other) {
  if (name == kAgentCheck) return one.guest_agent && other.guest_agent;
  const auto find = [&](const HealthPolicy& policy) {
    return std::find_if(policy.probes.begin(), policy.probes.end(),
                        [&](const Probe& probe) { return probe.name == name; });
  };
  const auto here = find(one);
  const auto there = find(other);
  return here != one.probes.end() && there != other.probes.end() && *here == *there &&
         one.address == other.address;
}

bool has_checks(const HealthPolicy& policy) {
  return policy.guest_agent.has_value() || !policy.probes.empty();
}

void note_check(GuestWatch& watch, const GuestChecked& ended) {
  const auto checks = checks_of(watch.policy);
  const bool known = std::any_of(checks.begin(), checks.end(),
                                 [&](const Check& check) { return check.name == ended.check; });
  if (!known) return;
  CheckMemory& memory = watch.checks[ended.check];
  memory.heard = true;
  memory.busy = ended.outcome == CheckOutcome::busy && memory.answered;
  switch (ended.outcome) {
    case CheckOutcome::passed:
      memory.answered = true;
      memory.failures = 0;
      memory.detail.clear();
      break;
    case CheckOutcome::busy:
      memory.failures = memory.answered ? 0 : memory.failures + 1;
      break;
    case CheckOutcome::failed:
      memory.detail = ended.detail;
      ++memory.failures;
      break;
  }
}

std::set<std::string> answered(const GuestWatch& watch) {
  std::set<std::string> names;
  for (const auto& [name, memory] : watch.checks) {
    if (memory.answered) names.insert(name);
  }
  return names;
}

Judgement judge(const GuestWatch& watch, Instant now) {
  const Instant grace = watch.since + watch.policy.boot_grace;
  const bool booting = now < grace;
  Judgement judgement;
  Verdict& worst = judgement.verdict;
  std::string unheard;
  for (const Check& check : checks_of(watch.policy)) {
    const auto found = watch.checks.find(check.name);
    const CheckMemory memory = found == watch.checks.end() ? CheckMemory{} : found->second;
    if (!memory.answered && booting) judgement.next = grace;
    Verdict word = word_of(check, memory, watch.inherited, booting);
    if (word.health == Health::none) {
      unheard = word.reason;
    } else if (gravity(word.health) > gravity(worst.health)) {
      worst = std::move(word);
    }
  }
  if (worst.reason.empty()) worst.reason = unheard;
  return judgement;
}

}  // namespace clusterd
