// GuestProber: the Prober port: asks guests how they are, through their agents, over the network
// and by scripts on this host.
//
// One thread does all of it, and waits for nobody: thousands of checks are under way side by side.
// The first question of each check comes at a random moment of its interval, so that the checks of
// many guests spread. What goes wrong on this host (no descriptors, no route, libvirt away, this
// thread late by itself) is counted and told to nobody: the question is asked again at its next
// turn.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

#include "clusterd/ports/prober.h"
#include "clusterd/ports/sink.h"
#include "resource-agents/libvirt/guest_agent.h"

namespace clusterd {

struct GuestProberOptions {
  std::uint64_t seed = 1;  // of the first moments; one of its own on each host
  // A stall of the prober's thread that is longer makes timeouts of that time say nothing.
  Duration late_after{1000};
  std::size_t scripts = 128;  // at a time
  // Of guest-exec-status: the first, and the longest while the check waits.
  Duration first_pause{50};
  Duration longest_pause{1000};
  // Told how each question ended, by the names of ProbeCounts, on the prober's thread; may be
  // empty.
  std::function<void(const char* outcome)> counted;
};

// Questions by how they ended, since the start.
struct ProbeCounts {
  std::uint64_t passed = 0;
  std::uint64_t failed = 0;
  std::uint64_t busy = 0;          // the agent is silent, the guest writes
  std::uint64_t inconclusive = 0;  // said nothing
};

class GuestProber final : public Prober {
 public:
  // Both must live until the destructor has returned; nothing is posted after it. Callbacks that
  // `agent` calls later are harmless.
  GuestProber(GuestProberOptions options, GuestAgent& agent, EventSink& sink);
  // Kills the scripts; takes at most some seconds. Commands inside guests run on.
  ~GuestProber() override;
  GuestProber(const GuestProber&) = delete;
  GuestProber& operator=(const GuestProber&) = delete;

  void watch(const WatchGuest& order) override;
  void unwatch(const UnwatchGuest& order) override;
  void repair(const RepairGuest& order) override;

  // For the metrics; thread-safe.
  [[nodiscard]] ProbeCounts counts() const;

 private:
  struct Shared;
  std::unique_ptr<Shared> shared_;
};

}  // namespace clusterd
