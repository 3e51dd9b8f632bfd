// Early confirmation (R18): a member fell silent, the ring does not know it yet. Reading its power
// takes no action and needs no quorum; what it finds counts only in the view that has lost the
// member. If the host has lost its power, the failover then waits for no fence.
#include <algorithm>

#include "clusterd/engine/controller_impl.h"

namespace clusterd {
namespace {

// A BMC that resets, or that answers from memory, may say off once.
constexpr Duration kApart{1000};
// Between two readings that told nothing.
constexpr Duration kPause{500};

bool all_say(const PowerOperationEnded& ended, Power power) {
  return !ended.readings.empty() &&
         std::all_of(ended.readings.begin(), ended.readings.end(),
                     [power](const auto& reading) { return reading.second == power; });
}

}  // namespace

void Controller::Impl::on(const PeersSilent& event) { silent = event.silent; }

// One reads, so that a BMC is not asked by all at once: the lowest member that is heard.
bool Controller::Impl::reads_early() const {
  for (const auto& [id, member] : state.view.members) {
    if (id == self.node) return true;
    if (!silent.contains(id)) return false;
  }
  return false;
}

void Controller::Impl::look_early() {
  for (auto look = early.begin(); look != early.end();) {
    const auto node = state.nodes.find(look->first);
    // Heard again, proven dead, or there with another boot: its silence is over.
    const Member* member = member_of(state, look->first);
    const bool over = !silent.contains(look->first) || node == state.nodes.end() ||
                      node->second.dead.contains(look->second.boot) ||
                      (member != nullptr && member->boot != look->second.boot);
    if (!over) {
      ++look;
      continue;
    }
    if (look->second.reading) effects.push_back(CancelPower{*look->second.reading});
    look = early.erase(look);
  }
  begin_early_looks();
  claim_early();
}

// Only of members whose boot this node has in its state: the reading must have begun after it knew
// that boot to be alive.
void Controller::Impl::begin_early_looks() {
  if (synced_here() && reads_early()) {
    for (const NodeId& id : silent) {
      const Member* member = member_of(state, id);
      const NodeDeclaration* declaration = node_declaration(state, id);
      if (id == self.node || member == nullptr || member->boot == BootId{} ||
          declaration == nullptr || declaration->fencing.empty() ||
          !state.nodes.at(id).facts.never_sleeps) {
        continue;
      }
      early.try_emplace(id, EarlyLook{.boot = member->boot, .next = now});
    }
  }
  for (auto& [id, look] : early) {
    // Once the view has lost it, it is fenced.
    const bool wanted = member_of(state, id) != nullptr && view && view->quorum.quorate &&
                        look.proof.empty() && !look.on;
    if (!wanted || look.reading) continue;
    if (now < look.next) {
      wake_at(look.next);
    } else {
      read_early(id, look);
    }
  }
}

void Controller::Impl::read_early(NodeId id, EarlyLook& look) {
  auto levels = devices_of(id, false);
  if (levels.empty()) return;
  look.level %= levels.size();
  look.reading = reading_op();
  look.begun = now;
  effects.push_back(DispatchPower{*look.reading, PowerOpKind::read_power, id,
                                  node_name(state, id), {std::move(levels[look.level])}, 0});
}

// False: it is no early reading that ended.
bool Controller::Impl::end_early(const PowerOperationEnded& event) {
  if (event.op.epoch != Epoch(0)) return false;
  const auto found = early.find(event.target);
  if (found == early.end() || found->second.reading != event.op) return true;
  EarlyLook& look = found->second;
  look.reading.reset();
  const bool off = event.outcome == Outcome::done && all_say(event, Power::off);
  look.on = std::any_of(event.readings.begin(), event.readings.end(),
                        [](const auto& reading) { return reading.second == Power::on; });
  if (!off) {
    look.first_off.reset();
    ++look.level;
    look.next = now + kPause;
    return true;
  }
  if (!look.first_off) {
    look.first_off = now;
    // An agent asks at its end: begun so early, the next one answers in time.
    look.next = now + std::max(kApart - (now - look.begun), Duration(0));
  } else if (now - *look.first_off >= kApart) {
    look.proof = event.level;
  } else {
    look.next = now;
  }
  return true;
}

// What was found counts in a view that has lost the boot, and only there (R16).
void Controller::Impl::claim_early() {
  if (!may_act()) return;
  for (auto& [id, look] : early) {
    const NodeState& node = state.nodes.at(id);
    const bool lost = node.loss && node.loss->boot == look.boot && member_of(state, id) == nullptr;
    if (!lost || look.proof.empty() || look.claimed == view_epoch) continue;
    look.claimed = view_epoch;  // once: if it is refused, a fence will tell
    multicast_once(FoundOff{{id, look.boot}, look.proof});
  }
}

}  // namespace clusterd
