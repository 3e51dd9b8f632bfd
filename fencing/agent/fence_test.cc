#include "fencing/agent/fence_test.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <utility>

namespace clusterd {
namespace {

const char* word(Power power) {
  switch (power) {
    case Power::on: return "on";
    case Power::off: return "off";
    case Power::unknown: return "unknown";
  }
  return "unknown";
}

std::string device_json(const NamedDevice& device, const CallResult& result) {
  const Power power = power_of(result);
  const bool ok = power != Power::unknown;
  std::array<char, 32> seconds{};
  const auto ms = static_cast<long>(result.ran.count());
  std::snprintf(seconds.data(), seconds.size(), "%ld.%03ld", ms / 1000, ms % 1000);
  const std::string problem =
      ok ? "" : describe(device.name, "status", device.device.timeout, result);
  return "{\"device\":" + json_string(device.name) + ",\"power\":\"" + word(power) +
         "\",\"ok\":" + (ok ? "true" : "false") + ",\"seconds\":" + seconds.data() +
         ",\"problem\":" + json_string(problem) + "}";
}

std::vector<NamedDevice> each_once(const std::vector<std::vector<NamedDevice>>& levels) {
  std::vector<NamedDevice> devices;
  for (const auto& level : levels) {
    for (const NamedDevice& device : level) {
      const bool known = std::any_of(devices.begin(), devices.end(),
                                     [&](const auto& d) { return d.name == device.name; });
      if (!known) devices.push_back(device);
    }
  }
  return devices;
}

}  // namespace

std::string json_string(std::string_view text) {
  std::string json = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      json += '\\';
      json += c;
    } else if (byte < 0x20) {
      std::array<char, 8> escape{};
      std::snprintf(escape.data(), escape.size(), "\\u%04x", static_cast<unsigned>(byte));
      json += escape.data();
    } else {
      json += byte < 0x7f ? c : '?';
    }
  }
  return json + "\"";
}

FenceTest::FenceTest(CallRunner& runner, RunFenceTest order, Ended ended)
    : runner_(runner), client_(order.client), ended_(std::move(ended)) {
  for (const auto& [name, levels] : order.nodes) nodes_[name].devices = each_once(levels);
}

void FenceTest::begin() {
  for (auto& [name, node] : nodes_) {
    if (node.devices.empty()) continue;
    ++open_;
    RoundOrder order;
    order.level = node.devices;
    order.action = "status";
    order.node = name;
    Node* slot = &node;
    node.round = std::make_unique<Round>(runner_, std::move(order),
                                         [this, slot](std::vector<CallResult> results) {
                                           slot->results = std::move(results);
                                           --open_;
                                           finish_when_complete();
                                         });
  }
  finish_when_complete();
}

void FenceTest::finish_when_complete() {
  if (open_ != 0 || !ended_) return;
  FenceTestEnded event;
  event.client = client_;
  event.ok = true;
  event.json = "{\"nodes\":[";
  bool first_node = true;
  for (const auto& [name, node] : nodes_) {
    event.json += first_node ? "" : ",";
    first_node = false;
    event.json += "{\"node\":" + json_string(name) + ",\"devices\":[";
    for (std::size_t i = 0; i < node.devices.size(); ++i) {
      event.json += (i == 0 ? "" : ",") + device_json(node.devices[i], node.results[i]);
      if (power_of(node.results[i]) == Power::unknown) event.ok = false;
    }
    event.json += "]}";
  }
  event.json += "]}";
  const Ended ended = std::exchange(ended_, nullptr);
  ended(std::move(event));
}

}  // namespace clusterd
