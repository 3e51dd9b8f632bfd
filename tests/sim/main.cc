// clusterd-sim: whole clusters under faults, one seed a run; see run.h.
#include <CLI/CLI.hpp>
#include <chrono>
#include <cinttypes>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <unistd.h>

#include "tests/sim/replay_command.h"
#include "tests/sim/run.h"

namespace {

using namespace clusterd::sim;

constexpr int kClean = 0;
constexpr int kLiveness = 3;
constexpr int kSafety = 4;
constexpr std::size_t kTraceLines = 300;

// An assertion of the product ends the process: the seed must still be told.
char reproduce_line[256];
extern "C" void tell_seed(int) {
  const auto length = std::char_traits<char>::length(reproduce_line);
  static_cast<void>(!::write(STDERR_FILENO, reproduce_line, length));
  std::_Exit(kSafety);
}

std::string reproduce(const RunOptions& run) {
  std::string line = "reproduce: clusterd-sim --seed=" + std::to_string(run.seed);
  if (run.nodes != 0) line += " --nodes=" + std::to_string(run.nodes);
  if (run.vms != 0) line += " --vms=" + std::to_string(run.vms);
  line += " --duration=" +
          std::to_string(std::chrono::duration_cast<std::chrono::seconds>(run.duration).count()) +
          "s";
  if (!run.faults) line += " --calm";
  return line;
}

int report(RunOptions run, const RunResult& result, std::size_t lines) {
  run.trace_lines = lines;
  const RunResult again = run_seed(run);
  std::printf("%s", again.trace.c_str());
  std::printf("\n%s", again.situation.c_str());
  std::printf("seed %" PRIu64 " faults: %s\n", run.seed, result.faults.c_str());
  std::printf("violation of %s: %s\n", result.violation->rule.c_str(),
              result.violation->detail.c_str());
  if (again.trace_hash != result.trace_hash) {
    std::printf("the second run of this seed differs: the simulator is not deterministic\n");
  }
  std::printf("%s\n", reproduce(run).c_str());
  return result.liveness ? kLiveness : kSafety;
}

}  // namespace

int main(int argc, char** argv) {
  RunOptions run;
  std::uint64_t seeds = 1;
  std::string duration = "10m";
  bool calm = false;
  bool keep_going = false;
  std::size_t lines = kTraceLines;
  CLI::App app{"Simulates whole clusters under faults, deterministically."};
  app.add_option("--seed", run.seed, "the first seed")->capture_default_str();
  app.add_option("--seeds", seeds, "how many seeds")->capture_default_str();
  app.add_option("--nodes", run.nodes, "nodes (default: drawn from the seed)");
  app.add_option("--vms", run.vms, "VMs (default: drawn from the seed)");
  app.add_option("--duration", duration, "time with faults: 90s, 10m, 2h")->capture_default_str();
  app.add_option("--trace-lines", lines, "lines shown of a violation")->capture_default_str();
  app.add_flag("--calm", calm, "no faults");
  app.add_flag("--keep-going", keep_going, "tell every violating seed in one line, no traces");
  app.add_flag("--echo", run.echo, "print the trace while running");
  ReplayCommand recordings;
  recordings.add_to(app);
  CLI11_PARSE(app, argc, argv);
  if (recordings.alone()) return recordings.run();
  run.record = recordings.records();
  if (run.echo) run.trace_lines = lines;
  run.faults = !calm;
  const std::map<std::string, std::int64_t> units = {{"s", 1}, {"m", 60}, {"h", 3600}};
  std::int64_t amount = 0;
  char unit[2] = "";
  if (std::sscanf(duration.c_str(), "%" SCNd64 "%1s", &amount, unit) != 2 ||
      units.count(unit) == 0 || amount <= 0 || amount > 1000000) {
    std::fprintf(stderr, "--duration: %s is not like 90s, 10m or 2h\n", duration.c_str());
    return 2;
  }
  run.duration = std::chrono::seconds(amount * units.at(unit));
  std::signal(SIGABRT, tell_seed);
  std::signal(SIGSEGV, tell_seed);

  const auto begin = std::chrono::steady_clock::now();
  double simulated = 0;
  std::uint64_t steps = 0;
  int worst = kClean;
  const std::uint64_t first = run.seed;
  for (run.seed = first; run.seed < first + seeds; ++run.seed) {
    std::snprintf(reproduce_line, sizeof(reproduce_line), "%s\n", reproduce(run).c_str());
    RunResult result = run_seed(run);
    recordings.take(run.seed, result);
    simulated += std::chrono::duration<double>(result.simulated).count();
    steps += result.steps;
    if (!result.violation) continue;
    if (!keep_going) return report(run, result, lines);
    worst = std::max(worst, result.liveness ? kLiveness : kSafety);
    std::printf("seed %" PRIu64 " violates %s: %s [%s]\n", run.seed,
                result.violation->rule.c_str(), result.violation->detail.c_str(),
                result.faults.c_str());
    std::fflush(stdout);
  }
  const double wall =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  std::printf("%" PRIu64 " seeds %s, %.0f simulated seconds in %.1f s: %.0f a second, %.0f events "
              "a second\n",
              seeds, worst == kClean ? "clean" : "run", simulated, wall, simulated / wall,
              static_cast<double>(steps) / wall);
  std::printf("%s", recordings.summary().c_str());
  return worst;
}
