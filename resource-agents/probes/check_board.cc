#include "resource-agents/probes/check_board.h"

#include <algorithm>
#include <utility>

namespace clusterd::probes {
namespace {

// Beyond a question's timeout, for what others answer for certain: see GuestAgent.
constexpr Duration kAgentGrace{10000};
constexpr Duration kShortestInterval{1};
constexpr const char* kRepairKey = "repair";

std::string check_key(const std::string& check) { return "check " + check; }

bool more(const std::optional<std::uint64_t>& then, const std::optional<std::uint64_t>& now) {
  return then && now && *now > *then;
}

std::vector<std::string> script_environment(const WatchGuest& order, const std::string& address) {
  std::vector<std::string> environment{
      "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C",
      "HOME=/root", "CLUSTERD_VM=" + order.name, "CLUSTERD_VM_UUID=" + order.vm.str()};
  if (!address.empty()) environment.push_back("CLUSTERD_ADDRESS=" + address);
  return environment;
}

}  // namespace

CheckBoard::CheckBoard(const GuestProberOptions& options, Scheduler& scheduler, GuestAgent& agent,
                       Teller& teller, Tally& tally)
    : scheduler_(scheduler),
      agent_(agent),
      teller_(teller),
      tally_(tally),
      prng_(options.seed),
      net_(scheduler),
      scripts_(scheduler, options.scripts),
      exec_(scheduler, agent, {.first = options.first_pause, .longest = options.longest_pause}),
      counted_(options.counted) {}

CheckBoard::~CheckBoard() = default;

// ---- watches -------------------------------------------------------------------------------

void CheckBoard::watch(const WatchGuest& order, Teller::Serial serial) {
  unwatch(order.vm);
  Watch& watch = watches_[order.vm];
  watch.serial = serial;
  watch.order = order;
  const HealthPolicy& policy = order.policy;
  if (const auto& agent = policy.guest_agent) {
    Check check;
    check.name = kAgentCheck;
    check.interval = agent->interval;
    check.timeout = agent->timeout;
    watch.checks.push_back(std::move(check));
  }
  for (const Probe& probe : policy.probes) {
    Check check;
    check.probe = probe;
    check.name = probe.name;
    check.interval = probe.interval;
    check.timeout = probe.timeout;
    watch.checks.push_back(std::move(check));
  }
  const Time now = Clock::now();
  for (std::size_t i = 0; i < watch.checks.size(); ++i) {
    Check& check = watch.checks[i];
    check.interval = std::max(check.interval, kShortestInterval);
    check.due = now + Duration(prng_.between(0, check.interval.count()));
    schedule(order.vm, watch, i);
  }
}

void CheckBoard::unwatch(VmId vm) {
  const auto found = watches_.find(vm);
  if (found == watches_.end()) return;
  for (Check& check : found->second.checks) {
    scheduler_.cancel(check.timer);
    scripts_.kill(check.script);
    exec_.give_up({vm, check_key(check.name)});
    if (!check.question) continue;
    scheduler_.cancel(check.question->limit);
    net_.cancel(check.question->net);
    questions_.erase(check.question->id);
  }
  exec_.give_up({vm, kRepairKey});
  scheduler_.cancel(found->second.repair_limit);
  watches_.erase(found);
}

std::optional<CheckBoard::Found> CheckBoard::find(QuestionId id) {
  const auto place = questions_.find(id);
  if (place == questions_.end()) return std::nullopt;
  Watch& watch = watches_.at(place->second.vm);
  Check& check = watch.checks.at(place->second.check);
  return Found{watch, check, *check.question};
}

CheckBoard::Watch* CheckBoard::find(VmId vm, Teller::Serial serial) {
  const auto found = watches_.find(vm);
  return found != watches_.end() && found->second.serial == serial ? &found->second : nullptr;
}

void CheckBoard::schedule(VmId vm, Watch& watch, std::size_t index) {
  Check& check = watch.checks[index];
  check.timer = scheduler_.at(
      check.due, [this, vm, serial = watch.serial, index] { begin(vm, serial, index); });
}

// ---- questions -----------------------------------------------------------------------------

void CheckBoard::begin(VmId vm, Teller::Serial serial, std::size_t index) {
  Watch* const watch = find(vm, serial);
  if (watch == nullptr) return;
  Check& check = watch->checks[index];
  Question& question = check.question.emplace(Question{});
  question.id = next_question_++;
  question.begun = Clock::now();
  questions_.emplace(question.id, Place{vm, index});
  // Of the agent's questions the agent's side keeps the time, and knows why one took too long.
  const bool by_agent = !check.probe || check.probe->kind == ProbeKind::exec;
  const Duration longest = check.timeout + (by_agent ? kAgentGrace : Duration(0));
  question.limit =
      scheduler_.at(question.begun + longest, [this, id = question.id] { on_limit(id); });
  ask({*watch, check, question});
}

void CheckBoard::ask(const Found& found) {
  if (!found.check.probe) return ask_agent(found);
  const ProbeKind kind = found.check.probe->kind;
  const bool runs = kind == ProbeKind::exec || kind == ProbeKind::script;
  if (runs && found.check.probe->command.empty()) {
    return conclude(found.question.id, {Verdict::Kind::failed, "the probe has no command"});
  }
  switch (kind) {
    case ProbeKind::tcp:
    case ProbeKind::http:
    case ProbeKind::heartbeat:
      return ask_network(found);
    case ProbeKind::exec:
      return exec_.run({found.watch.order.vm, check_key(found.check.name)},
                       found.check.probe->command, found.check.timeout,
                       [this, id = found.question.id](Verdict verdict) {
                         weigh(id, std::move(verdict));
                       });
    case ProbeKind::script:
      return ask_script(found);
  }
}

void CheckBoard::ask_agent(const Found& found) {
  agent_.ping(found.watch.order.vm, found.check.timeout,
              [this, inbox = scheduler_.inbox(),
               id = found.question.id](const AgentAnswer<AgentAlive>& answer) {
                inbox->post([this, id, answer] { on_ping(id, answer); });
              });
}

// An agent that answers with an error lives. One that is silent may have died alone: the guest is
// looked at for another sign of life.
void CheckBoard::on_ping(QuestionId id, const AgentAnswer<AgentAlive>& answer) {
  const auto found = find(id);
  if (!found) return;
  const auto* failure = std::get_if<AgentFailure>(&answer);
  if (failure == nullptr || failure->kind == AgentFailure::Kind::refused) {
    return conclude(id, {Verdict::Kind::passed, "the guest agent answers"});
  }
  weigh(id, verdict_of(*failure, ""));
}

void CheckBoard::weigh(QuestionId id, Verdict verdict) {
  const auto found = find(id);
  if (!found) return;
  if (verdict.kind != Verdict::Kind::silent) return conclude(id, std::move(verdict));
  agent_.output(found->watch.order.vm,
                [this, inbox = scheduler_.inbox(), id,
                 verdict](const AgentAnswer<GuestOutput>& output) {
                  inbox->post([this, id, verdict, output] { on_output(id, verdict, output); });
                });
}

void CheckBoard::on_output(QuestionId id, const Verdict& silent,
                           const AgentAnswer<GuestOutput>& answer) {
  const auto found = find(id);
  if (!found) return;
  const auto* now = std::get_if<GuestOutput>(&answer);
  if (now == nullptr) return conclude(id, silent);  // no other sign of life is to be had
  const std::optional<GuestOutput> then = std::exchange(found->check.output, *now);
  const bool writes = then && (more(then->block_writes, now->block_writes) ||
                               more(then->packets_sent, now->packets_sent));
  if (!writes) return conclude(id, silent);
  conclude(id, {Verdict::Kind::busy, silent.detail + "; but the guest writes or sends"});
}

// ---- network -------------------------------------------------------------------------------

void CheckBoard::ask_network(const Found& found) {
  const Probe& probe = *found.check.probe;
  const std::string& declared = found.watch.order.policy.address;
  const std::string& address = declared.empty() ? found.watch.address : declared;
  if (address.empty()) return ask_address(found);
  found.question.net =
      net_.ask({probe.kind, address, probe.port, probe.path, probe.expect, probe.body},
               [this, id = found.question.id](NetAnswer answer) {
                 on_network(id, std::move(answer));
               });
}

// All checks of a guest that want its address wait for one answer.
void CheckBoard::ask_address(const Found& found) {
  found.question.no_address = true;
  found.watch.waiting.push_back(found.question.id);
  if (std::exchange(found.watch.asking_address, true)) return;
  const VmId vm = found.watch.order.vm;
  agent_.addresses(vm, found.check.timeout,
                   [this, inbox = scheduler_.inbox(), vm, serial = found.watch.serial](
                       const AgentAnswer<std::vector<std::string>>& answer) {
                     inbox->post([this, vm, serial, answer] { on_addresses(vm, serial, answer); });
                   });
}

void CheckBoard::on_addresses(VmId vm, Teller::Serial serial,
                              const AgentAnswer<std::vector<std::string>>& answer) {
  Watch* const watch = find(vm, serial);
  if (watch == nullptr) return;
  watch->asking_address = false;
  Verdict none{Verdict::Kind::failed, "no address of the guest is known: its agent names none"};
  if (const auto* failure = std::get_if<AgentFailure>(&answer)) {
    none = verdict_of(*failure, "no address of the guest is known");
    watch->address = watch->last_address;
  } else if (const auto& list = std::get<std::vector<std::string>>(answer); !list.empty()) {
    watch->address = list.front();
  }
  const bool silent = none.kind == Verdict::Kind::silent;
  for (const QuestionId id : std::exchange(watch->waiting, {})) {
    const auto found = find(id);
    if (!found) continue;
    found->question.no_address = false;
    if (watch->address.empty()) {
      weigh(id, none);
    } else if (silent && found->question.overdue) {
      // The application did not answer at its last address, and the agent names no other one.
      conclude(id, {Verdict::Kind::timed_out, none.detail});
    } else if (found->question.overdue) {
      conclude(id, {Verdict::Kind::unclear, "the guest's address came too late"});
    } else {
      ask_network(*found);
    }
  }
}

void CheckBoard::on_network(QuestionId id, NetAnswer answer) {
  const auto found = find(id);
  if (!found) return;
  found->question.net = 0;
  const bool heartbeat = found->check.probe->kind == ProbeKind::heartbeat;
  if (heartbeat && answer.verdict.kind == Verdict::Kind::passed) {
    const auto before = std::exchange(found->check.heartbeat, std::move(answer.read));
    if (before == found->check.heartbeat) {
      answer.verdict = {Verdict::Kind::failed, "the heartbeat stands still at \"" + *before + "\""};
    }
  }
  conclude(id, std::move(answer.verdict));
}

// ---- scripts -------------------------------------------------------------------------------

void CheckBoard::ask_script(const Found& found) {
  const QuestionId id = found.question.id;
  // A process that hangs in the kernel survives its killing: no second one beside it.
  if (scripts_.alive(found.check.script)) {
    return conclude(id, {Verdict::Kind::unclear, "the run before this one is still being killed"});
  }
  const std::string& declared = found.watch.order.policy.address;
  found.check.script = scripts_.run(
      found.check.probe->command,
      script_environment(found.watch.order, declared.empty() ? found.watch.address : declared),
      [this, id](Verdict verdict) { conclude(id, std::move(verdict)); });
}

// ---- ends ----------------------------------------------------------------------------------

void CheckBoard::on_limit(QuestionId id) {
  const auto found = find(id);
  if (!found) return;
  Question& question = found->question;
  const std::string time = seconds(found->check.timeout);
  if (question.no_address && !std::exchange(question.overdue, true)) {
    // The agent's side tells soon whether the guest was silent or never asked.
    question.limit = scheduler_.at(Clock::now() + kAgentGrace, [this, id] { on_limit(id); });
    return;
  }
  const bool by_agent = !found->check.probe || found->check.probe->kind == ProbeKind::exec;
  if (by_agent || question.no_address) {
    exec_.give_up({found->watch.order.vm, check_key(found->check.name)});
    return conclude(id, {Verdict::Kind::unclear, "nobody answered for the guest's agent"});
  }
  if (found->check.probe->kind == ProbeKind::script) {
    scripts_.kill(found->check.script);
    return conclude(id, {Verdict::Kind::timed_out, "not over within " + time + ", and killed"});
  }
  net_.cancel(question.net);
  conclude(id, {Verdict::Kind::timed_out, "no answer within " + time});
}

void CheckBoard::conclude(QuestionId id, Verdict verdict) {
  const auto found = find(id);
  if (!found) return;
  Watch& watch = found->watch;
  Check& check = found->check;
  const bool on_time = !scheduler_.late_since(found->question.begun);
  scheduler_.cancel(found->question.limit);
  check.question.reset();
  const Place place = questions_.extract(id).mapped();
  // One that took longer than its interval is asked again at once: a verdict needs several answers.
  check.due = std::max<Time>(check.due + check.interval, Clock::now());
  schedule(place.vm, watch, place.check);
  switch (verdict.kind) {
    case Verdict::Kind::passed:
      count(tally_.passed, "passed");
      check.output.reset();
      return tell(watch, check, CheckOutcome::passed, verdict.detail);
    case Verdict::Kind::failed:
      count(tally_.failed, "failed");
      return tell(watch, check, CheckOutcome::failed, verdict.detail);
    case Verdict::Kind::timed_out:
    case Verdict::Kind::silent:
      if (!on_time) break;
      count(tally_.failed, "failed");
      return tell(watch, check, CheckOutcome::failed, verdict.detail);
    case Verdict::Kind::busy:
      if (!on_time) break;
      count(tally_.busy, "busy");
      return tell(watch, check, CheckOutcome::busy, verdict.detail);
    case Verdict::Kind::unclear:
      break;
  }
  count(tally_.inconclusive, "inconclusive");
}

void CheckBoard::count(std::atomic<std::uint64_t>& tally, const char* outcome) {
  ++tally;
  if (counted_) counted_(outcome);
}

void CheckBoard::tell(Watch& watch, Check& check, CheckOutcome outcome,
                      const std::string& detail) {
  const bool network = check.probe && check.probe->port != 0;
  // A guest may have come back with another address.
  if (network && outcome != CheckOutcome::passed && !watch.address.empty()) {
    watch.last_address = std::exchange(watch.address, "");
  }
  const bool known = outcome == CheckOutcome::passed && check.told == CheckOutcome::passed;
  check.told = outcome;
  if (known) return;
  teller_.tell(watch.order.vm, watch.serial,
               GuestChecked{watch.order.vm, watch.order.watch, check.name, outcome,
                            tidy_detail(detail)});
}

// ---- repair --------------------------------------------------------------------------------

void CheckBoard::repair(const RepairGuest& order) {
  const auto found = watches_.find(order.vm);
  if (found == watches_.end() || found->second.order.watch != order.watch) return;
  Watch& watch = found->second;
  if (watch.repairing) return;  // it has one answer for both
  const HealthPolicy& policy = watch.order.policy;
  watch.repairing = true;
  if (policy.repair.empty()) {
    return end_repair(order.vm, watch.serial,
                      {Verdict::Kind::failed, "the policy has no repair command"});
  }
  const auto end = [this, vm = order.vm, serial = watch.serial](const Verdict& verdict) {
    end_repair(vm, serial, verdict);
  };
  const Verdict late{Verdict::Kind::timed_out, "not over within " + seconds(policy.repair_timeout)};
  watch.repair_limit =
      scheduler_.at(Clock::now() + policy.repair_timeout, [end, late] { end(late); });
  exec_.run({order.vm, kRepairKey}, policy.repair, policy.repair_timeout, end);
}

void CheckBoard::end_repair(VmId vm, Teller::Serial serial, const Verdict& verdict) {
  Watch* const watch = find(vm, serial);
  if (watch == nullptr || !std::exchange(watch->repairing, false)) return;
  scheduler_.cancel(watch->repair_limit);
  exec_.give_up({vm, kRepairKey});
  teller_.tell(vm, serial,
               GuestRepaired{vm, watch->order.watch, verdict.kind == Verdict::Kind::passed,
                             tidy_detail(verdict.detail)});
}

}  // namespace clusterd::probes
