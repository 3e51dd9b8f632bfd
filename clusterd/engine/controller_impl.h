// The Controller's inside, split over controller_*.cc by concern. Only those include this.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "clusterd/engine/controller.h"
#include "clusterd/engine/health.h"
#include "clusterd/engine/membership.h"
#include "clusterd/engine/planner.h"
#include "clusterd/engine/queries.h"

namespace clusterd {

// What this node last saw of a VM, and the generation applied before the look began (R7).
struct Seen {
  DomainState state = DomainState::absent;
  bool agent = false;
  StopCause cause = StopCause::none;
  Generation generation;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.state, s.agent, s.cause, s.generation);
  }
};

// A look under way. A second reason to look while one is out asks for another one afterwards.
struct PendingLook {
  std::uint64_t look = 0;
  Generation generation;
  bool again = false;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.look, s.generation, s.again);
  }
};

// An operation on a VM that this node executes.
struct LocalVmOperation {
  VmId vm;
  bool ended = false;  // `closing` is what we know; sent until the state has closed it
  VmClosed closing;
  std::uint64_t look = 0;  // a RevokeAndLook is under way
  Instant look_again;      // after an unknown look
  Duration look_delay{1000};

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.vm, s.ended, s.closing, s.look, s.look_again, s.look_delay);
  }
};

// A member of which nothing is heard: its power is read before the view changes (R18). One level
// after another; two readings of one level, a second apart, that say off throughout are a proof.
struct EarlyLook {
  BootId boot;
  std::size_t level = 0;
  std::optional<OpId> reading;        // under way
  Instant begun;                      // the last reading
  Instant next;                       // not read before
  std::optional<Instant> first_off;   // of this level
  std::vector<std::string> proof;     // devices that said off twice; empty: none yet
  bool on = false;                    // a device said on: the host lives, its links do not
  Epoch claimed;                      // the view in which the proof was told

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.boot, s.level, s.reading, s.next, s.first_off, s.proof, s.on, s.claimed,
      s.begun);
  }
};

// One VM of a condemned boot on its way out (R21): its grant is taken back, then it is looked at,
// then destroyed, then looked at again.
struct PurgeStep {
  std::uint64_t look = 0;    // under way
  std::optional<OpId> stop;  // under way
  bool gone = false;
  Instant next;  // not looked at before

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.look, s.stop, s.gone, s.next);
  }
};

struct LocalPowerOperation {
  bool ended = false;
  PowerClosed closing;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.ended, s.closing);
  }
};

// A client that waits for its change.
struct Waiter {
  ClientId client;
  Body body;                     // sent again when a view change voided it
  std::optional<LogIndex> index; // applied here; nullopt: not yet delivered
  std::string refusal;
  std::string note;              // goes with the answer
  std::optional<VmId> wait_vm;   // answered when this VM has got there
  VmOrderKind order = VmOrderKind::start;

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.client, s.body, s.index, s.refusal, s.note, s.wait_vm, s.order);
  }
};

// How far a joining member is (R12).
struct Joining {
  std::optional<std::uint64_t> mark;
  std::vector<LogEntry> buffered;  // delivered after the mark
  bool caught_up = false;          // state adopted; only our own Synced is missing

  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.mark, s.buffered, s.caught_up);
  }
};

// All that a controller remembers from one step to the next, and what a checkpoint holds
// (tests/unit/model/fields.cc sees to it that no member is forgotten).
struct ControllerMemory {
  Instant now;
  Instant deadline;

  // The replica.
  ClusterState state;
  StoreCondition condition = StoreCondition::blank;
  bool ha_domains = false;
  ClusterTime wall_at_start;
  Instant started;
  Instant time_anchor;      // when state.time was last moved
  bool time_known = false;  // it came from the cluster, not from the disk
  LogIndex durable;         // fsynced here
  std::optional<LogIndex> installing;  // a state that arrived, until the store has it
  std::optional<Instant> unsynced_since;  // of the oldest entry that no sync was asked for
  LogIndex sync_asked;
  bool changed = true;  // since the last plan
  Instant plan_due;     // the next plan, if nothing changes

  // The present view.
  std::optional<ViewChanged> view;
  Instant view_since;
  Hellos hellos;
  bool hello_delivered = false;
  Instant hello_sent;
  bool activated = false;  // a valid Activate was delivered in this view
  Epoch view_epoch;        // of the last valid one
  Hello opened_by;         // what the sender of the first one had said
  bool member_synced = false;  // our state follows the log
  std::optional<Joining> joining;
  bool unbroken = false;
  std::map<NodeId, Ack> acks;
  Ack last_ack;
  std::deque<std::pair<LogIndex, Instant>> applied_at;  // not yet acknowledged by all
  std::deque<std::pair<LogIndex, Instant>> floors_at;   // not yet durable everywhere
  std::map<std::uint64_t, Digest> digests;  // own, by position
  std::map<std::uint64_t, std::map<NodeId, Digest>> told_digests;  // acknowledged, by position
  std::optional<Instant> diverged;  // since when this replica is known to differ
  Instant judge_from;
  Instant last_drain;
  std::map<std::string, Instant> transfers;  // begun, by epoch and joiners
  std::uint64_t next_mark = 1;
  std::map<std::string, Instant> under_way;

