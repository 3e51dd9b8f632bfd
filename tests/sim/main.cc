// clusterd-sim: whole clusters under faults, one seed a run; see run.h.
#include <CLI/CLI.hpp>
#include <chrono>
#include <cinttypes>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <map>
#include <string>
#include <unistd.h>

#include "tests/sim/replay_command.h"
#include "tests/sim/run.h"

namespace {

using namespace clusterd::sim;

constexpr int kClean = 0;
constexpr int kUsage = 2;
constexpr int kLiveness = 3;
constexpr int kSafety = 4;
constexpr std::size_t kTraceLines = 300;
// Every so many seeds one runs twice: it must do the same again.
constexpr std::uint64_t kTwice = 20;

struct Job {
  RunOptions run;
  std::uint64_t seeds = 1;
  std::size_t lines = kTraceLines;
  bool keep_going = false;
  bool shrink = false;
};

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
  if (run.faults == Faults::none) line += " --calm";
  if (run.faults == Faults::every) line += " --every-fault";
  if (!run.only) return line;
  line += " --only=";
  const char* separator = "";
  for (const std::uint32_t number : *run.only) {
    line += separator + std::to_string(number);
    separator = ",";
  }
  return line;
}

int report(const Job& job, RunOptions run, const RunResult& result) {
  if (job.shrink) run = shrink(run, result);
  run.trace_lines = job.lines;
  const RunResult again = run_seed(run);
  std::printf("%s", again.trace.c_str());
  std::printf("\n%s", again.situation.c_str());
  std::printf("seed %" PRIu64 " faults: %s\n", run.seed, result.faults.c_str());
  if (job.shrink) {
    std::printf("shrunk to %zu of %u faults and commands\n", run.only->size(), result.entries);
  } else if (again.fingerprint != result.fingerprint) {
    std::printf("the second run of this seed differs: the simulator is not deterministic\n");
  }
  const Violation& violation = again.violation ? *again.violation : *result.violation;
  std::printf("violation of %s: %s\n", violation.rule.c_str(), violation.detail.c_str());
  std::printf("%s\n", reproduce(run).c_str());
  return result.liveness ? kLiveness : kSafety;
}

// Of this process, in seconds: what others do on the machine does not change it much.
double cpu_time() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

// The recovery that came nearest to its bound.
struct Slowest {
  std::uint64_t seed = 0;
  double seconds = 0;
  double bound = 0;

  void look(std::uint64_t of, const RunResult& result) {
    const double took = std::chrono::duration<double>(result.recovery).count();
    const double most = std::chrono::duration<double>(result.bound).count();
    if (took * bound <= seconds * most && seed != 0) return;
    seed = of;
    seconds = took;
    bound = most;
  }
  void tell() const {
    if (bound == 0) return;
    std::printf("slowest recovery: %.1f s after the last fault, predicted at most %.0f s "
                "(seed %" PRIu64 ")\n", seconds, bound, seed);
  }
};

int run_all(const Job& job, ReplayCommand& recordings) {
  const double begin = cpu_time();
  double simulated = 0;
  std::uint64_t steps = 0;
  std::uint64_t fingerprint = 0;
  int worst = kClean;
  Slowest slowest;
  RunOptions run = job.run;
  for (; run.seed < job.run.seed + job.seeds; ++run.seed) {
    std::snprintf(reproduce_line, sizeof(reproduce_line), "%s\n", reproduce(run).c_str());
    RunResult result = run_seed(run);
    recordings.take(run.seed, result);
    simulated += std::chrono::duration<double>(result.simulated).count();
    steps += result.steps;
    slowest.look(run.seed, result);
    fingerprint = fingerprint * 31 + result.fingerprint;
    if (run.seed % kTwice == 0 && run_seed(run).fingerprint != result.fingerprint) {
      std::printf("seed %" PRIu64 " runs differently the second time\n%s\n", run.seed,
                  reproduce(run).c_str());
      return kSafety;
    }
    if (!result.violation) continue;
    if (!job.keep_going) return report(job, run, result);
    worst = std::max(worst, result.liveness ? kLiveness : kSafety);
    std::printf("seed %" PRIu64 " violates %s: %s [%s]\n", run.seed,
                result.violation->rule.c_str(), result.violation->detail.c_str(),
                result.faults.c_str());
    std::fflush(stdout);
  }
  const double cpu = cpu_time() - begin;
  std::printf("%" PRIu64 " seeds %s, %.0f simulated seconds in %.1f s of a core: %.0f a second, "
              "%.0f events a second, fingerprint %016" PRIx64 "\n",
              job.seeds, worst == kClean ? "clean" : "run", simulated, cpu, simulated / cpu,
              static_cast<double>(steps) / cpu, fingerprint);
  slowest.tell();
  std::printf("%s", recordings.summary().c_str());
  return worst;
}

