#include "clusterd/runtime/driver.h"

#include <algorithm>
#include <utility>

#include "clusterd/codec/record.h"
#include "clusterd/codec/snapshot.h"
#include "clusterd/codec/validate.h"
#include "clusterd/codec/wire.h"
#include "clusterd/runtime/tidy.h"

namespace clusterd {
namespace {

// How often one run_pending lets effects produce new inputs before it returns to the main loop.
constexpr int kRounds = 8;
// Inputs handled in one round, so that the main loop gets its turn under a flood.
constexpr std::size_t kInputsPerRound = 4096;

}  // namespace

Driver::Driver(const NodeIdentity& self, Loaded loaded, DriverPorts ports,
               DriverCallbacks callbacks, Instant now)
    : self_(self),
      ports_(ports),
      callbacks_(std::move(callbacks)),
      controller_(self, loaded.start, now),
      outbox_(ports.group, self.incarnation),
      now_(now),
      store_in_use_(loaded.start.condition == StoreCondition::intact),
      records_(loaded.records) {}

// ---- inputs ----------------------------------------------------------------------------------

void Driver::on_view(const ViewChanged& view) { group_inputs_.emplace_back(view); }
void Driver::on_quorum(const QuorumChanged& quorum) { group_inputs_.emplace_back(quorum); }
void Driver::on_silent(const std::set<NodeId>& hosts) {
  group_inputs_.emplace_back(PeersSilent{hosts});
}
void Driver::on_message(GroupMember sender, std::string_view bytes) {
  group_inputs_.emplace_back(Packet{sender, std::string(bytes)});
}
void Driver::on_lost(const std::string& reason) { group_inputs_.emplace_back(Lost{reason}); }
void Driver::on_writable() { group_inputs_.emplace_back(Writable{}); }

void Driver::post(Event event) {
  {
    const std::lock_guard<std::mutex> lock(posted_mutex_);
    posted_.push_back(std::move(event));
  }
  if (callbacks_.wake) callbacks_.wake();
}

bool Driver::idle() const {
  const std::lock_guard<std::mutex> lock(posted_mutex_);
  return group_inputs_.empty() && posted_.empty();
}

Instant Driver::next_deadline() const {
  if (!idle()) return now_;
  return controller_.next_deadline();
}

void Driver::run_pending(Instant now) {
  now_ = std::max(now_, now);
  for (int round = 0; round < kRounds && !exited_; ++round) {
    if (callbacks_.poll) callbacks_.poll();
    drain();
    if (exited_ || !idle()) continue;
    step(InputsDrained{});
    if (idle()) break;
  }
  if (exited_) return;
  outbox_.pump();
  if (idle()) cut_snapshot_when_due();
  if (callbacks_.state) callbacks_.state(controller_.state(), controller_.local_view());
}

// Views and quorum stand before everything else: nothing is dispatched on the strength of a view
// that is known to be over.
void Driver::drain() {
  for (std::size_t n = 0; n < kInputsPerRound && !exited_; ++n) {
    if (!group_inputs_.empty()) {
      GroupInput input = std::move(group_inputs_.front());
      group_inputs_.pop_front();
      std::visit([this](auto& what) { handle(what); }, input);
      continue;
    }
    Event event;
    {
      const std::lock_guard<std::mutex> lock(posted_mutex_);
      if (posted_.empty()) return;
      event = std::move(posted_.front());
      posted_.pop_front();
    }
    handle_posted(std::move(event));
  }
}

void Driver::handle(ViewChanged& view) {
  reassembly_.reset();
  outbox_.drop_all();
  last_view_ = view;
  step(std::move(view));
}

void Driver::handle(QuorumChanged& quorum) {
  last_view_.quorum = quorum.quorum;
  step(std::move(quorum));
}

void Driver::handle(PeersSilent& silent) { step(std::move(silent)); }

void Driver::handle(Writable&) { outbox_.on_writable(); }

// Without Corosync this node is alone and not quorate, whatever it was before.
void Driver::handle(Lost& lost) {
  log("the connection to Corosync is lost: " + lost.reason);
  if (last_view_.members.empty()) return;
  ViewChanged alone = last_view_;
  std::erase_if(alone.members, [this](const GroupMember& m) { return m.node != self_.node; });
  alone.ring = {self_.node};
  alone.quorum.quorate = false;
  alone.quorum.device_votes = 0;
  step(PeersSilent{});  // nothing is known of the links now
  handle(alone);
}

void Driver::handle(Packet& packet) {
  if (!is_fragment(packet.bytes)) {
    deliver(packet.sender, packet.bytes);
    return;
  }
  auto decoded = decode_fragment(packet.bytes);
  if (const auto* error = std::get_if<WireError>(&decoded)) {
    reject(packet.sender.node, name_of(error->fault), error->sentence());
    return;
  }
  auto& fragment = std::get<Fragment>(decoded);
  const bool own = packet.sender.node == self_.node && fragment.incarnation == self_.incarnation;
  auto outcome = reassembly_.add(packet.sender, std::move(fragment));
  if (const auto* refused = std::get_if<Reassembly::Refused>(&outcome)) {
    reject(packet.sender.node, "fragment", refused->reason);
  } else if (const auto* whole = std::get_if<std::string>(&outcome)) {
    deliver(packet.sender, *whole);
  }
  if (own) outbox_.on_own_fragment();
}

void Driver::deliver(GroupMember sender, const std::string& bytes) {
  auto decoded = decode(bytes);
  if (const auto* error = std::get_if<WireError>(&decoded)) {
    reject(sender.node, name_of(error->fault), error->sentence());
    return;
  }
  ++counters_.delivered;
  auto& message = std::get<Message>(decoded);
  if (const auto* snapshot = std::get_if<Snapshot>(&message.body)) {
    // Only a joiner needs it; decoding megabytes for nothing would cost every member the time.
    if (controller_.local_view().active) return;
    auto state = decode_state(snapshot->state);
    if (const auto* error = std::get_if<WireError>(&state)) {
      reject(sender.node, "snapshot", "snapshot: " + error->sentence());
      return;
    }
    step(SnapshotArrived{snapshot->mark, std::move(std::get<ClusterState>(state))});
    return;
  }
  if (is_log_entry(message.body)) record_ = encode_record(sender.node, bytes);
  const Digest digest = record_digest(sender.node, bytes);
  step(Delivered{sender, std::move(message), digest});
  record_.clear();
  if (callbacks_.applied) callbacks_.applied(controller_.state(), controller_.local_view());
}

void Driver::handle_posted(Event event) {
  tidy(event);
  if (const auto* request = std::get_if<ClientRequest>(&event)) {
    // A request that no member would accept as a message is answered here.
    if (auto problem = validate(request->request); !problem.empty()) {
      ports_.control.reply(request->client, {ReplyCode::refused, "refused: " + problem, "", false});
      return;
    }
  }
  step(event);
}

void Driver::reject(NodeId sender, std::string_view kind, const std::string& sentence) {
  count_rejected(sender, kind);
  step(MessageRejected{sender, sentence});
}

void Driver::count_rejected(NodeId sender, std::string_view kind) {
  ++counters_.rejected;
  if (callbacks_.rejected) callbacks_.rejected(sender, kind);
}

// ---- effects ---------------------------------------------------------------------------------

void Driver::step(const Event& event) {
  if (exited_) return;
  ++counters_.steps;
  if (ports_.recorder != nullptr) ports_.recorder->before(controller_, now_, event);
  const Effects effects = controller_.step(now_, event);
  if (ports_.recorder != nullptr) ports_.recorder->after(effects);
  for (const Effect& effect : effects) {
    if (exited_) return;
    std::visit([this](const auto& what) { execute(what); }, effect);
  }
}

void Driver::execute(const Multicast& effect) { send(effect.message); }

void Driver::send(const Message& message) {
  if (auto problem = validate(message); !problem.empty()) {
    // Every member would refuse it, this one included.
    log("a message of this daemon is not valid and is not sent: " + problem);
    count_rejected(self_.node, "own");
    return;
  }
  ++counters_.sent;
  if (!outbox_.send(encode(message))) {
    give_up("Corosync takes no messages, and too many are waiting");
  }
}

void Driver::execute(const AppendToLog&) {
  CLUSTERD_ASSERT(!record_.empty());
  if (const Status status = ports_.store.append(record_); !status) {
    give_up("the log cannot be written: " + status.error().message);
    return;
  }
  ++records_;
  record_bytes_ += record_.size();
}

void Driver::execute(const SyncLog& effect) { ports_.store.sync(effect.upto); }

void Driver::execute(const InstallState& effect) {
  if (!install()) return;
  post(StoreSynced{effect.upto, true, ""});
}

void Driver::execute(const SetStateAside&) {
  if (const Status status = ports_.store.set_aside(encode_state(controller_.state())); !status) {
    log("the state cannot be set aside: " + status.error().message);
  }
}

bool Driver::install() {
  if (const Status status = ports_.store.install(encode_state(controller_.state())); !status) {
    give_up("the state cannot be written: " + status.error().message);
    return false;
  }
  store_in_use_ = true;
  records_ = 0;
  record_bytes_ = 0;
  ++counters_.snapshots_cut;
  return true;
}

void Driver::cut_snapshot_when_due() {
  if (!store_in_use_) return;
  if (records_ < kRecordsPerSnapshot && record_bytes_ < kBytesPerSnapshot) return;
  install();
}

void Driver::execute(const SendSnapshot& effect) {
  send(Message{controller_.state().position.epoch, self_.incarnation,
               controller_.cluster_time(now_),
               Snapshot{effect.mark, encode_state(controller_.state())}});
}

// Without the guard a VM could be started twice behind the cluster's back; this host must not
// acknowledge that it knows the VM.
void Driver::execute(const Protect& effect) {
  if (const Status status = ports_.hypervisor.protect(effect.vm); !status) {
    give_up("VM " + effect.vm.str() + " cannot be protected: " + status.error().message);
  }
}

void Driver::execute(const DispatchStart& effect) { ports_.hypervisor.start(effect); }
void Driver::execute(const DispatchStop& effect) { ports_.hypervisor.stop(effect); }
void Driver::execute(const RevokeAndLook& effect) { ports_.hypervisor.revoke_and_look(effect); }
void Driver::execute(const LookUp& effect) { ports_.hypervisor.look_up(effect); }
void Driver::execute(const ListDomains& effect) { ports_.hypervisor.list(effect); }
void Driver::execute(const DispatchPower& effect) { ports_.fencer.operate(effect); }
void Driver::execute(const CancelPower& effect) { ports_.fencer.cancel(effect.op); }
void Driver::execute(const RunFenceTest& effect) { ports_.fencer.test(effect); }
void Driver::execute(const Reply& effect) { ports_.control.reply(effect.client, effect.reply); }
void Driver::execute(const WatchGuest& effect) { ports_.prober.watch(effect); }
void Driver::execute(const UnwatchGuest& effect) { ports_.prober.unwatch(effect); }
void Driver::execute(const RepairGuest& effect) { ports_.prober.repair(effect); }
void Driver::execute(const LogLine& effect) { log(effect.line); }

void Driver::execute(const Exit& effect) {
  if (effect.purged && callbacks_.renew_boot) {
    if (const Status renewed = callbacks_.renew_boot(); !renewed) {
      log("the purged boot cannot be renewed: " + renewed.error().message);
      return;
    }
  }
  exited_ = true;
  if (callbacks_.exit) callbacks_.exit(effect.code, effect.reason);
}

void Driver::give_up(const std::string& reason) { execute(Exit{1, reason}); }

void Driver::log(const std::string& line) {
  if (callbacks_.log) callbacks_.log(line);
}

}  // namespace clusterd
