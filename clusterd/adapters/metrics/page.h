// MetricsPage: everything that one scrape shows, put together under one lock.
#pragma once

#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>

#include <array>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "clusterd/ports/metrics.h"

namespace clusterd {

class MetricsPage final : public prometheus::Collectable {
 public:
  // Labels of one counter beyond this many are counted under the value "other": a bug, or a peer
  // that sends garbage, must not fill Prometheus' memory.
  static constexpr std::size_t kMaxSeries = 10000;
  static constexpr std::size_t kMaxReasons = 200;
  // Seconds; what a failover may take stands between the fastest detection and a slow boot.
  static constexpr std::array<double, 13> kBuckets = {0.1, 0.25, 0.5, 1,  2,  3,  5,
                                                      8,   13,   20,  30, 60, 180};

  explicit MetricsPage(std::string version) : version_(std::move(version)) {}

  void publish(MetricsSnapshot snapshot);
  void count_fence(const std::string& node, const std::string& device, const std::string& outcome);
  void count_restart(const std::string& vm, const std::string& cause);
  void count_rejected(const std::string& source, const std::string& reason);
  void count_libvirt_call(const std::string& call);
  void count_guest_check(const std::string& outcome);
  void observe_failover(const std::string& phase, double seconds);

  [[nodiscard]] std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  using Labels = std::vector<std::string>;
  using Counter = std::map<Labels, std::uint64_t>;
  struct Histogram {
    std::array<std::uint64_t, kBuckets.size()> counts{};  // each value in its own bucket only
    std::uint64_t count = 0;
    double sum = 0;
  };

  static void add(Counter& counter, Labels labels, std::size_t limit);

  const std::string version_;
  mutable std::mutex mutex_;
  MetricsSnapshot snapshot_;                 // guarded by mutex_, and all below
  Counter fences_;
  Counter restarts_;
  Counter rejected_;
  Counter libvirt_calls_;
  Counter guest_checks_;
  std::map<std::string, Histogram> failovers_;  // by phase
};

}  // namespace clusterd
