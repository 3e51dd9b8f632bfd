#include "clusterd/adapters/corosync/corosync_group.h"

#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "clusterd/adapters/corosync/cmap_nodelist.h"

namespace clusterd {

namespace {

constexpr int kDispatchesPerTurn = 64;  // then timers and other descriptors have their turn
constexpr Duration kFirstSendPause{10};
constexpr Duration kLongestSendPause{200};
// Nobody tells when a quorum device's vote comes or goes without a change of quorum.
constexpr Duration kVotesAfterFailure{100};
constexpr Duration kVotesWithDevice{1'000};
constexpr Duration kVotesWithoutDevice{10'000};
// Only ever reached when something is wedged: Corosync delivers nothing during a ring change.
constexpr std::size_t kMaxHeld = 64 * 1024 * 1024;

std::set<NodeId> node_set(const std::uint32_t* nodes, std::size_t count) {
  std::set<NodeId> set;
  for (std::size_t i = 0; i < count; ++i) set.insert(NodeId(nodes[i]));
  return set;
}

bool with_host(const cpg_address* list, std::size_t count) {
  return std::any_of(list, list + count, [](const cpg_address& address) {
    return address.reason == CPG_REASON_NODEDOWN || address.reason == CPG_REASON_NODEUP;
  });
}

}  // namespace

// They run within dispatch: translate, push, return.
struct CorosyncGroup::Calls {
  static CorosyncGroup* of_cpg(cpg_handle_t handle) {
    void* context = nullptr;
    return cpg_context_get(handle, &context) == CS_OK ? static_cast<CorosyncGroup*>(context)
                                                      : nullptr;
  }
  static CorosyncGroup* of_quorum(quorum_handle_t handle) {
    const void* context = nullptr;
    if (quorum_context_get(handle, &context) != CS_OK) return nullptr;
    return static_cast<CorosyncGroup*>(const_cast<void*>(context));
  }

  static void deliver(cpg_handle_t handle, const cpg_name*, std::uint32_t node, std::uint32_t pid,
                      void* bytes, std::size_t size) noexcept {
    CorosyncGroup* self = of_cpg(handle);
    if (self == nullptr || !self->pairing_) return;
    self->pairing_->message({NodeId(node), pid}, {static_cast<const char*>(bytes), size});
  }
  static void group_change(cpg_handle_t handle, const cpg_name*, const cpg_address* members,
                           std::size_t member_count, const cpg_address* left,
                           std::size_t left_count, const cpg_address* joined,
                           std::size_t joined_count) noexcept {
    CorosyncGroup* self = of_cpg(handle);
    if (self == nullptr || !self->pairing_) return;
    std::vector<GroupMember> list;
    for (std::size_t i = 0; i < member_count; ++i) {
      list.push_back({NodeId(members[i].nodeid), members[i].pid});
    }
    const bool hosts = with_host(left, left_count) || with_host(joined, joined_count);
    self->pairing_->group_changed(
        std::move(list), hosts ? GroupChangeKind::with_ring : GroupChangeKind::within_ring);
  }
  static void ring_change(cpg_handle_t handle, cpg_ring_id ring, std::uint32_t count,
                          const std::uint32_t* nodes) noexcept {
    CorosyncGroup* self = of_cpg(handle);
    if (self == nullptr || !self->pairing_) return;
    self->pairing_->ring_changed({ring.nodeid, ring.seq}, node_set(nodes, count));
  }
  static void quorum(quorum_handle_t handle, std::uint32_t quorate, quorum_ring_id ring,
                     std::uint32_t, const std::uint32_t*) noexcept {
    CorosyncGroup* self = of_quorum(handle);
    if (self == nullptr || !self->pairing_) return;
    self->quorum_stream_.quorum_ring = RingId{ring.nodeid, ring.seq};
    self->quorum_stream_.quorate = quorate != 0;
    if (quorate == 0) self->pairing_->quorum_lost();
    self->read_votes();
  }
  static void nodelist(quorum_handle_t handle, quorum_ring_id ring, std::uint32_t count,
                       const std::uint32_t* nodes, std::uint32_t, const std::uint32_t*,
                       std::uint32_t, const std::uint32_t*) noexcept {
    CorosyncGroup* self = of_quorum(handle);
    if (self == nullptr) return;
    self->quorum_stream_.nodelist_ring = RingId{ring.nodeid, ring.seq};
    self->quorum_stream_.nodes = node_set(nodes, count);
    self->read_votes();
  }
  static void configuration(cmap_handle_t, cmap_track_handle_t, std::int32_t, const char*,
                            cmap_notify_value, cmap_notify_value, void* self) noexcept {
    static_cast<CorosyncGroup*>(self)->read_votes();
  }
  static CorosyncCallbacks table() {
    return {deliver, group_change, ring_change, quorum, nodelist, configuration};
  }
};

CorosyncGroup::CorosyncGroup(Loop& loop, GroupListener& listener, const Options& options)
    : loop_(loop), listener_(listener), options_(options), pause_(options.first_pause),
      worker_(loop), links_worker_(loop) {
  open();
}

CorosyncGroup::~CorosyncGroup() {
  unwatch();
  for (const auto timer :
       {reopen_timer_, agreement_timer_, send_timer_, votes_timer_, links_timer_}) {
    loop_.cancel_timer(timer);
  }
  // Closing blocks as well; the worker's destructor bounds how long that is waited for.
  worker_.submit([old = std::exchange(connection_, nullptr)]() mutable -> Worker::Completion {
    old.reset();
    return [] {};
  });
}

// ---- opening and losing --------------------------------------------------------------------

void CorosyncGroup::open() {
  worker_.submit([this, group = options_.group]() -> Worker::Completion {
    // `this` is only passed through; it is used on the loop's thread, while it lives.
    auto result = Connection::open(Calls::table(), this, group);
    return [this, result] { opened(result); };
  });
}

void CorosyncGroup::opened(Result<std::shared_ptr<Connection>> result) {
  if (left_) return;
  if (!result) return lose(result.error().message);
  connection_ = std::move(result).value();
  views_at_check_ = 0;
  disagreed_ = Duration(0);
  pairing_.emplace(GroupMember{connection_->self(), static_cast<std::uint32_t>(getpid())});
  quorum_stream_ = {};
  votes_.reset();
  reading_votes_ = false;
  votes_stale_ = false;
  const Status watched = watch();
  if (!watched) return lose(watched.error().message);
  watch_agreement();
  if (!std::exchange(silent_, {}).empty()) listener_.on_silent({});
  read_links();
}

void CorosyncGroup::lose(const std::string& reason) {
  problem_ = reason;
  if (connection_) {
    if (!leaving_) ++counters_.lost;
    unwatch();
    worker_.submit([old = std::exchange(connection_, nullptr)]() mutable -> Worker::Completion {
      old.reset();
      return [] {};
    });
  }
  pairing_.reset();
  for (auto* timer : {&agreement_timer_, &send_timer_, &votes_timer_, &links_timer_}) {
    loop_.cancel_timer(std::exchange(*timer, Loop::kNoTimer));
  }
  if (leaving_) left_ = true;
  if (!left_) reopen_later();
  // Once for each loss, not for each attempt.
  if (!std::exchange(told_lost_, true)) listener_.on_lost(reason);
}

void CorosyncGroup::reopen_later() {
  reopen_timer_ = loop_.add_timer(pause_, [this] {
    reopen_timer_ = Loop::kNoTimer;
    open();
  });
  pause_ = std::min(pause_ * 2, options_.longest_pause);
}

Status CorosyncGroup::watch() {
  const Connection& c = *connection_;
  Status added = loop_.add_fd(c.quorum_fd(), [this](FdEvent event) {
    drain(event, "libquorum", [](Connection& o) {
      return quorum_dispatch(o.quorum(), CS_DISPATCH_ONE_NONBLOCKING);
    });
  });
  if (!added) return added;
  added = loop_.add_fd(c.cmap_fd(), [this](FdEvent event) {
    drain(event, "libcmap", [](Connection& o) {
      return cmap_dispatch(o.cmap(), CS_DISPATCH_ONE_NONBLOCKING);
    });
  });
  if (!added) return added;
  return loop_.add_fd(c.cpg_fd(), [this](FdEvent event) {
    drain(event, "libcpg", [](Connection& o) {
      return cpg_dispatch(o.cpg(), CS_DISPATCH_ONE_NONBLOCKING);
    });
  });
}

void CorosyncGroup::unwatch() {
  if (!connection_) return;
  for (const int fd : {connection_->cpg_fd(), connection_->quorum_fd(), connection_->cmap_fd()}) {
    loop_.remove_fd(fd);
  }
}

template <class Dispatch>
void CorosyncGroup::drain(FdEvent event, const char* what, Dispatch dispatch) {
  cs_error_t rc = CS_OK;
  for (int i = 0; i < kDispatchesPerTurn && rc == CS_OK; ++i) rc = dispatch(*connection_);
  if (rc != CS_OK && rc != CS_ERR_TRY_AGAIN) {
    return lose(corosync_error(std::string(what) + ": the connection to Corosync ended", rc)
                    .message);
  }
  if (event == FdEvent::hung_up) {
    return lose(std::string(what) + ": Corosync closed the connection");
  }
  flush();
}

// ---- quorum --------------------------------------------------------------------------------

void CorosyncGroup::read_votes() {
  if (!connection_) return;
  votes_stale_ = true;
  if (reading_votes_) return;
  reading_votes_ = true;
  votes_stale_ = false;
  worker_.submit([this, connection = connection_]() -> Worker::Completion {
    auto result = connection->read_votes();
    // An answer of a connection that is gone meanwhile says nothing of this one. Weak: the last
    // reference must end here on the worker, because closing blocks.
    return [this, weak = std::weak_ptr<Connection>(connection), result] {
      if (connection_ && connection_ == weak.lock()) votes_read(result);
    };
  });
}

void CorosyncGroup::votes_read(const Result<VoteFacts>& result) {
  reading_votes_ = false;
  if (result && votes_stale_) return read_votes();
  if (!result) {
    problem_ = result.error().message;
    return read_votes_in(kVotesAfterFailure);
  }
  votes_ = result.value();
  const bool device = votes_->device_patience > Duration(0);
  read_votes_in(device ? kVotesWithDevice : kVotesWithoutDevice);
  publish_quorum();
  flush();
}

void CorosyncGroup::read_votes_in(Duration pause) {
  loop_.cancel_timer(votes_timer_);
  votes_timer_ = loop_.add_timer(pause, [this] {
    votes_timer_ = Loop::kNoTimer;
    read_votes();
  });
}

void CorosyncGroup::publish_quorum() {
  const QuorumStream& said = quorum_stream_;
  if (!said.quorum_ring || said.quorum_ring != said.nodelist_ring || said.nodes.empty()) return;
  QuorumSnapshot snapshot{*said.quorum_ring, said.nodes, votes_->facts};
  snapshot.facts.quorate = said.quorate;
  pairing_->quorum_known(std::move(snapshot));
}

// ---- links ---------------------------------------------------------------------------------

// Asked for again and again: Corosync tells changes of this map only when it looks at them itself,
// up to a second and a half later (exec/stats.c), which is when the ring breaks anyway.
void CorosyncGroup::read_links() {
  links_timer_ = Loop::kNoTimer;
  if (!connection_) return;
  std::set<NodeId> hosts;
  if (votes_) {
    for (const auto& [id, votes] : votes_->facts.votes) hosts.insert(id);
  }
  links_worker_.submit([this, connection = connection_,
                        hosts = std::move(hosts)]() mutable -> Worker::Completion {
    auto silent = connection->read_silent(hosts);
    const std::weak_ptr<Connection> weak(connection);
    connection.reset();
    return [this, weak, silent = std::move(silent)] {
      if (connection_ && connection_ == weak.lock()) links_read(silent);
    };
  });
}

void CorosyncGroup::links_read(std::set<NodeId> silent) {
  links_timer_ = loop_.add_timer(options_.link_interval, [this] { read_links(); });
  if (silent == silent_) return;
  silent_ = std::move(silent);
  listener_.on_silent(silent_);
}

// ---- views ---------------------------------------------------------------------------------

void CorosyncGroup::flush() {
  if (!pairing_) return;
  pairing_->flush(listener_);
  if (pairing_->gone()) {
    if (leaving_) left_ = true;
    return lose(leaving_ ? "left the group" : "Corosync took this process out of the group");
  }
  if (pairing_->held_bytes() > kMaxHeld) {
    return lose("too much waits for Corosync's quorum: " + pairing_->position());
  }
  watch_agreement();
}

void CorosyncGroup::watch_agreement() {
  if (pairing_->views() != views_at_check_) {
    views_at_check_ = pairing_->views();
    disagreed_ = Duration(0);
    loop_.cancel_timer(std::exchange(agreement_timer_, Loop::kNoTimer));
    pause_ = options_.first_pause;
    told_lost_ = false;
    problem_.clear();
  }
  if (!pairing_->waiting()) {
    loop_.cancel_timer(std::exchange(agreement_timer_, Loop::kNoTimer));
    disagreed_ = Duration(0);
  } else if (agreement_timer_ == Loop::kNoTimer && !leaving_) {
    agreement_timer_ = loop_.add_timer(options_.disagreement_limit, [this] {
      agreement_timer_ = Loop::kNoTimer;
      agreement_missing();
    });
  }
}

void CorosyncGroup::agreement_missing() {
  disagreed_ += options_.disagreement_limit;
  // While votequorum waits for a quorum device, the ring change is legitimately incomplete. Until
  // then nobody may rely on the quorum of the ring before.
  const Duration allowed =
      options_.disagreement_limit + (votes_ ? votes_->device_patience : Duration(0));
  if (disagreed_ < allowed) {
    pairing_->quorum_lost();
    return flush();
  }
  ++counters_.disagreements;
  lose("Corosync's services do not agree: " + pairing_->position() +
       (reading_votes_ ? "; votequorum and cmap do not answer" : "") +
       (problem_.empty() ? "" : "; " + problem_));
}

// ---- sending -------------------------------------------------------------------------------

SendStatus CorosyncGroup::multicast(std::string_view bytes) {
  CLUSTERD_ASSERT(bytes.size() <= kMaxMessage);
  if (!connection_ || leaving_ || pairing_->views() == 0) return SendStatus::failed;
  iovec part{const_cast<char*>(bytes.data()), bytes.size()};
  const cs_error_t rc = cpg_mcast_joined(connection_->cpg(), CPG_TYPE_AGREED, &part, 1);
  if (rc == CS_OK) {
    send_pause_ = Duration(0);
    return SendStatus::queued;
  }
  if (rc != CS_ERR_TRY_AGAIN) return SendStatus::failed;  // dispatch will tell that it is dead
  ++counters_.try_again;
  writable_later();
  return SendStatus::try_again;
}

// CPG has no event for it: the lib's flow control state is always "disabled" (field-notes.md).
void CorosyncGroup::writable_later() {
  if (send_timer_ != Loop::kNoTimer) return;
  send_pause_ = std::clamp(send_pause_ * 2, kFirstSendPause, kLongestSendPause);
  send_timer_ = loop_.add_timer(send_pause_, [this] {
    send_timer_ = Loop::kNoTimer;
    listener_.on_writable();
  });
}

void CorosyncGroup::leave() {
  if (leaving_) return;
  leaving_ = true;
  loop_.cancel_timer(std::exchange(agreement_timer_, Loop::kNoTimer));
  loop_.cancel_timer(std::exchange(reopen_timer_, Loop::kNoTimer));
  if (!connection_) {
    left_ = true;
    return;
  }
  worker_.submit([connection = connection_]() -> Worker::Completion {
    connection->leave();
    return [] {};
  });
}

}  // namespace clusterd