// The two figures of the goal: 5 nodes, 20 VMs, calm and under every kind of fault.
int measure(Job job, ReplayCommand& recordings) {
  job.run.nodes = 5;
  job.run.vms = 20;
  job.seeds = 50;
  for (const Faults faults : {Faults::none, Faults::every}) {
    std::printf("%s: ", faults == Faults::none ? "calm" : "every fault");
    std::fflush(stdout);
    job.run.faults = faults;
    if (const int status = run_all(job, recordings); status != kClean) return status;
  }
  return kClean;
}

bool read_duration(const std::string& text, SimTime& into) {
  const std::map<std::string, std::int64_t> units = {{"s", 1}, {"m", 60}, {"h", 3600}};
  std::int64_t amount = 0;
  char unit[2] = "";
  if (std::sscanf(text.c_str(), "%" SCNd64 "%1s", &amount, unit) != 2 || units.count(unit) == 0 ||
      amount <= 0 || amount > 1000000) {
    std::fprintf(stderr, "--duration: %s is not like 90s, 10m or 2h\n", text.c_str());
    return false;
  }
  into = std::chrono::seconds(amount * units.at(unit));
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  Job job;
  RunOptions& run = job.run;
  std::string duration = "10m";
  std::vector<std::uint32_t> only;
  bool throughput = false;
  bool calm = false;
  bool every = false;
  CLI::App app{"Simulates whole clusters under faults, deterministically."};
  app.add_option("--seed", run.seed, "the first seed")->capture_default_str();
  app.add_option("--seeds", job.seeds, "how many seeds")->capture_default_str();
  app.add_option("--nodes", run.nodes, "nodes (default: drawn from the seed)");
  app.add_option("--vms", run.vms, "VMs (default: drawn from the seed)");
  app.add_option("--duration", duration, "time with faults: 90s, 10m, 2h")->capture_default_str();
  app.add_option("--only", only, "numbers of the faults and commands that happen")->delimiter(',');
  app.add_option("--trace-lines", job.lines, "lines shown of a violation")->capture_default_str();
  app.add_flag("--calm", calm, "no faults");
  app.add_flag("--every-fault", every, "all kinds of faults in every run")->excludes("--calm");
  app.add_flag("--keep-going", job.keep_going, "tell every violating seed in one line, no traces");
  app.add_flag("--shrink", job.shrink, "leave out faults and commands while the violation remains");
  app.add_flag("--throughput", throughput, "measure: 5 nodes, 20 VMs, calm and with every fault");
  app.add_flag("--echo", run.echo, "print the trace while running");
  ReplayCommand recordings;
  recordings.add_to(app);
  CLI11_PARSE(app, argc, argv);
  if (recordings.alone()) return recordings.run();
  run.record = recordings.records();
  if (run.echo) run.trace_lines = job.lines;
  if (calm) run.faults = Faults::none;
  if (every) run.faults = Faults::every;
  if (!only.empty()) run.only.emplace(only.begin(), only.end());
  if (!read_duration(duration, run.duration)) return kUsage;
  std::signal(SIGABRT, tell_seed);
  std::signal(SIGSEGV, tell_seed);
  return throughput ? measure(job, recordings) : run_all(job, recordings);
}
