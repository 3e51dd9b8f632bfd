#include "tests/sim/storyteller.h"

#include <cctype>
#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <string_view>
#include <utility>

#include "clusterd/engine/report.h"
#include "tests/sim/words.h"

namespace clusterd::sim {
namespace {

constexpr std::string_view kBelow = "                       ";

std::string time_of_day(ClusterTime time) {
  const std::int64_t ms = time.ms % 86'400'000;
  char text[32];
  std::snprintf(text, sizeof text, "%02" PRId64 ":%02" PRId64 ":%02" PRId64 ".%03" PRId64,
                ms / 3'600'000, ms / 60'000 % 60, ms / 1000 % 60, ms % 1000);
  return text;
}

std::string date(ClusterTime time) {
  const std::chrono::sys_days day(
      std::chrono::duration_cast<std::chrono::days>(std::chrono::milliseconds(time.ms)));
  const std::chrono::year_month_day ymd(day);
  char text[32];
  std::snprintf(text, sizeof text, "%04d-%02u-%02u", static_cast<int>(ymd.year()),
                static_cast<unsigned>(ymd.month()), static_cast<unsigned>(ymd.day()));
  return text;
}

// What every delivery does: no decision.
bool keeps_books(const Effect& effect) {
  if (const auto* sent = std::get_if<Multicast>(&effect)) {
    return std::holds_alternative<Ack>(sent->message.body);
  }
  return std::holds_alternative<AppendToLog>(effect) || std::holds_alternative<SyncLog>(effect);
}

std::string without_digits(std::string text) {
  std::erase_if(text, [](char c) { return std::isdigit(static_cast<unsigned char>(c)) != 0; });
  return text;
}

std::string why_there(const Controller& controller, ClusterTime now, const StartVm& start) {
  const ClusterState& state = controller.state();
  const auto vm = state.vms.find(start.vm);
  if (vm == state.vms.end()) return {};
  const auto report = explain_vm(state, controller.local_view(), vm->second.name, now);
  std::string text;
  for (const auto& candidate : report->nodes) {
    if (candidate.reason.empty()) continue;
    text += (text.empty() ? "not on " : ", not on ") + candidate.node + ": " + candidate.reason;
  }
  return text.empty() ? text : vm->second.name + " " + text;
}

void add_below(std::string& below, const std::string& text) {
  if (!text.empty()) below += std::string(below.empty() ? "" : "\n") + std::string(kBelow) + text;
}

}  // namespace

void Storyteller::begin(const Controller& controller, const std::string& product) {
  const ClusterState& state = controller.state();
  const auto own = state.nodes.find(controller.self().node);
  const std::string name = own == state.nodes.end() ? "" : " (" + own->second.name + ")";
  const ClusterTime now = controller.cluster_time(Instant{});
  say_("recorded by clusterd " + product + " on node " +
       std::to_string(controller.self().node.value) + name + ", " + date(now) + ", feature level " +
       std::to_string(state.feature_level));
  next_event_ = state.next_event;
  reasons_.clear();
}

bool Storyteller::tell_history(const ClusterState& state, std::string& below) {
  const std::string before = below;
  for (auto event = state.history.lower_bound(next_event_); event != state.history.end(); ++event) {
    add_below(below, "history: " + event->second.text);
  }
  next_event_ = state.next_event;
  return below != before;
}

bool Storyteller::tell_reasons(const Controller& controller, Instant now, std::string& below) {
  const StatusReport status =
      report_status(controller.state(), controller.local_view(), controller.cluster_time(now));
  const std::string before = below;
  std::map<std::string, std::string> reasons;
  const auto note = [&](const std::string& who, const std::string& what) {
    const std::string plain = without_digits(what);
    if (reasons_[who] != plain && !what.empty()) add_below(below, who + " " + what);
    reasons[who] = plain;
  };
  note("this node", status.waiting.empty() ? "" : "waits: " + status.waiting);
  for (const NodeReport& node : status.nodes) {
    note(node.name, node.reason.empty() ? "" : "is " + node.state + ": " + node.reason);
  }
  for (const VmReport& vm : status.vms) {
    note(vm.name, vm.reason.empty() ? "" : "is " + vm.state + ": " + vm.reason);
  }
  reasons_ = std::move(reasons);
  return below != before;
}

void Storyteller::tell(std::uint64_t step, const Controller& controller, Instant now,
                       const Event& event, const Effects& effects) {
  std::string below;
  bool decided = tell_history(controller.state(), below);
  if (std::holds_alternative<InputsDrained>(event)) {
    decided = tell_reasons(controller, now, below) || decided;
  }
  const ClusterTime time = controller.cluster_time(now);
  std::string did;
  for (const Effect& effect : effects) {
    if (keeps_books(effect) && !every_step_) continue;
    decided = true;
    did += (did.empty() ? " -> " : "; ") + words(effect, controller.state());
    const auto* sent = std::get_if<Multicast>(&effect);
    const auto* start = sent == nullptr ? nullptr : std::get_if<StartVm>(&sent->message.body);
    if (start != nullptr) add_below(below, why_there(controller, time, *start));
  }
  if (!decided && !every_step_) return;
  char number[32];
  std::snprintf(number, sizeof number, "%8" PRIu64 "  ", step);
  say_(number + time_of_day(time) + "  " + words(event, controller.state()) + did);
  if (!below.empty()) say_(below);
}

}  // namespace clusterd::sim
