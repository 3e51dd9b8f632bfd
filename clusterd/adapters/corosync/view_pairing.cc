#include "clusterd/adapters/corosync/view_pairing.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "clusterd/base/overloaded.h"

namespace clusterd {

namespace {

// CPG is at most some changes behind; older rings are not asked for any more.
constexpr std::size_t kSnapshots = 16;

// As Corosync's tools print it.
std::string ring_text(RingId ring) {
  char text[40];
  std::snprintf(text, sizeof text, "%x.%llx", ring.node,
                static_cast<unsigned long long>(ring.sequence));
  return text;
}

}  // namespace

void ViewPairing::group_changed(std::vector<GroupMember> members, GroupChangeKind kind) {
  std::sort(members.begin(), members.end());
  stream_.push_back(GroupChange{std::move(members), kind});
}

void ViewPairing::ring_changed(RingId ring, std::set<NodeId> nodes) {
  stream_.push_back(RingChange{ring, std::move(nodes)});
}

void ViewPairing::message(GroupMember sender, std::string bytes) {
  held_bytes_ += bytes.size();
  stream_.push_back(Message{sender, std::move(bytes)});
}

// A newer word of quorum counts against what it said before, never for it: a ring that is quorate
// again is told so by itself.
void ViewPairing::quorum_lost() {
  quorate_now_ = false;
  for (auto& snapshot : snapshots_) snapshot.facts.quorate = false;
}

void ViewPairing::quorum_known(QuorumSnapshot snapshot) {
  if (!snapshot.facts.quorate) quorum_lost();
  quorate_now_ = snapshot.facts.quorate;
  std::erase_if(snapshots_, [&](const auto& known) { return known.ring == snapshot.ring; });
  snapshots_.push_back(std::move(snapshot));
  if (snapshots_.size() > kSnapshots) snapshots_.pop_front();
}

bool ViewPairing::complete() const {
  return ring_ && !ring_due_ && std::binary_search(members_.begin(), members_.end(), self_);
}

const QuorumSnapshot* ViewPairing::snapshot_of(RingId ring) const {
  for (const auto& snapshot : snapshots_) {
    if (snapshot.ring == ring) return &snapshot;
  }
  return nullptr;
}

bool ViewPairing::superseded() const {
  return std::any_of(stream_.begin(), stream_.end(), [](const auto& item) {
    return std::holds_alternative<RingChange>(item);
  });
}

bool ViewPairing::delivers_before_next_ring() const {
  if (!early_.empty()) return true;
  for (const auto& item : stream_) {
    if (std::holds_alternative<Message>(item)) return true;
    if (std::holds_alternative<RingChange>(item)) return false;
  }
  return false;
}

void ViewPairing::flush(GroupListener& listener) {
  tell_quorum(listener);
  while (!gone_) {
    if (view_due_ && complete()) {
      const QuorumSnapshot* snapshot = snapshot_of(*ring_);
      if (snapshot != nullptr) {
        announce(listener, snapshot->nodes, snapshot->facts);
      } else if (!superseded()) {
        break;
      } else if (delivers_before_next_ring()) {
        QuorumFacts facts = snapshots_.empty() ? told_ : snapshots_.back().facts;
        facts.quorate = false;
        announce(listener, ring_nodes_, std::move(facts));
      }
    }
    if (stream_.empty()) break;
    take(listener);
  }
  tell_quorum(listener);
}

void ViewPairing::announce(GroupListener& listener, std::set<NodeId> nodes, QuorumFacts facts) {
  view_due_ = false;
  ++views_;
  told_ = std::move(facts);
  listener.on_view(ViewChanged{members_, std::move(nodes), told_});
  for (; !early_.empty(); early_.pop_front()) deliver(listener, early_.front());
}

// Also while a further change waits: the view that the listener knows may have lost its quorum.
void ViewPairing::tell_quorum(GroupListener& listener) {
  if (views_ == 0 || gone_) return;
  const QuorumSnapshot* snapshot = view_due_ || !ring_ ? nullptr : snapshot_of(*ring_);
  QuorumFacts facts = told_;
  if (snapshot != nullptr) {
    facts = snapshot->facts;
  } else if (!quorate_now_) {
    facts.quorate = false;
  }
  if (facts == told_) return;
  told_ = std::move(facts);
  listener.on_quorum(QuorumChanged{told_});
}

void ViewPairing::take(GroupListener& listener) {
  auto item = std::move(stream_.front());
  stream_.pop_front();
  std::visit(overloaded{
                 [&](GroupChange& change) {
                   const bool was_in =
                       std::binary_search(members_.begin(), members_.end(), self_);
                   members_ = std::move(change.members);
                   const bool is_in =
                       std::binary_search(members_.begin(), members_.end(), self_);
                   gone_ = was_in && !is_in;
                   view_due_ = true;
                   if (change.kind == GroupChangeKind::with_ring) ring_due_ = true;
                 },
                 [&](RingChange& change) {
                   // Corosync tells the ring of the moment of joining, perhaps twice.
                   if (ring_ == change.ring && !ring_due_) return;
                   ring_ = change.ring;
                   ring_nodes_ = std::move(change.nodes);
                   ring_due_ = false;
                   view_due_ = true;
                 },
                 [&](Message& message) {
                   if (view_due_) {
                     early_.push_back(std::move(message));
                   } else {
                     deliver(listener, message);
                   }
                 },
             },
             item);
}

void ViewPairing::deliver(GroupListener& listener, const Message& message) {
  held_bytes_ -= message.bytes.size();
  listener.on_message(message.sender, message.bytes);
}

std::string ViewPairing::position() const {
  std::string text = ring_ ? "CPG is at ring " + ring_text(*ring_) : "CPG has told no ring";
  if (ring_due_) text += " and has not told the next one";
  text += snapshots_.empty() ? ", quorum has told none"
                             : ", quorum is at " + ring_text(snapshots_.back().ring);
  return text;
}

}  // namespace clusterd
