#include "resource-agents/probes/guest_prober.h"

#include <thread>

#include "resource-agents/probes/check_board.h"

namespace clusterd {

struct GuestProber::Shared {
  Shared(const GuestProberOptions& options, GuestAgent& agent, EventSink& sink)
      : teller(sink),
        scheduler(options.late_after),
        board(options, scheduler, agent, teller, tally) {}

  probes::Teller teller;
  probes::Tally tally;
  probes::Scheduler scheduler;
  probes::CheckBoard board;
  std::thread thread;
};

GuestProber::GuestProber(GuestProberOptions options, GuestAgent& agent, EventSink& sink)
    : shared_(std::make_unique<Shared>(options, agent, sink)) {
  shared_->thread = std::thread([shared = shared_.get()] { shared->scheduler.run(); });
}

GuestProber::~GuestProber() {
  shared_->teller.end_all();
  shared_->scheduler.inbox()->close();
  shared_->thread.join();
}

void GuestProber::watch(const WatchGuest& order) {
  const auto serial = shared_->teller.begin(order.vm);
  shared_->scheduler.inbox()->post(
      [board = &shared_->board, order, serial] { board->watch(order, serial); });
}

void GuestProber::unwatch(const UnwatchGuest& order) {
  shared_->teller.end(order.vm);
  shared_->scheduler.inbox()->post(
      [board = &shared_->board, vm = order.vm] { board->unwatch(vm); });
}

void GuestProber::repair(const RepairGuest& order) {
  shared_->scheduler.inbox()->post([board = &shared_->board, order] { board->repair(order); });
}

ProbeCounts GuestProber::counts() const {
  const probes::Tally& tally = shared_->tally;
  return {tally.passed, tally.failed, tally.busy, tally.inconclusive};
}

}  // namespace clusterd