  // Work here.
  std::map<OpId, LocalVmOperation> vm_operations;
  std::map<OpId, LocalPowerOperation> power_operations;
  std::set<NodeId> silent;  // hosts of which nothing is heard
  std::map<NodeId, EarlyLook> early;
  std::optional<std::map<VmId, PurgeStep>> purge;  // set: this boot is condemned
  bool purged_once = false;  // every VM was found absent, and all are looked at once more
  std::uint64_t next_local_op = 1;                 // of readings and stops without an intent
  std::map<NodeId, Instant> condemned_told;
  std::set<OpId> carried_out;  // ever begun by this daemon
  std::map<VmId, Seen> seen;
  std::map<VmId, PendingLook> looks;
  std::map<VmId, StopCause> stop_causes;  // told by events, used by the next look
  std::uint64_t next_look = 1;
  std::optional<std::uint64_t> listing;
  std::map<VmId, Generation> listing_generations;
  bool news = true;    // something that report() looks at may have changed
  std::optional<Instant> report_due;  // when what was sent is sent again
  Instant list_again;
  bool list_needed = true;
  bool hypervisor_up = false;
  std::string hypervisor_problem = "libvirt is not connected yet";
  HostFacts facts;
  bool listed = false;  // facts are real
  std::map<VmId, GuestWatch> watches;  // of the guests that run here
  std::uint64_t next_watch = 1;
  std::optional<Instant> watch_due;  // when time alone may change a verdict
  std::map<VmId, std::string> rebooted;  // why, until the guest is up again
  std::set<VmId> guarded;  // Protect was asked for

  // Clients.
  std::map<std::uint64_t, Waiter> waiters;
  std::uint64_t next_command = 1;
  std::optional<std::pair<ClientId, std::string>> founding;
  std::optional<Instant> leaving;  // since when
  std::string waiting;

  // New ones are listed last (base/archive.h, Layout::sized).
  template <class Self, class F>
  static void fields(Self& s, F&& f) {
    f(s.now, s.deadline, s.state, s.condition, s.ha_domains, s.wall_at_start, s.started,
      s.time_anchor, s.durable, s.unsynced_since, s.sync_asked, s.changed, s.view, s.view_since,
      s.hellos, s.hello_delivered, s.hello_sent, s.activated, s.view_epoch, s.member_synced,
      s.joining, s.unbroken, s.acks, s.last_ack, s.applied_at, s.floors_at, s.digests,
      s.told_digests, s.diverged, s.judge_from, s.last_drain, s.transfers, s.next_mark,
      s.under_way, s.vm_operations, s.power_operations, s.carried_out, s.seen, s.looks,
      s.stop_causes, s.next_look, s.listing, s.listing_generations, s.list_again, s.list_needed,
      s.hypervisor_up, s.hypervisor_problem, s.facts, s.listed, s.guarded, s.waiters,
      s.next_command, s.founding, s.leaving, s.waiting, s.plan_due, s.opened_by, s.news,
      s.report_due, s.installing, s.time_known, s.silent, s.early, s.purge, s.next_local_op,
      s.condemned_told, s.purged_once, s.watches, s.next_watch, s.rebooted,
      s.watch_due);
  }
};

struct Controller::Impl : ControllerMemory {
  Impl(const NodeIdentity& identity, StartingPoint start, Instant at);

  // ---- controller.cc: events in, order of work -----------------------------------------------
  Effects step(Instant at, const Event& event);
  void on(const ViewChanged& event);
  void on(const QuorumChanged& event);
  void on(const Delivered& event);
  void on(const InputsDrained& event);
  void on(const StoreSynced& event);
  void on(const SnapshotArrived& event);
  void on(const DomainChanged& event);
  void on(const LookedUp& event);
  void on(const DomainsListed& event);
  void on(const VmOperationEnded& event);
  void on(const HypervisorConnection& event);
  void on(const PowerOperationEnded& event);
  void on(const FenceTestEnded& event);
  void on(const ClientRequest& event);
  void on(const ClientGone& event);
  void on(const StopRequested& event);
  void on(const MessageRejected& event);
  void on(const PeersSilent& event);
  void on(const GuestChecked& event);
  void on(const GuestRepaired& event);
  void on(const GuestRebooted& event);

