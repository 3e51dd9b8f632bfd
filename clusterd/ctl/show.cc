#include "clusterd/ctl/show.h"

#include <cmath>
#include <map>
#include <utility>
#include <vector>

#include "clusterd/ctl/table.h"

namespace clusterd::ctl {
namespace {

std::string text(const Json& json, const char* key) {
  const auto found = json.find(key);
  if (found == json.end() || found->is_null()) return "";
  return found->is_string() ? found->get<std::string>() : found->dump();
}

std::string dash(std::string word) { return word.empty() ? "-" : word; }

std::string painted(const std::string& word, const char* code, bool colour) {
  return colour ? std::string("\033[") + code + "m" + word + "\033[0m" : word;
}

std::string join(const Json& list) {
  std::string joined;
  for (const auto& item : list) joined += (joined.empty() ? "" : " ") + item.get<std::string>();
  return joined;
}

// "+1.234 s", from milliseconds or null.
std::string after(const Json& ms) {
  if (!ms.is_number()) return "-";
  char buffer[32];
  std::snprintf(buffer, sizeof buffer, "+%.3f s", ms.get<double>() / 1000);
  return buffer;
}

std::string clock(const Json& event) {
  const std::string at = text(event, "at");
  return at.size() > 23 ? at.substr(0, 10) + " " + at.substr(11, 12) : at;
}

std::string headline(const Json& cluster, bool colour) {
  if (!cluster.at("founded").get<bool>()) {
    return painted("no cluster", "1;33", colour) + ": " + text(cluster, "waiting") + "\n";
  }
  std::string line = "cluster " + text(cluster, "name") + ": ";
  line += cluster.at("quorate").get<bool>() ? painted("quorate", "32", colour)
                                            : painted("NOT QUORATE", "1;31", colour);
  line += ", epoch " + text(cluster, "epoch") + ", coordinator " +
          dash(text(cluster, "coordinator")) + ", members " + join(cluster.at("members"));
  if (!cluster.at("armed").get<bool>()) line += ", " + painted("DISARMED", "1;33", colour);
  line += "\n";
  if (!cluster.at("active").get<bool>()) {
    line += painted("this node does not follow the cluster now", "1;33", colour) +
            ": what follows is the last it knew\n";
  }
  if (const std::string waiting = text(cluster, "waiting"); !waiting.empty()) {
    line += painted("waits", "1;33", colour) + ": " + waiting + "\n";
  }
  return line;
}

// The pool names the model; without one it is what is known of the CPU.
std::string cpu(const Json& node) {
  const std::string pool = text(node, "cpu_pool");
  return dash(pool.empty() ? text(node, "cpu_model") : pool);
}

// "reserve: 1 of 1 host failures"; empty when it is not known.
std::string reserve_line(const std::string& what, const Json& reserve, bool colour) {
  if (!reserve.is_object()) return "";
  const bool ok = reserve.at("ok").get<bool>();
  std::string line =
      what + ": " + (ok ? painted("ok", "32", colour) : painted("NOT OK", "1;31", colour)) + ", " +
      (reserve.at("at_least").get<bool>() ? "at least " : "") + text(reserve, "tolerated") +
      " host failures can be borne, " + text(reserve, "required") + " must be";
  if (text(reserve, "proof") != "exact") line += " (not decided within the limit of work)";
  line += "\n";
  for (const Json& one : reserve.at("blocking")) {
    const std::string vm = text(one, "vm");
    line += "  without " + join(one.at("down")) +
            (vm.empty() ? " not all have a place" : " no place for " + vm) + "\n";
  }
  if (const std::string remedy = text(reserve, "remedy"); !remedy.empty()) {
    line += "  " + remedy + "\n";
  }
  return line;
}

enum class Columns : std::uint8_t { brief, all };

std::string node_table(const Json& status, Columns columns) {
  const bool all = columns == Columns::all;
  std::vector<std::string> heads{"NODE", "STATE", "ROLE", "VMS", "MEMORY", "FENCE"};
  if (all) heads.emplace_back("CPU POOL");
  heads.emplace_back("REASON");
  Table table(heads);
  for (const auto& node : status.at("nodes")) {
    std::string fence;
    for (const auto& device : node.at("fence_devices")) {
      fence += (fence.empty() ? "" : " ") + text(device, "name") + ":" +
               (device.at("calibrated").get<bool>() ? "ok" : text(device, "reading"));
    }
    std::vector<std::string> row{text(node, "name"),
                                 text(node, "state"),
                                 text(node, "role"),
                                 text(node, "vms"),
                                 human_bytes(node.at("memory_used").get<std::uint64_t>()) + " of " +
                                     human_bytes(node.at("memory_total").get<std::uint64_t>()),
                                 dash(fence)};
    if (all) row.push_back(cpu(node));
    row.push_back(text(node, "reason"));
    table.add(std::move(row));
  }
  return table.str();
}

}  // namespace

std::string show_nodes(const Json& status) {
  return node_table(status, Columns::all);
}

std::string show_vms(const Json& status) {
  Table table({"VM", "STATE", "NODE", "HEALTH", "DESIRED", "REASON"});
  for (const auto& vm : status.at("vms")) {
    table.add({text(vm, "name"), text(vm, "state"), dash(text(vm, "node")), text(vm, "health"),
               text(vm, "desired"), text(vm, "reason")});
  }
  return table.empty() ? "no VM is declared\n" : table.str();
}

std::string show_status(const Json& status, bool colour) {
  std::string out = headline(status.at("cluster"), colour);
  for (const auto& alarm : status.at("alarms")) {
    out += painted("alarm", "1;31", colour) + ": " + alarm.get<std::string>() + "\n";
  }
  if (!status.at("cluster").at("founded").get<bool>()) return out;
  out += reserve_line("reserve", status.at("cluster").at("reserve"), colour);
  out += "\n" + node_table(status, Columns::brief) + "\n" + show_vms(status);
  if (status.at("operations").empty()) return out;
  Table table({"OPERATION", "KIND", "VM", "NODE", "BY", "SINCE"});
  for (const auto& operation : status.at("operations")) {
    table.add({text(operation, "id"), text(operation, "kind"), dash(text(operation, "vm")),
               text(operation, "node"), text(operation, "executor"), text(operation, "since")});
  }
  return out + "\n" + table.str();
}

std::string show_explain(const Json& explain) {
  const Json& vm = explain.at("vm");
  std::string out = text(vm, "name") + " is " + text(vm, "state");
  if (const std::string node = text(vm, "node"); !node.empty()) out += " on " + node;
  out += ", wanted " + text(vm, "desired") + ", health " + text(vm, "health") + "\n";
  for (const auto& why : explain.at("why")) out += "  " + why.get<std::string>() + "\n";
  Table table({"NODE", "COULD IT START THERE?"});
  for (const auto& node : explain.at("nodes")) {
    const std::string reason = text(node, "reason");
    table.add({text(node, "node"), reason.empty() ? "yes" : reason});
  }
  out += "\n" + table.str();
  if (!explain.at("history").empty()) out += "\n";
  for (const auto& event : explain.at("history")) {
    out += clock(event) + "  " + text(event, "text") + "\n";
  }
  return out;
}

std::string show_history(const Json& history) {
  std::string out;
  for (const auto& event : history.at("events")) {
    out += clock(event) + "  " + text(event, "text") + "\n";
  }
  return out;
}

std::string show_failovers(const Json& failovers) {
  Table table({"ID", "AT", "LOST", "VMS", "FENCED", "FIRST ACTIVE", "LAST ACTIVE", "AGENTS", ""});
  for (const auto& record : failovers.at("failovers")) {
    std::string lost;
    for (const auto& node : record.at("lost"))
      lost += (lost.empty() ? "" : " ") + text(node, "node");
    const Json& phases = record.at("phases_ms");
    table.add({text(record, "id"), text(record, "ring_at"), lost,
               std::to_string(record.at("vms").size()), after(phases.at("fenced")),
               after(phases.at("first_active")), after(phases.at("last_active")),
               after(phases.at("agents")), record.at("done").get<bool>() ? "" : "under way"});
  }
  return table.empty() ? "there was no failover\n" : table.str();
}

std::string show_failover(const Json& failovers) {
  std::string out;
  for (const auto& record : failovers.at("failovers")) {
    out += "failover " + text(record, "id") + ", new ring at " + text(record, "ring_at") +
           ", coordinated by " + text(record, "coordinator") + "\n";
    for (const auto& node : record.at("lost")) {
      out += "  " + text(node, "node") + " proven dead " + after(node.at("fenced_ms")) + ": " +
             dash(text(node, "proof")) + "\n";
    }
    Table phases({"PHASE", "AFTER THE NEW RING"});
    for (const auto& [name, ms] : record.at("phases_ms").items()) phases.add({name, after(ms)});
    Table vms({"VM", "FROM", "TO", "PLANNED", "ACTIVE", "CREATE RETURNED", "AGENT"});
    for (const auto& vm : record.at("vms")) {
      vms.add({text(vm, "vm"), text(vm, "from"), dash(text(vm, "to")), after(vm.at("planned_ms")),
               after(vm.at("active_ms")), after(vm.at("create_returned_ms")),
               after(vm.at("agent_ms"))});
    }
    out += "\n" + phases.str() + "\n" + vms.str();
  }
  return out.empty() ? "there is no such failover\n" : out;
}

std::string show_fence_test(const Json& test) {
  Table table({"NODE", "DEVICE", "POWER", "SECONDS", "PROBLEM"});
  for (const auto& node : test.at("nodes")) {
    for (const auto& device : node.at("devices")) {
      table.add({text(node, "node"), text(device, "device"), text(device, "power"),
                 text(device, "seconds"), text(device, "problem")});
    }
  }
  return table.str();
}

std::string show_forecast(const Json& forecast, bool colour) {
  std::string out;
  const auto part = [&](const std::string& text) { out += text + "\n"; };
  if (!forecast.at("assumed").empty()) {
    Table table({"VM", "IS TAKEN TO RUN ON"});
    for (const Json& place : forecast.at("assumed")) {
      table.add({text(place, "vm"), text(place, "node")});
    }
    part(table.str());
  }
  Table actions({"VM", "ACTION", "FROM", "TO"});
  for (const Json& action : forecast.at("actions")) {
    actions.add({text(action, "vm"), text(action, "action"), dash(text(action, "from")),
                 dash(text(action, "to"))});
  }
  part(actions.empty() ? "nothing would start, stop or move\n" : actions.str());
  Table unplaced({"NO PLACE FOR", "NODE", "REASON"});
  std::size_t guaranteed = 0;
  for (const Json& vm : forecast.at("unplaced")) {
    if (vm.at("guaranteed").get<bool>()) ++guaranteed;
    std::string name = text(vm, "vm") + (vm.at("guaranteed").get<bool>() ? "" : " (preemptible)");
    if (const std::string reason = text(vm, "reason"); !reason.empty()) {
      unplaced.add({std::exchange(name, ""), "", reason});
    }
    for (const Json& node : vm.at("reasons")) {
      unplaced.add({std::exchange(name, ""), text(node, "node"), text(node, "reason")});
    }
  }
  if (!unplaced.empty()) part(unplaced.str());
  if (const Json& nodes = forecast.at("degraded"); !nodes.empty()) {
    out += "fuller than they should be (degraded_memory): " + join(nodes) + "\n";
  }
  out += reserve_line("reserve now", forecast.at("reserve_before"), colour);
  out += reserve_line("reserve then", forecast.at("reserve"), colour);
  if (forecast.at("feasible").get<bool>()) {
    return out + painted("feasible", "32", colour) + ": every guaranteed VM has a place\n";
  }
  return out + painted("NOT FEASIBLE", "1;31", colour) + ": " + std::to_string(guaranteed) +
         (guaranteed == 1 ? " guaranteed VM has" : " guaranteed VMs have") + " no place\n";
}

std::string show_doctor(const Json& report, bool colour) {
  static const std::vector<std::pair<std::string, const char*>> kVerdicts = {
      {"problem", "1;31"}, {"warning", "1;33"}, {"ok", "32"}};
  std::string out;
  for (const auto& [verdict, code] : kVerdicts) {
    for (const Json& check : report.at("checks")) {
      if (text(check, "verdict") != verdict) continue;
      out += painted(verdict, code, colour) + " " + text(check, "about") + ": " +
             text(check, "text") + "\n";
    }
  }
  return out;
}

std::string show_rebalance(const Json& rebalance) {
  static const std::map<std::string, std::string> kGood = {
      {"wish", "a wish (prefer) comes true"},
      {"backup", "the backup node is emptied"},
      {"load", "the load becomes more even"}};
  const auto percent = [&](const char* key) {
    return std::to_string(std::lround(rebalance.at(key).get<double>() * 100)) + " %";
  };
  const std::string before = percent("spread_before");
  if (const std::string why = text(rebalance, "hindered"); !why.empty()) {
    return "nothing is to be moved now: " + why + "\n";
  }
  if (rebalance.at("moves").empty()) {
    return "no move pays: the fullest and the emptiest host are " + before + " apart\n";
  }
  Table moves({"VM", "FROM", "TO", "GOOD FOR"});
  for (const Json& move : rebalance.at("moves")) {
    moves.add({text(move, "vm"), text(move, "from"), text(move, "to"),
               kGood.at(text(move, "reason"))});
  }
  return moves.str() + "\nthe fullest and the emptiest host are " + before + " apart, and " +
         percent("spread_after") + " after these moves\n";
}

std::string show_review(const Json& review) {
  std::string out;
  for (const Json& change : review.at("changes")) {
    const std::string path = text(change, "path");
    const std::string op = text(change, "op");
    if (op == "replace") {
      out += "~ " + path + ": " + change.at("before").dump() + " -> " + change.at("after").dump();
    } else {
      const Json& value = change.at(op == "add" ? "after" : "before");
      out += (op == "add" ? "+ " : "- ") + path;
      if (!value.is_object()) out += ": " + value.dump();
    }
    out += "\n";
  }
  if (out.empty()) return "nothing changes\n";
  for (const Json& vm : review.at("through_profile")) {
    out += "~ " + text(vm, "vm") + ": through profile " + text(vm, "profile") + "\n";
  }
  for (const Json& next : review.at("consequences")) {
    const std::string step = text(next, "step");
    const std::string vm = text(next, "vm");
    const std::string node = text(next, "node");
    if (step == "start") out += vm + " will start on " + node + "\n";
    if (step == "stop") out += vm + " will stop on " + node + "\n";
    if (step == "wait") {
      out += vm + " waits" + (node.empty() ? "" : " for " + node) + ": " + text(next, "reason") +
             "\n";
    }
  }
  out += reserve_line("reserve then", review.at("reserve"), false);
  if (const std::string brake = text(review, "brake"); !brake.empty()) {
    out += "nothing starts for now: " + brake + "\n";
  }
  return out;
}

}  // namespace clusterd::ctl
