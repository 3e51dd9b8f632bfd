// CorosyncGroup: the Group port on a running Corosync.
//
// Keeps itself connected: when Corosync dies, or its services do not agree on the ring for five
// seconds, the listener hears on_lost once, and everything is opened anew until it works. The
// main loop never waits for Corosync: synchronous calls run on a worker.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>

#include "clusterd/adapters/corosync/connection.h"
#include "clusterd/adapters/corosync/view_pairing.h"
#include "clusterd/adapters/corosync/worker.h"
#include "clusterd/ports/loop.h"

namespace clusterd {

class CorosyncGroup final : public Group {
 public:
  struct Options {
    std::string group = "clusterd";
    Duration disagreement_limit{5'000};
    Duration first_pause{200};     // between attempts to connect
    Duration longest_pause{5'000};
    Duration link_interval{200};  // between two looks at knet's links
  };
  struct Counters {
    std::uint64_t lost = 0;           // connections that ended against our will
    std::uint64_t disagreements = 0;  // of these: ring ids did not agree in time
    std::uint64_t try_again = 0;      // multicasts that Corosync did not take
  };

  // `loop` and `listener` outlive this. Begins to connect as soon as the loop runs; the listener
  // hears on_view when it works and on_lost when the first attempt does not.
  CorosyncGroup(Loop& loop, GroupListener& listener, const Options& options);
  CorosyncGroup(Loop& loop, GroupListener& listener) : CorosyncGroup(loop, listener, Options{}) {}
  ~CorosyncGroup() override;
  CorosyncGroup(const CorosyncGroup&) = delete;
  CorosyncGroup& operator=(const CorosyncGroup&) = delete;

  // `failed`: no view now (lost, not joined yet, leaving): what was to be said is void.
  [[nodiscard]] SendStatus multicast(std::string_view bytes) override;
  // Final: this object does not come back. When the group has confirmed it, left() turns true and
  // the listener hears on_lost. A Corosync that hangs confirms nothing: do not wait without limit.
  void leave() override;
  [[nodiscard]] bool left() const { return left_; }

  [[nodiscard]] const Counters& counters() const { return counters_; }
  // Why it is not connected at the moment; empty when it is.
  [[nodiscard]] const std::string& problem() const { return problem_; }

 private:
  struct Calls;  // Corosync's callbacks
  // What quorum's two callbacks said last; complete when both speak of one ring.
  struct QuorumStream {
    std::optional<RingId> nodelist_ring;
    std::set<NodeId> nodes;
    std::optional<RingId> quorum_ring;
    bool quorate = false;
  };

  void open();
  void opened(Result<std::shared_ptr<Connection>> result);
  void lose(const std::string& reason);
  void reopen_later();
  template <class Dispatch>
  void drain(FdEvent event, const char* what, Dispatch dispatch);
  [[nodiscard]] Status watch();
  void unwatch();
  void read_votes();
  void votes_read(const Result<VoteFacts>& result);
  void read_votes_in(Duration pause);
  void publish_quorum();
  void read_links();
  void links_read(std::set<NodeId> silent);
  void flush();
  void watch_agreement();
  void agreement_missing();
  void writable_later();

  Loop& loop_;
  GroupListener& listener_;
  const Options options_;
  std::shared_ptr<Connection> connection_;  // null: not open
  std::optional<ViewPairing> pairing_;
  QuorumStream quorum_stream_;
  std::optional<VoteFacts> votes_;
  bool reading_votes_ = false;
  bool votes_stale_ = false;
  bool told_lost_ = false;
  bool leaving_ = false;
  bool left_ = false;
  Duration disagreed_{0};
  std::uint64_t views_at_check_ = 0;
  Duration pause_;
  Duration send_pause_{0};
  Loop::TimerId reopen_timer_ = Loop::kNoTimer;
  Loop::TimerId agreement_timer_ = Loop::kNoTimer;
  Loop::TimerId send_timer_ = Loop::kNoTimer;
  Loop::TimerId votes_timer_ = Loop::kNoTimer;
  Loop::TimerId links_timer_ = Loop::kNoTimer;
  std::set<NodeId> silent_;  // as the listener was told
  Counters counters_;
  std::string problem_;
  // Last: their jobs end before anything they speak of does. Links have a worker of their own, as
  // votequorum does not answer while a ring forms, which is when they matter.
  Worker worker_;
  Worker links_worker_;
};

}  // namespace clusterd
