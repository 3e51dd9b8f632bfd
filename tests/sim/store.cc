#include "tests/sim/store.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace clusterd::sim {

using std::chrono::milliseconds;

Result<StoredState> SimStore::load() {
  StoredState stored;
  if (damaged_) {
    stored.condition = StoreCondition::amnesiac;
    stored.problem = "record with a bad checksum before valid ones";
    return stored;
  }
  if (!initialised_) return stored;
  stored.condition = StoreCondition::intact;
  stored.snapshot = snapshot_;
  stored.records = records_;
  return stored;
}

Status SimStore::try_write(std::size_t /*bytes*/) {
  if (full_) return Error{"no space left on device"};
  if (broken_) return Error{"input/output error"};
  return ok_status();
}

Status SimStore::append(std::string_view record) {
  if (full_) return Error{"no space left on device"};
  records_.emplace_back(record);
  return ok_status();
}

void SimStore::sync(LogIndex upto) {
  SimTime delay = env_.between(milliseconds(1), milliseconds(8)) + extra_;
  if (env_.prng.chance(env_.faults.sync_slow)) delay += milliseconds(3000);
  const bool fails = env_.prng.chance(env_.faults.sync_fails) || broken_;
  unanswered_ = upto;
  env_.on_host(host_, delay, [this, upto, fails, session = session_, generation = generation_,
                              count = records_.size()] {
    if (generation != generation_) return;  // install() has answered it
    if (!fails) durable_ = std::max(durable_, count);
    if (session != session_) return;
    if (unanswered_ == upto) unanswered_.reset();
    post_(StoreSynced{upto, !fails, fails ? "input/output error" : ""});
  });
}

Status SimStore::install(std::string_view snapshot) {
  if (const Status writes = try_write(snapshot.size()); !writes) return writes;
  snapshot_ = snapshot;
  records_.clear();
  durable_ = 0;
  initialised_ = true;
  damaged_ = false;
  ++generation_;
  if (const auto asked = std::exchange(unanswered_, {})) post_(StoreSynced{*asked, true, ""});
  return ok_status();
}

Status SimStore::set_aside(std::string_view /*state*/) {
  corrupt();
  return ok_status();
}

void SimStore::power_cut() {
  const std::size_t tail = records_.size() - std::min(durable_, records_.size());
  const std::size_t kept = tail == 0 ? 0 : static_cast<std::size_t>(env_.prng.below(tail + 1));
  records_.resize(records_.size() - (tail - kept));
  durable_ = records_.size();
}

void SimStore::wipe() {
  initialised_ = false;
  damaged_ = false;
  snapshot_.clear();
  records_.clear();
  durable_ = 0;
  ++generation_;
}

void SimStore::corrupt() {
  if (initialised_) damaged_ = true;
}

void SimStore::cut_acked_tail(std::size_t records) {
  records_.resize(records_.size() - std::min(records, records_.size()));
  durable_ = records_.size();
  damaged_ = true;
}

}  // namespace clusterd::sim
