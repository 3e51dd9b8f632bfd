// What a scenario expects: empty if it is so, otherwise what is the case instead.
#include "clusterd/engine/report.h"
#include "clusterd/engine/reserve.h"
#include "tests/scenario/player.h"

namespace clusterd::scenario {
namespace {

// vm1 shows waiting | vm1 because memory: needs 8 GiB
std::string shown(const std::string& state, const std::string& reason, const Words& condition) {
  const std::string wanted = joined(condition, 2);
  const bool so =
      condition[1] == "shows" ? state == wanted : reason.find(wanted) != std::string::npos;
  return so ? "" : "it shows " + state + ": " + reason;
}

}  // namespace

std::string Player::check(Words condition) const {
  const std::string first = word(condition, 0);
  if (first == "not") {
    condition.erase(condition.begin());
    return check(condition).empty() ? "it is so" : "";
  }
  if (first == "all" && word(condition, 1) == "run") {
    return cluster().all_run() ? "" : "they do not:\n" + cluster().describe();
  }
  if (first == "settled") return cluster().unsettled();
  if (first == "reserve" && word(condition, 1) == "holds") return lost_reserve();
  if (first == "answer") {
    static const std::map<std::string, ReplyCode> kCodes = {{"done", ReplyCode::done},
                                                            {"refused", ReplyCode::refused},
                                                            {"unavailable", ReplyCode::unavailable},
                                                            {"unknown", ReplyCode::unknown}};
    const auto code = kCodes.find(word(condition, 1));
    if (code == kCodes.end()) throw Failure("an answer is done, refused, unavailable or unknown");
    const bool says = answer_.message.find(joined(condition, 2)) != std::string::npos;
    return code->second == answer_.code && says ? "" : "it was: " + answer_.message;
  }
  if (first.starts_with("vm")) return check_vm(condition);
  if (first.starts_with("n")) return check_node(condition);
  return check_count(condition);
}

// Empty if as many hosts may be lost as the cluster wants, else the first set that may not.
std::string Player::lost_reserve() const {
  const ClusterState* state = newest();
  if (state == nullptr) return "no daemon answers";
  const Reserve reserve = reserve_of(*state, state->time);
  if (reserve.ok) return "";
  std::string text = "only " + std::to_string(reserve.tolerated) + " hosts may be lost; not";
  if (reserve.blocking.empty()) return text + " proven";
  for (const NodeId node : reserve.blocking.front().down) text += " " + sim::name_of(node);
  return text;
}

const ClusterState* Player::newest() const {
  if (const sim::SimNode* best = cluster().authority()) return &best->state();
  for (std::uint32_t n = 1; n <= options_.nodes; ++n) {
    if (cluster().node(n).responsive()) return &cluster().node(n).state();
  }
  return nullptr;
}

// As `clusterctl status` tells it there.
StatusReport Player::status() const {
  for (std::uint32_t n = 1; n <= options_.nodes; ++n) {
    const sim::SimNode& at = cluster().node(n);
    if (at.responsive() && &at.state() == newest()) {
      return report_status(at.state(), at.local(), at.state().time);
    }
  }
  throw Failure("no daemon answers");
}

// vm1 on n4 | vm1 nowhere | vm1 held by n1 | vm1 shows unknown | vm1 health suspect
std::string Player::check_vm(const Words& condition) const {
  const std::uint32_t vm = vm_number(condition[0]);
  const std::string& what = word(condition, 1);
  if (what == "on" || what == "nowhere") {
    std::string where;
    for (const NodeId id : cluster().active_on(vm))
      where += (where.empty() ? "" : ",") + sim::name_of(id);
    const std::string wanted = what == "on" ? word(condition, 2) : "";
    return where == wanted ? "" : "it is " + (where.empty() ? "nowhere" : "on " + where);
  }
  if (what == "held") {
    const sim::SimNode* best = cluster().authority();
    if (best == nullptr) return "nobody has authority";
    std::string held;
    for (const auto& [host, sighting] : best->state().vms.at(sim::vm_id(vm)).holders) {
      held += (held.empty() ? "" : ",") + sim::name_of(host.node);
    }
    return held == word(condition, 3) ? "" : "it is held by '" + held + "'";
  }
  if (what == "shows" || what == "because") {
    for (const VmReport& told : status().vms) {
      if (told.name == condition[0]) return shown(told.state, told.reason, condition);
    }
    return "it is not shown at all";
  }
  if (what == "health") {
    for (const VmReport& told : status().vms) {
      if (told.name == condition[0]) {
        return told.health == word(condition, 2) ? "" : "it is " + told.health;
      }
    }
    return "it is not shown at all";
  }
  throw Failure("a VM is on, nowhere, held by, shows, because, or health");
}

// n1 on | n1 off | n1 active | n1 shows unmanaged | n1 has the state
std::string Player::check_node(const Words& condition) const {
  const sim::SimNode& at = node(condition[0]);
  const std::string& what = word(condition, 1);
  if (what == "on" || what == "off") {
    return at.host().powered == (what == "on") ? "" : "it is not";
  }
  if (what == "active") {
    if (!at.running()) return "it has no daemon";
    return at.local().active && at.local().quorate ? "" : "it is not: " + at.local().waiting;
  }
  if (what == "waits") {
    if (!at.running()) return "it has no daemon";
    const std::string text = joined(condition, 2);
    return at.local().waiting.find(text) != std::string::npos ? "" : "'" + at.local().waiting + "'";
  }
  if (what == "shows" || what == "because") {
    for (const NodeReport& told : status().nodes) {
      if (told.name == condition[0]) return shown(told.state, told.reason, condition);
    }
    return "it is not shown at all";
  }
  throw Failure("a node is on, off, active, waits, shows or because");
}

// alarm TEXT; since `found` or the last `mark`: starts 3 | stops 0 | fences 1 | exits 0 |
// told 2 TEXT (events of the history)
std::string Player::check_count(const Words& condition) const {
  if (condition[0] == "alarm") {
    const std::string text = joined(condition, 1);
    std::string others;
    for (const std::string& alarm : status().alarms) {
      if (alarm.find(text) != std::string::npos) return "";
      others += "\n    " + alarm;
    }
    return "the alarms are:" + others;
  }
  if (condition[0] == "told") {
    const std::string text = joined(condition, 2);
    const ClusterState* state = newest();
    if (state == nullptr) return "no daemon answers";
    std::uint64_t times = 0;
    for (const auto& [sequence, event] : state->history) {
      if (sequence >= marked_event_ && event.text.find(text) != std::string::npos) ++times;
    }
    return times == number(word(condition, 1)) ? "" : "it was told " + std::to_string(times);
  }
  const sim::Activity& now = cluster().checkers().activity();
  const std::map<std::string, std::uint64_t> counts = {{"starts", now.starts - marked_.starts},
                                                       {"stops", now.stops - marked_.stops},
                                                       {"fences", now.fences - marked_.fences},
                                                       {"exits", now.exits - marked_.exits}};
  const auto found = counts.find(condition[0]);
  if (found == counts.end()) throw Failure("nothing is known of '" + joined(condition) + "'");
  const std::uint64_t wanted = number(word(condition, 1));
  return found->second == wanted ? "" : "there were " + std::to_string(found->second);
}

}  // namespace clusterd::scenario
