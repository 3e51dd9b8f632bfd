#include "clusterd/adapters/metrics/metrics_exporter.h"

#include <prometheus/exposer.h>

#include <exception>
#include <utility>
#include <vector>

#include "clusterd/adapters/metrics/page.h"

namespace clusterd {
namespace {

const char* word(Outcome outcome) {
  switch (outcome) {
    case Outcome::done: return "done";
    case Outcome::failed_without_effect: return "failed";
    case Outcome::unknown: return "unknown";
  }
  return "unknown";
}

const char* word(Cause cause) {
  switch (cause) {
    case Cause::desired: return "desired";
    case Cause::restart_in_place: return "restart_in_place";
    case Cause::relocation: return "relocation";
    case Cause::host_lost: return "host_lost";
    case Cause::restart_order: return "restart_order";
    case Cause::undeclared: return "undeclared";
    case Cause::preempted: return "preempted";
    case Cause::unhealthy: return "unhealthy";
  }
  return "unknown";
}

}  // namespace

struct MetricsExporter::Server {
  Server(const std::string& listen, const std::string& version)
      : page(std::make_shared<MetricsPage>(version)),
        // Who connects and asks nothing holds a thread until the timeout.
        exposer(std::vector<std::string>{"listening_ports", listen, "num_threads", "4",
                                         "request_timeout_ms", "2000"}) {
    exposer.RegisterCollectable(page);
  }

  std::shared_ptr<MetricsPage> page;
  prometheus::Exposer exposer;
};

Result<std::unique_ptr<MetricsExporter>> MetricsExporter::open(const std::string& listen,
                                                               const std::string& version) {
  try {
    return std::unique_ptr<MetricsExporter>(
        new MetricsExporter(std::make_unique<Server>(listen, version)));
  } catch (const std::exception& error) {
    return Error{"metrics cannot be served at " + listen +
                 ": is the address free and this host's? (" + error.what() + ")"};
  }
}

MetricsExporter::MetricsExporter(std::unique_ptr<Server> server) : server_(std::move(server)) {}
MetricsExporter::~MetricsExporter() = default;

int MetricsExporter::port() const {
  const auto ports = server_->exposer.GetListeningPorts();
  return ports.empty() ? 0 : ports.front();
}

void MetricsExporter::publish(MetricsSnapshot snapshot) {
  server_->page->publish(std::move(snapshot));
}
void MetricsExporter::count_fence(const std::string& node, const std::string& device,
                                  Outcome outcome) {
  server_->page->count_fence(node, device, word(outcome));
}
void MetricsExporter::count_restart(const std::string& vm, Cause cause) {
  server_->page->count_restart(vm, word(cause));
}
void MetricsExporter::count_rejected(const std::string& source, const std::string& reason) {
  server_->page->count_rejected(source, reason);
}
void MetricsExporter::count_guest_check(const std::string& outcome) {
  server_->page->count_guest_check(outcome);
}

void MetricsExporter::count_libvirt_call(const std::string& call) {
  server_->page->count_libvirt_call(call);
}
void MetricsExporter::observe_failover(const std::string& phase, Duration since_ring) {
  server_->page->observe_failover(phase, static_cast<double>(since_ring.count()) / 1000.0);
}

}  // namespace clusterd
