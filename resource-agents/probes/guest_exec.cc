#include "resource-agents/probes/guest_exec.h"

#include <algorithm>

namespace clusterd::probes {
namespace {

constexpr Duration kShortest{1000};   // the agent's time for one command
constexpr Duration kPollAlone{5000};

Verdict verdict_of(const ExecStatus& status) {
  std::string detail = status.killed ? "ended by signal " + std::to_string(*status.killed)
                                     : "exit code " + std::to_string(status.code);
  if (!status.words.empty()) detail += ": " + status.words;
  const bool good = !status.killed && status.code == 0;
  return {good ? Verdict::Kind::passed : Verdict::Kind::failed, std::move(detail)};
}

}  // namespace

void GuestExec::run(const Key& key, std::vector<std::string> command, Duration timeout,
                    Done done) {
  const auto [at, fresh] = runs_.try_emplace(key);
  Run& run = at->second;
  scheduler_.cancel(run.limit);
  run.command = std::move(command);
  run.done = std::move(done);
  run.timeout = timeout;
  run.deadline = Clock::now() + timeout;
  run.overdue = false;
  run.tries = 0;
  run.pause = pauses_.first;
  run.limit = scheduler_.at(run.deadline, [this, key] { on_limit(key); });
  if (fresh) {
    run.number = next_++;
    start(key, run);
    return;
  }
  run.earlier = true;
  scheduler_.cancel(run.next);
  if (!run.asked) poll(key, run);
}

void GuestExec::give_up(const Key& key) {
  const auto found = runs_.find(key);
  if (found == runs_.end()) return;
  Run& run = found->second;
  scheduler_.cancel(run.limit);
  run.done = nullptr;
  run.overdue = false;
}

// Milliseconds that an answer may take: the agent's own time is over when the caller's is.
Duration GuestExec::patience(const Run& run) const {
  if (!run.done) return kPollAlone;
  return std::max(kShortest, std::chrono::ceil<Duration>(run.deadline - Clock::now()));
}

// Answers are read where they come in, so that a long one does not hold up the scheduler.
void GuestExec::start(const Key& key, Run& run) {
  run.earlier = false;
  run.pid.reset();
  run.asked = true;
  agent_.command(key.first, exec_command(run.command), patience(run),
                 [this, inbox = scheduler_.inbox(), key,
                  number = run.number](const AgentAnswer<std::string>& answer) {
                   inbox->post([this, key, number, pid = read_pid(answer)] {
                     started(key, number, pid);
                   });
                 });
}

void GuestExec::poll(const Key& key, Run& run) {
  run.asked = true;
  agent_.command(key.first, status_command(*run.pid), patience(run),
                 [this, inbox = scheduler_.inbox(), key,
                  number = run.number](const AgentAnswer<std::string>& answer) {
                   inbox->post([this, key, number, status = read_status(answer)] {
                     polled(key, number, status);
                   });
                 });
}

void GuestExec::poll_later(const Key& key, Run& run) {
  if (!run.done && ++run.tries > pauses_.tries_alone) return forget(key);
  const Duration longest = run.done ? pauses_.longest : pauses_.longest_alone;
  run.pause = std::min(run.pause, longest);
  run.next = scheduler_.at(Clock::now() + run.pause, [this, key] {
    const auto found = runs_.find(key);
    if (found != runs_.end() && !found->second.asked) poll(key, found->second);
  });
  run.pause *= 2;
}

void GuestExec::started(const Key& key, std::uint64_t number,
                        const AgentAnswer<std::int64_t>& answer_) {
  Run* const run = find(key, number);
  if (run == nullptr) return;
  run->asked = false;
  if (const auto* failure = std::get_if<AgentFailure>(&answer_)) {
    // Nothing runs. Whoever came meanwhile for the next has this as its answer, too.
    answer(*run, probes::verdict_of(*failure, "the guest's agent does not run it"));
    return forget(key);
  }
  run->pid = std::get<std::int64_t>(answer_);
  if (run->overdue) expire(*run);
  poll_later(key, *run);
}

void GuestExec::polled(const Key& key, std::uint64_t number,
                       const AgentAnswer<ExecStatus>& answer_) {
  Run* const run = find(key, number);
  if (run == nullptr) return;
  run->asked = false;
  if (const auto* failure = std::get_if<AgentFailure>(&answer_)) {
    return poll_failed(key, *run, *failure);
  }
  const auto& status = std::get<ExecStatus>(answer_);
  if (status.exited) return exited(key, *run, status);
  if (run->overdue) expire(*run);
  poll_later(key, *run);
}

void GuestExec::poll_failed(const Key& key, Run& run, const AgentFailure& failure) {
  if (failure.kind != AgentFailure::Kind::refused) {
    answer(run, probes::verdict_of(failure, "the guest's agent does not say how it went"));
    return poll_later(key, run);
  }
  // The agent was started anew and knows nothing of this command.
  if (run.earlier && run.done && !run.overdue) return start(key, run);
  answer(run, probes::verdict_of(failure, "the guest's agent lost it"));
  forget(key);
}

void GuestExec::exited(const Key& key, Run& run, const ExecStatus& status) {
  if (run.earlier && run.done && !run.overdue) return start(key, run);
  if (run.earlier) {
    expire(run);
  } else {
    answer(run, verdict_of(status));
  }
  forget(key);
}

// An answer that is under way is waited for: it tells whether the guest was slow or never asked.
void GuestExec::on_limit(const Key& key) {
  const auto found = runs_.find(key);
  if (found == runs_.end()) return;
  Run& run = found->second;
  run.limit = {};
  if (run.asked) {
    run.overdue = true;
  } else {
    expire(run);
  }
}

void GuestExec::expire(Run& run) {
  answer(run, {Verdict::Kind::timed_out, run.earlier
                                             ? "the run before this one is not over yet"
                                             : "not over within " + seconds(run.timeout)});
}

void GuestExec::answer(Run& run, Verdict verdict) {
  scheduler_.cancel(run.limit);
  run.overdue = false;
  const Done done = std::exchange(run.done, nullptr);
  if (done) done(std::move(verdict));
}

void GuestExec::forget(const Key& key) {
  const auto found = runs_.find(key);
  if (found == runs_.end()) return;
  scheduler_.cancel(found->second.limit);
  scheduler_.cancel(found->second.next);
  runs_.erase(found);
}

GuestExec::Run* GuestExec::find(const Key& key, std::uint64_t number) {
  const auto found = runs_.find(key);
  return found != runs_.end() && found->second.number == number ? &found->second : nullptr;
}

}  // namespace clusterd::probes
