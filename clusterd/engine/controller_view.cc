// Membership, the log, state transfer, acknowledgements, and judging who stays silent.
#include <algorithm>

#include "clusterd/base/archive.h"
#include "clusterd/engine/controller_impl.h"

namespace clusterd {
namespace {

constexpr std::uint64_t kDigestEvery = 64;  // R29
constexpr std::size_t kDigestsKept = 4;
constexpr Duration kTransferPatience{30000};
constexpr std::size_t kWatched = 4096;  // unacknowledged positions remembered, for judging only

Digest state_digest(const ClusterState& state) {
  Hasher hasher;
  write(hasher, state);
  return hasher.digest();
}

}  // namespace

void Controller::Impl::hello() {
  Hello said;
  said.name = view->quorum.names.count(self.node) != 0 ? view->quorum.names.at(self.node) : "";
  said.cluster = state.cluster;
  said.machine = self.machine;
  said.boot = self.boot;
  said.position = state.position;
  const Member* member = member_of(state, self.node);
  said.in_last_activate = member != nullptr && member->phase == MemberPhase::synced;
  said.condition = condition;
  said.unbroken = unbroken;
  said.accepted = state.accepted;
  said.wait_for_all = view->quorum.wait_for_all;
  said.ha_domains = ha_domains;
  hello_sent = now;
  multicast(said);
}

void Controller::Impl::hear(const Delivered& event, const Hello& said) {
  const bool foreign =
      state.cluster != ClusterId{} && said.cluster != ClusterId{} && said.cluster != state.cluster;
  if (foreign) {
    waiting = said.name + " belongs to another cluster (" + said.cluster.str() + ")";
    log(waiting + ": it is left out");
    return;
  }
  const bool heard = hellos.contains(event.sender.node);
  if (activated && !heard && reopens(said, opened_by, view_epoch)) {
    log(said.name + " has a newer state than the one that opened this view: it is opened again");
    open_view();
    return;
  }
  hellos[event.sender.node] = HeardHello{said, event.message.incarnation};
  // One of an earlier view that comes only now is not what we have to say.
  if (event.sender.node == self.node && event.message.incarnation == self.incarnation) {
    hello_delivered = member_synced || said.position == state.position;
  }
}

void Controller::Impl::deliver_entry(const Delivered& event) {
  const LogEntry entry{event.sender.node, event.message, event.digest};
  const bool own = event.message.incarnation == self.incarnation;
  if (const auto* activate = std::get_if<Activate>(&event.message.body)) {
    deliver_activate(entry, *activate);
    return;
  }
  // Void until a view is installed, and for ever if it came from another epoch (R2, R4). Our own
  // is noticed here and asked for anew.
  const bool counts = activated && event.message.epoch == view_epoch;
  if (own) note_own(event.message.body);
  if (!counts) return;
  const auto* condemn = std::get_if<Condemn>(&event.message.body);
  const bool condemned = condemn != nullptr && condemn->host == self_host();
  const bool in_force = member_synced && synced_member(state, self.node) != nullptr;
  if (condemned && !in_force) begin_purge();
  if (member_synced) {
    apply_entry(entry);
    return;
  }
  // Nobody takes another state before all have heard of its own: it may be the newer one.
  if (!joining || !hello_delivered) return;
  if (const auto* mark = std::get_if<Mark>(&event.message.body)) {
    joining->mark = mark->mark;
    joining->buffered.clear();
    return;
  }
  if (joining->mark) joining->buffered.push_back(entry);
}

void Controller::Impl::deliver_activate(const LogEntry& entry, const Activate& activate) {
  std::string no;
  if (activate.admits != activated) {
    no = activated ? "the view is active already" : "the view is not active yet";
  } else if (!activated) {
    no = check_activate(entry.sender, activate, *view, hellos);
  } else if (activate.epoch != next_epoch(hellos, entry.sender, view_epoch)) {
    no = "it does not follow the active epoch";
  }
  if (!no.empty()) {
    log("an Activate of " + node_name(state, entry.sender) + " does not count: " + no);
    return;
  }
  const bool first = !activated;
  activated = true;
  view_epoch = activate.epoch;
  under_way.clear();  // of the epoch before
  if (first) {
    if (!activate.founding) opened_by = hellos.at(entry.sender).hello;
    const auto own = activate.members.find(self.node);
    const bool synced = own != activate.members.end() && own->second.phase == MemberPhase::synced &&
                        own->second.incarnation == self.incarnation;
    if (synced && !activate.founding && opened_by.position != state.position) {
      effects.push_back(Exit{1, "an Activate rests on a Hello that is out of date: starting over"});
      return;
    }
    if (!synced) {
      joining.emplace();
      unbroken = false;
      waiting = "waits for the state of a synced member";
      return;
    }
    member_synced = true;
  } else if (!member_synced) {
    if (joining && joining->mark) joining->buffered.push_back(entry);
    return;
  }
  acks.clear();
  applied_at.clear();
  floors_at.clear();
  last_ack = Ack{};
  apply_entry(entry);
  const Member* member = member_of(state, self.node);
  if (member != nullptr && !member->inventory_done) list_needed = true;
}

void Controller::Impl::apply_entry(const LogEntry& entry) {
  const ClusterTime before = state.time;
  const bool founded = state.cluster == ClusterId{};
  const Applied applied = apply(state, entry);
  if (state.time != before || !time_known) time_anchor = now;
  time_known = true;
  if (!applied.refusal.empty()) {
    log("entry " + std::to_string(state.position.index.value) + " of " +
        node_name(state, entry.sender) + " did nothing: " + applied.refusal);
  }
  if (entry.message.incarnation == self.incarnation) {
    note_delivered(entry.message.body, applied);
  }
  changed = true;
  applied_at.emplace_back(state.position.index, now);
  if (applied_at.size() > kWatched) applied_at.pop_front();
  if (state.durable_floor == state.position.index) {
    floors_at.emplace_back(state.durable_floor, now);
    if (floors_at.size() > kWatched) floors_at.pop_front();
  }
  if (const auto* mark = std::get_if<Mark>(&entry.message.body)) {
    const bool ours = entry.message.incarnation == self.incarnation;
    if (ours && applied.refusal.empty()) effects.push_back(SendSnapshot{mark->mark});
  }
  if (founded) {
    // The first entry of a cluster: a snapshot marks the store as initialised.
    condition = StoreCondition::intact;
    sync_asked = state.position.index;
    effects.push_back(InstallState{sync_asked});
  } else {
    effects.push_back(AppendToLog{});
  }
  after_apply();
}

void Controller::Impl::after_apply() {
  if (state.position.index.value % kDigestEvery == 0) {
    digests[state.position.index.value] = state_digest(state);
    while (digests.size() > kDigestsKept) digests.erase(digests.begin());
  }
  const Member* member = member_of(state, self.node);
  const bool ours = member != nullptr && member->incarnation == self.incarnation;
  if (ours && member->phase == MemberPhase::synced) {
    if (joining) joining.reset();
    unbroken = view->quorum.quorate;
    waiting.clear();
  }
  if (ours && member->phase == MemberPhase::demoted) {
    if (diverged) effects.push_back(SetStateAside{});
    effects.push_back(Exit{1, "the other members set this daemon aside; starting over"});
  }
  make_durable();
}

// The files that make libvirt's hook guard a VM become durable before the position that knows
// the VM does: nothing can start it anywhere before every synced member guards it (R23).
void Controller::Impl::make_durable() {
  for (const auto& [id, vm] : state.vms) {
    if (guarded.insert(id).second) effects.push_back(Protect{id});
  }
  if (state.durable_floor > sync_asked) sync_log();
}

void Controller::Impl::sync_log() {
  sync_asked = state.position.index;
  unsynced_since.reset();
  effects.push_back(SyncLog{sync_asked});
}

// What nothing waits for becomes durable a moment later: a power cut of all hosts costs the
// history no more than this.
void Controller::Impl::keep_log() {
  static constexpr Duration kLatest{1000};
  if (state.position.index <= sync_asked || condition != StoreCondition::intact) {
    unsynced_since.reset();
    return;
  }
  if (!unsynced_since) unsynced_since = now;
  if (now - *unsynced_since >= kLatest) {
    sync_log();
  } else {
    deadline = std::min(deadline, *unsynced_since + kLatest);
  }
}

void Controller::Impl::on(const SnapshotArrived& event) {
  if (!joining || joining->caught_up || joining->mark != event.mark) return;
  const bool foreign = state.cluster != ClusterId{} && event.state.cluster != state.cluster;
  if (foreign) {
    waiting = "this host belongs to cluster " + state.cluster.str() +
              ": it does not take the state of another one";
    return;
  }
  // Meant for others: a condemned boot is given none (R21).
  if (is_dead(event.state, self_host())) return;
  std::vector<LogEntry> buffered = std::move(joining->buffered);
  joining->buffered.clear();
  joining->caught_up = true;
  state = event.state;
  for (const LogEntry& entry : buffered) apply(state, entry);
  time_anchor = now;
  time_known = true;
  condition = StoreCondition::intact;
  member_synced = true;
  changed = true;
  applied_at.clear();
  digests.clear();
  list_needed = true;
  for (const auto& [id, vm] : state.vms) {
    if (guarded.insert(id).second) effects.push_back(Protect{id});
  }
  sync_asked = state.position.index;
  installing = durable = sync_asked;  // durable when the effect is carried out, or this daemon ends
  effects.push_back(InstallState{sync_asked});
}

// Again until it counts: a member admitted meanwhile opens an epoch, and what was sent in the one
// before is void (R2).
void Controller::Impl::say_synced() {
  if (!joining || !joining->caught_up) return;
  const Member* member = member_of(state, self.node);
  if (member == nullptr || member->incarnation != self.incarnation) return;
  if (!awaits_state(self.node, *member)) return;
  multicast_once(Synced{state.position.index, state.position.chain});
}

// A condemned boot, or another machine under this node id, is given none.
bool Controller::Impl::awaits_state(NodeId id, const Member& member) const {
  const NodeState& node = state.nodes.at(id);
  return member.phase == MemberPhase::joining && member.boot != BootId{} &&
         node.machine == member.machine && !node.dead.contains(member.boot);
}

void Controller::Impl::keep_view() {
  static constexpr Duration kAgain{500};
  if (!view) return;
  if (!hello_delivered) {
    if (now - hello_sent >= kAgain) hello();
    wake_at(hello_sent + kAgain);
  } else if (activated) {
    admit_late();
  } else if (!view->quorum.quorate) {
    waiting = "this node is not quorate: nothing is started, moved or fenced from here";
  } else if (founding && check_founding(*view, hellos).empty()) {
    found();
  } else {
    activate_in_turn();
  }
}

// A member that was silent when the view was installed has spoken: a further Activate brings it
// in as a joiner.
void Controller::Impl::admit_late() {
  if (!is_coordinator()) return;
  std::map<NodeId, Member> members = state.view.members;
  bool late = false;
  for (auto& [id, member] : members) {
    const auto heard = hellos.find(id);
    if (member.boot != BootId{} || heard == hellos.end()) continue;
    member.boot = heard->second.hello.boot;
    member.machine = heard->second.hello.machine;
    member.incarnation = heard->second.incarnation;
    late = true;
  }
  if (!late) return;
  Activate again = build_activate(self.node, *view, hellos, state, cluster_now());
  again.epoch = next_epoch(hellos, self.node, view_epoch);
  again.members = std::move(members);
  again.trusted = state.accepted;
  again.cold = false;
  again.admits = true;
  multicast_once(std::move(again));
}

void Controller::Impl::found() {
  Activate first = build_activate(self.node, *view, hellos, state, cluster_now());
  for (auto& [id, member] : first.members) member.phase = MemberPhase::synced;
  first.trusted = true;
  first.cold = true;
  // Unique without drawing randomness here: boot and incarnation of the founder are random.
  Hasher hasher;
  write(hasher, self.boot);
  write(hasher, self.incarnation);
  Uuid uuid = self.boot.uuid;
  const std::uint64_t salt = hasher.digest().value;
  for (std::size_t i = 0; i < 8; ++i) uuid.bytes[i] ^= static_cast<std::uint8_t>(salt >> (8 * i));
  first.founding = Founding{ClusterId{uuid}, founding->second};
  multicast_once(std::move(first));
}

void Controller::Impl::activate_in_turn() {
  const std::vector<NodeId> order = candidates(hellos);
  const auto mine = std::find(order.begin(), order.end(), self.node);
  if (mine == order.end()) {
    const bool blank = std::all_of(hellos.begin(), hellos.end(), [](const auto& heard) {
      return heard.second.hello.condition == StoreCondition::blank;
    });
    waiting = blank ? "no cluster is founded here yet: run `clusterctl init NAME` on one node"
                    : "waits for a member with an intact state";
    return;
  }
  // Warm: wait for those who were synced; cold: for everybody; at most hello_timeout (R13).
  const bool warm = std::any_of(hellos.begin(), hellos.end(),
                                [](const auto& heard) { return heard.second.hello.unbroken; });
  bool complete = true;
  for (const GroupMember& process : view->members) {
    const bool expected = !warm || synced_member(state, process.node) != nullptr;
    if (expected && !hellos.contains(process.node)) complete = false;
  }
  const auto turn = static_cast<std::int64_t>(mine - order.begin()) + (complete ? 0 : 1);
  Instant due = view_since + timers().hello_timeout * turn;
  Activate activate = build_activate(self.node, *view, hellos, state, cluster_now());
  // Hosts that boot one after the other are quorate before the daemons of a majority are there:
  // what opens now would need an operator's word, and the next Hello may be the one that makes it
  // need none (R10). When nobody more can come there is nothing to wait for.
  const bool all_here = std::all_of(
      view->quorum.names.begin(), view->quorum.names.end(),
      [&](const auto& node) { return hellos.contains(node.first); });
  if (!activate.trusted && !all_here) {
    waiting = "too few hosts with an intact state are here (" + std::to_string(hellos.size()) +
              " of " + std::to_string(view->quorum.names.size()) +
              " daemons): it waits for more of them";
    due += state.config.cluster.startup_wait;
  }
  if (now < due) {
    wake_at(due);
    return;
  }
  multicast_once(std::move(activate));
}

void Controller::Impl::transfer() {
  if (!is_coordinator()) return;
  std::string who;
  for (const auto& [id, member] : state.view.members) {
    if (!awaits_state(id, member)) continue;
    who += std::to_string(id.value) + "/" + std::to_string(member.incarnation.value) + " ";
  }
  // One transfer at a time for the same joiners in one epoch; a view change voids and renews it,
  // and one that leads nowhere is begun again.
  if (who.empty()) return;
  const auto [begun, fresh] = transfers.emplace(std::to_string(view_epoch.value) + " " + who, now);
  if (!fresh && now - begun->second < kTransferPatience) {
    wake_at(begun->second + kTransferPatience);
    return;
  }
  begun->second = now;
  const std::uint64_t mark = (self.incarnation.value << 16) + next_mark++;
  multicast(Mark{mark});
}

void Controller::Impl::acknowledge() {
  if (!activated || !member_synced) return;
  Ack ack;
  ack.applied = state.position.index;
  ack.durable = durable;
  if (!digests.empty()) {
    ack.digest_at = LogIndex(digests.rbegin()->first);
    ack.digest = digests.rbegin()->second;
  }
  if (ack.applied == last_ack.applied && ack.durable == last_ack.durable) return;
  last_ack = ack;
  multicast(ack);
}

namespace {

// What the state at one position is, by the synced members' word: the digest of more than half of
// them; when all have spoken, the most frequent one, of equals the lowest node's.
std::optional<Digest> agreed(const ClusterState& state, const std::map<NodeId, Digest>& told) {
  std::size_t synced = 0;
  std::size_t spoken = 0;
  std::map<Digest, std::size_t> count;
  std::optional<Digest> best;
  for (const auto& [id, member] : state.view.members) {
    if (member.phase != MemberPhase::synced) continue;
    ++synced;
    const auto word = told.find(id);
    if (word == told.end()) continue;
    ++spoken;
    ++count[word->second];
    if (!best) best = word->second;
  }
  for (const auto& [digest, times] : count) {
    if (times > count[*best]) best = digest;
  }
  const bool decided = best && (count[*best] * 2 > synced || spoken == synced);
  return decided ? best : std::nullopt;
}

}  // namespace

// Who differs stops acting and starts over with the others' state; they set it aside, and say so.
void Controller::Impl::count_digest(NodeId node, const Ack& ack) {
  if (ack.digest_at == LogIndex{}) return;
  std::map<NodeId, Digest>& told = told_digests[ack.digest_at.value];
  const bool fresh = told.insert_or_assign(node, ack.digest).second;
  if (!fresh) return;  // said before: only the position acknowledged has moved
  const std::optional<Digest> truth = agreed(state, told);
  const auto own = told.find(self.node);
  if (truth && own != told.end()) {
    const std::string where = " at position " + std::to_string(ack.digest_at.value);
    if (own->second != *truth && !diverged) {
      diverged = now;
      log("this replica differs from the other members'" + where +
          ": it does nothing any more, and takes theirs over; the state is kept as "
          "state.diverged for a report of this bug");
    }
    const auto first = std::find_if(told.begin(), told.end(), [&](const auto& word) {
      return word.second == *truth && synced_member(state, word.first) != nullptr;
    });
    for (const auto& [id, digest] : told) {
      const Member* other = synced_member(state, id);
      if (digest == *truth || other == nullptr || first->first != self.node) continue;
      multicast_once(Demote{
          id, other->incarnation,
          "its replica differs from the other members'" + where + ": it starts over with theirs"});
    }
  }
  while (told_digests.size() > kDigestsKept) told_digests.erase(told_digests.begin());
}

// The others' Demote comes first, if there are enough of them: it stands in the history.
void Controller::Impl::start_over() {
  static constexpr Duration kPatience{2000};
  if (!diverged) return;
  wake_at(*diverged + kPatience);
  if (now - *diverged < kPatience) return;
  effects.push_back(SetStateAside{});
  effects.push_back(Exit{1, "this replica differs from the other members': starting over"});
}

bool Controller::Impl::stable(LogIndex index) const {
  return std::all_of(state.view.members.begin(), state.view.members.end(), [&](const auto& member) {
    if (member.second.phase != MemberPhase::synced) return true;
    const auto ack = acks.find(member.first);
    return ack != acks.end() && ack->second.applied >= index;
  });
}

bool Controller::Impl::durable_everywhere(LogIndex index) const {
  return std::all_of(state.view.members.begin(), state.view.members.end(), [&](const auto& member) {
    if (member.second.phase != MemberPhase::synced) return true;
    const auto ack = acks.find(member.first);
    return ack != acks.end() && ack->second.durable >= index;
  });
}

// Who does not acknowledge holds everybody's effects up: after a while it is set aside (R13).
void Controller::Impl::judge() {
  if (!may_act()) return;
  while (!applied_at.empty() && stable(applied_at.front().first)) applied_at.pop_front();
  while (!floors_at.empty() && durable_everywhere(floors_at.front().first)) floors_at.pop_front();
  // The coordinator judges after one ack_timeout, the k-th synced member after k.
  std::int64_t turn = 1;
  for (const auto& [id, member] : state.view.members) {
    if (id == self.node) break;
    if (member.phase == MemberPhase::synced) ++turn;
  }
  const Duration patience = timers().ack_timeout * turn;
  const auto overdue = [&](const auto& waits) {
    if (waits.empty()) return false;
    const Instant due = std::max(waits.front().second, judge_from) + patience;
    if (now < due) wake_at(due);
    return now >= due;
  };
  const bool applied_late = overdue(applied_at);
  const bool durable_late = overdue(floors_at);
  if (!applied_late && !durable_late) return;
  for (const auto& [id, member] : state.view.members) {
    if (member.phase != MemberPhase::synced || id == self.node) continue;
    const auto found = acks.find(id);
    const Ack ack = found == acks.end() ? Ack{} : found->second;
    const bool behind = (applied_late && ack.applied < applied_at.front().first) ||
                        (durable_late && ack.durable < floors_at.front().first);
    // Without it there would be no majority: nothing but its answer helps.
    if (!behind || !synced_majority(state, id)) continue;
    const std::string reason =
        "its daemon has not acknowledged for " + std::to_string(patience.count()) + " ms";
    multicast_once(Demote{id, member.incarnation, reason});
  }
}

// A view acts on its right to when nobody in it can forget that right: a state that claims a newer
// epoch than the others could otherwise win over what they did meanwhile (seed 3571).
void Controller::Impl::establish() {
  if (!is_coordinator() || state.view.authority != Authority::entitled) return;
  if (!stable(state.durable_floor) || !durable_everywhere(state.durable_floor)) return;
  multicast_once(Establish{});
}

void Controller::Impl::keep_time() {
  static constexpr Duration kEvery{30000};
  if (!is_coordinator()) return;
  if (now - time_anchor >= kEvery) multicast_once(Advance{});
  wake_at(time_anchor + kEvery);
}

}  // namespace clusterd
