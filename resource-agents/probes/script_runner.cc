#include "resource-agents/probes/script_runner.h"

#include <algorithm>
#include <utility>

namespace clusterd::probes {
namespace {

constexpr std::size_t kOutput = 2048;  // bytes kept
constexpr std::size_t kWords = 160;
constexpr Duration kParting{1000};

}  // namespace

ScriptRunner::~ScriptRunner() {
  const Time until = Clock::now() + kParting;
  for (auto& [id, script] : scripts_) {
    if (!script.process) continue;
    scheduler_.forget(script.process->exit_fd());
    scheduler_.forget(script.process->output_fd());
    script.process->kill_all();
  }
  for (auto& [id, script] : scripts_) {
    const auto left = std::chrono::ceil<Duration>(until - Clock::now());
    if (script.process) script.process->end(std::max(left, Duration(0)));
  }
}

ScriptRunner::Id ScriptRunner::run(std::vector<std::string> command,
                                   std::vector<std::string> environment, Done done) {
  const Id id = next_++;
  const bool full = scripts_.size() >= most_;
  Script& script = scripts_.emplace(id, Script{std::nullopt, std::move(done), ""}).first->second;
  Verdict problem;
  if (full) {
    problem.detail = "too many scripts run on this host already";
  } else {
    auto spawned = ChildProcess::spawn({std::move(command), std::move(environment), ""});
    if (auto* process = std::get_if<ChildProcess>(&spawned)) {
      if (process->exit_fd() >= 0) {
        script.process.emplace(std::move(*process));
        watch(id);
        return id;
      }
      problem.detail = "the script cannot be watched";
    } else {
      const auto& failed = std::get<NotSpawned>(spawned);
      problem.detail = "the script was not started: " + failed.problem;
      if (!failed.host_is_short) problem.kind = Verdict::Kind::failed;
    }
  }
  scheduler_.at(Clock::now(), [this, id, problem] { finish(id, problem); });
  return id;
}

void ScriptRunner::watch(Id id) {
  const ChildProcess& process = *scripts_.at(id).process;
  const bool exit =
      scheduler_.watch(process.exit_fd(), EPOLLIN, [this, id](std::uint32_t) { ended(id); });
  const bool output =
      scheduler_.watch(process.output_fd(), EPOLLIN, [this, id](std::uint32_t) { read(id); });
  if (exit && output) return;
  scheduler_.at(Clock::now(), [this, id] {
    finish(id, {Verdict::Kind::unclear, "the script cannot be watched"});
  });
}

void ScriptRunner::read(Id id) {
  Script& script = scripts_.at(id);
  const int fd = script.process->output_fd();
  if (fd < 0) return;
  script.process->read_output([&](std::string_view bytes) {
    script.output.append(bytes);
    if (script.output.size() > kOutput) script.output.erase(0, script.output.size() - kOutput);
  });
  // The kernel forgets a closed descriptor by itself; its number may be another's by now.
  if (script.process->output_fd() < 0) scheduler_.forget(fd);
}

void ScriptRunner::ended(Id id) {
  read(id);
  Script& script = scripts_.at(id);
  const ChildProcess::Ended how = script.process->reap();
  const std::string words = last_words(script.output, kWords);
  std::string detail =
      (how.by_signal ? "killed by signal " : "exit code ") + std::to_string(how.code);
  if (!words.empty()) detail += ": " + words;
  const bool good = !how.by_signal && how.code == 0;
  finish(id, {good ? Verdict::Kind::passed : Verdict::Kind::failed, std::move(detail)});
}

void ScriptRunner::kill(Id id) {
  const auto found = scripts_.find(id);
  if (found == scripts_.end()) return;
  found->second.done = nullptr;
  if (found->second.process) {
    found->second.process->kill_all();  // ended() buries it
  } else {
    scripts_.erase(found);
  }
}

bool ScriptRunner::alive(Id id) const { return scripts_.contains(id); }

void ScriptRunner::finish(Id id, Verdict verdict) {
  const auto found = scripts_.find(id);
  if (found == scripts_.end()) return;
  if (found->second.process) {
    scheduler_.forget(found->second.process->exit_fd());
    scheduler_.forget(found->second.process->output_fd());
  }
  const Done done = std::move(found->second.done);
  scripts_.erase(found);
  if (done) done(std::move(verdict));
}

}  // namespace clusterd::probes
