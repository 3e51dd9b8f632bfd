#include "clusterd/adapters/metrics/page.h"

#include <algorithm>
#include <set>
#include <string_view>
#include <utility>

#include "clusterd/adapters/metrics/families.h"

namespace clusterd {
namespace {

using prometheus::MetricFamily;
using prometheus::MetricType;

// contract.md section 3.
constexpr std::array<std::string_view, 9> kNodeStates = {"online",    "joining",   "maintenance",
                                                         "unmanaged", "lost",      "fencing",
                                                         "dead",      "condemned", "left"};
constexpr std::array<std::string_view, 12> kVmStates = {
    "running", "starting",  "stopping", "migrating", "stopped", "waiting",
    "paused",  "preempted", "failed",   "unknown",   "stuck",   "duplicate"};

double seconds(Duration d) { return static_cast<double>(d.count()) / 1000.0; }

void add_nodes(std::vector<MetricFamily>& page, const MetricsSnapshot& now) {
  MetricFamily states = family("clusterd_node_state",
                               "1 for the state that the node is in, 0 for every other.",
                               MetricType::Gauge);
  std::size_t unmanaged = 0;
  for (const auto& node : now.nodes) {
    bool known = false;
    for (const std::string_view state : kNodeStates) {
      known = known || node.state == state;
      add_gauge(states, {{"node", node.name}, {"state", state}}, node.state == state ? 1 : 0);
    }
    if (!known) add_gauge(states, {{"node", node.name}, {"state", node.state}}, 1);
    if (node.state == "unmanaged") ++unmanaged;
  }
  page.push_back(std::move(states));
  page.push_back(single_gauge("clusterd_unmanaged_nodes",
                              "Hosts in the ring whose daemon does not run.",
                              static_cast<double>(unmanaged)));
}

void add_vms(std::vector<MetricFamily>& page, const MetricsSnapshot& now) {
  MetricFamily states = family("clusterd_vm_state", "The state that the VM is in; always 1.",
                               MetricType::Gauge);
  MetricFamily health = family("clusterd_vm_health", "The health that the VM has; always 1.",
                               MetricType::Gauge);
  MetricFamily predicted =
      family("clusterd_rto_predicted_seconds",
             "How long the VM would be down if its host failed now.", MetricType::Gauge);
  MetricFamily counts = family("clusterd_vms", "VMs in each state.", MetricType::Gauge);
  std::map<std::string_view, std::size_t> by_state;
  for (const std::string_view state : kVmStates) by_state[state] = 0;
  states.metric.reserve(now.vms.size());
  health.metric.reserve(now.vms.size());
  for (const auto& vm : now.vms) {
    add_gauge(states, {{"vm", vm.name}, {"state", vm.state}}, 1);
    add_gauge(health, {{"vm", vm.name}, {"health", vm.health}}, 1);
    if (vm.predicted_failover) {
      add_gauge(predicted, {{"vm", vm.name}}, seconds(*vm.predicted_failover));
    }
    ++by_state[vm.state];
  }
  for (const auto& [state, count] : by_state) {
    add_gauge(counts, {{"state", state}}, static_cast<double>(count));
  }
  page.push_back(std::move(states));
  page.push_back(std::move(health));
  page.push_back(std::move(predicted));
  page.push_back(std::move(counts));
}

void add_cluster(std::vector<MetricFamily>& page, const MetricsSnapshot& now) {
  page.push_back(single_gauge("clusterd_quorate", "1 if this node is quorate.", now.quorate));
  page.push_back(single_gauge("clusterd_synced",
                              "1 if this node follows the group's state; 0: what it shows is old.",
                              now.synced));
  page.push_back(single_gauge("clusterd_armed", "0 while automatic action is suspended.",
                              now.armed));
  page.push_back(single_gauge("clusterd_recording",
                              "1 if what happens here is recorded for replay.", now.recording));
  page.push_back(single_gauge("clusterd_epoch", "Number of views that have been activated.",
                              static_cast<double>(now.epoch)));
  page.push_back(single_gauge("clusterd_alarms", "Alarms that stand now.",
                              static_cast<double>(now.alarms)));
  page.push_back(single_gauge("clusterd_unprotected_vms",
                              "VMs that would not be recovered if their host failed now.",
                              static_cast<double>(now.unprotected_vms)));
  if (!now.reserve) return;
  page.push_back(single_gauge("clusterd_reserve_required_failures",
                              "Host failures that the cluster has been told to bear.",
                              now.reserve->required));
  page.push_back(single_gauge("clusterd_reserve_tolerated_failures",
                              "Host failures that the cluster can bear now.",
                              now.reserve->tolerated));
}

// `values` of each series stand in the order of `labels`.
template <class Counter, std::size_t N>
void add_counter(std::vector<MetricFamily>& page, const char* name, const char* help,
                 const std::array<const char*, N>& labels, const Counter& counter) {
  MetricFamily counts = family(name, help, MetricType::Counter);
  for (const auto& [values, count] : counter) {
    prometheus::ClientMetric& metric = add_series(counts, {});
    for (std::size_t i = 0; i < N; ++i) metric.label.push_back({labels[i], label_value(values[i])});
    metric.counter.value = static_cast<double>(count);
  }
  page.push_back(std::move(counts));
}

}  // namespace

void MetricsPage::publish(MetricsSnapshot snapshot) {
  const std::lock_guard<std::mutex> lock(mutex_);
  snapshot_ = std::move(snapshot);
  std::set<std::string_view> nodes;
  std::set<std::string_view> vms;
  for (const auto& node : snapshot_.nodes) nodes.insert(node.name);
  for (const auto& vm : snapshot_.vms) vms.insert(vm.name);
  std::erase_if(fences_, [&](const auto& one) { return !nodes.contains(one.first[0]); });
  std::erase_if(restarts_, [&](const auto& one) { return !vms.contains(one.first[0]); });
}

void MetricsPage::add(Counter& counter, Labels labels, std::size_t limit) {
  if (counter.size() >= limit && !counter.contains(labels)) {
    std::fill(labels.begin(), labels.end(), "other");
  }
  ++counter[labels];
}

void MetricsPage::count_fence(const std::string& node, const std::string& device,
                              const std::string& outcome) {
  const std::lock_guard<std::mutex> lock(mutex_);
  add(fences_, {node, device, outcome}, kMaxSeries);
}

void MetricsPage::count_restart(const std::string& vm, const std::string& cause) {
  const std::lock_guard<std::mutex> lock(mutex_);
  add(restarts_, {vm, cause}, kMaxSeries);
}

void MetricsPage::count_rejected(const std::string& source, const std::string& reason) {
  const std::lock_guard<std::mutex> lock(mutex_);
  add(rejected_, {source, reason}, kMaxReasons);
}

void MetricsPage::count_guest_check(const std::string& outcome) {
  const std::lock_guard<std::mutex> lock(mutex_);
  add(guest_checks_, {outcome}, kMaxReasons);
}

void MetricsPage::count_libvirt_call(const std::string& call) {
  const std::lock_guard<std::mutex> lock(mutex_);
  add(libvirt_calls_, {call}, kMaxReasons);
}

void MetricsPage::observe_failover(const std::string& phase, double value) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (failovers_.size() >= kMaxReasons && !failovers_.contains(phase)) return;
  Histogram& histogram = failovers_[phase];
  const auto* bucket = std::lower_bound(kBuckets.begin(), kBuckets.end(), value);
  if (bucket != kBuckets.end()) {
    ++histogram.counts[static_cast<std::size_t>(bucket - kBuckets.begin())];
  }
  ++histogram.count;
  histogram.sum += value;
}

