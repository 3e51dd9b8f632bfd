#include "fencing/agent/call_runner.h"

#include <algorithm>
#include <cctype>
#include <climits>
#include <set>
#include <utility>

#include "clusterd/base/overloaded.h"
#include "clusterd/base/text.h"

namespace clusterd {
namespace {

constexpr std::size_t kSaid = 300;  // bytes of an agent's words in a sentence

// Calls in one lane never overlap. Devices that are outlets of one box share its address, and
// many such boxes take one session at a time.
std::string lane_of(const NamedDevice& device) {
  const auto option = [&](const char* key) {
    const auto found = device.device.options.find(key);
    return found == device.device.options.end() ? std::string() : found->second;
  };
  const std::string address = option("ip").empty() ? option("ipaddr") : option("ip");
  if (address.empty()) return "device " + device.name;
  return "address " + address + " port " + option("ipport");
}

bool says_off(std::string output) {
  std::transform(output.begin(), output.end(), output.begin(), [](char c) {
    return static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  });
  const auto part_of_word = [](char c) { return std::isalpha(static_cast<unsigned char>(c)) != 0; };
  for (auto at = output.find("off"); at != output.npos; at = output.find("off", at + 1)) {
    const bool begins = at == 0 || !part_of_word(output[at - 1]);
    const bool ends = at + 3 == output.size() || !part_of_word(output[at + 3]);
    if (begins && ends) return true;
  }
  return false;
}

std::string seconds(Duration d) {
  const auto ms = d.count();
  const auto tenths = ms % 1000 / 100;
  return std::to_string(ms / 1000) + (tenths != 0 ? "." + std::to_string(tenths) : "") + " s";
}

Duration since(std::chrono::steady_clock::time_point then,
               std::chrono::steady_clock::time_point now) {
  return std::chrono::duration_cast<Duration>(now - then);
}

}  // namespace

Power power_of(const CallResult& status) {
  const auto* exited = std::get_if<Exited>(&status.end);
  if (exited == nullptr) return Power::unknown;
  if (exited->code == 0) return Power::on;
  return exited->code == 2 && says_off(status.output) ? Power::off : Power::unknown;
}

std::string describe(const std::string& device, const std::string& action, Duration timeout,
                     const CallResult& result) {
  const std::string said = last_words(result.output, kSaid);
  const std::string words = said.empty() ? "" : ": " + said;
  return device + ": " + action + " " +
         std::visit(overloaded{
                        [&](const Exited& e) {
                          return "ended with exit code " + std::to_string(e.code) + words;
                        },
                        [&](const Crashed& e) {
                          return "was killed by signal " + std::to_string(e.signal) + words;
                        },
                        [&](const TimedOut&) {
                          return "took longer than " + seconds(timeout) + " and was killed" + words;
                        },
                        [&](const GaveWay&) { return std::string("gave way to a fence"); },
                        [&](const NotStarted& e) { return "was not started: " + e.problem; },
                    },
                    result.end);
}

CallRunner::CallId CallRunner::start(CallOrder order, Done done) {
  const CallId id = next_id_++;
  std::string lane = lane_of(order.device);
  const Waiting waiting{Clock::now() + order.delay};
  calls_.emplace(id, Call{std::move(order), std::move(done), std::move(lane), waiting});
  return id;
}

void CallRunner::cancel(CallId id) {
  const auto found = calls_.find(id);
  if (found == calls_.end()) return;
  if (auto* running = std::get_if<Running>(&found->second.state)) {
    retire(std::move(running->process));
  }
  calls_.erase(found);
  std::erase_if(ended_, [&](const Ended& ended) { return ended.id == id; });
}

// SIGKILL is sent: the agent does nothing more, even if the kernel takes its time to bury it.
void CallRunner::retire(AgentProcess process) {
  process.kill_all();
  if (process.exit_fd() >= 0) dying_.push_back(std::move(process));
}

void CallRunner::wait_and_run(int wake_fd) {
  admit(Clock::now());
  std::vector<pollfd> fds{{wake_fd, POLLIN, 0}};
  for (const auto& [id, call] : calls_) {
    const auto* running = std::get_if<Running>(&call.state);
    if (running == nullptr) continue;
    fds.push_back({running->process.exit_fd(), POLLIN, 0});
    if (running->process.output_fd() >= 0) fds.push_back({running->process.output_fd(), POLLIN, 0});
  }
  for (const AgentProcess& process : dying_) fds.push_back({process.exit_fd(), POLLIN, 0});
  ::poll(fds.data(), fds.size(), patience(Clock::now()));
  collect(fds, Clock::now());
  report();
}

// Milliseconds for poll(): until the next deadline or start, -1 when none is known.
int CallRunner::patience(Clock::time_point now) const {
  if (!ended_.empty()) return 0;
  std::optional<Clock::time_point> next;
  for (const auto& [id, call] : calls_) {
    const auto due = std::visit(
        overloaded{[](const Waiting& w) { return w.not_before; },
                   [](const Running& r) { return r.deadline; }},
        call.state);
    // A call that may start and did not waits for another one's end, not for a time.
    if (std::holds_alternative<Waiting>(call.state) && due <= now) continue;
    if (!next || due < *next) next = due;
  }
  if (!next) return -1;
  const auto rest = std::chrono::ceil<std::chrono::milliseconds>(*next - now).count();
  return static_cast<int>(std::clamp<std::int64_t>(rest, 0, INT_MAX));
}

void CallRunner::admit(Clock::time_point now) {
  for (const Urgency urgency : {Urgency::urgent, Urgency::quiet}) {
    for (auto& [id, call] : calls_) {
      const auto* waiting = std::get_if<Waiting>(&call.state);
      if (waiting == nullptr || waiting->not_before > now) continue;
      if (call.order.urgency != urgency) continue;
      const bool over = std::any_of(ended_.begin(), ended_.end(),
                                    [&, own = id](const Ended& e) { return e.id == own; });
      if (!over && make_room(call, now)) spawn(id, call, now);
    }
  }
}

// True when the call may be spawned now.
bool CallRunner::make_room(const Call& call, Clock::time_point now) {
  std::size_t quiet = 0;
  for (auto& [id, other] : calls_) {
    if (!std::holds_alternative<Running>(other.state)) continue;
    if (other.order.urgency == Urgency::quiet) ++quiet;
    if (other.lane != call.lane) continue;
    const bool gives_way =
        call.order.urgency == Urgency::urgent && other.order.urgency == Urgency::quiet;
    if (!gives_way) return false;
    kill(id, other, GaveWay{}, now);
    return true;
  }
  return call.order.urgency == Urgency::urgent || quiet < kQuietCalls;
}

void CallRunner::spawn(CallId id, Call& call, Clock::time_point now) {
  const CallOrder& order = call.order;
  auto prepared = prepare_call(order.device.device, order.action, order.node, search_path_);
  if (!prepared) {
    ended_.push_back({id, {NotStarted{prepared.error().message}, "", Duration(0)}});
    return;
  }
  AgentCall ready = std::move(prepared).value();
  auto process = AgentProcess::spawn(ready, search_path_);
  if (!process) {
    ended_.push_back({id, {NotStarted{process.error().message}, "", Duration(0)}});
    return;
  }
  call.state.emplace<Running>(Running{std::move(process).value(), std::move(ready.secrets), now,
                                      now + order.device.device.timeout});
}

// An agent that has ended is heard before its deadline is looked at: a worker that was held up
// must not take an answer for a timeout.
void CallRunner::collect(const std::vector<pollfd>& fds, Clock::time_point now) {
  std::set<int> ready;
  for (const pollfd& fd : fds) {
    if (fd.revents != 0) ready.insert(fd.fd);
  }
  for (auto& [id, call] : calls_) {
    auto* running = std::get_if<Running>(&call.state);
    if (running == nullptr) continue;
    AgentProcess& process = running->process;
    if (process.output_fd() >= 0 && ready.contains(process.output_fd())) process.read_output();
    if (ready.contains(process.exit_fd())) {
      const AgentProcess::Ended how = process.reap();
      CallEnd end = Exited{how.code};
      if (how.by_signal) end = Crashed{how.code};
      ended_.push_back({id, {std::move(end), process.output().shown(running->secrets),
                             since(running->since, now)}});
      call.state = Waiting{Clock::time_point::max()};  // its lane is free again
    } else if (running->deadline <= now) {
      kill(id, call, TimedOut{}, now);
    }
  }
  std::erase_if(dying_, [&](AgentProcess& process) {
    if (!ready.contains(process.exit_fd())) return false;
    static_cast<void>(process.reap());
    return true;
  });
}

void CallRunner::kill(CallId id, Call& call, CallEnd end, Clock::time_point now) {
  auto& running = std::get<Running>(call.state);
  running.process.read_output();
  ended_.push_back({id, {std::move(end), running.process.output().shown(running.secrets),
                         since(running.since, now)}});
  retire(std::move(running.process));
  call.state = Waiting{Clock::time_point::max()};
}

// What is called back may start and cancel calls.
void CallRunner::report() {
  while (!ended_.empty()) {
    Ended ended = std::move(ended_.front());
    ended_.erase(ended_.begin());
    const auto found = calls_.find(ended.id);
    if (found == calls_.end()) continue;
    const Done done = std::move(found->second.done);
    calls_.erase(found);
    done(ended.result);
  }
}

}  // namespace clusterd
