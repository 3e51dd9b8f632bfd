// MetricsExporter: serves Metrics to Prometheus at http://HOST:PORT/metrics.
//
// Cost and convention. A node has one series for every state it can have, 0 or 1, as OpenMetrics
// writes state sets: `clusterd_node_state{state="online"} == 0` then works. A VM has one series
// only, for the state it is in, always 1: twelve states of 4000 VMs would be 48,000 series of
// which 44,000 say nothing. `clusterd_vms{state}` counts the VMs of every state, also of those
// that no VM is in, and is what alerts on "any VM" should use.
#pragma once

#include <memory>
#include <string>

#include "clusterd/base/result.h"
#include "clusterd/ports/metrics.h"

namespace clusterd {

class MetricsExporter final : public Metrics {
 public:
  // `listen`: "127.0.0.1:9465", "[::1]:9465", or with port 0 any free one. `version` for
  // clusterd_build_info. An error: the address cannot be listened on.
  [[nodiscard]] static Result<std::unique_ptr<MetricsExporter>> open(const std::string& listen,
                                                                     const std::string& version);
  ~MetricsExporter() override;
  MetricsExporter(const MetricsExporter&) = delete;
  MetricsExporter& operator=(const MetricsExporter&) = delete;

  [[nodiscard]] int port() const;

  void publish(MetricsSnapshot snapshot) override;
  void count_fence(const std::string& node, const std::string& device, Outcome outcome) override;
  void count_restart(const std::string& vm, Cause cause) override;
  void count_rejected(const std::string& source, const std::string& reason) override;
  void count_libvirt_call(const std::string& call) override;
  void count_guest_check(const std::string& outcome) override;
  void observe_failover(const std::string& phase, Duration since_ring) override;

 private:
  struct Server;
  explicit MetricsExporter(std::unique_ptr<Server> server);

  std::unique_ptr<Server> server_;
};

}  // namespace clusterd