std::vector<MetricFamily> MetricsPage::Collect() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::vector<MetricFamily> page;
  page.push_back(family("clusterd_build_info", "The version that runs; always 1.",
                        MetricType::Gauge));
  add_gauge(page.back(), {{"version", version_}}, 1);
  add_cluster(page, snapshot_);
  add_nodes(page, snapshot_);
  add_vms(page, snapshot_);
  add_counter(page, "clusterd_fence_total", "Answers of fence devices to fence operations.",
              std::array{"node", "device", "outcome"}, fences_);
  add_counter(page, "clusterd_vm_restarts_total", "Starts of a VM, by what made them necessary.",
              std::array{"vm", "cause"}, restarts_);
  add_counter(page, "clusterd_rejected_messages_total",
              "Messages of members and requests of local clients that were refused.",
              std::array{"source", "reason"}, rejected_);
  add_counter(page, "clusterd_libvirt_calls_total", "Calls of libvirt by this daemon.",
              std::array{"call"}, libvirt_calls_);
  add_counter(page, "clusterd_guest_checks_total", "Checks of guests of this host that ended.",
              std::array{"outcome"}, guest_checks_);
  MetricFamily failover = family("clusterd_failover_duration_seconds",
                                 "When a failover reached its phases, counted from the new ring.",
                                 MetricType::Histogram);
  for (const auto& [phase, histogram] : failovers_) {
    auto& out = add_series(failover, {{"phase", phase}}).histogram;
    std::uint64_t cumulative = 0;
    for (std::size_t i = 0; i < kBuckets.size(); ++i) {
      cumulative += histogram.counts[i];
      out.bucket.push_back({cumulative, kBuckets[i]});
    }
    out.sample_count = histogram.count;
    out.sample_sum = histogram.sum;
  }
  page.push_back(std::move(failover));
  // A family without series would be a help text for nothing.
  std::erase_if(page, [](const MetricFamily& one) { return one.metric.empty(); });
  return page;
}

}  // namespace clusterd
