// SimStore: a host's disk as far as clusterd's state goes. What is not synced survives the death
// of the daemon (page cache), but not the loss of power.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "clusterd/ports/sink.h"
#include "clusterd/ports/store.h"
#include "tests/sim/world.h"

namespace clusterd::sim {

class SimStore final : public Store {
 public:
  using Post = std::function<void(Event)>;

  SimStore(SimEnv& env, SimHost& host) : env_(env), host_(host) {}

  // Where answers go: to the daemon that runs now. Answers to a dead one go nowhere.
  void connect(Post post) { post_ = std::move(post); ++session_; unanswered_.reset(); }

  [[nodiscard]] Result<StoredState> load() override;
  [[nodiscard]] Status try_write(std::size_t bytes) override;
  [[nodiscard]] Status append(std::string_view record) override;
  void sync(LogIndex upto) override;
  [[nodiscard]] Status install(std::string_view snapshot) override;

  [[nodiscard]] Status set_aside(std::string_view state) override;

  // ---- faults ----
  void power_cut();        // of the unsynced tail, a random part remains
  void wipe();             // a new disk
  void corrupt();          // a checksum in the middle is wrong
  void cut_acked_tail(std::size_t records);  // a disk that lied about fsync; the store notices
  // Syncs take this much longer.
  void set_delay(SimTime extra) { extra_ = extra; }
  void set_full(bool full) { full_ = full; }
  void set_broken(bool broken) { broken_ = broken; }  // fsync fails

  [[nodiscard]] bool initialised() const { return initialised_; }
  [[nodiscard]] std::size_t records() const { return records_.size(); }

 private:
  SimEnv& env_;
  SimHost& host_;
  Post post_;
  std::uint64_t session_ = 0;
  std::uint64_t generation_ = 0;  // +1 per installed snapshot
  std::optional<LogIndex> unanswered_;  // the newest sync that was asked
  bool initialised_ = false;
  bool damaged_ = false;
  bool full_ = false;
  bool broken_ = false;
  std::string snapshot_;
  std::vector<std::string> records_;
  std::size_t durable_ = 0;
  SimTime extra_{0};
};

}  // namespace clusterd::sim
