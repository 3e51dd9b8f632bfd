// A boot that was proven dead and lives (R21): its VMs may run elsewhere by now, so every copy here
// is destroyed at once. When nothing of it is left it is as dead as the proof said, and the daemon
// comes back as a new boot of the same machine. S1 does not rest on this: it makes a false proof
// short.
#include <algorithm>

#include "clusterd/engine/controller_impl.h"

namespace clusterd {
namespace {

constexpr Duration kTellAgain{5000};
constexpr Duration kLookAgain{1000};

}  // namespace

// Only from a view whose word is final: whatever another history says, VMs of that boot may have
// been started elsewhere.
void Controller::Impl::tell_condemned() {
  const bool final_word = state.accepted && state.view.authority == Authority::established;
  if (!is_coordinator() || !final_word) return;
  std::erase_if(condemned_told, [&](const auto& told) {
    const Member* member = member_of(state, told.first);
    return member == nullptr || !state.nodes.at(told.first).dead.contains(member->boot);
  });
  for (const auto& [id, member] : state.view.members) {
    if (member.boot == BootId{} || !state.nodes.at(id).dead.contains(member.boot)) continue;
    const auto told = condemned_told.find(id);
    if (told == condemned_told.end() || now - told->second >= kTellAgain) {
      condemned_told[id] = now;
      multicast_once(Condemn{{id, member.boot}});
    }
    wake_at(condemned_told[id] + kTellAgain);
  }
}

void Controller::Impl::begin_purge() {
  if (purge) return;
  log("this boot was proven dead: its VMs may run elsewhere, and are destroyed here");
  waiting = "this boot was proven dead: its VMs are destroyed, then it comes back as a new boot";
  purge.emplace();
  for (const VmId& vm : guarded) purge->emplace(vm, PurgeStep{});
}

void Controller::Impl::purge_guests() {
  if (!purge) return;
  bool left = false;
  for (auto& [vm, step] : *purge) {
    if (step.gone) continue;
    left = true;
    if (step.look != 0 || step.stop) continue;
    if (now < step.next) {
      wake_at(step.next);
      continue;
    }
    step.look = next_look++;
    effects.push_back(RevokeAndLook{purge_op(), vm, step.look});
  }
  if (left) return;
  if (!purged_once) {
    // What was under way while others were destroyed may have come up since.
    purged_once = true;
    for (auto& [vm, step] : *purge) step.gone = false;
    purge_guests();
    return;
  }
  effects.push_back(
      Exit{1, "nothing of this boot runs any more: it comes back as a new one", true});
  wake_at(now + kLookAgain);  // if the new boot cannot be written down
}

// False: it is no look of a purge.
bool Controller::Impl::purge_looked(const LookedUp& event) {
  if (!purge) return false;
  const auto found = purge->find(event.vm);
  if (found == purge->end() || found->second.look != event.look) return false;
  PurgeStep& step = found->second;
  step.look = 0;
  if (!event.found) {
    step.next = now + kLookAgain;
  } else if (event.found->state == DomainState::absent) {
    step.gone = true;
  } else {
    purged_once = false;
    step.stop = purge_op();
    effects.push_back(DispatchStop{*step.stop, event.vm, Duration(0), timers().destroy_timeout});
  }
  return true;
}

// However it ended: the next look tells.
bool Controller::Impl::purge_stopped(const VmOperationEnded& event) {
  if (!purge) return false;
  const auto found = purge->find(event.vm);
  if (found == purge->end() || found->second.stop != event.op) return false;
  found->second.stop.reset();
  found->second.next = event.outcome == Outcome::done ? now : now + kLookAgain;
  return true;
}

}  // namespace clusterd
