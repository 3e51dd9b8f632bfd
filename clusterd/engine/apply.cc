#include "clusterd/engine/apply.h"

#include <algorithm>

#include "clusterd/base/archive.h"
#include "clusterd/base/assert.h"
#include "clusterd/base/overloaded.h"
#include "clusterd/engine/apply_detail.h"

namespace clusterd {

using namespace apply_detail;

namespace {

// Replicated time moves by what the sender believed, never back and never far (R15): a wrong
// stamp costs at most a minute. Only a cold start may jump, since nobody's time went on.
void move_time(ClusterState& state, const Message& message) {
  static constexpr Duration kStep{60000};
  const auto* activate = std::get_if<Activate>(&message.body);
  const bool may_jump = activate != nullptr && activate->cold;
  ClusterTime stamp = message.stamp;
  if (!may_jump) stamp = std::min(stamp, state.time + kStep);
  state.time = std::max(state.time, stamp);
}

bool epoch_fits(const ClusterState& state, const Message& message) {
  return std::holds_alternative<Activate>(message.body) ||
         message.epoch == state.position.epoch;
}

Digest chain(Digest before, Digest entry) {
  Hasher hasher;
  write(hasher, before);
  write(hasher, entry);
  return hasher.digest();
}

}  // namespace

Applied apply(ClusterState& state, const LogEntry& entry) {
  CLUSTERD_ASSERT(is_log_entry(entry.message.body));
  state.position.index = state.position.index.next();
  state.position.chain = chain(state.position.chain, entry.digest);
  move_time(state, entry.message);
  if (!epoch_fits(state, entry.message)) return {"planned in another epoch"};

  Entry context{state, entry.sender, entry.message,
                OpId{state.position.epoch, state.position.index}, {}};
  Applied applied;
  applied.refusal = std::visit(
      overloaded{[](const Hello&) { return std::string("not a log entry"); },
                 [](const Ack&) { return std::string("not a log entry"); },
                 [](const Snapshot&) { return std::string("not a log entry"); },
                 [&](const auto& body) { return on(context, body); }},
      entry.message.body);
  applied.note = std::move(context.note);
  expire_departures(state);
  settle_failovers(state);
  return applied;
}

namespace apply_detail {

HistoryEvent& record(ClusterState& state, EventKind kind, std::optional<NodeId> node,
                     std::optional<VmId> vm, std::string text) {
  const std::uint64_t sequence = state.next_event++;
  HistoryEvent event;
  event.sequence = sequence;
  event.at = state.time;
  event.kind = kind;
  event.node = node;
  event.vm = vm;
  event.text = std::move(text);
  const auto added = state.history.emplace(sequence, std::move(event)).first;
  while (state.history.size() > kHistoryLimit) state.history.erase(state.history.begin());
  return added->second;
}

void demand_durable(ClusterState& state) { state.durable_floor = state.position.index; }

std::string on(Entry&, const Mark&) { return {}; }

std::string on(Entry&, const Advance&) { return {}; }

}  // namespace apply_detail
}  // namespace clusterd
