#include "tests/scenario/player.h"

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <sstream>
#include <stdexcept>
#include <utility>

#include "clusterd/codec/wire.h"
#include "tests/scenario/words.h"

namespace clusterd::scenario {
namespace {

using sim::SimTime;

constexpr std::size_t kTraceLines = 1000000;

}  // namespace

// ---- the file
// ------------------------------------------------------------------------------------

Player::Player() {
  options_.trace_lines = kTraceLines;
  options_.backups = 1;
  add_declaring();
  add_faults();
  add_world();
  add_operator();
  add_time();
}

Player::~Player() = default;

Played Player::play(const std::string& text) {
  Played played;
  std::istringstream in(text);
  std::size_t line_number = 0;
  bool failed = false;
  for (std::string line; std::getline(in, line);) {
    ++line_number;
    if (line.starts_with("  ")) continue;  // the timeline of an earlier play
    played.text += line + "\n";
    if (failed || line.empty() || line[0] == '#') continue;
    try {
      run(line);
    } catch (const Failure& failure) {
      failed = true;
      played.failures.push_back("line " + std::to_string(line_number) + ": " + failure.what());
    }
    tell_timeline(played.text);
    if (!failed && cluster_ && cluster_->violated()) {
      const auto& violation = *cluster_->checkers().violation();
      failed = true;
      played.failures.push_back("line " + std::to_string(line_number) + ": violates " +
                                violation.rule + ": " + violation.detail);
    }
  }
  if (!cluster_ && !failed) played.failures.push_back("it never says `found` or `boot`");
  return played;
}

void Player::run(const std::string& line) {
  const Words words = split(line);
  const auto command = commands_.find(words.front());
  if (command == commands_.end()) throw Failure("there is no command '" + words.front() + "'");
  command->second(words);
}

// Lines of the trace since the last command, with the time since the cluster was founded.
void Player::tell_timeline(std::string& text) {
  if (!cluster_) return;
  const auto& lines = cluster_->env().trace.lines();
  for (; told_ < lines.size(); ++told_) {
    std::int64_t whole = 0;
    std::int64_t micro = 0;
    int length = 0;
    std::sscanf(lines[told_].c_str(), "%" SCNd64 ".%" SCNd64 " %n", &whole, &micro, &length);
    const double at = static_cast<double>(whole * 1000000 + micro - zero_.count()) / 1e6;
    char time[32];
    std::snprintf(time, sizeof(time), "  %8.2f ", at);
    text += time + lines[told_].substr(static_cast<std::size_t>(length)) + "\n";
  }
}

sim::SimCluster& Player::cluster() const {
  if (!cluster_) throw Failure("say `found` or `boot` first");
  return *cluster_;
}

sim::SimNode& Player::node(const std::string& name) const {
  const std::uint32_t which = node_number(name);
  if (which < 1 || which > options_.nodes) throw Failure("there is no " + name);
  return cluster().node(which);
}

// ---- time
// ----------------------------------------------------------------------------------------

void Player::add_time() {
  commands_["wait"] = [this](const Words& w) { cluster().run_for(span(word(w, 1))); };
  commands_["settle"] = [this](const Words& w) {
    if (!cluster().settle(span(word(w, 1)))) throw Failure(cluster().unsettled());
  };
  commands_["mark"] = [this](const Words&) { mark(); };
  // repeat 80 apply n1 vm vm1 priority=9
  commands_["repeat"] = [this](const Words& w) {
    for (std::uint64_t n = number(word(w, 1)); n > 0; --n) run(joined(w, 2));
  };
  commands_["when"] = [this](const Words& w) { when(w); };
  // breach S1 wait 10s: meanwhile somebody outside breaks the rule; the play goes on.
  commands_["breach"] = [this](const Words& w) {
    run(joined(w, 2));
    if (!cluster().violated()) throw Failure(word(w, 1) + " was not violated");
    if (cluster().checkers().violation()->rule == word(w, 1)) cluster().checkers().forgive();
  };
  commands_["expect"] = [this](const Words& words) { expect(words); };
  commands_["until"] = [this](const Words& words) { until(words); };
}

void Player::mark() {
  marked_ = cluster().checkers().activity();
  const ClusterState* state = newest();
  marked_event_ = state == nullptr ? 0 : state->next_event;
}

// when StartVm partition n1 n2,n3: at the moment when only the sender of the next such message has
// delivered it. The command must not let time pass.
void Player::when(const Words& words) {
  static const std::vector<std::string> kKinds = {"Hello",
                                                  "Ack",
                                                  "Snapshot",
                                                  "Activate",
                                                  "Leave",
                                                  "Mark",
                                                  "Synced",
                                                  "Demote",
                                                  "Advance",
                                                  "Report",
                                                  "InventoryDone",
                                                  "StartVm",
                                                  "StopVm",
                                                  "OperatePower",
                                                  "VmClosed",
                                                  "PowerClosed",
                                                  "ChangeConfiguration",
                                                  "OrderVm",
                                                  "OrderNode",
                                                  "AcceptState",
                                                  "Establish",
                                                  "OrderCluster",
                                                  "FoundOff",
                                                  "Condemn"};
  static_assert(std::variant_size_v<Body> == 24);
  const auto kind = std::find(kKinds.begin(), kKinds.end(), word(words, 1));
  if (kind == kKinds.end()) throw Failure("there is no message '" + words[1] + "'");
  awaited_ = Awaited{static_cast<std::size_t>(kind - kKinds.begin()), joined(words, 2)};
}

void Player::ordered(const std::string& bytes) {
  if (!awaited_) return;
  const auto decoded = decode(bytes);
  const auto* message = std::get_if<Message>(&decoded);
  if (message == nullptr || message->body.index() != awaited_->kind) return;
  // At once, but not inside the network's own call.
  cluster().env().queue.after(SimTime(0), [this, then = awaited_->then] { run(then); });
  awaited_.reset();
}

// ---- expectations
// --------------------------------------------------------------------------------

void Player::expect(const Words& words) {
  const Words condition(words.begin() + 1, words.end());
  const std::string instead = check(condition);
  if (!instead.empty()) throw Failure("expected " + joined(condition) + ", but " + instead);
}

// until CONDITION within 30s
void Player::until(const Words& words) {
  if (words.size() < 4 || words[words.size() - 2] != "within") {
    throw Failure("until CONDITION within TIME");
  }
  const Words condition(words.begin() + 1, words.end() - 2);
  if (cluster().run_until([&] { return check(condition).empty(); }, span(words.back()))) return;
  if (cluster().violated()) return;
  throw Failure(joined(condition) + " did not come within " + words.back() + ": " +
                check(condition));
}

}  // namespace clusterd::scenario