  // ---- controller_view.cc: membership, the log, state transfer, acknowledgements --------------
  void open_view();
  void hello();
  void hear(const Delivered& event, const Hello& hello);
  void deliver_entry(const Delivered& event);
  void deliver_activate(const LogEntry& entry, const Activate& activate);
  void apply_entry(const LogEntry& entry);
  void after_apply();
  void adopt(ClusterState state);
  void make_durable();
  void sync_log();
  void keep_log();
  void keep_view();  // say Hello, found or activate when it is our turn, admit the late
  void admit_late();
  void found();
  void activate_in_turn();
  void say_synced();
  [[nodiscard]] bool awaits_state(NodeId id, const Member& member) const;
  void transfer();          // Mark and Snapshot for joining members
  void acknowledge();
  void count_digest(NodeId node, const Ack& ack);  // R29
  void start_over();        // if this replica has diverged from the others
  void establish();         // says that every synced member has written this view down (R8)
  void judge();             // Demote who does not acknowledge (R13, drain before judge)
  void keep_time();
  void leave();
  [[nodiscard]] bool stable(LogIndex index) const;
  [[nodiscard]] bool durable_everywhere(LogIndex index) const;

  // ---- controller_work.cc: operations executed here, what is seen here, plans ----------------
  void dispatch();
  [[nodiscard]] bool first_time(const OpId& op);
  void dispatch_vm(const VmId& id, const VmState& vm);
  void dispatch_power(NodeId id, const NodeState& node);
  void cancel_stale();
  void close_operations();
  void look_after_unknown();
  void look(const VmId& vm);
  void look_anew(const VmId& vm);
  void take_inventory();
  void report();
  [[nodiscard]] Report report_of(const VmId& id, const VmState& vm, const Seen& mine) const;
  void plan();
  [[nodiscard]] std::vector<std::vector<NamedDevice>> devices_of(NodeId node, bool flat) const;

  // ---- controller_health.cc: the guests that run here -----------------------------------------
  void watch_guests();
  [[nodiscard]] std::optional<HealthPolicy> watched_policy(const VmId& id, const VmState& vm) const;
  void begin_watch(const VmId& id, const VmState& vm, const HealthPolicy& policy,
                   const HealthPolicy& before);
  void judge_guest(const VmId& id, GuestWatch& watch);
  [[nodiscard]] bool unwell(const VmId& id, const Seen& look) const;

  // ---- controller_early.cc: reading the power of who fell silent (R18) ------------------------
  void look_early();
  void begin_early_looks();
  void read_early(NodeId id, EarlyLook& look);
  [[nodiscard]] bool end_early(const PowerOperationEnded& event);
  void claim_early();
  [[nodiscard]] bool reads_early() const;

  // ---- controller_purge.cc: boots that were proven dead and live (R21) ------------------------
  void tell_condemned();
  void begin_purge();
  void purge_guests();
  [[nodiscard]] bool purge_looked(const LookedUp& event);
  [[nodiscard]] bool purge_stopped(const VmOperationEnded& event);
  // Operations without an intent. A purge comes after every intent there may be: what it revokes
  // stays revoked.
  [[nodiscard]] OpId reading_op() { return {Epoch(0), LogIndex(next_local_op++)}; }
  [[nodiscard]] OpId purge_op() { return {kPurgeEpoch, LogIndex(next_local_op++)}; }

  // ---- controller_clients.cc ------------------------------------------------------------------
  void request(ClientId client, const InitCluster& what);
  void request(ClientId client, const ApplyConfiguration& what);
  void request(ClientId client, const VmCommand& what);
  void request(ClientId client, const NodeCommand& what);
  void request(ClientId client, const RecoverCluster& what);
  void request(ClientId client, const ClusterCommand& what);
  void request(ClientId client, const TestFencing& what);
  template <class Reading>
  void request(ClientId client, const Reading& what);
  void enqueue(ClientId client, Body body);
  void note_delivered(const Body& body, const Applied& applied);
  void answer_clients();
  void answer(ClientId client, ReplyCode code, std::string message, bool more = false);
  [[nodiscard]] std::optional<ControlReply> vm_outcome(Waiter& waiter) const;
  [[nodiscard]] std::optional<ControlReply> disarmed_outcome(const VmState& vm) const;

  // ---- shared -----------------------------------------------------------------------------------
  void multicast(Body body);
  static constexpr Duration kSendPatience{2000};
  // Sends unless the same thing is under way: not yet seen delivered, nor voided by a view
  // change, nor silent for too long.
  void multicast_once(Body body);
  void note_own(const Body& body);
  void log(std::string line);
  void wake_at(Instant at);
  void wake_at(ClusterTime at);
  [[nodiscard]] ClusterTime cluster_now() const;
  [[nodiscard]] bool synced_here() const;   // activated, and this daemon is a synced member
  [[nodiscard]] bool may_act() const;       // synced_here, and quorate now (S3)
  [[nodiscard]] bool is_coordinator() const;
  [[nodiscard]] const Timers& timers() const { return state.config.cluster.timers; }
  [[nodiscard]] Host self_host() const { return {self.node, self.boot}; }

  const NodeIdentity self;
  Effects effects;  // of the step under way
};

}  // namespace clusterd
